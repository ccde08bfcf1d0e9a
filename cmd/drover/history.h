/* SPDX-License-Identifier: Apache-2.0 */
/* history - what happened, as a droverd tells it that may be another one the next time. */
#ifndef DROVER_CMD_HISTORY_H
#define DROVER_CMD_HISTORY_H

#include "cmd/drover/drover.h"

/* The last line that was seen: a droverd that was restarted numbers anew, but knows only what is later. */
struct seen {
	json_int_t seq, boot_ms;
};

/* GET /v1/@url into *@out; an exit code, error said */
typedef int (*history_ask)(struct drover *d, const char *url, json_t **out);

/** history_get() - what came after @last, and perhaps some that were seen, by @ask; an exit code, error said */
int history_get(struct drover *d, const struct seen *last, history_ask ask, json_t **list);

/** history_new() - is @line later than @last?  Then it is @last from now on. */
bool history_new(json_t *line, struct seen *last);

/** event_line() - a line for people: when (milliseconds since 1970), of what kind, what */
void event_line(json_int_t ms, const char *kind, const char *text);

/** reader_gone() - standard output is a pipe that nobody reads any more, or a write to it has failed */
bool reader_gone(void);

#endif
