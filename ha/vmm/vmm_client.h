/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vmm_client - one connection to the control socket of one drover-hv
 * (docs/control.md), driven by the qb loop; it never blocks.
 */
#ifndef DROVER_HA_VMM_VMM_CLIENT_H
#define DROVER_HA_VMM_VMM_CLIENT_H

#include "base/err.h"

#include <jansson.h>
#include <qb/qbdefs.h>
#include <qb/qbloop.h>

struct vmm_client;

struct vmm_client_ops {
	/* The greeting's object: {name, uuid, incarnation, pid, ...}. @o is borrowed. */
	void (*hello)(void *arg, json_t *o);
	void (*event)(void *arg, const char *name, json_t *data);
	/* The other side is gone or talks nonsense. Close from a job or timer, not from here. */
	void (*closed)(void *arg, const char *why);
};

/** @code 0: @ret is the returned object; else an exit code, @ret NULL and @text why */
typedef void (*vmm_reply)(void *arg, int code, json_t *ret, const char *text);

/**
 * vmm_client_connect() - connect to the UNIX socket @path
 * Return: 0; -ENOENT or -ECONNREFUSED when nobody listens there (yet).
 */
int vmm_client_connect(qb_loop_t *loop, const char *path, const struct vmm_client_ops *ops,
		       void *arg, struct vmm_client **out, struct err *e);

/**
 * vmm_client_execute() - send a command
 * @arguments: stolen, may be NULL
 * @reply: called once with the answer, NULL: nobody cares; not called when the
 * connection ends first (closed() is)
 * Return: 0, -ENOMEM, -ENOBUFS when the other side does not read, or does not answer.
 */
int vmm_client_execute(struct vmm_client *c, const char *command, json_t *arguments,
		       vmm_reply reply, void *arg);

/** vmm_client_close() - open replies are not called; NULL is fine */
void vmm_client_close(struct vmm_client *c);

#endif
