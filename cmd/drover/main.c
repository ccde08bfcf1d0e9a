/* SPDX-License-Identifier: Apache-2.0 */
/*
 * drover - the command line of Drover (docs/drover.1).
 *
 * One table of verbs gives the words, what may follow them, which options they
 * take and one line of help; parsing and help walk the same table, so they
 * cannot drift.
 */
#include "cmd/drover/drover.h"

#include "base/clock.h"
#include "base/number.h"
#include "base/stdio_end.h"
#include "base/text.h"
#include "base/unix_socket.h"

#include <getopt.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_SOCKET "/run/drover/droverd.sock"
#define REQUEST_TIMEOUT_S 35 /* a little more than droverd itself waits for the cluster */

enum {
	TAKES_FORCE = 1,
	TAKES_YES = 2,
	TAKES_WAIT = 4,
	TAKES_WHY = 8,
	TAKES_RESTRICTED = 16,
	TAKES_FOLLOW = 32,
	TAKES_GROUP = 64,
	TAKES_NODE = 128,
	TAKES_MAX_RESTART = 256,
	TAKES_NO_JSON = 512, /* a verb whose output is not ours to shape */
	TAKES_DRY_RUN = 8192,
	GIVEN_JSON = 1024,
	GIVEN_NO_WAIT = 2048,
	GIVEN_TIMEOUT = 4096,
	GIVEN_EVERYWHERE = GIVEN_JSON | GIVEN_NO_WAIT | GIVEN_TIMEOUT,
};

struct verb {
	const char *words;
	const char *args;
	int min, max;
	unsigned int takes;
	verb_fn fn;
	const char *help;
};

static const struct verb verbs[] = {
	{ "list", "", 0, 0, 0, verb_list, "all domains: state, host, size" },
	{ "show", "NAME", 1, 1, 0, verb_show, "everything about one domain" },
	{ "start", "NAME|FILE", 1, 1, TAKES_WAIT | TAKES_NODE, verb_start,
	  "start a domain; with a FILE, take it in first" },
	{ "stop", "NAME", 1, 1, TAKES_FORCE | TAKES_WAIT, verb_stop,
	  "shut a domain down; --force ends it at once" },
	{ "console", "NAME", 1, 1, TAKES_NO_JSON, verb_console, "serial port of a domain of this host, ^] leaves" },
	{ "migrate", "NAME [NODE]", 1, 2, TAKES_WAIT | TAKES_DRY_RUN, verb_migrate, "move a running domain, live" },
	{ "pause", "NAME", 1, 1, TAKES_WAIT, verb_pause, "let a running domain stand still" },
	{ "resume", "NAME", 1, 1, TAKES_WAIT, verb_resume, "let it go on" },
	{ "cancel", "NAME", 1, 1, 0, verb_cancel, "stop a migration that was not decided yet" },
	{ "clear", "NAME", 1, 1, 0, verb_clear, "forget failures, try again at once" },
	{ "remove", "NAME", 1, 1, 0, verb_remove, "forget a stopped domain" },
	{ "status", "", 0, 0, 0, verb_status, "this host and the cluster in a few lines" },
	{ "ha add", "NAME|FILE", 1, 1, TAKES_GROUP | TAKES_MAX_RESTART, verb_ha_add,
	  "protect a domain: restart it elsewhere when its host dies" },
	{ "ha remove", "NAME", 1, 1, 0, verb_ha_remove, "no longer protect it" },
	{ "ha status", "", 0, 0, TAKES_WHY, verb_ha_status, "quorum, hosts, protected domains" },
	{ "ha timings", "", 0, 0, 0, verb_ha_timings, "every time the cluster uses, and why" },
	{ "ha history", "", 0, 0, TAKES_FOLLOW, verb_ha_history, "what happened, as this host saw it" },
	{ "ha group add", "NAME HOST:PRIO,...", 2, 2, TAKES_RESTRICTED, verb_ha_group_add,
	  "set a group of hosts; higher priority is preferred" },
	{ "ha group remove", "NAME", 1, 1, 0, verb_ha_group_remove, "remove a group" },
	{ "ha group list", "", 0, 0, 0, verb_ha_group_list, "all groups" },
	{ "node status", "", 0, 0, 0, verb_node_status, "all hosts" },
	{ "node maintenance", "NODE on|off", 2, 2, 0, verb_node_maintenance,
	  "place nothing on a host" },
	{ "witness init", "PATH", 1, 1, 0, verb_witness_init,
	  "make a storage witness, a vote for clusters that can be halved" },
	{ "fence", "NODE", 1, 1, TAKES_YES, verb_fence, "cut a host's power" },
	{ "confirm", "NODE", 1, 1, TAKES_YES, verb_confirm,
	  "say that a host is off, when no device can" },
};

