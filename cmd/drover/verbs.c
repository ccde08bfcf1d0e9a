/* SPDX-License-Identifier: Apache-2.0 */
/* verbs - see verbs.h. */
#include "cmd/drover/verbs.h"

#include <string.h>

static const struct verb verbs[] = {
	{ "list", "", 0, 0, 0, verb_list, "all domains: state, host, size" },
	{ "show", "NAME", 1, 1, 0, verb_show, "everything about one domain" },
	{ "config", "NAME", 1, 1, TAKES_CANONICAL, verb_config, "its text, as the cluster has it" },
	{ "validate", "FILE", 1, 1, TAKES_OFFLINE, verb_validate, "could this file be started?" },
	{ "start", "NAME|FILE", 1, 1, TAKES_WAIT | TAKES_NODE, verb_start,
	  "start a domain; with a FILE, take it in first" },
	{ "stop", "NAME", 1, 1, TAKES_FORCE | TAKES_WAIT, verb_stop,
	  "shut a domain down; --force ends it at once" },
	{ "reboot", "NAME", 1, 1, TAKES_WAIT, verb_reboot, "ask the guest to shut down, and start it again" },
	{ "reset", "NAME", 1, 1, 0, verb_reset, "start the guest again at once, as its reset button does" },
	{ "console", "NAME", 1, 1, TAKES_NO_JSON, verb_console, "serial port of a domain of this host, ^] leaves" },
	{ "screenshot", "NAME FILE", 2, 2, 0, verb_screenshot, "screen of a domain of this host as a PNG file, - for standard output" },
	{ "send-key", "NAME [KEYS]...", 1, 64, TAKES_TEXT, verb_send_key, "press keys of a domain of this host: ctrl-alt-delete, f5, ..." },
	{ "vnc", "NAME", 1, 1, 0, verb_vnc, "where viewers find the screen of a domain of this host: a UNIX socket" },
	{ "guest", "NAME WHAT", 2, 2, 0, verb_guest, "ask its agent: ping, info, addresses, shutdown, freeze, thaw" },
	{ "migrate", "NAME [NODE]", 1, 2, TAKES_WAIT | TAKES_DRY_RUN, verb_migrate, "move a running domain, live" },
	{ "pause", "NAME", 1, 1, TAKES_WAIT, verb_pause, "let a running domain stand still" },
	{ "resume", "NAME", 1, 1, TAKES_WAIT, verb_resume, "let it go on" },
	{ "cancel", "NAME", 1, 1, 0, verb_cancel, "stop a migration that was not decided yet" },
	{ "clear", "NAME", 1, 1, 0, verb_clear, "forget failures, try again at once" },
	{ "remove", "NAME", 1, 1, 0, verb_remove, "forget a stopped domain" },
	{ "watch", "[NAME]", 0, 1, 0, verb_watch, "what happens, line by line, until ^C" },
	{ "status", "", 0, 0, 0, verb_status, "this host and the cluster in a few lines" },
	{ "ha add", "NAME|FILE", 1, 1, TAKES_GROUP | TAKES_MAX_RESTART, verb_ha_add,
	  "protect a domain: restart it elsewhere when its host dies" },
	{ "ha remove", "NAME", 1, 1, 0, verb_ha_remove, "no longer protect it" },
	{ "ha status", "", 0, 0, TAKES_WHY, verb_ha_status, "quorum, hosts, protected domains" },
	{ "ha timings", "", 0, 0, 0, verb_ha_timings, "every time the cluster uses, and why" },
	{ "ha history", "", 0, 0, TAKES_FOLLOW, verb_ha_history, "what happened, as this host saw it" },
	{ "ha group add", "GROUP HOST:PRIO,...", 2, 2, TAKES_RESTRICTED, verb_ha_group_add,
	  "set a group of hosts; higher priority is preferred" },
	{ "ha group remove", "GROUP", 1, 1, 0, verb_ha_group_remove, "remove a group" },
	{ "ha group list", "", 0, 0, 0, verb_ha_group_list, "all groups" },
	{ "node status", "", 0, 0, 0, verb_node_status, "all hosts" },
	{ "node maintenance", "NODE on|off", 2, 2, 0, verb_node_maintenance,
	  "place nothing on a host" },
	{ "witness init", "PATH", 1, 1, 0, verb_witness_init,
	  "make a storage witness, a vote for clusters that can be halved" },
	{ "disk create", "IMAGE [SIZE]", 1, 2, TAKES_FORMAT | TAKES_FROM | TAKES_PARENT, verb_disk_create, "make a disk image" },
	{ "disk convert", "IMAGE NEW", 2, 2, TAKES_FORMAT | TAKES_FROM | TAKES_PARENT, verb_disk_convert,
	  "copy an image into a new one of another format" },
	{ "disk info", "IMAGE", 1, 1, 0, verb_disk_info, "say what an image is" },
	{ "disk check", "IMAGE", 1, 1, TAKES_FROM, verb_disk_check, "look whether the tables of an image are right" },
	{ "cpu check", "FILE", 1, 1, 0, verb_cpu_check, "which hosts have the processor that a domain's file asks for" },
	{ "cpu list", "[MODEL]", 0, 1, 0, verb_cpu_list, "CPU models and features that a domain can ask for" },
	{ "cpu baseline", "", 0, 0, 0, verb_cpu_baseline, "the CPU model and features that all hosts have" },
	{ "cpu show", "", 0, 0, 0, verb_cpu_show, "what this host's processor has for guests" },
	{ "fence", "NODE", 1, 1, TAKES_YES, verb_fence, "cut a host's power" },
	{ "completion bash", "[WORD ...]", 0, 1000, TAKES_NO_JSON, verb_completion,
	  "what makes bash complete this command: source <(drover completion bash)" },
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
	{ TAKES_FORMAT, "      --format FORMAT   raw, vhd (default), vhd-fixed, qcow2\n" },
	{ TAKES_FROM, "      --from FORMAT     of what is copied, or looked at, or a qcow2's parent: raw (default, refused where it\n"
		      "                        looks like another), vhd, qcow2\n" },
	{ TAKES_PARENT, "      --parent IMAGE    what it differs from, and must not change any more; of one that is copied,\n"
			"                        as often as there are some, the nearest first\n" },
	{ TAKES_CANONICAL, "      --canonical       with everything said that its file left out\n" },
	{ TAKES_OFFLINE, "      --offline         ask no droverd: only whether it is well formed\n" },
	{ TAKES_TEXT, "      --text TEXT       type it, as on a US keyboard\n" },
	{ TAKES_MAX_RESTART, "      --max-restart N   failures in a row before it rests (0..100)\n" },
};

