/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bytes - little-endian fields in byte strings that came from a wire or a disk
 * (rule S: every length is checked before use).
 *
 * A `struct reader` walks a string that somebody else made.  It never reads
 * past its end: a field that does not fit yields zero and sets `bad`, which
 * stays set, so a parser may read a whole record and ask once.  A `struct
 * writer` fills a buffer of fixed size in the same way.
 */
#ifndef DROVER_BASE_BYTES_H
#define DROVER_BASE_BYTES_H

#include <assert.h>
#include <endian.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct reader {
	const uint8_t *p, *end;
	bool bad; /* something did not fit; every later field is zero */
};

struct writer {
	uint8_t *p, *start, *end;
	bool bad; /* something did not fit; nothing was written past end */
};

static inline struct reader reader_make(const void *buf, size_t len)
{
	const uint8_t *p = buf;

	return (struct reader){ .p = p, .end = p + len, .bad = false };
}

static inline size_t reader_left(const struct reader *r)
{
	assert(r->p <= r->end);
	return (size_t)(r->end - r->p);
}

/** reader_take() - the next @len bytes, or NULL (and bad) when fewer are left */
static inline const uint8_t *reader_take(struct reader *r, size_t len)
{
	const uint8_t *p = r->p;

	if (r->bad || reader_left(r) < len) {
		r->bad = true;
		return NULL;
	}
	r->p += len;
	return p;
}

static inline void reader_copy(struct reader *r, void *dst, size_t len)
{
	const uint8_t *p = reader_take(r, len);

	if (p)
		memcpy(dst, p, len);
	else
		memset(dst, 0, len);
}

static inline uint8_t reader_u8(struct reader *r)
{
	uint8_t v;

	reader_copy(r, &v, sizeof(v));
	return v;
}

static inline uint16_t reader_u16(struct reader *r)
{
	uint16_t v;

	reader_copy(r, &v, sizeof(v));
	return le16toh(v);
}

static inline uint32_t reader_u32(struct reader *r)
{
	uint32_t v;

	reader_copy(r, &v, sizeof(v));
	return le32toh(v);
}

static inline uint64_t reader_u64(struct reader *r)
{
	uint64_t v;

	reader_copy(r, &v, sizeof(v));
	return le64toh(v);
}

static inline struct writer writer_make(void *buf, size_t len)
{
	uint8_t *p = buf;

	return (struct writer){ .p = p, .start = p, .end = p + len, .bad = false };
}

static inline size_t writer_len(const struct writer *w)
{
	return (size_t)(w->p - w->start);
}

/** writer_room() - room for @len bytes, to be filled by the caller, or NULL (and bad) */
static inline uint8_t *writer_room(struct writer *w, size_t len)
{
	uint8_t *p = w->p;

	assert(w->start <= w->p && w->p <= w->end);
	if (w->bad || (size_t)(w->end - w->p) < len) {
		w->bad = true;
		return NULL;
	}
	w->p += len;
	return p;
}

static inline void writer_bytes(struct writer *w, const void *src, size_t len)
{
	uint8_t *p = writer_room(w, len);

	if (p && len) /* of no bytes @src may be NULL */
		memcpy(p, src, len);
}

static inline void writer_u8(struct writer *w, uint8_t v)
{
	writer_bytes(w, &v, sizeof(v));
}

static inline void writer_u16(struct writer *w, uint16_t v)
{
	v = htole16(v);
	writer_bytes(w, &v, sizeof(v));
}

static inline void writer_u32(struct writer *w, uint32_t v)
{
	v = htole32(v);
	writer_bytes(w, &v, sizeof(v));
}

static inline void writer_u64(struct writer *w, uint64_t v)
{
	v = htole64(v);
	writer_bytes(w, &v, sizeof(v));
}

#endif