static const struct {
	unsigned int bit;
	const char *text;
} option_help[] = {
	{ TAKES_FORCE, "      --force           end it at once, without asking the guest\n" },
	{ TAKES_YES, "      --yes             do not ask\n" },
	{ TAKES_WAIT, "      --wait            wait for the outcome (default)\n"
		      "      --no-wait         return when the cluster has taken the command\n"
		      "      --timeout SECONDS how long to wait\n" },
	{ TAKES_DRY_RUN, "      --dry-run         only ask both hosts whether it could, and move nothing\n" },
	{ TAKES_WHY, "      --why             what each one waits for\n" },
	{ TAKES_RESTRICTED, "      --restricted      only these hosts, rather than these first\n" },
	{ TAKES_FOLLOW, "      --follow          go on with what happens next\n" },
	{ TAKES_GROUP, "      --group NAME      hosts it may run on\n" },
	{ TAKES_NODE, "      --node NODE       start it there\n" },
	{ TAKES_MAX_RESTART, "      --max-restart N   failures in a row before it rests (0..100)\n" },
};

#define N_VERBS (sizeof(verbs) / sizeof(verbs[0]))

static void print_usage(FILE *to)
{
	size_t i;

	fputs("usage: drover [-o json] [--socket PATH] VERB ...\n\n", to);
	for (i = 0; i < N_VERBS; i++)
		fprintf(to, "  %-17s %-19s %s\n", verbs[i].words, verbs[i].args, verbs[i].help);
	fputs("  version                               print the version\n"
	      "  help              [VERB]              this, or more about one verb\n",
	      to);
}

/* How many of @argv's words are @v's, 0 when it is another verb. */
static int words_match(const char *words, int argc, char **argv)
{
	int n = 0;
	size_t len;

	for (;;) {
		len = strcspn(words, " ");
		if (n >= argc || strlen(argv[n]) != len || strncmp(argv[n], words, len) != 0)
			return 0;
		n++;
		if (!words[len])
			return n;
		words += len + 1;
	}
}

static const struct verb *find_verb(int argc, char **argv, int *used)
{
	const struct verb *best = NULL;
	size_t i;
	int n;

	*used = 0;
	for (i = 0; i < N_VERBS; i++) {
		n = words_match(verbs[i].words, argc, argv);
		if (n > *used) {
			*used = n;
			best = &verbs[i];
		}
	}
	return best;
}

/* Does the first word of @v, which has more, say @word? */
static bool begins_with(const struct verb *v, const char *word)
{
	size_t len = strlen(word);

	return strncmp(v->words, word, len) == 0 && v->words[len] == ' ';
}

static int no_such_verb(int argc, char **argv)
{
	size_t i;

	for (i = 0; i < N_VERBS && !begins_with(&verbs[i], argv[0]); i++)
		;
	if (i == N_VERBS)
		return say_error(EXIT_USAGE, "no verb '%s'; 'drover help' lists them", argv[0]);
	return say_error(EXIT_USAGE, "no verb '%s%s%s'; 'drover help %s' lists those that begin so", argv[0],
			 argc > 1 ? " " : "", argc > 1 ? argv[1] : "", argv[0]);
}

/* "help ha": all verbs that begin so */
static int help_group(int argc, char **argv)
{
	bool any = false;
	size_t i;

	for (i = 0; i < N_VERBS && argc == 1; i++)
		if (begins_with(&verbs[i], argv[0])) {
			printf("  %-17s %-19s %s\n", verbs[i].words, verbs[i].args, verbs[i].help);
			any = true;
		}
	return any ? EXIT_OK : no_such_verb(argc, argv);
}

static int help(int argc, char **argv)
{
	size_t i;
	int used;
	const struct verb *v = find_verb(argc, argv, &used);

	if (argc == 0) {
		print_usage(stdout);
		return EXIT_OK;
	}
	if (!v)
		return help_group(argc, argv);
	printf("usage: drover %s %s\n%s\n", v->words, v->args, v->help);
	for (i = 0; i < sizeof(option_help) / sizeof(option_help[0]); i++)
		if (v->takes & option_help[i].bit)
			fputs(option_help[i].text, stdout);
	if (!(v->takes & TAKES_NO_JSON))
		fputs("  -o, --output json     for programs\n", stdout);
	return EXIT_OK;
}

