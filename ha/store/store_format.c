/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store_format - reading the record file (store.h); see store_int.h for the layout.
 *
 * Everything is checked before use (rule S).  A record that is not whole ends the
 * file.  Whether it may be cut off depends on what became of it:
 *
 *   torn      a crash came inside a write that nobody was told of: it lies behind
 *             all that is known to be synced, and some sector of it never arrived
 *   damaged   it had been acknowledged, or all of it arrived and it is wrong all
 *             the same: this disk has forgotten something, so it is a lost disk
 *
 * Sectors of one write arrive in any order: a whole record behind a torn one is
 * no damage as long as nothing says that the torn one had been synced.
 */
#include "ha/store/store_int.h"

#include "base/bytes.h"
#include "base/crc32c.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SECTOR 512

struct head {
	uint32_t kind, len;
	uint64_t synced;
	uint32_t crc;
};

static void put_u32(uint8_t *out, uint32_t v)
{
	v = htole32(v);
	memcpy(out, &v, sizeof(v));
}

static void put_u64(uint8_t *out, uint64_t v)
{
	v = htole64(v);
	memcpy(out, &v, sizeof(v));
}

void store_put_header(uint8_t *out, uint32_t origin, uint64_t sealed)
{
	memset(out, 0, STORE_HEADER_LEN);
	memcpy(out, STORE_MAGIC, 8);
	put_u32(out + 8, STORE_VERSION);
	put_u32(out + 12, origin);
	put_u64(out + 16, sealed);
	put_u32(out + 28, crc32c(0, out, STORE_HEADER_LEN - 4));
}

void store_put_record_head(uint8_t *out, enum store_kind kind, const uint8_t *payload, uint32_t len,
			   uint64_t at, uint64_t synced)
{
	put_u32(out, kind);
	put_u32(out + 4, len);
	put_u64(out + 8, at);
	put_u64(out + 16, synced);
	put_u32(out + 24, crc32c(0, payload, len));
	put_u32(out + 28, crc32c(0, out, STORE_RECORD_HEAD - 4));
}

static bool head_at(const uint8_t *buf, size_t len, size_t at, struct head *h)
{
	struct reader r;
	uint64_t where;

	if (len - at < STORE_RECORD_HEAD)
		return false;
	r = reader_make(buf + at, STORE_RECORD_HEAD);
	h->kind = reader_u32(&r);
	h->len = reader_u32(&r);
	where = reader_u64(&r);
	h->synced = reader_u64(&r);
	h->crc = reader_u32(&r);
	return where == at && (h->kind == STORE_SNAPSHOT || h->kind == STORE_APPEND) &&
	       h->len <= STORE_RECORD_MAX &&
	       reader_u32(&r) == crc32c(0, buf + at, STORE_RECORD_HEAD - 4);
}

static bool all_zero(const uint8_t *p, size_t len)
{
	return len == 0 || (*p == 0 && memcmp(p, p + 1, len - 1) == 0);
}

/* Did some sector of these bytes never arrive?  What is allocated ahead reads as zeros. */
static bool torn(const uint8_t *buf, size_t len, size_t at, size_t n)
{
	size_t next;

	if (n > len - at)
		return true;
	for (; n > 0; at += next, n -= next) {
		next = SECTOR - at % SECTOR;
		if (next > n)
			next = n;
		if (all_zero(buf + at, next))
			return true;
	}
	return false;
}

static int blob_set(struct store_blob *b, const uint8_t *p, size_t len)
{
	uint8_t *copy = malloc(len ? len : 1);

	if (!copy)
		return -ENOMEM;
	memcpy(copy, p, len);
	free(b->bytes);
	b->bytes = copy;
	b->len = len;
	return 0;
}

static void drop_entries(struct store_image *image)
{
	size_t i;

	for (i = 0; i < image->n_entries; i++)
		free(image->entries[i].bytes);
	image->n_entries = 0;
}

static int add_entry(struct store_image *image, const uint8_t *p, size_t len)
{
	struct store_blob *grown = image->entries;

	/* Grows at the powers of two. */
	if ((image->n_entries & (image->n_entries - 1)) == 0) {
		grown = reallocarray(grown, image->n_entries ? image->n_entries * 2 : 1, sizeof(*grown));
		if (!grown)
			return -ENOMEM;
		image->entries = grown;
	}
	memset(&grown[image->n_entries], 0, sizeof(*grown));
	if (blob_set(&grown[image->n_entries], p, len) < 0)
		return -ENOMEM;
	image->n_entries++;
	return 0;
}

