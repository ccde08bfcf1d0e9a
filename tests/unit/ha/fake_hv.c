/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fake_hv - a drover-hv without a machine: the same options and the same control
 * socket (docs/control.md), for tests of whoever supervises it.
 *
 * The domain file's text steers it:
 *   "fails"   says in its life file that there is no kernel, and exits 3 before it listens
 *   "slow"    takes two seconds before it listens, as a host under load
 *   "mute"    never listens
 *   "other"   says hello with an incarnation that is not its own
 *   "resets"  tells of a thousand resets by its guest, then that it is paused
 *   "talks"   says after each answer that it is paused, and more that nobody asked for; with
 *             "other" already behind its hello
 *   "full"    says after its first answer that a disk cannot be written
 *   "deaf"    does not answer `stop` and `reset`
 *   "dies"    ends without a word when it is to be reset
 *   "granted" refuses the first `stop`, as a source that waits for a decision, and runs again a moment later
 *   "asks"    as a source: after `migrate` it asks the cluster to abort
 */
#include "conf/vmm_life.h"

#include <jansson.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

struct fake {
	const char *file, *control, *incoming;
	long incarnation;
	int life;
	json_int_t about;
	char text[4096], name[64];
	FILE *to;
};

static void say(struct fake *f, json_t *o)
{
	json_dumpf(o, f->to, JSON_COMPACT);
	fputc('\n', f->to);
	fflush(f->to);
	json_decref(o);
}

static void reply(struct fake *f, json_t *id, json_t *ret)
{
	say(f, json_pack("{s:o, s:O}", "return", ret, "id", id));
}

static void query(struct fake *f, json_t *id)
{
	json_t *o = json_pack("{s:s, s:s, s:I}", "name", f->name, "state",
			      f->incoming ? "incoming" : "running", "incarnation",
			      (json_int_t)f->incarnation);

	if (f->about) {
		json_t *m = json_pack("{s:s, s:s, s:I}", "role", "source", "phase", "precopy", "incarnation", f->about);

		json_object_set_new(o, "migration", m);
	}
	if (f->incoming) /* tcp:ADDRESS:0 */
		json_object_set_new(o, "listen", json_sprintf("%.*s4242", (int)strlen(f->incoming) - 1, f->incoming));
	reply(f, id, o);
}

static void migrate(struct fake *f, json_t *id, json_t *args)
{
	if (f->about) {
		say(f, json_pack("{s:{s:i, s:s}, s:O}", "error", "code", 5, "text",
				 "a migration is under way", "id", id));
		return;
	}
	f->about = json_integer_value(json_object_get(args, "incarnation"));
	reply(f, id, json_object());
	say(f, json_pack("{s:s, s:{s:s, s:I, s:I}}", "event", "migration", "data", "phase", "precopy",
			 "total", (json_int_t)100, "remaining", (json_int_t)40));
	if (strstr(f->text, "asks"))
		say(f, json_pack("{s:s, s:{s:s, s:I}}", "event", "ask", "data", "outcome", "abort",
				 "incarnation", f->about));
	else
		say(f, json_pack("{s:s, s:{s:s, s:s}}", "event", "migration", "data", "phase", "failed",
				 "error", "peer is not there"));
}

static void decide(struct fake *f, json_t *id, json_t *args)
{
	bool commit = strcmp(json_string_value(json_object_get(args, "outcome")), "commit") == 0;

	if (json_integer_value(json_object_get(args, "incarnation")) != f->about) {
		say(f, json_pack("{s:{s:i, s:s}, s:O}", "error", "code", 2, "text",
				 "this migration is about another incarnation", "id", id));
		return;
	}
	reply(f, id, json_object());
	say(f, json_pack("{s:s, s:{s:s, s:s}}", "event", "state", "data", "state",
			 commit ? "running" : "paused", "why", ""));
}

