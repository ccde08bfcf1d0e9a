/* SPDX-License-Identifier: Apache-2.0 */
/* wire - see wire.h; the text of the format is docs/stream.md. */
#include "migrate/wire/wire.h"

#include "base/counted.h"
#include "base/text.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>

#define REGION_RAM 0u
#define ABORT_TEXT_MAX 480u
#define ARBITER_MAX 2u

static const struct wire_rule rules[] = {
	{ WIRE_HELLO, "HELLO", 40, 40, CONTROL_TO_DST | CONTROL_TO_SRC | DATA_TO_DST, IN_SETUP },
	{ WIRE_CAPS, "CAPS", 40, 40, CONTROL_TO_DST | CONTROL_TO_SRC, IN_SETUP },
	{ WIRE_DESCRIBE, "DESCRIBE", 2, 65536, CONTROL_TO_DST, IN_SETUP },
	{ WIRE_MEM_MAP, "MEM_MAP", COUNTED_HEAD, COUNTED_HEAD + WIRE_MEM_MAP_ENTRY *WIRE_REGIONS_MAX,
	  CONTROL_TO_DST, IN_SETUP },
	{ WIRE_START, "START", 0, 0, CONTROL_TO_SRC, IN_SETUP },
	{ WIRE_PAGES, "PAGES", PAGES_HEAD_SIZE + 4, PAGES_TABLES_MAX + EXTENT_BYTES, DATA_TO_DST,
	  IN_PRECOPY | IN_STOP },
	{ WIRE_ROUND_SYNC, "ROUND_SYNC", 8, 8, DATA_TO_DST, IN_PRECOPY },
	{ WIRE_FINAL, "FINAL", 40, 40, DATA_TO_DST, IN_PRECOPY | IN_STOP },
	{ WIRE_DEV_STATE, "DEV_STATE", 9, 8 + STATE_PART_MAX, CONTROL_TO_DST,
	  IN_PRECOPY | IN_STOP },
	{ WIRE_READY, "READY", 16, 16, CONTROL_TO_SRC, IN_STOP },
	{ WIRE_GRANT, "GRANT", 8, 8, CONTROL_TO_DST, IN_READY },
	{ WIRE_DECISION, "DECISION", 16, 16, CONTROL_TO_SRC, IN_GRANT },
	{ WIRE_RUNNING, "RUNNING", 16, 16, CONTROL_TO_SRC, IN_GRANT },
	{ WIRE_ABORT, "ABORT", 8, 8 + ABORT_TEXT_MAX, CONTROL_TO_DST | CONTROL_TO_SRC,
	  IN_BEFORE_GRANT },
	{ WIRE_PING, "PING", 0, 0, CONTROL_TO_DST | CONTROL_TO_SRC, IN_ANY },
	{ WIRE_ROUND_DONE, "ROUND_DONE", 8, 8, CONTROL_TO_SRC, IN_PRECOPY },
	{ WIRE_CANNOT_RUN, "CANNOT_RUN", 8, 8 + ABORT_TEXT_MAX, CONTROL_TO_SRC, IN_GRANT },
	{ WIRE_PROGRESS, "PROGRESS", 40, 40, CONTROL_TO_DST, IN_PRECOPY | IN_STOP },
};

const struct wire_rule *wire_rule(uint16_t type)
{
	size_t i;

	for (i = 0; i < sizeof(rules) / sizeof(rules[0]); i++)
		if (rules[i].type == type)
			return &rules[i];
	return NULL;
}

const char *wire_type_name(uint16_t type)
{
	static _Thread_local char unknown[24];
	const struct wire_rule *r = wire_rule(type);

	if (r)
		return r->name;
	snprintf(unknown, sizeof(unknown), "record 0x%x", type);
	return unknown;
}

void wire_put_header(uint8_t out[WIRE_HEADER_SIZE], const struct wire_header *h)
{
	uint16_t type = htole16(h->type);
	uint32_t words[] = { htole32(h->length), htole32(h->sequence), htole32(h->crc) };

	memcpy(out, &type, 2);
	memset(out + 2, 0, 2);
	memcpy(out + 4, words, sizeof(words));
}

