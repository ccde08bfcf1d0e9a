/* SPDX-License-Identifier: Apache-2.0 */
/*
 * codec - what a page looks like on the wire: nothing (zero), itself, or a part
 * of an LZ4 block; and who decides.
 *
 * A chooser belongs to one sender.  It measures three numbers and compares:
 *
 *   w   ns the link takes per byte: time writers waited for the link (not for a slow reader behind
 *       it, whom packing would only give more work) and in the pacer
 *   c   ns LZ4 takes per byte of input
 *   r   stored / raw
 *
 *   raw costs w per byte; lz4 costs max(c, r * w): while the link drains the
 *   socket's buffer this thread can compress.
 *
 * So on a loopback (w below 1, c above 2) pages go raw, on 1 Gbit/s (w = 8 per
 * connection and more) they are packed, and nobody has to say which it is.
 */
#ifndef DROVER_MIGRATE_WIRE_CODEC_H
#define DROVER_MIGRATE_WIRE_CODEC_H

#include "migrate/compress.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** page_is_zero() - all 4096 bytes at @page (aligned to 32) are zero */
bool page_is_zero(const void *page);
/** page_is_zero_scalar() - the same without AVX2, for machines that have none and for tests */
bool page_is_zero_scalar(const void *page);

/**
 * lz4_pack() - compress @len bytes into at most @max
 * @state: LZ4_sizeofState() bytes of scratch, aligned to 8
 * Return: bytes stored, or 0 when they do not fit (then send them raw)
 */
uint32_t lz4_pack(void *state, const uint8_t *src, uint32_t len, uint8_t *dst, uint32_t max);
/** lz4_unpack() - hostile @src; true when it unpacks to exactly @raw bytes */
bool lz4_unpack(const uint8_t *src, uint32_t len, uint8_t *dst, uint32_t raw);
/** lz4_state_size() - bytes of scratch for lz4_pack() */
size_t lz4_state_size(void);

struct chooser {
	enum compress_mode mode;
	bool packing;                                                  /* the present decision */
	double w, c, r;                                                /* see above; 0 = not measured yet */
	uint64_t window_raw, window_stored, window_cycle, window_wait; /* since the last decision */
	uint64_t since_probe;                                          /* raw bytes since the last look at the other choice */
	uint32_t tick;                                                 /* chunks seen */
	uint32_t votes;                                                /* windows in a row that found packing better */
	bool warm;                                                     /* the socket's buffer has been filled once */
};

/** chooser_init() - nothing measured yet; COMPRESS_AUTO begins without packing */
void chooser_init(struct chooser *c, enum compress_mode mode);
/** chooser_try() - shall the next chunk be given to lz4_pack()? */
bool chooser_try(struct chooser *c);
/** chooser_packed() - @raw bytes became @stored (0: did not fit) in @ns */
void chooser_packed(struct chooser *c, uint32_t raw, uint32_t stored, uint64_t ns);
/** chooser_sent() - @raw bytes went out as @stored; the link blocked for @wait_ns, it is @cycle_ns since the record before */
void chooser_sent(struct chooser *c, uint64_t raw, uint64_t stored, uint64_t wait_ns,
		  uint64_t cycle_ns);

#endif
