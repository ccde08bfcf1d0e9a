/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz: the record file as droverd reads it at start.
 *
 * By the first byte: the file itself, or a script that writes one.  A checksum keeps nearly every
 * changed byte out at once; what a crash, a disk that forgets or somebody else's daemon leave has
 * whole records in an order that nobody meant.  A step of a script is {what, n, n bytes}:
 *
 *   0, 1  a snapshot, an append of those bytes; the first says how much is synced, in sixteenths of the file
 *   2     n sectors that never arrived
 *   3     those bytes over what is there, the first says where, in 256ths of the file
 */
#include "ha/store/store_int.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t file[1 << 16];

static void parse(const uint8_t *bytes, size_t n)
{
	struct store_image image;
	size_t good = 0;

	if (store_parse(bytes, n, &image, &good, NULL) < 0)
		return;
	if (good > n || image.cut > n - good || (image.lost && image.n_entries))
		abort();
	store_image_free(&image);
}

static size_t add_record(size_t at, enum store_kind kind, const uint8_t *p, size_t n)
{
	if (at + STORE_RECORD_HEAD + n > sizeof(file))
		return at;
	store_put_record_head(file + at, kind, p, (uint32_t)n, at, n ? at * (p[0] & 31) / 16 : at);
	memcpy(file + at + STORE_RECORD_HEAD, p, n);
	return at + STORE_RECORD_HEAD + n;
}

static size_t add_zeros(size_t at, size_t sectors)
{
	size_t n = sectors * 512 < sizeof(file) - at ? sectors * 512 : sizeof(file) - at;

	memset(file + at, 0, n);
	return at + n;
}

static void damage(size_t at, const uint8_t *p, size_t n)
{
	size_t where = n ? at * p[0] / 256 : 0;

	for (size_t i = 1; i < n && where < at; i++)
		file[where++] ^= p[i];
}

static void write_and_parse(const uint8_t *p, size_t n)
{
	size_t at = STORE_HEADER_LEN;

	store_put_header(file, 7, n > 1 ? p[0] : 0);
	for (size_t i = 1, len; i + 1 < n; i += 2 + len) {
		len = p[i + 1] < n - i - 2 ? p[i + 1] : n - i - 2;
		switch (p[i] & 3) {
		case 0:
			at = add_record(at, STORE_SNAPSHOT, p + i + 2, len);
			break;
		case 1:
			at = add_record(at, STORE_APPEND, p + i + 2, len);
			break;
		case 2:
			at = add_zeros(at, len);
			break;
		case 3:
			damage(at, p + i + 2, len);
			break;
		}
	}
	parse(file, at);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size && data[0] % 2)
		write_and_parse(data + 1, size - 1);
	else if (size)
		parse(data + 1, size - 1);
	return 0;
}