int wire_get_header(const uint8_t in[WIRE_HEADER_SIZE], struct wire_header *h, struct err *e)
{
	struct reader r = reader_make(in, WIRE_HEADER_SIZE);
	uint16_t flags;

	h->type = reader_u16(&r);
	flags = reader_u16(&r);
	h->length = reader_u32(&r);
	h->sequence = reader_u32(&r);
	h->crc = reader_u32(&r);
	if (flags)
		return err_set(e, -EPROTO, "%s: flags 0x%x, expected 0", wire_type_name(h->type), flags);
	return 0;
}

static const char *phase_name(enum wire_phase p)
{
	switch (p) {
	case IN_SETUP:
		return "setup";
	case IN_PRECOPY:
		return "precopy";
	case IN_STOP:
		return "stop";
	case IN_READY:
		return "ready";
	case IN_GRANT:
		return "grant";
	}
	return "?";
}

int wire_check(const struct wire_header *h, enum wire_way way, enum wire_phase phase,
	       struct err *e)
{
	const struct wire_rule *r = wire_rule(h->type);

	if (!r && (h->type & WIRE_OPTIONAL) && h->length <= CHUNK_BYTES)
		return 1;
	if (!r)
		return err_set(e, -EPROTO, "record type 0x%x of %u bytes is not known here", h->type,
			       h->length);
	if (!(r->ways & way))
		return err_set(e, -EPROTO, "%s does not belong on this connection", r->name);
	if (!(r->phases & phase))
		return err_set(e, -EPROTO, "%s is not legal in phase %s", r->name, phase_name(phase));
	if (h->length < r->min || h->length > r->max)
		return err_set(e, -EPROTO, "%s: length %u, expected %u to %u", r->name, h->length,
			       r->min, r->max);
	return 0;
}

void wire_put_hello(struct writer *w, const struct wire_hello *h)
{
	writer_u64(w, WIRE_MAGIC);
	writer_u32(w, h->version);
	writer_u16(w, h->role);
	writer_u16(w, h->channel);
	writer_u32(w, h->n_channels);
	writer_u32(w, 0);
	writer_bytes(w, h->id, sizeof(h->id));
	assert(!w->bad);
}

int wire_get_hello(struct reader *r, struct wire_hello *h, struct err *e)
{
	uint64_t magic = reader_u64(r);

	h->version = reader_u32(r);
	if (r->bad || magic != WIRE_MAGIC)
		return err_set(e, -EPROTO, "not a migration stream");
	if (h->version != WIRE_VERSION)
		return err_set(e, -EPROTONOSUPPORT, "peer speaks stream version %u, this is %u",
			       h->version, WIRE_VERSION);
	h->role = reader_u16(r);
	h->channel = reader_u16(r);
	h->n_channels = reader_u32(r);
	reader_u32(r);
	reader_copy(r, h->id, sizeof(h->id));
	if (r->bad)
		return err_set(e, -EPROTO, "HELLO: too short");
	if (h->role > ROLE_ANSWER)
		return err_set(e, -EPROTO, "HELLO: role %u, expected 0 to 2", h->role);
	if (!h->n_channels || h->n_channels > WIRE_CHANNELS_MAX)
		return err_set(e, -EPROTO, "HELLO: %u data connections, expected 1 to %u",
			       h->n_channels, WIRE_CHANNELS_MAX);
	if (h->channel >= h->n_channels)
		return err_set(e, -EPROTO, "HELLO: connection %u of %u", h->channel, h->n_channels);
	return 0;
}

void wire_put_caps(struct writer *w, const struct wire_caps *c)
{
	writer_u64(w, c->required);
	writer_u64(w, c->offered);
	writer_u32(w, c->page_size);
	writer_u32(w, c->arbiter);
	writer_u64(w, c->incarnation);
	writer_u32(w, c->dead_ms);
	writer_u32(w, c->flags);
	assert(!w->bad);
}

