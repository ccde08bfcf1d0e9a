/* SPDX-License-Identifier: Apache-2.0 */
/*
 * channel - one connection that carries records (docs/stream.md, "Record").
 *
 * Sending is whole: header, payload and checksum leave in one writev(), under a
 * lock, so several threads may send on the control connection.
 *
 * Receiving is in steps, so that page data lands where it belongs at once:
 *
 *   channel_begin()   header: known? legal here and now? length in bounds? in sequence?
 *   channel_take()    some bytes of the payload, any number of times
 *   channel_end()     all taken? checksum right?
 *
 * What was taken may be used for addressing only after it has been checked by
 * itself: the checksum is known last.
 */
#ifndef DROVER_MIGRATE_WIRE_CHANNEL_H
#define DROVER_MIGRATE_WIRE_CHANNEL_H

#include "base/err.h"
#include "migrate/wire/wire.h"
#include "net/stream.h"

#include <pthread.h>
#include <stdatomic.h>

struct channel {
	struct stream *stream;
	enum wire_way rx_way; /* what may arrive here */
	int capture_fd;       /* what is sent is also written here; -1: no */

	pthread_mutex_t tx_lock;
	uint32_t tx_seq;
	_Atomic uint64_t tx_bytes, tx_last_ms;

	uint32_t rx_seq, rx_crc, rx_want, rx_left;
	uint16_t rx_type;
	_Atomic uint64_t rx_bytes;
};

/** channel_init() - @stream is owned by the channel from now on */
void channel_init(struct channel *ch, struct stream *stream, enum wire_way rx_way);
/** channel_destroy() - close the stream; nobody may be in it; again, or one without a stream, is fine */
void channel_destroy(struct channel *ch);
/** channel_cut() - wake everybody who waits in it, with an error; any thread */
void channel_cut(struct channel *ch);

/** channel_send() - one record; @timeout_ms bounds each wait without progress */
int channel_send(struct channel *ch, uint16_t type, const void *payload, uint32_t len,
		 int timeout_ms, struct err *e);
/**
 * channel_sendv() - the same, gathered
 * @iov: iov[0] is the channel's to use (for the header), the payload begins in
 * iov[1]; all of it may be changed
 * The checksum is made here, over memory that nobody may change meanwhile (not
 * guest memory while vCPUs run).
 */
int channel_sendv(struct channel *ch, uint16_t type, struct iovec *iov, int n, int timeout_ms,
		  struct err *e);

/**
 * channel_begin() - the next record's header, after all checks
 * @phase: an enum wire_phase, looked at when the header has come, not when waiting began
 * Unknown optional records are skipped here.  -EPROTO, -ETIMEDOUT, -ECONNRESET.
 */
int channel_begin(struct channel *ch, const _Atomic int *phase, struct wire_header *h,
		  int timeout_ms, struct err *e);
/** channel_take() - the next @len bytes of the payload that channel_begin() announced */
int channel_take(struct channel *ch, void *buf, uint32_t len, int timeout_ms, struct err *e);
/** channel_takev() - into several places; the vectors are left as they were */
int channel_takev(struct channel *ch, const struct iovec *iov, int n, int timeout_ms,
		  struct err *e);
/** channel_end() - the payload has been taken whole: does its checksum match?  -EBADMSG */
int channel_end(struct channel *ch, struct err *e);

#endif
