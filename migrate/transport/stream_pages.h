/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stream_pages - pages as PAGES records on the data connection itself: the row that every version 1
 * has.  For migrate/transport/ and tests.
 *
 * stream_send.c makes the records, stream_receive.c takes them.
 */
#ifndef DROVER_MIGRATE_TRANSPORT_STREAM_PAGES_H
#define DROVER_MIGRATE_TRANSPORT_STREAM_PAGES_H

#include "migrate/transport/page_transport.h"

extern const struct page_transport page_transport_stream;

/* The hooks of the row, as in page_transport.h. */
/** stream_sender_create() - sender_create() of page_transport.h */
struct page_sender *stream_sender_create(struct page_source *src, struct channel *ch, uint32_t index);
/** stream_sender_send() - send() of page_transport.h: PAGES records */
int stream_sender_send(struct page_sender *s, const struct page_extent *x, struct err *e);
/** stream_sender_mark() - mark() of page_transport.h: ROUND_SYNC or FINAL */
int stream_sender_mark(struct page_sender *s, const struct page_mark *m, struct err *e);
/** stream_sender_destroy() - sender_destroy() of page_transport.h */
void stream_sender_destroy(struct page_sender *s);

/** stream_receiver_create() - receiver_create() of page_transport.h */
struct page_receiver *stream_receiver_create(struct page_sink *sink, struct channel *ch, uint32_t index);
/** stream_receiver_receive() - receive() of page_transport.h */
int stream_receiver_receive(struct page_receiver *r, uint32_t round, struct page_mark *m, struct err *e);
/** stream_receiver_destroy() - receiver_destroy() of page_transport.h */
void stream_receiver_destroy(struct page_receiver *r);

/** stream_receiver_take_pages() - one PAGES payload of @round into memory, its header is read; also the door for fuzzing */
int stream_receiver_take_pages(struct page_receiver *r, uint32_t round, uint32_t length, struct err *e);

#endif
