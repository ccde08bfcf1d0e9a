/* SPDX-License-Identifier: Apache-2.0 */
/*
 * page_transport - how pages, and the marks between them, get from the source's memory into the
 * destination's: a row of `transports` in page_transport.c and files of its own.
 *
 * The engine decides, a row carries:
 *
 *      engine    which pages, in which round, by which thread; re-arms the dirty log before a page is
 *                read (rule D); knows what was never written; ends rounds; counts what was spoken of
 *      row       looks whether a page is zero, reads it, packs it, moves it, puts it into its place;
 *                says how far it has come
 *
 * The engine calls once for each extent (512 pages) and once for each mark, never for a page: a row
 * keeps the loop over pages, and so the copy of a page stays in the cache in which it was looked at.
 *
 * A connection is a channel, a row may use more beside it.  Pages of one round may arrive in any order
 * and over any connection, since a page is in a round once; nothing of round n + 1 is put into memory
 * before every connection has come to the mark of round n (docs/stream.md, ROUND_SYNC).  That is the
 * only order that a row must keep.
 *
 * Which row: CAPS.  A row other than the stream has a feature bit (8 to 15 are for rows).  The source
 * offers the bits of all its rows, the destination answers those that it has as well, and both take
 * the row with the highest bit that was agreed on; the stream has no bit, every version 1 knows it.
 * No field for a choice is needed, and no round trip.
 *
 * What is to come must be rows or uses of this, not another way beside it.  How they would fit:
 *
 * RDMA, one-sided writes into registered regions; no bytes in the stream.  A row.
 *   negotiation   its feature bit; then, before START, the destination says for each region where it
 *                 is registered: a record of its own, a counted array of {region, key, address}, legal
 *                 in phase S once the bit is agreed
 *   connection    a transport of net/ whose stream is SENDs on a reliable queue pair, so that channel,
 *                 HELLO, ABORT and the heartbeat stay as they are; the row asks it for the queue pair
 *   send()        zero runs as a PAGES record without chunks, as now; for data runs a WRITE each,
 *                 straight from guest memory.  No copy: what the guest changes meanwhile is torn, but
 *                 dirty again, and so sent again (the log was re-armed before)
 *   mark()        waits for the completions, then speaks of the data runs (a record of runs, no bytes)
 *                 and sends ROUND_SYNC or FINAL.  A queue pair delivers in order, so a SEND that has
 *                 arrived means that the WRITEs before it have.  `seen` and the counts of FINAL stay
 *                 what they are: each page is spoken of, by whatever it came
 *   receive()     as the stream's, and takes the record of runs
 *   given up      CRC32C over the pages (the fabric has its own), LZ4
 *
 * Post-copy, pages that come after the switch.  No row but a use, over whichever row was agreed on.
 *   negotiation   a feature bit (not of a row); the source requires it when it means to switch early
 *   before READY  in place of what is left, the source sends which pages are missing: a record of runs.
 *                 The destination takes them out of `seen`, and READY asks for "seen or missing"
 *   requests      a record with region, page and count, from the destination, on control; legal in
 *                 phase G and after it.  The source's controller hands them to a sender as extents
 *   send()        is called for extents in the order of the requests, then for the rest.  Nothing in it
 *                 asks for rising extents; the vCPUs of the source stand, so nothing is sent twice
 *   receive()     puts pages where a fault waits (UFFDIO_COPY in place of a write to memory): the sink
 *                 gets a hook for that, asked once for each run
 *   mark()        FINAL comes when nothing is missing any more, and is where the source may end
 *   rule H        the source is then needed after COMMIT.  That is for handover.h, not for here
 */
#ifndef DROVER_MIGRATE_TRANSPORT_PAGE_TRANSPORT_H
#define DROVER_MIGRATE_TRANSPORT_PAGE_TRANSPORT_H

#include "migrate/compress.h"
#include "migrate/pages/bitmap.h"
#include "migrate/pages/prefault.h"
#include "migrate/pages/rate_limit.h"
#include "migrate/wire/channel.h"

/* What all senders of a migration share.  The engine's; outlives them. */
struct page_source {
	const struct guest_region *regions;
	struct rate_limit rate_limit;
	const _Atomic bool *stop; /* the migration ends: a wait for the rate limit does too */
	enum compress_mode compress;
	bool may_pack; /* both sides know LZ4 */

	_Atomic uint64_t first_pass; /* pages that have been sent at least once */
	_Atomic uint64_t raw_pages, lz4_pages, zero_pages;
};

/* What all receivers share. */
struct page_sink {
	const struct guest_region *regions;
	size_t n_regions;
	struct bitmap written[GUEST_REGIONS_MAX]; /* pages that have memory with something in it */
	struct bitmap seen[GUEST_REGIONS_MAX];    /* pages the source has spoken of, data or zero */
	struct prefault *prefault;                /* or NULL */
	int dead_ms;                              /* a record that stands still for so long in its middle is an error */

	_Atomic uint64_t data_pages, lz4_pages, zero_pages;
};

/* Pages of one extent that are to be sent. */
struct page_extent {
	size_t region;               /* index into the source's regions */
	uint64_t base;               /* first page, a multiple of EXTENT_PAGES */
	const uint64_t *pages;       /* EXTENT_WORDS of bits: these */
	const uint64_t *unpopulated; /* EXTENT_WORDS of bits: never written, so zero without looking */
	uint32_t round;              /* never falls; rises by a mark */
};

/* The end of a round on one connection, or of all rounds. */
struct page_mark {
	uint32_t round;
	bool final; /* no pages come any more */
};

struct page_sender;
struct page_receiver;

/*
 * A sender, or receiver, belongs to one connection and is used by one thread at a time.  Errors are
 * negative errnos with a text; the migration is over then, and the object is only destroyed.
 * Every hook is there.
 */
struct page_transport {
	const char *name;
	uint64_t feature; /* bit of CAPS that both sides must have; 0: all have it */

	/* --- source --- */

	/* @ch: the data connection number @index; stays the caller's.  NULL: out of memory. */
	struct page_sender *(*sender_create)(struct page_source *src, struct channel *ch, uint32_t index);
	/* Send @x's pages as they are now, or have them sent before mark() returns.  Blocks as the link does;
	 * wakes with an error when the channel is cut.  At least one page is set. */
	int (*send)(struct page_sender *s, const struct page_extent *x, struct err *e);
	/* All pages before it are under way, and the other side will know that they came. */
	int (*mark)(struct page_sender *s, const struct page_mark *m, struct err *e);
	void (*sender_destroy)(struct page_sender *s);

	/* --- destination --- */

	/* As sender_create(). */
	struct page_receiver *(*receiver_create)(struct page_sink *sink, struct channel *ch, uint32_t index);
	/*
	 * Put what comes into memory, and note it in the sink, until the next mark.  On return all pages before
	 * @m are in their places.  @round: the only one that pages may be of.  The peer is hostile: what does not
	 * add up (rule S), or a mark of another round, is -EPROTO.  Waits without limit for the next record:
	 * whether the peer lives is seen on the control connection, whose end cuts this one.
	 */
	int (*receive)(struct page_receiver *r, uint32_t round, struct page_mark *m, struct err *e);
	void (*receiver_destroy)(struct page_receiver *r);
};

/** page_transport_features() - the bits of all rows, for CAPS */
uint64_t page_transport_features(void);
/** page_transport_pick() - the row for the features that both sides have; there always is one */
const struct page_transport *page_transport_pick(uint64_t agreed);

#endif
