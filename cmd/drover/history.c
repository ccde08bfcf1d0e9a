/* SPDX-License-Identifier: Apache-2.0 */
/* history - see history.h; ha history. */
#include "cmd/drover/history.h"

#include <poll.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define FOLLOW_US 500000

void event_line(json_int_t ms, const char *kind, const char *text)
{
	time_t t = (time_t)(ms / 1000);
	char when[32] = "";
	struct tm tm;

	if (localtime_r(&t, &tm))
		strftime(when, sizeof(when), "%F %T", &tm);
	printf("%s.%03d  %-7s  %s\n", when, (int)(ms % 1000), kind, text);
}

bool reader_gone(void)
{
	struct pollfd p = { .fd = STDOUT_FILENO };

	return ferror(stdout) || (poll(&p, 1, 0) == 1 && p.revents & (POLLERR | POLLNVAL));
}

static struct seen seen_of(json_t *line)
{
	return (struct seen){ json_integer_value(json_object_get(line, "seq")), json_integer_value(json_object_get(line, "boot_ms")) };
}

bool history_new(json_t *line, struct seen *last)
{
	struct seen now = seen_of(line);

	if (now.boot_ms < last->boot_ms || (now.boot_ms == last->boot_ms && now.seq <= last->seq))
		return false;
	*last = now;
	return true;
}

/*
 * What came after @last, which is asked for too: where something else bears its number, droverd was restarted and has
 * written as much already, or more was written than it keeps.
 */
int history_get(struct drover *d, const struct seen *last, history_ask ask, json_t **list)
{
	struct seen first;
	char path[64];
	int code;

	if (!last->seq)
		return ask(d, "history?after=0", list);
	snprintf(path, sizeof(path), "history?after=%lld", (long long)last->seq - 1);
	code = ask(d, path, list);
	if (code)
		return code;
	first = seen_of(json_array_get(*list, 0));
	if (first.seq == last->seq && first.boot_ms == last->boot_ms)
		return EXIT_OK;
	json_decref(*list);
	return ask(d, "history?after=0", list);
}

static void history_lines(const struct drover *d, json_t *list, struct seen *last)
{
	json_t *o;
	size_t i;

	json_array_foreach(list, i, o) {
		if (!history_new(o, last))
			continue;
		if (!d->opt.json)
			event_line(json_integer_value(json_object_get(o, "time_ms")), str_of(o, "level"), str_of(o, "text"));
		else if (d->opt.follow)
			print_json_line(o);
	}
}

/* The first answer is not waited for: a droverd that is not there is told at once. */
static int ask_once(struct drover *d, const char *url, json_t **out)
{
	return poll_get(d, url, 0, out);
}

static int ask_over_a_restart(struct drover *d, const char *url, json_t **out)
{
	return poll_get(d, url, UINT64_MAX, out);
}

int verb_ha_history(struct drover *d)
{
	struct seen last = { 0 };
	json_t *list;
	int code;

	if (d->opt.follow)
		say_lines();
	do {
		code = history_get(d, &last, last.seq ? ask_over_a_restart : ask_once, &list);
		if (code)
			return code;
		history_lines(d, list, &last);
		if (d->opt.json && !d->opt.follow)
			print_json(list);
		json_decref(list);
		fflush(stdout);
		if (d->opt.follow)
			usleep(FOLLOW_US);
	} while (d->opt.follow && !reader_gone());
	return EXIT_OK;
}
