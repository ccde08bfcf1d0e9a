/* SPDX-License-Identifier: Apache-2.0 */
/* options - see options.h. */
#include "cmd/drover/options.h"

#include "base/number.h"
#include "cmd/drover/verbs.h"

#include <getopt.h>
#include <string.h>

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
	OPT_FORMAT,
	OPT_PARENT,
	OPT_FROM,
	OPT_CANONICAL,
	OPT_OFFLINE,
	OPT_TEXT,
	OPT_VERSION
};

#define SHORT_OPTIONS ":o:h"

/* One table for whoever reads a line and whoever completes it. */
static const struct option_row rows[] = {
	{ "output", "json|table", 'o', TAKEN_EVERYWHERE },
	{ "help", NULL, 'h', TAKEN_EVERYWHERE },
	{ "version", NULL, OPT_VERSION, 0 },
	{ "socket", "FILE", OPT_SOCKET, TAKEN_EVERYWHERE },
	{ "force", NULL, OPT_FORCE, TAKES_FORCE },
	{ "yes", NULL, OPT_YES, TAKES_YES },
	{ "wait", NULL, OPT_WAIT, TAKES_WAIT },
	{ "no-wait", NULL, OPT_NO_WAIT, TAKES_WAIT },
	{ "timeout", "SECONDS", OPT_TIMEOUT, TAKES_WAIT },
	{ "dry-run", NULL, OPT_DRY_RUN, TAKES_DRY_RUN },
	{ "why", NULL, OPT_WHY, TAKES_WHY },
	{ "restricted", NULL, OPT_RESTRICTED, TAKES_RESTRICTED },
	{ "follow", NULL, OPT_FOLLOW, TAKES_FOLLOW },
	{ "group", "GROUP", OPT_GROUP, TAKES_GROUP },
	{ "node", "NODE", OPT_NODE, TAKES_NODE },
	{ "max-restart", "N", OPT_MAX_RESTART, TAKES_MAX_RESTART },
	{ "format", "raw|vhd|vhd-fixed|qcow2", OPT_FORMAT, TAKES_FORMAT },
	{ "parent", "IMAGE", OPT_PARENT, TAKES_PARENT },
	{ "from", "raw|vhd|qcow2", OPT_FROM, TAKES_FROM },
	{ "text", "TEXT", OPT_TEXT, TAKES_TEXT },
	{ "canonical", NULL, OPT_CANONICAL, TAKES_CANONICAL },
	{ "offline", NULL, OPT_OFFLINE, TAKES_OFFLINE },
};

#define N_ROWS (sizeof(rows) / sizeof(rows[0]))

const struct option_row *option_at(size_t i)
{
	return i < N_ROWS ? &rows[i] : NULL;
}

/* As getopt_long() wants them. */
static const struct option *long_options(void)
{
	static struct option list[N_ROWS + 1];
	size_t i;

	for (i = 0; i < N_ROWS; i++)
		list[i] = (struct option){ rows[i].name, rows[i].value ? required_argument : no_argument, NULL, rows[i].letter };
	return list;
}

static int take_number(const char *what, const char *text, uint32_t min, uint32_t max, uint64_t *out)
{
	if (!number_parse(text, min, max, out))
		return say_error(EXIT_USAGE, "%s %s: expected %u to %u", what, text, min, max);
	return EXIT_OK;
}

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
	case OPT_FORMAT:
		o->format = optarg;
		p->given |= TAKES_FORMAT;
		return EXIT_OK;
	case OPT_PARENT:
		if (o->n_parents == DISK_PARENTS_MAX)
			return say_error(EXIT_USAGE, "--parent: expected at most %d", DISK_PARENTS_MAX);
		o->parents[o->n_parents++] = optarg;
		p->given |= TAKES_PARENT;
		return EXIT_OK;
	case OPT_FROM:
		o->from = optarg;
		p->given |= TAKES_FROM;
		return EXIT_OK;
	case OPT_CANONICAL:
		o->canonical = true;
		p->given |= TAKES_CANONICAL;
		return EXIT_OK;
	case OPT_OFFLINE:
		o->offline = true;
		p->given |= TAKES_OFFLINE;
		return EXIT_OK;
	case OPT_TEXT:
		o->text = optarg;
		p->given |= TAKES_TEXT;
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
	while ((c = getopt_long(argc, argv, "-" SHORT_OPTIONS, long_options(), NULL)) != -1)
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

int options_parse(int argc, char **argv, struct options *o, struct parsed *p)
{
	int c, code;

	look_for_json(argc, argv);
	while ((c = getopt_long(argc, argv, SHORT_OPTIONS, long_options(), NULL)) != -1) {
		code = c == ':' || c == '?' ? bad_option(c, argv) : take_option(c, o, p);
		if (code)
			return code;
	}
	return EXIT_OK;
}
