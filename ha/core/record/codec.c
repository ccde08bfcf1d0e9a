/* SPDX-License-Identifier: Apache-2.0 */
/* codec - see codec.h */
#include "ha/core/record/codec.h"

#include <assert.h>
#include <string.h>

static uint8_t *put(struct ha_writer *w, size_t n)
{
	uint8_t *at;

	assert(w->len <= w->size);
	if (w->bad || w->size - w->len < n) {
		w->bad = true;
		return NULL;
	}
	at = w->p + w->len;
	w->len += n;
	return at;
}

static void put_le(struct ha_writer *w, uint64_t v, size_t n)
{
	uint8_t *at = put(w, n);

	for (size_t i = 0; at && i < n; i++)
		at[i] = (uint8_t)(v >> (8 * i));
}

void ha_put_u8(struct ha_writer *w, uint8_t v)
{
	put_le(w, v, 1);
}
void ha_put_u32(struct ha_writer *w, uint32_t v)
{
	put_le(w, v, 4);
}
void ha_put_u64(struct ha_writer *w, uint64_t v)
{
	put_le(w, v, 8);
}

void ha_put_bytes(struct ha_writer *w, const void *p, size_t len)
{
	uint8_t *at;

	ha_put_u32(w, (uint32_t)len);
	at = put(w, len);
	if (at && len)
		memcpy(at, p, len);
}

void ha_put_str(struct ha_writer *w, const char *s)
{
	ha_put_bytes(w, s ? s : "", s ? strlen(s) : 0);
}

static const uint8_t *get(struct ha_reader *r, size_t n)
{
	const uint8_t *at;

	assert(r->pos <= r->len);
	if (r->bad || r->len - r->pos < n) {
		r->bad = true;
		return NULL;
	}
	at = r->p + r->pos;
	r->pos += n;
	return at;
}

static uint64_t get_le(struct ha_reader *r, size_t n)
{
	const uint8_t *at = get(r, n);
	uint64_t v = 0;

	for (size_t i = 0; at && i < n; i++)
		v |= (uint64_t)at[i] << (8 * i);
	return v;
}

uint8_t ha_get_u8(struct ha_reader *r)
{
	return (uint8_t)get_le(r, 1);
}
uint32_t ha_get_u32(struct ha_reader *r)
{
	return (uint32_t)get_le(r, 4);
}
uint64_t ha_get_u64(struct ha_reader *r)
{
	return get_le(r, 8);
}

bool ha_get_bool(struct ha_reader *r)
{
	uint8_t v = ha_get_u8(r);

	if (v > 1)
		r->bad = true;
	return v == 1;
}

const uint8_t *ha_get_bytes(struct ha_reader *r, size_t max, size_t *len)
{
	size_t n = ha_get_u32(r);
	const uint8_t *at;

	*len = 0;
	if (n > max) {
		r->bad = true;
		return NULL;
	}
	at = get(r, n);
	if (at)
		*len = n;
	return at;
}

void ha_get_str(struct ha_reader *r, char *buf, size_t size)
{
	size_t n;
	const uint8_t *at = ha_get_bytes(r, size - 1, &n);

	assert(n < size);
	buf[0] = 0;
	for (size_t i = 0; at && i < n; i++) {
		if (at[i] < 0x20 || at[i] == 0x7f) {
			r->bad = true;
			return;
		}
	}
	if (at)
		memcpy(buf, at, n);
	buf[n] = 0;
}

bool ha_get_end(struct ha_reader *r)
{
	return !r->bad && r->pos == r->len;
}

uint64_t ha_hash_u64(uint64_t seed, uint64_t v)
{
	/* splitmix64's finalizer (Steele, Lea, Flood 2014): every bit of input reaches every bit.
	 */
	uint64_t x = seed * 0x9e3779b97f4a7c15ull + v + 0x9e3779b97f4a7c15ull;

	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
	return x ^ (x >> 31);
}

uint64_t ha_hash(uint64_t seed, const void *p, size_t len)
{
	struct ha_reader r = { .p = p, .len = len };

	seed = ha_hash_u64(seed, len);
	while (r.len - r.pos >= 8)
		seed = ha_hash_u64(seed, ha_get_u64(&r));
	return ha_hash_u64(seed, get_le(&r, r.len - r.pos));
}

void ha_copy(char *dst, size_t size, const char *src)
{
	size_t n = src ? strnlen(src, size - 1) : 0;

	assert(size && n < size);
	if (n)
		memcpy(dst, src, n);
	dst[n] = 0;
	/* Texts from outside end up in one-line messages and in entries that refuse control
	 * characters. */
	for (size_t i = 0; i < n; i++)
		if ((unsigned char)dst[i] < 0x20 || dst[i] == 0x7f)
			dst[i] = ' ';
}