static int take_record(struct store_image *image, uint32_t kind, const uint8_t *p, uint32_t len)
{
	int rc;

	if (kind == STORE_APPEND)
		return add_entry(image, p, len);
	rc = blob_set(&image->snapshot, p, len);
	if (rc == 0)
		drop_entries(image);
	return rc;
}

static int lost(struct store_image *image, size_t at, const char *why)
{
	store_image_free(image);
	image->lost = true;
	snprintf(image->why, sizeof(image->why), "damaged at byte %zu: %s", at, why);
	return 0;
}

/* 1: its own header; 0: damaged; or an error */
static int read_header(const uint8_t *buf, size_t len, uint64_t *sealed, struct err *e)
{
	uint8_t own[STORE_HEADER_LEN];
	struct reader r;
	uint32_t version, origin;

	if (all_zero(buf, len < STORE_HEADER_LEN ? len : STORE_HEADER_LEN))
		return 0;
	if (len < STORE_HEADER_LEN)
		return memcmp(buf, STORE_MAGIC, len < 8 ? len : 8) == 0 ? 0 :
									  err_set(e, -EINVAL, "not a Drover record file");
	r = reader_make(buf + 8, STORE_HEADER_LEN - 8);
	version = reader_u32(&r);
	origin = reader_u32(&r);
	*sealed = reader_u64(&r);
	store_put_header(own, origin, *sealed);
	if (memcmp(own, buf, STORE_HEADER_LEN) == 0)
		return 1;
	/* Ours but for some bits: its checksum, or all that the checksum is about, still is. */
	if (memcmp(own, buf, STORE_HEADER_LEN - 4) == 0 ||
	    memcmp(own + STORE_HEADER_LEN - 4, buf + STORE_HEADER_LEN - 4, 4) == 0)
		return 0;
	if (memcmp(buf, STORE_MAGIC, 8) != 0)
		return err_set(e, -EINVAL, "not a Drover record file");
	if (version != STORE_VERSION && version < 16)
		return err_set(e, -EINVAL, "record file of version %u, this is %u", version,
			       STORE_VERSION);
	return 0;
}

uint32_t store_origin(const uint8_t *buf, size_t len)
{
	struct reader r;

	if (len < STORE_HEADER_LEN || memcmp(buf, STORE_MAGIC, 8) != 0)
		return 0;
	r = reader_make(buf + 12, 4);
	return reader_u32(&r);
}

/* The largest offset that some whole head behind @at says was synced. */
static uint64_t known_synced(const uint8_t *buf, size_t len, size_t at, uint64_t synced)
{
	struct head h;

	for (at++; at + STORE_RECORD_HEAD <= len; at++)
		if (buf[at] && head_at(buf, len, at, &h) && h.synced > synced)
			synced = h.synced;
	return synced;
}

int store_parse(const uint8_t *buf, size_t len, struct store_image *image, size_t *good,
		struct err *e)
{
	size_t at = STORE_HEADER_LEN;
	uint64_t synced = 0;
	struct head h;
	bool whole;
	int rc;

	memset(image, 0, sizeof(*image));
	*good = 0;
	rc = read_header(buf, len, &synced, e);
	if (rc < 0)
		return rc;
	if (rc == 0)
		return lost(image, 0, "its header is not as it was written");
	for (;;) {
		*good = at;
		whole = head_at(buf, len, at, &h);
		if (!whole || h.len > len - at - STORE_RECORD_HEAD ||
		    crc32c(0, buf + at + STORE_RECORD_HEAD, h.len) != h.crc)
			break;
		if (h.synced > synced)
			synced = h.synced;
		if (take_record(image, h.kind, buf + at + STORE_RECORD_HEAD, h.len) < 0) {
			store_image_free(image);
			return err_set(e, -ENOMEM, "out of memory");
		}
		at += STORE_RECORD_HEAD + h.len;
	}
	if (known_synced(buf, len, at, synced) > at)
		return lost(image, at, "what was known to be on disk is not whole");
	if (all_zero(buf + at, len - at))
		return 0;
	if (!torn(buf, len, at, STORE_RECORD_HEAD + (whole ? h.len : 0)))
		return lost(image, at, "all of the record is there, and its checksum is wrong");
	for (image->cut = len - at; buf[at + image->cut - 1] == 0; image->cut--)
		;
	return 0;
}

void store_image_free(struct store_image *image)
{
	free(image->snapshot.bytes);
	drop_entries(image);
	free(image->entries);
	memset(image, 0, sizeof(*image));
}
