/* SPDX-License-Identifier: Apache-2.0 */
/*
 * watch - what happens, as lines: the history of this host as it grows, and each change of a domain's state or host.
 *
 * droverd has no events for its clients, so it is asked every second; what comes and goes within one is seen in the history
 * only.  It goes on for as long as somebody reads: a droverd that is restarted or upgraded is waited for without an end.
 * ^C is how one leaves, and no failure: it is let in only while nothing is half printed.
 */
#include "cmd/drover/history.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define WATCH_S 1

struct watched {
	const char *name; /* NULL: all domains */
	struct seen last; /* of the history */
	json_t *known;    /* name -> {state, node}, as told last */
	bool begun;
};

/* ----------------------------------------------------------------- signals */

static void on_interrupt(int sig)
{
	_exit(EXIT_OK); /* all that was printed is written (pass()) */
}

static void interrupts(int how)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigprocmask(how, &set, NULL);
}

/* Whoever was started with it ignored, in the background of a script, is not interrupted either. */
static void interrupts_begin(void)
{
	struct sigaction old, new = { .sa_handler = on_interrupt };

	interrupts(SIG_BLOCK);
	if (sigaction(SIGINT, NULL, &old) == 0 && old.sa_handler != SIG_IGN)
		sigaction(SIGINT, &new, NULL);
}

static void nap(void)
{
	interrupts(SIG_UNBLOCK);
	sleep(WATCH_S);
	interrupts(SIG_BLOCK);
}

/* ----------------------------------------------------------------- droverd */

static bool comes_back(int code)
{
	return code == -ENOENT || code == -ECONNREFUSED || code == -ECONNRESET || code == -EAGAIN || code == -ETIMEDOUT;
}

static int request(struct drover *d, const char *url, json_t **out, struct err *e)
{
	int code;

	interrupts(SIG_UNBLOCK);
	code = http_request(d->http, "GET", url, NULL, 0, out, e);
	interrupts(SIG_BLOCK);
	return code;
}

/* Once it was there, it will be there again; that it is not is said once. */
static int ask_patiently(struct drover *d, const char *url, json_t **out)
{
	bool told = false;
	struct err e = { 0 };
	int code;

	while ((code = request(d, url, out, &e)) && comes_back(e.code) && !reader_gone()) {
		if (!told)
			fprintf(stderr, "drover: %s; waiting for it\n", e.text);
		told = true;
		nap();
	}
	return code ? say_error(code, "%s", e.text) : EXIT_OK;
}

static int ask_now(struct drover *d, const char *url, json_t **out)
{
	struct err e = { 0 };
	int code = request(d, url, out, &e);

	return code ? say_error(code, "%s", e.text) : EXIT_OK;
}

/* ----------------------------------------------------------------- history */

