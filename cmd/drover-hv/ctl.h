/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ctl - the JSON control socket (docs/control.md).
 *
 * A command is a row in a table.  Its function runs on the main thread, answers
 * at once and never waits: what takes longer is begun here and reported by
 * events.
 */
#ifndef DROVER_HV_CMD_CTL_H
#define DROVER_HV_CMD_CTL_H

#include "base/err.h"

#include <jansson.h>

#define CTL_LINE_MAX 65536
#define CTL_CLIENTS_MAX 32

struct vmm;
struct ctl;

struct ctl_command {
	const char *name;
	/* What may stand in "arguments": "to:s! channels:i force:b", ! = required; "" for none. */
	const char *args;
	/*
	 * @args: an object, checked against the above; absent ones are absent
	 * @ret: an object to return, caller owns it; left NULL means {}
	 * Return: 0, or a negative errno with @e; err_exit_code() makes the code.
	 */
	int (*run)(struct vmm *v, const json_t *args, json_t **ret, struct err *e);
};

/** ctl_create() - listen at @path (0600; a dead socket is replaced, a living one refused -EBUSY) */
int ctl_create(struct ctl **out, struct vmm *v, const char *path, struct err *e);
/** ctl_destroy() - say goodbye to clients and remove the socket */
void ctl_destroy(struct ctl *c);

/** ctl_listen() - a listening UNIX socket at @path by the same rules; its descriptor or -errno */
int ctl_listen(const char *path, struct err *e);

/** ctl_add() - more commands; the table ends with name NULL and is kept by pointer */
void ctl_add(struct ctl *c, const struct ctl_command *table);

/** ctl_event() - tell every client; takes @data over; main thread only */
void ctl_event(struct ctl *c, const char *event, json_t *data);

#endif
