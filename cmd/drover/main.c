/* SPDX-License-Identifier: Apache-2.0 */
/*
 * drover - the command line of Drover (docs/drover.1).
 *
 * One table of verbs (verbs.c) gives the words, what may follow them, which options they
 * take and one line of help; checking and help walk the same table, so they
 * cannot drift.
 */
#include "cmd/drover/names.h"
#include "cmd/drover/options.h"
#include "cmd/drover/verbs.h"

#include "base/clock.h"
#include "base/stdio_end.h"
#include "base/unix_socket.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_SOCKET "/run/drover/droverd.sock"
#define REQUEST_TIMEOUT_S 35 /* a little more than droverd itself waits for the cluster */

/* An option is obeyed or refused. */
static int check_options(const struct verb *v, unsigned int given, const struct options *o)
{
	if (given & ~(v->takes | GIVEN_EVERYWHERE) || (given & GIVEN_JSON && v->takes & TAKES_NO_JSON))
		return say_error(EXIT_USAGE, "%s does not take one of these options; see 'drover help %s'",
				 v->words, v->words);
	if (o->no_wait && given & GIVEN_TIMEOUT)
		return say_error(EXIT_USAGE, "--timeout is for waiting, which --no-wait does not");
	if (o->no_wait && o->dry_run)
		return say_error(EXIT_USAGE, "--dry-run waits for its answer");
	if (strlen(o->socket) < 1 || strlen(o->socket) > UNIX_SOCKET_PATH_MAX)
		return say_error(EXIT_USAGE, "--socket '%.40s...': %zu characters, expected 1 to %u", o->socket,
				 strlen(o->socket), UNIX_SOCKET_PATH_MAX);
	return EXIT_OK;
}

/* No single request takes longer than an operator wants to wait in all. */
static uint32_t request_timeout(const struct options *o)
{
	return o->timeout_s && o->timeout_s < REQUEST_TIMEOUT_S ? o->timeout_s : REQUEST_TIMEOUT_S;
}

static int run_verb(struct drover *d, unsigned int given)
{
	const struct verb *v;
	int used, code;

	v = verb_find(d->argc, d->argv, &used);
	if (!v)
		return verb_unknown(d->argc, d->argv);
	code = check_options(v, given, &d->opt);
	if (code)
		return code;
	d->argc -= used;
	d->argv += used;
	if (d->argc < v->min || d->argc > v->max)
		return say_error(EXIT_USAGE, "usage: drover %s %s", v->words, v->args);
	code = names_check(d, v);
	if (code)
		return code;
	d->began_ms = clock_ms();
	d->http = http_open(d->opt.socket, request_timeout(&d->opt));
	if (!d->http)
		return say_error(EXIT_ERROR, "out of memory");
	code = names_resolve(d, v);
	if (!code)
		code = v->fn(d);
	http_close(d->http);
	return code;
}

static int version(const struct options *o)
{
	json_t *v = json_pack("{s:s}", "version", DROVER_VERSION);

	if (o->json)
		print_json(v);
	else
		puts("drover " DROVER_VERSION);
	json_decref(v);
	return EXIT_OK;
}

/* version and help, as words or as options: they ask nobody, and take nothing else. */
static int run_own(struct drover *d, const struct parsed *p)
{
	const char *word = d->argc > 0 ? d->argv[0] : "";
	bool is_version = strcmp(word, "version") == 0, is_help = strcmp(word, "help") == 0;

	if (p->version || is_version) {
		if (d->argc > (int)is_version || (p->given & ~(unsigned int)GIVEN_JSON))
			return say_error(EXIT_USAGE, "usage: drover version");
		return version(&d->opt);
	}
	if (is_help && p->given)
		return say_error(EXIT_USAGE, "usage: drover help [VERB]");
	return verb_help(d->argc - is_help, d->argv + is_help);
}

static int run(int argc, char **argv)
{
	struct drover d = { .opt = { .socket = DEFAULT_SOCKET, .max_restart = -1 }, .verb_at = verb_at };
	struct parsed p = { 0 };
	const char *env = getenv("DROVER_SOCKET");
	int code;

	if (env && *env)
		d.opt.socket = env;
	code = options_parse(argc, argv, &d.opt, &p);
	if (code)
		return code;
	d.argc = argc - optind;
	d.argv = argv + optind;
	if (p.version || p.help ||
	    (d.argc > 0 && (strcmp(d.argv[0], "version") == 0 || strcmp(d.argv[0], "help") == 0)))
		return run_own(&d, &p);
	if (d.argc == 0 && d.opt.json)
		return say_error(EXIT_USAGE, "a verb is missing; 'drover help' lists them");
	if (d.argc == 0) {
		verb_usage(stderr);
		return EXIT_USAGE;
	}
	return run_verb(&d, p.given);
}

int main(int argc, char **argv)
{
	stdio_begin();
	return stdio_end("drover", run(argc, argv));
}
