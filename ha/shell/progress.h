/* SPDX-License-Identifier: Apache-2.0 */
/*
 * progress - how migrations go, so that `drover migrate` can show it on any host.
 *
 * Figures are the source's: it alone knows what is left and how long the domain
 * stood still.  Its host multicasts them, and every host keeps the newest of each
 * domain.  This is for people: the core neither hears of it nor decides by it, and a
 * message that is lost is made up for by the next.
 *
 * A message is one JSON object, {"progress": {name, incarnation, migration}}.  It
 * travels in the core's process group; the core's messages begin with a version
 * number, never with '{'.
 */
#ifndef DROVER_HA_SHELL_PROGRESS_H
#define DROVER_HA_SHELL_PROGRESS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PROGRESS_MESSAGE_MAX 4096
#define PROGRESS_EVERY_MS 500 /* one message of a domain, unless its phase changes */

struct progress;

/** progress_open() - NULL without memory */
struct progress *progress_open(void);
/** progress_close() - NULL is fine */
void progress_close(struct progress *p);

/**
 * progress_note() - news of a migration from this host
 * @incarnation: what its source runs with
 * @migration: docs/control.md; kept when its role is "source", else ignored
 * Return: length of a message in @message that others should get now, 0 for none.
 */
size_t progress_note(struct progress *p, const char *name, uint64_t incarnation,
		     json_t *migration, uint64_t now_ms, char message[PROGRESS_MESSAGE_MAX]);

/** progress_is() - does a message of the group belong here, and not to the core? */
bool progress_is(const void *buf, size_t len);

/**
 * progress_take() - a message of another host
 * @known: is there such a domain? Others are ignored, as is what is malformed.
 */
void progress_take(struct progress *p, const void *buf, size_t len,
		   bool (*known)(void *arg, const char *name), void *arg);

/**
 * progress_get() - figures of the migration of @name that began with incarnation @a or @b
 * Borrowed; NULL when nothing is known, or of an earlier migration only.
 */
json_t *progress_get(const struct progress *p, const char *name, uint64_t a, uint64_t b);

#endif
