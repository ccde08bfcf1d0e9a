/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wire - the records of docs/stream.md as C sees them, and the one table that
 * says for each: its bounds, the connection and direction it travels in, and
 * the phases in which a reader takes it (rule S).
 *
 * Nothing here does I/O: channel.h moves records, this file checks and lays
 * out their bytes.  No struct is ever copied to or from the wire.
 */
#ifndef DROVER_MIGRATE_WIRE_WIRE_H
#define DROVER_MIGRATE_WIRE_WIRE_H

#include "base/bytes.h"
#include "base/err.h"
#include "migrate/guest.h"

#define WIRE_MAGIC 0x534d5245564f5244ull /* "DROVERMS" */
#define WIRE_VERSION 1u
#define WIRE_HEADER_SIZE 16u
#define WIRE_OPTIONAL 0x8000u /* bit of the type */
#define WIRE_CHANNELS_MAX 32u
#define WIRE_ID_SIZE 16u
#define WIRE_REGIONS_MAX 1024u /* of MEM_MAP; how many a guest has here: GUEST_REGIONS_MAX */
#define WIRE_MEM_MAP_ENTRY 24u

#define EXTENT_PAGES 512u
#define EXTENT_BYTES (EXTENT_PAGES * GUEST_PAGE)
#define CHUNK_BYTES 65536u
#define CHUNKS_MAX (EXTENT_BYTES / CHUNK_BYTES)
#define RUNS_MAX EXTENT_PAGES
#define RUN_ZERO 0x8000u
#define PAGES_HEAD_SIZE 24u
/* Head, runs and chunk table of the largest PAGES record; the stored bytes follow. */
#define PAGES_TABLES_MAX (PAGES_HEAD_SIZE + 4 * RUNS_MAX + 4 * CHUNKS_MAX)
#define STATE_PART_MAX (1u << 20)

#define WIRE_FEATURE_LZ4 1ull
#define WIRE_FEATURES_TRANSPORT 0xff00ull /* whose bits name ways for pages to cross (migrate/transport/) */
#define WIRE_FEATURES WIRE_FEATURE_LZ4    /* all that are known here */
#define WIRE_CAPS_DRY_RUN 1u              /* flags of CAPS: tell whether it would do, no more */

enum wire_type {
	WIRE_HELLO = 1,
	WIRE_CAPS,
	WIRE_DESCRIBE,
	WIRE_MEM_MAP,
	WIRE_START,
	WIRE_PAGES,
	WIRE_ROUND_SYNC,
	WIRE_FINAL,
	WIRE_DEV_STATE,
	WIRE_READY,
	WIRE_GRANT,
	WIRE_DECISION,
	WIRE_RUNNING,
	WIRE_ABORT,
	WIRE_PING,
	WIRE_ROUND_DONE,
	WIRE_CANNOT_RUN,
	WIRE_PROGRESS = WIRE_OPTIONAL | 1,
};

/* Phase of a reader, bits for the table. */
enum wire_phase {
	IN_SETUP = 1 << 0,
	IN_PRECOPY = 1 << 1,
	IN_STOP = 1 << 2,
	IN_READY = 1 << 3,
	IN_GRANT = 1 << 4,
};
#define IN_BEFORE_GRANT (IN_SETUP | IN_PRECOPY | IN_STOP | IN_READY)
#define IN_ANY (IN_BEFORE_GRANT | IN_GRANT)

/* Where a record travels: connection kind and direction, bits for the table. */
enum wire_way {
	CONTROL_TO_DST = 1 << 0,
	CONTROL_TO_SRC = 1 << 1,
	DATA_TO_DST = 1 << 2,
};

enum wire_role {
	ROLE_CONTROL = 0,
	ROLE_DATA = 1,
	ROLE_ANSWER = 2
};

struct wire_rule {
	uint16_t type;
	const char *name;
	uint32_t min, max; /* bytes of payload */
	unsigned int ways, phases;
};

struct wire_header {
	uint16_t type;
	uint32_t length, sequence, crc;
};

struct wire_hello {
	uint32_t version;
	uint16_t role, channel;
	uint32_t n_channels;
	uint8_t id[WIRE_ID_SIZE];
};

#define WIRE_DEAD_MIN_MS 200u /* bounds of the dead time in CAPS */
#define WIRE_DEAD_MAX_MS 60000u

struct wire_caps {
	uint64_t required, offered;
	uint32_t page_size, arbiter;
	uint64_t incarnation;
	uint32_t dead_ms, flags;
};

struct wire_final {
	uint64_t records, zero_pages, data_pages, stored;
	uint32_t round, channel;
};

/* ROUND_SYNC: the end of a round on one data connection. */
struct wire_sync {
	uint32_t round, records; /* PAGES records of this round on this connection */
};

/* DEV_STATE: a piece of the device state. */
struct wire_state_part {
	uint32_t total, offset; /* bytes: of the whole state; where this piece belongs */
	uint32_t len;
	const uint8_t *bytes; /* inside the record; NULL when the record is cut short */
};

struct wire_decision {
	uint32_t outcome; /* as it was said, not checked (enum outcome) */
	uint64_t incarnation;
};

struct wire_progress {
	uint64_t round, total, sent, remaining, dirty_rate;
};

struct wire_run {
	uint16_t first, count; /* pages, inside the extent */
	bool zero;
};

/* A PAGES record after its tables were checked: everything in here may be trusted. */
struct wire_pages {
	uint32_t region, round;
	uint64_t base; /* page, multiple of EXTENT_PAGES */
	uint32_t n_runs, n_chunks, stored;
	uint32_t data_pages, zero_pages;
	struct wire_run runs[RUNS_MAX];
	uint32_t chunks[CHUNKS_MAX]; /* stored bytes of each */
};