int wire_get_caps(struct reader *r, struct wire_caps *c, struct err *e)
{
	uint64_t unknown;

	c->required = reader_u64(r);
	c->offered = reader_u64(r);
	c->page_size = reader_u32(r);
	c->arbiter = reader_u32(r);
	c->incarnation = reader_u64(r);
	c->dead_ms = reader_u32(r);
	c->flags = reader_u32(r);
	unknown = c->required & ~WIRE_FEATURES;
	if (r->bad)
		return err_set(e, -EPROTO, "CAPS: too short");
	if (unknown)
		return err_set(e, -EPROTO, "CAPS: feature %d is required and not known here",
			       __builtin_ctzll(unknown));
	if (c->flags & ~WIRE_CAPS_DRY_RUN)
		return err_set(e, -EPROTO, "CAPS: flags 0x%x, expected 0 or %u", c->flags, WIRE_CAPS_DRY_RUN);
	if (c->page_size != GUEST_PAGE)
		return err_set(e, -EPROTO, "CAPS: pages of %u bytes, expected %u", c->page_size,
			       GUEST_PAGE);
	if (c->arbiter > ARBITER_MAX)
		return err_set(e, -EPROTO, "CAPS: arbiter %u, expected 0 to %u", c->arbiter,
			       ARBITER_MAX);
	if (c->dead_ms < WIRE_DEAD_MIN_MS || c->dead_ms > WIRE_DEAD_MAX_MS)
		return err_set(e, -EPROTO, "CAPS: dead time %u ms, expected %u to %u", c->dead_ms,
			       WIRE_DEAD_MIN_MS, WIRE_DEAD_MAX_MS);
	return 0;
}

void wire_put_mem_map(struct writer *w, const struct guest_region *r, size_t n)
{
	size_t i, before = writer_len(w);

	assert(n <= GUEST_REGIONS_MAX);
	counted_put(w, WIRE_MEM_MAP_ENTRY, (uint32_t)n);
	for (i = 0; i < n; i++) {
		writer_u32(w, r[i].id);
		writer_u32(w, REGION_RAM);
		writer_u64(w, r[i].gpa);
		writer_u64(w, r[i].size);
	}
	assert(!w->bad && writer_len(w) - before == COUNTED_HEAD + n * WIRE_MEM_MAP_ENTRY);
}

static int match_region(struct reader *r, const struct guest_region *mine, struct err *e)
{
	uint32_t id = reader_u32(r), kind = reader_u32(r);
	uint64_t gpa = reader_u64(r), size = reader_u64(r);

	if (kind != REGION_RAM)
		return err_set(e, -EINVAL, "memory: region %u is of kind %u, which is not known here", id, kind);
	if (id != mine->id || gpa != mine->gpa || size != mine->size)
		return err_set(e, -EINVAL,
			       "memory: region %u of %llu bytes at 0x%llx there, "
			       "region %u of %llu bytes at 0x%llx here",
			       id, (unsigned long long)size, (unsigned long long)gpa,
			       mine->id, (unsigned long long)mine->size,
			       (unsigned long long)mine->gpa);
	return 0;
}

int wire_match_mem_map(struct reader *r, const struct guest_region *mine, size_t n, struct err *e)
{
	struct reader regions;
	uint32_t count, i;
	int rc;

	rc = counted_get(r, "MEM_MAP: regions", WIRE_MEM_MAP_ENTRY, GUEST_REGIONS_MAX, &count, &regions, e);
	if (rc)
		return rc;
	if (reader_left(r))
		return err_set(e, -EINVAL, "MEM_MAP: %zu bytes after the last region", reader_left(r));
	if (count != n)
		return err_set(e, -EINVAL, "memory: %u regions there, %zu here", count, n);
	for (i = 0; !rc && i < count; i++)
		rc = match_region(&regions, &mine[i], e);
	assert(rc || !reader_left(&regions));
	return rc;
}