static bool is_part_of_name(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

/* Is it about @name?  "web: ..." and "... of web." are; "web2", "web.old" and "my-web" are others. */
static bool names(const char *text, const char *name)
{
	size_t len = strlen(name);
	const char *p, *end;

	for (p = text; (p = strstr(p, name)) != NULL; p++) {
		end = p + len;
		if (p > text && (is_part_of_name(p[-1]) || (p[-1] == '.' && p - 1 > text && is_part_of_name(p[-2]))))
			continue;
		if (!is_part_of_name(*end) && !(*end == '.' && is_part_of_name(end[1])))
			return true;
	}
	return false;
}

static void tell_history(const struct drover *d, const struct watched *w, json_t *line)
{
	const char *text = str_of(line, "text");

	if (w->name && !names(text, w->name))
		return;
	if (!d->opt.json) {
		event_line(json_integer_value(json_object_get(line, "time_ms")), str_of(line, "level"), text);
		return;
	}
	json_object_set_new(line, "event", json_string("history"));
	print_json_line(line);
}

/* What was there before somebody began to watch is `ha history`. */
static int watch_history(struct drover *d, struct watched *w)
{
	json_t *list, *line;
	size_t i;
	int code = history_get(d, &w->last, w->begun ? ask_patiently : ask_now, &list);

	if (code)
		return code;
	json_array_foreach(list, i, line)
		if (history_new(line, &w->last) && w->begun)
			tell_history(d, w, line);
	json_decref(list);
	return EXIT_OK;
}

/* ----------------------------------------------------------------- domains */

static json_int_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (json_int_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* "running on n1", "stopped", "removed" */
static void print_place(char *buf, size_t size, json_t *o)
{
	const char *node = str_of(o, "node");

	snprintf(buf, size, "%s%s%s", o ? str_of(o, "state") : "removed", *node ? " on " : "", node);
}

static json_t *place_json(json_t *o)
{
	json_t *place = o ? json_object() : json_null();

	if (o) {
		json_object_set(place, "state", json_object_get(o, "state"));
		json_object_set(place, "node", json_object_get(o, "node"));
	}
	return place;
}

/* @was, @is: NULL where there is none */
static void tell_change(const struct drover *d, const char *name, json_t *was, json_t *is)
{
	char from[160], to[160], text[640];
	const char *why = str_of(is, "why");
	json_t *o;

	if (d->opt.json) {
		o = json_pack("{s:s, s:I, s:s, s:o, s:o, s:s}", "event", "domain", "time_ms", now_ms(), "name", name, "was", place_json(was), "is",
			      place_json(is), "why", why);
		print_json_line(o);
		json_decref(o);
		return;
	}
	print_place(from, sizeof(from), was);
	print_place(to, sizeof(to), is);
	snprintf(text, sizeof(text), "%s: %s%s%s%s%s%s", name, to, *why ? " (" : "", why, *why ? ")" : "", was ? ", was " : "",
		 was ? from : "");
	event_line(now_ms(), "domain", text);
}

static bool same_place(json_t *a, json_t *b)
{
	return strcmp(str_of(a, "state"), str_of(b, "state")) == 0 && strcmp(str_of(a, "node"), str_of(b, "node")) == 0;
}

static void compare(const struct drover *d, struct watched *w, json_t *now)
{
	json_t *was, *is;
	const char *name;

	json_object_foreach(now, name, is) {
		was = json_object_get(w->known, name);
		/* Of one that was asked for by name it is told where it is as well. */
		if ((!was && (w->begun || w->name)) || (was && !same_place(was, is)))
			tell_change(d, name, was, is);
	}
	json_object_foreach(w->known, name, was)
		if (!json_object_get(now, name))
			tell_change(d, name, was, NULL);
	json_decref(w->known);
	w->known = json_incref(now);
}

static int watch_domains(struct drover *d, struct watched *w)
{
	json_t *list, *o, *now;
	size_t i;
	int code = (w->begun ? ask_patiently : ask_now)(d, "domains", &list);

	if (code)
		return code;
	now = json_object();
	json_array_foreach(list, i, o)
		if (*str_of(o, "name") && (!w->name || strcmp(str_of(o, "name"), w->name) == 0))
			json_object_set(now, str_of(o, "name"), o);
	if (w->name && !w->begun && !json_object_size(now))
		code = say_error(EXIT_NOTFOUND, "no domain called %s", w->name);
	else
		compare(d, w, now);
	json_decref(now);
	json_decref(list);
	return code;
}

static int pass(struct drover *d, struct watched *w)
{
	int code = watch_history(d, w);

	if (!code)
		code = watch_domains(d, w);
	fflush(stdout);
	w->begun = true;
	return code;
}

int verb_watch(struct drover *d)
{
	struct watched w = { .name = d->argc ? d->argv[0] : NULL };
	int code;

	say_lines();
	interrupts_begin();
	for (;;) {
		code = pass(d, &w);
		if (code || reader_gone())
			break;
		nap();
	}
	json_decref(w.known);
	return code;
}
