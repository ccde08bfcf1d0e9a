/* SPDX-License-Identifier: Apache-2.0 */
/*
 * crc32c - one table-driven version that works everywhere, and one that uses
 * the SSE4.2 CRC32 instruction on three lanes at once.
 *
 * The instruction takes 3 cycles but a new one can start each cycle, so one
 * lane alone leaves two thirds of it idle.  Three lanes of LANE bytes run side
 * by side and are then joined: a checksum followed by n zero bytes is a linear
 * function of the checksum, so four 256-entry tables (made once) do "append
 * LANE zeros" in four look-ups.
 */
#include "base/crc32c.h"

#include <pthread.h>
#include <string.h>

#define POLY 0x82f63b78u /* RFC 3720, reflected */
#define LANE 1360        /* three lanes make 4080 bytes: nearly one page */

static uint32_t byte_table[256];
static uint32_t lane_table[4][256];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static uint32_t crc_bytes(uint32_t crc, const uint8_t *p, size_t len)
{
	while (len--)
		crc = byte_table[(crc ^ *p++) & 0xff] ^ (crc >> 8);
	return crc;
}

static void make_tables(void)
{
	static const uint8_t zeros[LANE];
	uint32_t i, c, lane;
	int bit;

	for (i = 0; i < 256; i++) {
		c = i;
		for (bit = 0; bit < 8; bit++)
			c = (c >> 1) ^ ((c & 1) ? POLY : 0);
		byte_table[i] = c;
	}
	for (lane = 0; lane < 4; lane++)
		for (i = 0; i < 256; i++)
			lane_table[lane][i] = crc_bytes(i << (8 * lane), zeros, LANE);
}

#ifdef __x86_64__
static uint32_t append_lane(uint32_t crc)
{
	return lane_table[0][crc & 0xff] ^ lane_table[1][(crc >> 8) & 0xff] ^
	       lane_table[2][(crc >> 16) & 0xff] ^ lane_table[3][crc >> 24];
}

static inline uint64_t word(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

__attribute__((target("sse4.2"))) static uint32_t crc_sse42(uint32_t crc, const uint8_t *p, size_t len)
{
	uint64_t a = crc, b, c;
	size_t i;

	while (len >= 3 * LANE) {
		b = c = 0;
		for (i = 0; i < LANE; i += 8) {
			a = __builtin_ia32_crc32di(a, word(p + i));
			b = __builtin_ia32_crc32di(b, word(p + LANE + i));
			c = __builtin_ia32_crc32di(c, word(p + 2 * LANE + i));
		}
		a = append_lane((uint32_t)a) ^ b;
		a = append_lane((uint32_t)a) ^ c;
		p += 3 * LANE;
		len -= 3 * LANE;
	}
	for (; len >= 8; p += 8, len -= 8)
		a = __builtin_ia32_crc32di(a, word(p));
	while (len--)
		a = __builtin_ia32_crc32qi((uint32_t)a, *p++);
	return (uint32_t)a;
}
#endif

uint32_t crc32c(uint32_t crc, const void *buf, size_t len)
{
	pthread_once(&once, make_tables);
#ifdef __x86_64__
	if (__builtin_cpu_supports("sse4.2"))
		return ~crc_sse42(~crc, buf, len);
#endif
	return ~crc_bytes(~crc, buf, len);
}