static void command(struct fake *f, const char *line)
{
	json_t *o = json_loads(line, 0, NULL), *id = json_object_get(o, "id");
	const char *what = json_string_value(json_object_get(o, "execute"));

	if (!what || strcmp(what, "query") == 0) {
		query(f, id);
	} else if (strcmp(what, "stop") == 0) {
		if (strstr(f->text, "deaf"))
			return;
		if (strstr(f->text, "granted")) {
			f->text[0] = '\0';
			say(f, json_pack("{s:{s:i, s:s}, s:O}", "error", "code", 5, "text",
					 "cannot stop: a migration waits for its decision", "id", id));
			usleep(50000);
			say(f, json_pack("{s:s, s:{s:s, s:s}}", "event", "state", "data", "state", "running", "why", ""));
			json_decref(o);
			return;
		}
		reply(f, id, json_object());
		say(f, json_pack("{s:s, s:{s:s}}", "event", "guest", "data", "what", "poweroff"));
		vmm_life_end(f->life, VMM_END_POWEROFF, 0, "poweroff");
		exit(0);
	} else if (strcmp(what, "reset") == 0) {
		if (strstr(f->text, "dies"))
			_exit(1);
		if (!strstr(f->text, "deaf"))
			reply(f, id, json_pack("{s:s}", "waits", "blk0"));
	} else if (strcmp(what, "reboot") == 0) {
		say(f, json_pack("{s:s, s:{s:s, s:s, s:s}}", "event", "reboot", "data", "phase", "asked", "why", "", "invented", "x"));
		reply(f, id, json_object());
	} else if (strcmp(what, "migrate") == 0) {
		migrate(f, id, json_object_get(o, "arguments"));
	} else if (strcmp(what, "decide") == 0) {
		decide(f, id, json_object_get(o, "arguments"));
	} else {
		say(f, json_pack("{s:{s:i, s:s}, s:O}", "error", "code", 2, "text", "unknown", "id", id));
	}
	json_decref(o);
}

static void serve(struct fake *f, int fd)
{
	FILE *from = fdopen(dup(fd), "r");
	char line[65536];

	f->to = fdopen(fd, "w");
	say(f, json_pack("{s:{s:s, s:I, s:i}}", "drover-hv", "name", f->name, "incarnation",
			 (json_int_t)f->incarnation + !!strstr(f->text, "other"), "pid", (int)getpid()));
	if (strstr(f->text, "other talks"))
		say(f, json_pack("{s:s, s:{s:s, s:s}}", "event", "state", "data", "state", "paused", "why", "operator"));
	if (strstr(f->text, "resets")) {
		for (int i = 0; i < 1000; i++)
			say(f, json_pack("{s:s, s:{s:s}}", "event", "guest", "data", "what", "reset"));
		say(f, json_pack("{s:s, s:{s:s, s:s}}", "event", "state", "data", "state", "paused", "why", "operator"));
	}
	while (fgets(line, sizeof(line), from)) {
		command(f, line);
		if (strstr(f->text, "full")) {
			say(f, json_pack("{s:s, s:{s:s, s:s}}", "event", "state", "data", "state", "paused", "why",
					 "disk /srv/web.img: No space left on device"));
			f->text[0] = '\0';
		}
		if (strstr(f->text, "talks"))
			say(f, json_pack("{s:s, s:{s:s, s:s, s:s}}", "event", "state", "data", "state", "paused",
					 "why", "operator", "invented", "x"));
	}
	fclose(from);
	fclose(f->to);
}

static void take_options(struct fake *f, int argc, char **argv)
{
	int i;

	f->file = argv[2];
	for (i = 3; i + 1 < argc; i += 2) {
		if (strcmp(argv[i], "--control") == 0)
			f->control = argv[i + 1];
		else if (strcmp(argv[i], "--incarnation") == 0)
			f->incarnation = atol(argv[i + 1]);
		else if (strcmp(argv[i], "--life") == 0)
			f->life = atoi(argv[i + 1]);
		else if (strcmp(argv[i], "--incoming") == 0)
			f->incoming = argv[i + 1];
	}
}

int main(int argc, char **argv)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	struct fake f = { 0 };
	FILE *conf;
	char *dot;
	int fd, c;

	signal(SIGPIPE, SIG_IGN);
	alarm(30); /* a test that dies leaves nothing behind */
	if (argc < 3 || strcmp(argv[1], "run") != 0)
		return 2;
	take_options(&f, argc, argv);
	conf = fopen(f.file, "r");
	if (!conf || !f.control)
		return 2;
	f.text[fread(f.text, 1, sizeof(f.text) - 1, conf)] = '\0';
	fclose(conf);
	if (strstr(f.text, "fails")) {
		vmm_life_end(f.life, VMM_END_FAILED, 3, "no such kernel");
		return 3;
	}
	if (strstr(f.text, "slow"))
		sleep(2);
	if (strstr(f.text, "mute"))
		pause();
	snprintf(f.name, sizeof(f.name), "%s", strrchr(f.control, '/') + 1);
	dot = strrchr(f.name, '.');
	if (dot)
		*dot = '\0';
	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", f.control);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 || listen(fd, 8) < 0)
		return 1;
	while ((c = accept(fd, NULL, NULL)) >= 0)
		serve(&f, c);
	return 1;
}