enum {
	OPT_SOCKET = 256,
	OPT_FORCE,
	OPT_YES,
	OPT_WAIT,
	OPT_NO_WAIT,
	OPT_TIMEOUT,
	OPT_WHY,
	OPT_DRY_RUN,
	OPT_RESTRICTED,
	OPT_FOLLOW,
	OPT_GROUP,
	OPT_NODE,
	OPT_MAX_RESTART,
	OPT_VERSION
};

#define SHORT_OPTIONS ":o:h"

static const struct option long_options[] = {
	{ "output", required_argument, NULL, 'o' },
	{ "help", no_argument, NULL, 'h' },
	{ "version", no_argument, NULL, OPT_VERSION },
	{ "socket", required_argument, NULL, OPT_SOCKET },
	{ "force", no_argument, NULL, OPT_FORCE },
	{ "yes", no_argument, NULL, OPT_YES },
	{ "wait", no_argument, NULL, OPT_WAIT },
	{ "no-wait", no_argument, NULL, OPT_NO_WAIT },
	{ "timeout", required_argument, NULL, OPT_TIMEOUT },
	{ "dry-run", no_argument, NULL, OPT_DRY_RUN },
	{ "why", no_argument, NULL, OPT_WHY },
	{ "restricted", no_argument, NULL, OPT_RESTRICTED },
	{ "follow", no_argument, NULL, OPT_FOLLOW },
	{ "group", required_argument, NULL, OPT_GROUP },
	{ "node", required_argument, NULL, OPT_NODE },
	{ "max-restart", required_argument, NULL, OPT_MAX_RESTART },
	{ NULL, 0, NULL, 0 },
};

static int take_number(const char *what, const char *text, uint32_t min, uint32_t max, uint64_t *out)
{
	if (!number_parse(text, min, max, out))
		return say_error(EXIT_USAGE, "%s %s: expected %u to %u", what, text, min, max);
	return EXIT_OK;
}

struct parsed {
	unsigned int given; /* TAKES_... */
	bool help, version;
};

static int take_option(int c, struct options *o, struct parsed *p)
{
	uint64_t n;

	switch (c) {
	case 'o':
		if (strcmp(optarg, "json") != 0 && strcmp(optarg, "table") != 0)
			return say_error(EXIT_USAGE, "-o %s: expected json or table", optarg);
		o->json = strcmp(optarg, "json") == 0;
		say_errors_as_json(o->json);
		p->given |= o->json ? GIVEN_JSON : 0;
		return EXIT_OK;
	case 'h':
		p->help = true;
		return EXIT_OK;
	case OPT_VERSION:
		p->version = true;
		return EXIT_OK;
	case OPT_SOCKET:
		o->socket = optarg;
		return EXIT_OK;
	case OPT_FORCE:
		o->force = true;
		p->given |= TAKES_FORCE;
		return EXIT_OK;
	case OPT_YES:
		o->yes = true;
		p->given |= TAKES_YES;
		return EXIT_OK;
	case OPT_WAIT:
	case OPT_NO_WAIT:
		o->no_wait = c == OPT_NO_WAIT;
		p->given |= TAKES_WAIT | (o->no_wait ? GIVEN_NO_WAIT : 0);
		return EXIT_OK;
	case OPT_TIMEOUT:
		if (take_number("--timeout", optarg, 1, 86400, &n))
			return EXIT_USAGE;
		o->timeout_s = (uint32_t)n;
		p->given |= TAKES_WAIT | GIVEN_TIMEOUT;
		return EXIT_OK;
	case OPT_DRY_RUN:
		o->dry_run = true;
		p->given |= TAKES_DRY_RUN;
		return EXIT_OK;
	case OPT_WHY:
		o->why = true;
		p->given |= TAKES_WHY;
		return EXIT_OK;
	case OPT_RESTRICTED:
		o->restricted = true;
		p->given |= TAKES_RESTRICTED;
		return EXIT_OK;
	case OPT_FOLLOW:
		o->follow = true;
		p->given |= TAKES_FOLLOW;
		return EXIT_OK;
	case OPT_GROUP:
		o->group = optarg;
		p->given |= TAKES_GROUP;
		return EXIT_OK;
	case OPT_NODE:
		o->node = optarg;
		p->given |= TAKES_NODE;
		return EXIT_OK;
	case OPT_MAX_RESTART:
		if (take_number("--max-restart", optarg, 0, 100, &n))
			return EXIT_USAGE;
		o->max_restart = (int)n;
		p->given |= TAKES_MAX_RESTART;
		return EXIT_OK;
	default:
		return EXIT_USAGE;
	}
}

