/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store_format - reading the record file (store.h); see store_int.h for the layout.
 *
 * Everything is checked before use (rule S).  The first record that is short,
 * too long, of unknown kind or of wrong checksum ends the file: what follows was
 * never acknowledged, because the acknowledgement waits for the sync of all
 * bytes before it.
 */
#include "ha/store.h"
#include "ha/store_int.h"

#include "base/bytes.h"
#include "base/crc32c.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void store_put_header(uint8_t *out)
{
	uint32_t version = htole32(STORE_VERSION);

	memset(out, 0, STORE_HEADER_LEN);
	memcpy(out, STORE_MAGIC, 8);
	memcpy(out + 8, &version, sizeof(version));
}

static uint32_t record_crc(uint32_t kind, uint32_t len, const uint8_t *payload)
{
	uint8_t head[8];
	struct writer w = writer_make(head, sizeof(head));

	writer_u32(&w, kind);
	writer_u32(&w, len);
	return crc32c(crc32c(0, head, sizeof(head)), payload, len);
}

void store_put_record_head(uint8_t *out, uint32_t kind, const uint8_t *payload,
			   uint32_t len)
{
	struct writer w = writer_make(out, STORE_RECORD_HEAD);

	writer_u32(&w, kind);
	writer_u32(&w, len);
	writer_u32(&w, record_crc(kind, len, payload));
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
	struct store_blob *grown;

	if (image->n_entries == STORE_ENTRIES_MAX)
		return -EINVAL;
	grown = reallocarray(image->entries, image->n_entries + 1, sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	image->entries = grown;
	memset(&grown[image->n_entries], 0, sizeof(*grown));
	if (blob_set(&grown[image->n_entries], p, len) < 0)
		return -ENOMEM;
	image->n_entries++;
	return 0;
}

static int take_record(struct store_image *image, uint32_t kind, const uint8_t *p, uint32_t len)
{
	int rc;

	switch (kind) {
	case STORE_SNAPSHOT:
		rc = blob_set(&image->snapshot, p, len);
		if (rc == 0)
			drop_entries(image);
		return rc;
	case STORE_APPEND:
		return add_entry(image, p, len);
	default:
		return -EINVAL;
	}
}

int store_parse(const uint8_t *buf, size_t len, struct store_image *image, size_t *good,
		struct err *e)
{
	struct reader r = reader_make(buf, len);
	const uint8_t *magic, *payload;
	uint32_t version, kind, n, crc;
	int rc;

	memset(image, 0, sizeof(*image));
	*good = 0;
	magic = reader_take(&r, 8);
	version = reader_u32(&r);
	reader_u32(&r);
	if (r.bad || memcmp(magic, STORE_MAGIC, 8) != 0)
		return err_set(e, -EINVAL, "not a Drover record file");
	if (version != STORE_VERSION)
		return err_set(e, -EINVAL, "record file of version %u, this is %u", version,
			       STORE_VERSION);
	*good = STORE_HEADER_LEN;
	for (;;) {
		kind = reader_u32(&r);
		n = reader_u32(&r);
		crc = reader_u32(&r);
		if (r.bad || n > STORE_RECORD_MAX)
			break;
		payload = reader_take(&r, n);
		if (!payload || record_crc(kind, n, payload) != crc)
			break;
		rc = take_record(image, kind, payload, n);
		if (rc == -ENOMEM) {
			store_image_free(image);
			return err_set(e, -ENOMEM, "out of memory");
		}
		if (rc < 0)
			break;
		*good = (size_t)(r.p - buf);
	}
	image->cut = len - *good;
	return 0;
}

void store_image_free(struct store_image *image)
{
	free(image->snapshot.bytes);
	drop_entries(image);
	free(image->entries);
	memset(image, 0, sizeof(*image));
}
