/* SPDX-License-Identifier: Apache-2.0 */
/*
 * codec - bytes in, bytes out, always little-endian, always checked (rule S).
 *
 * A writer or reader that ran out of room stays bad: callers may write or read a
 * whole structure and look at ->bad once at the end.  A bad reader gives zeros.
 */
#ifndef DROVER_HA_CORE_RECORD_CODEC_H
#define DROVER_HA_CORE_RECORD_CODEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Formats; each is one number, and whoever finds another reads nothing. */
#define HA_MSG_VERSION 16      /* messages in the group (msg.c), whose name has it too: who speaks another meets nobody */
#define HA_ENTRY_VERSION 14    /* entries of the log (entry.c) */
#define HA_SNAPSHOT_VERSION 10 /* a stored record (snapshot.c) */

struct ha_writer {
	uint8_t *p;
	size_t len, size;
	bool bad;
};

struct ha_reader {
	const uint8_t *p;
	size_t pos, len;
	bool bad;
};

/** ha_put_u8() - all ha_put_...(): little-endian; without room @w is bad and stays so */
void ha_put_u8(struct ha_writer *w, uint8_t v);
/** ha_put_u32() - four bytes */
void ha_put_u32(struct ha_writer *w, uint32_t v);
/** ha_put_u64() - eight bytes */
void ha_put_u64(struct ha_writer *w, uint64_t v);
void ha_put_bytes(struct ha_writer *w, const void *p, size_t len); /* u32 length first */
void ha_put_str(struct ha_writer *w, const char *s);               /* NULL is "" */

/** ha_get_u8() - all ha_get_...(): past the end @r is bad and stays so, and what is returned is 0 */
uint8_t ha_get_u8(struct ha_reader *r);
bool ha_get_bool(struct ha_reader *r); /* bad unless 0 or 1 */
uint32_t ha_get_u32(struct ha_reader *r);
/** ha_get_u64() - eight bytes */
uint64_t ha_get_u64(struct ha_reader *r);
/** ha_get_bytes() - pointer into the input; bad if longer than @max */
const uint8_t *ha_get_bytes(struct ha_reader *r, size_t max, size_t *len);
/** ha_get_str() - copies into @buf of @size; bad if it does not fit or holds a 0 or a control
 * character */
void ha_get_str(struct ha_reader *r, char *buf, size_t size);
/** ha_get_end() - true if nothing was wrong and nothing is left */
bool ha_get_end(struct ha_reader *r);

/** ha_hash() - 64-bit digest of @len bytes behind @seed, by splitmix64; no proof against malice */
uint64_t ha_hash(uint64_t seed, const void *p, size_t len);
/** ha_hash_u64() - the same of one number */
uint64_t ha_hash_u64(uint64_t seed, uint64_t v);

/** ha_copy() - snprintf("%s") with truncation; @src may be NULL */
void ha_copy(char *dst, size_t size, const char *src);

#endif