/** wire_rule() - the row of @type, NULL when this version does not know it */
const struct wire_rule *wire_rule(uint16_t type);

/** wire_type_name() - "PAGES", or "record 0x7" for an unknown one (static per thread) */
const char *wire_type_name(uint16_t type);

/** wire_put_header() - the 16 bytes; flags are 0 */
void wire_put_header(uint8_t out[WIRE_HEADER_SIZE], const struct wire_header *h);
/** wire_get_header() - split 16 bytes; -EPROTO when flags are set */
int wire_get_header(const uint8_t in[WIRE_HEADER_SIZE], struct wire_header *h, struct err *e);

/**
 * wire_check() - may a reader on @way in @phase take a record of this type and length?
 * Return: 0; 1 when it is an unknown optional record that is to be skipped;
 * -EPROTO with what was wrong.
 */
int wire_check(const struct wire_header *h, enum wire_way way, enum wire_phase phase,
	       struct err *e);

/*
 * Payloads.  put: into a writer that is large enough (asserted by the caller's
 * buffer of WIRE_SMALL_MAX).  get: checks every field, -EPROTO with the values.
 */
#define WIRE_SMALL_MAX 512u

/** wire_put_hello() - magic, then @h */
void wire_put_hello(struct writer *w, const struct wire_hello *h);
/** wire_get_hello() - -EPROTO "not a migration stream" for a wrong magic, -EPROTONOSUPPORT for another version */
int wire_get_hello(struct reader *r, struct wire_hello *h, struct err *e);
/** wire_put_caps() - all of @c */
void wire_put_caps(struct writer *w, const struct wire_caps *c);
/** wire_get_caps() - -EPROTO; names a feature that is required and unknown */
int wire_get_caps(struct reader *r, struct wire_caps *c, struct err *e);
/** wire_put_mem_map() - @n regions, at most GUEST_REGIONS_MAX, all of them RAM */
void wire_put_mem_map(struct writer *w, const struct guest_region *r, size_t n);
/** wire_match_mem_map() - the map must be the same as @mine, entry by entry; -EINVAL with what is not */
int wire_match_mem_map(struct reader *r, const struct guest_region *mine, size_t n, struct err *e);
/** wire_put_final() - all of @f */
void wire_put_final(struct writer *w, const struct wire_final *f);
/** wire_get_final() - zeroes for what is cut short: the length is the rule's to check */
void wire_get_final(struct reader *r, struct wire_final *f);
/** wire_put_sync() - all of @s */
void wire_put_sync(struct writer *w, const struct wire_sync *s);
/** wire_get_sync() - zeroes for what is cut short */
void wire_get_sync(struct reader *r, struct wire_sync *s);
/** wire_put_round_done() - @round has arrived whole */
void wire_put_round_done(struct writer *w, uint32_t round);
/** wire_get_round_done() - the round; 0 when it is cut short */
uint32_t wire_get_round_done(struct reader *r);
/** wire_put_state_part() - what stands before a piece's bytes, WIRE_STATE_HEAD of them */
#define WIRE_STATE_HEAD 8u
/** wire_put_state_part() - head of a piece at @offset of @total bytes; the piece's own follow from elsewhere */
void wire_put_state_part(struct writer *w, uint32_t total, uint32_t offset);
/** wire_get_state_part() - @p->bytes stays the record's; nothing of it is checked against @p->total */
void wire_get_state_part(struct reader *r, struct wire_state_part *p);
/** wire_put_ready() - @pages: with data or zero that came; @load_ns: it took to load the device state */
void wire_put_ready(struct writer *w, uint64_t pages, uint64_t load_ns);
/** wire_put_grant() - @incarnation: the destination's */
void wire_put_grant(struct writer *w, uint64_t incarnation);
/** wire_get_grant() - the incarnation; 0 when it is cut short */
uint64_t wire_get_grant(struct reader *r);
/** wire_put_decision() - all of @d */
void wire_put_decision(struct writer *w, const struct wire_decision *d);
/** wire_get_decision() - zeroes, which is no outcome, for what is cut short */
void wire_get_decision(struct reader *r, struct wire_decision *d);
/** wire_put_running() - from GRANT to the decision, and from there until it ran, ns */
void wire_put_running(struct writer *w, uint64_t decide_ns, uint64_t start_ns);
/** wire_put_progress() - all of @p */
void wire_put_progress(struct writer *w, const struct wire_progress *p);
/** wire_get_progress() - zeroes for what is cut short */
void wire_get_progress(struct reader *r, struct wire_progress *p);
/** wire_put_abort() - @code: an errno of either sign; @text: cut at ABORT_TEXT_MAX bytes */
void wire_put_abort(struct writer *w, int code, const char *text);
/** wire_get_abort() - a negative errno and a printable line, whatever was sent */
int wire_get_abort(struct reader *r, char *text, size_t size);

/** wire_put_pages() - head and tables of @p; the stored bytes follow from elsewhere */
void wire_put_pages(struct writer *w, const struct wire_pages *p);
/**
 * wire_get_pages_head() - the first PAGES_HEAD_SIZE bytes
 * @length: of the whole payload
 * @tables: receives the bytes of run and chunk tables that follow
 */
int wire_get_pages_head(const uint8_t *head, uint32_t length, struct wire_pages *p,
			uint32_t *tables, struct err *e);
/** wire_get_pages_tables() - the rest, against a region of @region_pages pages */
int wire_get_pages_tables(struct reader *r, uint64_t region_pages, struct wire_pages *p,
			  struct err *e);
/** wire_chunk_raw() - bytes chunk @i unpacks to */
uint32_t wire_chunk_raw(const struct wire_pages *p, uint32_t i);

#endif
