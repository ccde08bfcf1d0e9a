/* SPDX-License-Identifier: Apache-2.0 */
/* porter_int - what a VMM and its porter say to each other (porter.h); the porter believes nothing of it (rule S). */
#ifndef DROVER_HV_CMD_PORTER_INT_H
#define DROVER_HV_CMD_PORTER_INT_H

#include "base/packet.h"
#include "cmd/drover-hv/porter.h"

#define PORTER_ADDRESS_MAX 512

enum porter_op {
	PORTER_OP_CONNECT, /* address, timeout_ms -> peer, a descriptor */
	PORTER_OP_ROOM,    /* need, plenty */
	PORTER_OP_REMOVE,  /* which */
};

/* No bool in it, as in struct broker_question. */
struct porter_question {
	uint32_t op;
	uint32_t which;
	int32_t timeout_ms;
	uint8_t plenty;
	uint64_t need;
	char address[PORTER_ADDRESS_MAX];
};

struct porter_answer {
	int ret;
	struct err err;
	uint32_t n_fds;
	char peer[108]; /* as in struct stream */
};

/** porter_serve() - answer questions until the other end is gone */
void porter_serve(int sock, const char *const sockets[PORTER_SOCKETS]);

#endif