void wire_put_final(struct writer *w, const struct wire_final *f)
{
	writer_u64(w, f->records);
	writer_u64(w, f->zero_pages);
	writer_u64(w, f->data_pages);
	writer_u64(w, f->stored);
	writer_u32(w, f->round);
	writer_u32(w, f->channel);
	assert(!w->bad);
}

void wire_get_final(struct reader *r, struct wire_final *f)
{
	f->records = reader_u64(r);
	f->zero_pages = reader_u64(r);
	f->data_pages = reader_u64(r);
	f->stored = reader_u64(r);
	f->round = reader_u32(r);
	f->channel = reader_u32(r);
}

void wire_put_progress(struct writer *w, const struct wire_progress *p)
{
	writer_u64(w, p->round);
	writer_u64(w, p->total);
	writer_u64(w, p->sent);
	writer_u64(w, p->remaining);
	writer_u64(w, p->dirty_rate);
	assert(!w->bad);
}

void wire_get_progress(struct reader *r, struct wire_progress *p)
{
	p->round = reader_u64(r);
	p->total = reader_u64(r);
	p->sent = reader_u64(r);
	p->remaining = reader_u64(r);
	p->dirty_rate = reader_u64(r);
}

void wire_put_abort(struct writer *w, int code, const char *text)
{
	size_t len = strlen(text);

	if (len > ABORT_TEXT_MAX)
		len = ABORT_TEXT_MAX;
	writer_u32(w, (uint32_t)(code < 0 ? -code : code));
	writer_u32(w, (uint32_t)len);
	writer_bytes(w, text, len);
}

int wire_get_abort(struct reader *r, char *text, size_t size)
{
	uint32_t code = reader_u32(r), len = reader_u32(r), i;
	const uint8_t *p;

	assert(size);
	if (len > reader_left(r))
		len = (uint32_t)reader_left(r);
	if (len >= size)
		len = (uint32_t)size - 1;
	p = reader_take(r, len);
	for (i = 0; p && i < len; i++)
		text[i] = p[i] ? (char)p[i] : '?';
	text[i] = '\0';
	text_clean(text);
	return code && code < 4096 ? -(int)code : -EPROTO;
}

void wire_put_sync(struct writer *w, const struct wire_sync *s)
{
	writer_u32(w, s->round);
	writer_u32(w, s->records);
}

void wire_get_sync(struct reader *r, struct wire_sync *s)
{
	s->round = reader_u32(r);
	s->records = reader_u32(r);
}

void wire_put_round_done(struct writer *w, uint32_t round)
{
	writer_u32(w, round);
	writer_u32(w, 0);
}

uint32_t wire_get_round_done(struct reader *r)
{
	return reader_u32(r);
}

void wire_put_state_part(struct writer *w, uint32_t total, uint32_t offset)
{
	writer_u32(w, total);
	writer_u32(w, offset);
}

void wire_get_state_part(struct reader *r, struct wire_state_part *p)
{
	p->total = reader_u32(r);
	p->offset = reader_u32(r);
	p->len = (uint32_t)reader_left(r);
	p->bytes = reader_take(r, p->len);
}

void wire_put_ready(struct writer *w, uint64_t pages, uint64_t load_ns)
{
	writer_u64(w, pages);
	writer_u64(w, load_ns);
}

void wire_put_grant(struct writer *w, uint64_t incarnation)
{
	writer_u64(w, incarnation);
}

uint64_t wire_get_grant(struct reader *r)
{
	return reader_u64(r);
}

void wire_put_decision(struct writer *w, const struct wire_decision *d)
{
	writer_u32(w, d->outcome);
	writer_u32(w, 0);
	writer_u64(w, d->incarnation);
}

void wire_get_decision(struct reader *r, struct wire_decision *d)
{
	d->outcome = reader_u32(r);
	reader_u32(r);
	d->incarnation = reader_u64(r);
}

void wire_put_running(struct writer *w, uint64_t decide_ns, uint64_t start_ns)
{
	writer_u64(w, decide_ns);
	writer_u64(w, start_ns);
}
