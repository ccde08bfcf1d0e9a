/* SPDX-License-Identifier: Apache-2.0 */
/*
 * agent - a conversation with the QEMU guest agent of a domain (qemu-ga(8), its JSON protocol).
 *
 * The agent is the guest's: what it says is hostile.  Each step has a deadline, and an answer a bound.
 */
#ifndef DROVER_CMD_AGENT_H
#define DROVER_CMD_AGENT_H

#include "base/err.h"

#include <jansson.h>
#include <stdint.h>

#define AGENT_ANSWER_MAX (1u << 20) /* bytes of an answer, and of what may stand before the first one */

struct agent_link;

/**
 * agent_link_open() - connect to the socket at @path (docs/control.md), and make sure that what is heard is an answer to us
 * @timeout_ms: for the agent's first answer (guest-sync-delimited)
 * Return: 0 and *@out, agent_link_close() it; -ETIMEDOUT: it does not answer; -EBUSY: somebody else speaks to it; -EPROTO: what
 * comes is no such protocol; other errors of sockets.
 */
int agent_link_open(struct agent_link **out, const char *path, unsigned int timeout_ms, struct err *e);
/** agent_link_close() - NULL is nothing */
void agent_link_close(struct agent_link *l);

/**
 * agent_link_ask() - one command
 * @args: taken over, may be NULL
 * @out: what it returned, json_decref() it
 * Return: 0; -EREMOTEIO and its text when the agent refuses; as above.
 */
int agent_link_ask(struct agent_link *l, const char *command, json_t *args, unsigned int timeout_ms, json_t **out, struct err *e);

#endif
