/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ctl - the JSON control socket (docs/control.md).
 *
 * A command is a row in a table.  Its function runs on the main thread, answers
 * at once and never waits: what takes longer is begun here and reported by
 * events.
 */
#ifndef DROVER_NET_CONTROL_CTL_H
#define DROVER_NET_CONTROL_CTL_H

#include "base/err.h"

#include <jansson.h>

#define CTL_CLIENTS_MAX 32

struct ctl;
struct loop;

struct ctl_command {
	const char *name;
	/* What may stand in "arguments": "to:s! channels:i force:b", ! = required; "" for none. */
	const char *args;
	/*
	 * @owner: whose socket it is (ctl_conf.owner)
	 * @args: an object, checked against the above; absent ones are absent
	 * @ret: an object to return, caller owns it; left NULL means {}
	 * Return: 0, or a negative errno with @e; err_exit_code() makes the code.
	 */
	int (*run)(void *owner, const json_t *args, json_t **ret, struct err *e);
};

struct ctl_conf {
	struct loop *loop;   /* all of it runs there */
	const char *path;    /* of the socket; copied */
	const char *program; /* in errors; borrowed */
	/* The first line that each client gets, NULL when out of memory; the caller owns it. */
	json_t *(*greeting)(void *owner);
	void *owner;
};

/**
 * ctl_create() - listen at @conf's path (0600; a dead socket is replaced, a living one refused -EBUSY)
 * Return: 0 and *@out, the caller's to destroy; -errno with @e.
 */
int ctl_create(struct ctl **out, const struct ctl_conf *conf, struct err *e);
/** ctl_destroy() - say goodbye to clients and remove the socket */
void ctl_destroy(struct ctl *c);

/** ctl_add() - more commands; the table ends with name NULL and is kept by pointer */
void ctl_add(struct ctl *c, const struct ctl_command *table);

/** ctl_event() - tell every client; takes @data over; main thread only */
void ctl_event(struct ctl *c, const char *event, json_t *data);

#endif