/* Whatever is wrong on the line, and wherever: whoever reads by program finds it where -o json says. */
static void look_for_json(int argc, char **argv)
{
	int c;

	/* '-': nothing is moved, or a value that is missing at the end would be found behind it the next time */
	while ((c = getopt_long(argc, argv, "-" SHORT_OPTIONS, long_options, NULL)) != -1)
		if (c == 'o')
			say_errors_as_json(strcmp(optarg, "json") == 0);
	optind = 0; /* once more, from the start */
}

static int bad_option(int c, char **argv)
{
	if (c == ':')
		return say_error(EXIT_USAGE, "%s needs a value; 'drover help' lists verbs and their options", argv[optind - 1]);
	if (optopt >= OPT_SOCKET)
		return say_error(EXIT_USAGE, "%s: this option takes no value", argv[optind - 1]);
	if (optopt)
		return say_error(EXIT_USAGE, "-%c: no such option; 'drover help' lists verbs and their options", optopt);
	return say_error(EXIT_USAGE, "%s: no such option; 'drover help' lists verbs and their options", argv[optind - 1]);
}

/* What the table says of the @i-th argument: "NAME|FILE", "[NODE]". Copied without brackets. */
static void arg_kind(const struct verb *v, int i, char kind[32])
{
	const char *p = v->args;
	size_t len;

	for (; i > 0; i--)
		p += strcspn(p, " ") + 1;
	p += *p == '[';
	len = strcspn(p, " ]");
	snprintf(kind, 32, "%.*s", (int)len, p);
}

/* Every name on the line, before anything is asked. */
static int check_names(const struct drover *d, const struct verb *v)
{
	int i, code = EXIT_OK;
	char kind[32];

	for (i = 0; i < d->argc && !code; i++) {
		arg_kind(v, i, kind);
		if (strcmp(kind, "NAME") == 0 ||
		    (strcmp(kind, "NAME|FILE") == 0 && !looks_like_file(d->argv[i])))
			code = name_check("name", d->argv[i]);
		else if (strcmp(kind, "NODE") == 0)
			code = name_check("host", d->argv[i]);
	}
	if (!code && d->opt.group)
		code = name_check("--group", d->opt.group);
	if (!code && d->opt.node)
		code = name_check("--node", d->opt.node);
	return code;
}

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

	v = find_verb(d->argc, d->argv, &used);
	if (!v)
		return no_such_verb(d->argc, d->argv);
	code = check_options(v, given, &d->opt);
	if (code)
		return code;
	d->argc -= used;
	d->argv += used;
	if (d->argc < v->min || d->argc > v->max)
		return say_error(EXIT_USAGE, "usage: drover %s %s", v->words, v->args);
	code = check_names(d, v);
	if (code)
		return code;
	d->began_ms = clock_ms();
	d->http = http_open(d->opt.socket, request_timeout(&d->opt));
	if (!d->http)
		return say_error(EXIT_ERROR, "out of memory");
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
	return help(d->argc - is_help, d->argv + is_help);
}

static int run(int argc, char **argv)
{
	struct drover d = { .opt = { .socket = DEFAULT_SOCKET, .max_restart = -1 } };
	struct parsed p = { 0 };
	const char *env = getenv("DROVER_SOCKET");
	int c, code;

	if (env && *env)
		d.opt.socket = env;
	look_for_json(argc, argv);
	while ((c = getopt_long(argc, argv, SHORT_OPTIONS, long_options, NULL)) != -1) {
		code = c == ':' || c == '?' ? bad_option(c, argv) : take_option(c, &d.opt, &p);
		if (code)
			return code;
	}
	d.argc = argc - optind;
	d.argv = argv + optind;
	if (p.version || p.help ||
	    (d.argc > 0 && (strcmp(d.argv[0], "version") == 0 || strcmp(d.argv[0], "help") == 0)))
		return run_own(&d, &p);
	if (d.argc == 0 && d.opt.json)
		return say_error(EXIT_USAGE, "a verb is missing; 'drover help' lists them");
	if (d.argc == 0) {
		print_usage(stderr);
		return EXIT_USAGE;
	}
	return run_verb(&d, p.given);
}

int main(int argc, char **argv)
{
	stdio_begin();
	return stdio_end("drover", run(argc, argv));
}
