/* SPDX-License-Identifier: Apache-2.0 */
/*
 * transport - what carries a stream: a row of `transports` in stream.c and a file of its own; for net/ only.
 *
 * An address is SCHEME:WHERE; what WHERE means is the transport's business.
 */
#ifndef DROVER_NET_TRANSPORT_H
#define DROVER_NET_TRANSPORT_H

#include "net/stream.h"

struct transport {
	const char *scheme; /* "tcp" */
	/* All of them: as the function of this name in stream.h. */
	int (*connect)(const char *where, int timeout_ms, struct stream **out, struct err *e);
	int (*listen)(const char *where, struct stream_listener **out, struct err *e);
	int (*accept)(struct stream_listener *l, int timeout_ms, struct stream **out, struct err *e);
	void (*close)(struct stream_listener *l);
};

/* The first member of a transport's own. */
struct stream_listener {
	const struct transport *transport;
	char address[256]; /* SCHEME:WHERE, as stream_connect() takes it */
};

extern const struct transport transport_tcp, transport_unix;

/** stream_iov_advance() - drop the first @done bytes from the vectors; how many of these are used up */
int stream_iov_advance(struct iovec *iov, int n, size_t done);

#endif