#define N_VERBS (sizeof(verbs) / sizeof(verbs[0]))

const struct verb *verb_at(size_t i)
{
	return i < N_VERBS ? &verbs[i] : NULL;
}

void verb_usage(FILE *to)
{
	size_t i;

	fputs("usage: drover [-o json] [--socket PATH] VERB ...\n\n", to);
	for (i = 0; i < N_VERBS; i++)
		fprintf(to, "  %-17s %-19s %s\n", verbs[i].words, verbs[i].args, verbs[i].help);
	fputs("  version                               print the version\n"
	      "  help              [VERB]              this, or more about one verb\n",
	      to);
}

const struct verb *verb_find(int argc, char **argv, int *used)
{
	return verb_match(verb_at, argc, argv, used);
}

/* Does the first word of @v, which has more, say @word? */
static bool begins_with(const struct verb *v, const char *word)
{
	size_t len = strlen(word);

	return strncmp(v->words, word, len) == 0 && v->words[len] == ' ';
}

int verb_unknown(int argc, char **argv)
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
	return any ? EXIT_OK : verb_unknown(argc, argv);
}

int verb_help(int argc, char **argv)
{
	size_t i;
	int used;
	const struct verb *v = verb_find(argc, argv, &used);

	if (argc == 0) {
		verb_usage(stdout);
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
