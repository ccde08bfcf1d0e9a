/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wire - the records of docs/stream.md as C sees them, and the one table that
 * says for each: its bounds, the connection and direction it travels in, and
 * the phases in which a reader takes it (rule S).
 *
 * Nothing here does I/O: channel.h moves records, this file checks and lays
 * out their bytes.  No struct is ever copied to or from the wire.
 */
#ifndef DROVER_MIGRATE_WIRE_H
#define DROVER_MIGRATE_WIRE_H

#include "base/bytes.h"
#include "base/err.h"
#include "migrate/guest.h"

#define WIRE_MAGIC 0x534d5245564f5244ull /* "DROVERMS" */
#define WIRE_VERSION 1u
#define WIRE_HEADER_SIZE 16u
#define WIRE_OPTIONAL 0x8000u            /* bit of the type */
#define WIRE_CHANNELS_MAX 32u
#define WIRE_ID_SIZE 16u

#define EXTENT_PAGES 512u
#define EXTENT_BYTES (EXTENT_PAGES * GUEST_PAGE)
#define CHUNK_BYTES 65536u
#define CHUNKS_MAX (EXTENT_BYTES / CHUNK_BYTES)
#define RUNS_MAX EXTENT_PAGES
#define RUN_ZERO 0x8000u
#define PAGES_HEAD_SIZE 24u
/* Head, runs and chunk table of the largest PAGES record; the stored octets follow. */
#define PAGES_TABLES_MAX (PAGES_HEAD_SIZE + 4 * RUNS_MAX + 4 * CHUNKS_MAX)
#define STATE_PART_MAX (1u << 20)

#define WIRE_FEATURE_LZ4 1ull
#define WIRE_FEATURES WIRE_FEATURE_LZ4
#define WIRE_CAPS_DRY_RUN 1u             /* flags of CAPS: tell whether it would do, no more */

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

enum wire_role { ROLE_CONTROL = 0, ROLE_DATA = 1, ROLE_ANSWER = 2 };

struct wire_rule {
	uint16_t type;
	const char *name;
	uint32_t min, max;        /* octets of payload */
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

#define WIRE_DEAD_MIN_MS 200u     /* bounds of the dead time in CAPS */
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

struct wire_progress {
	uint64_t round, total, sent, remaining, dirty_rate;
};

struct wire_run {
	uint16_t first, count;    /* pages, inside the extent */
	bool zero;
};

/* A PAGES record after its tables were checked: everything in here may be trusted. */
struct wire_pages {
	uint32_t region, round;
	uint64_t base;            /* page, multiple of EXTENT_PAGES */
	uint32_t n_runs, n_chunks, stored;
	uint32_t data_pages, zero_pages;
	struct wire_run runs[RUNS_MAX];
	uint32_t chunks[CHUNKS_MAX];  /* stored octets of each */
};

/** wire_rule() - the row of @type, NULL when this version does not know it */
const struct wire_rule *wire_rule(uint16_t type);

/** wire_type_name() - "PAGES", or "record 0x7" for an unknown one (static per thread) */
const char *wire_type_name(uint16_t type);

void wire_put_header(uint8_t out[WIRE_HEADER_SIZE], const struct wire_header *h);
/** wire_get_header() - split 16 octets; -EPROTO when flags are set */
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

void wire_put_hello(struct writer *w, const struct wire_hello *h);
/** wire_get_hello() - -EPROTO "not a migration stream" for a wrong magic, -EPROTONOSUPPORT for another version */
int wire_get_hello(struct reader *r, struct wire_hello *h, struct err *e);
void wire_put_caps(struct writer *w, const struct wire_caps *c);
int wire_get_caps(struct reader *r, struct wire_caps *c, struct err *e);
void wire_put_mem_map(struct writer *w, const struct guest_region *r, size_t n);
/** wire_match_mem_map() - the map must be the same as @mine, entry by entry */
int wire_match_mem_map(struct reader *r, const struct guest_region *mine, size_t n, struct err *e);
void wire_put_final(struct writer *w, const struct wire_final *f);
void wire_get_final(struct reader *r, struct wire_final *f);
void wire_put_progress(struct writer *w, const struct wire_progress *p);
void wire_get_progress(struct reader *r, struct wire_progress *p);
void wire_put_abort(struct writer *w, int code, const char *text);
/** wire_get_abort() - a negative errno and a printable line, whatever was sent */
int wire_get_abort(struct reader *r, char *text, size_t size);

/** wire_put_pages() - head and tables of @p; the stored octets follow from elsewhere */
void wire_put_pages(struct writer *w, const struct wire_pages *p);
/**
 * wire_get_pages_head() - the first PAGES_HEAD_SIZE octets
 * @length: of the whole payload
 * @tables: receives the octets of run and chunk tables that follow
 */
int wire_get_pages_head(const uint8_t *head, uint32_t length, struct wire_pages *p,
			uint32_t *tables, struct err *e);
/** wire_get_pages_tables() - the rest, against a region of @region_pages pages */
int wire_get_pages_tables(struct reader *r, uint64_t region_pages, struct wire_pages *p,
			  struct err *e);
/** wire_chunk_raw() - octets chunk @i unpacks to */
uint32_t wire_chunk_raw(const struct wire_pages *p, uint32_t i);

#endif
