/* SPDX-License-Identifier: Apache-2.0 */
/* codec - see codec.h. */
#include "migrate/wire/codec.h"

#include <assert.h>
#include <immintrin.h>
#include <lz4.h>
#include <string.h>

#define PAGE 4096u
/* A block that saves less than a tenth is not worth unpacking. */
#define WORTH(raw) ((raw) - (raw) / 10)
/* Kernel's part of sending one byte (copy, protocol), which compression saves too. */
#define SEND_CPU_NS 0.25
#define DECIDE_BYTES (4u << 20)  /* of data between two decisions */
#define WARM_BYTES (8u << 20)    /* the first ones only fill socket buffers */
#define PROBE_BYTES (128u << 20) /* how often the other choice is looked at */
#define SAMPLE_EVERY 256         /* chunks: what raw sending spends on knowing c and r */
#define SAMPLE_FIRST 4
#define VOTES_TO_PACK 3u /* windows in a row that must find packing better */

bool page_is_zero_scalar(const void *page)
{
	const uint64_t *p = page;
	uint64_t any;
	unsigned int i, k;

	/* Most pages that are not zero show it in one of these. */
	if (p[0] | p[PAGE / 16] | p[PAGE / 8 - 1])
		return false;
	for (i = 0; i < PAGE / 8; i += 16) {
		any = 0;
		for (k = 0; k < 16; k++)
			any |= p[i + k];
		if (any)
			return false;
	}
	return true;
}

#ifdef __x86_64__
__attribute__((target("avx2"))) static bool page_is_zero_avx2(const void *page)
{
	const __m256i *p = page;
	const uint64_t *w = page;
	unsigned int i;
	__m256i a, b, c, d;

	if (w[0] | w[PAGE / 16] | w[PAGE / 8 - 1])
		return false;
	for (i = 0; i < PAGE / 32; i += 8) {
		a = _mm256_or_si256(_mm256_load_si256(p + i), _mm256_load_si256(p + i + 1));
		b = _mm256_or_si256(_mm256_load_si256(p + i + 2), _mm256_load_si256(p + i + 3));
		c = _mm256_or_si256(_mm256_load_si256(p + i + 4), _mm256_load_si256(p + i + 5));
		d = _mm256_or_si256(_mm256_load_si256(p + i + 6), _mm256_load_si256(p + i + 7));
		a = _mm256_or_si256(_mm256_or_si256(a, b), _mm256_or_si256(c, d));
		if (!_mm256_testz_si256(a, a))
			return false;
	}
	return true;
}
#endif

bool page_is_zero(const void *page)
{
	assert((uintptr_t)page % 32 == 0);
#ifdef __x86_64__
	if (__builtin_cpu_supports("avx2"))
		return page_is_zero_avx2(page);
#endif
	return page_is_zero_scalar(page);
}

uint32_t lz4_pack(void *state, const uint8_t *src, uint32_t len, uint8_t *dst, uint32_t max)
{
	uint32_t worth = WORTH(len);
	int n;

	assert(len && len <= INT32_MAX && max <= INT32_MAX);
	n = LZ4_compress_fast_extState(state, (const char *)src, (char *)dst, (int)len,
				       (int)(max < worth ? max : worth), 1);
	assert(n < 0 || ((uint32_t)n <= max && (uint32_t)n <= worth));
	return n > 0 ? (uint32_t)n : 0;
}

bool lz4_unpack(const uint8_t *src, uint32_t len, uint8_t *dst, uint32_t raw)
{
	return LZ4_decompress_safe((const char *)src, (char *)dst, (int)len, (int)raw) == (int)raw;
}

size_t lz4_state_size(void)
{
	return (size_t)LZ4_sizeofState();
}

void chooser_init(struct chooser *c, enum compress_mode mode)
{
	assert(mode == COMPRESS_OFF || mode == COMPRESS_ON || mode == COMPRESS_AUTO);
	memset(c, 0, sizeof(*c));
	c->mode = mode;
	c->packing = mode == COMPRESS_ON;
}

bool chooser_try(struct chooser *c)
{
	if (c->mode != COMPRESS_AUTO)
		return c->mode == COMPRESS_ON;
	c->tick++;
	/* What does not shrink (r near 1) is recognised by a sample now and then. */
	if (c->packing && c->r > 0.95)
		return c->tick % 8 == 0;
	return c->packing || c->tick <= SAMPLE_FIRST || c->tick % SAMPLE_EVERY == 0;
}

static double blend(double old, double now, double weight)
{
	return old > 0 ? old + (now - old) * weight : now;
}

void chooser_packed(struct chooser *c, uint32_t raw, uint32_t stored, uint64_t ns)
{
	assert(raw && stored <= raw);
	c->c = blend(c->c, (double)ns / raw, 0.1);
	c->r = blend(c->r, stored ? (double)stored / raw : 1.0, 0.1);
}

/* w from what was seen since the last decision. */
static void measure_link(struct chooser *c)
{
	double stored = (double)c->window_stored;

	assert(c->window_stored && c->window_raw);
	if (!c->packing)
		c->w = blend(c->w, (double)c->window_wait / stored + SEND_CPU_NS, 0.5);
	else if (c->window_wait * 4 > c->window_cycle)
		c->w = blend(c->w, (double)c->window_cycle / stored, 0.5);
	/* Packing and never blocked: the link is faster than that, by how much only a probe can tell. */
}

static void decide(struct chooser *c)
{
	double packed;

	if (c->w <= 0 || c->c <= 0)
		return;
	packed = c->c + c->r * SEND_CPU_NS;
	if (packed < c->r * c->w)
		packed = c->r * c->w;
	if (c->packing) {
		c->packing = packed < c->w;
		return;
	}
	/* One window may have met a busy moment of the machine: begin only when several in a row say so. */
	c->votes = packed * 1.25 < c->w ? c->votes + 1 : 0;
	if (c->votes < VOTES_TO_PACK)
		return;
	c->packing = true;
	c->votes = 0;
}

static void new_window(struct chooser *c)
{
	c->window_raw = c->window_stored = c->window_cycle = c->window_wait = 0;
}

void chooser_sent(struct chooser *c, uint64_t raw, uint64_t stored, uint64_t wait_ns,
		  uint64_t cycle_ns)
{
	if (c->mode != COMPRESS_AUTO || !stored)
		return;
	c->window_raw += raw;
	c->window_stored += stored;
	c->window_cycle += cycle_ns;
	c->window_wait += wait_ns;
	c->since_probe += raw;
	if (!c->warm) {
		/* Until the link pushes back once, its speed is that of an empty buffer. */
		c->warm = c->window_stored >= WARM_BYTES || wait_ns > 0;
		if (c->warm)
			new_window(c);
		return;
	}
	if (c->window_raw < DECIDE_BYTES)
		return;
	measure_link(c);
	decide(c);
	if (c->packing && c->since_probe > PROBE_BYTES && c->window_wait * 4 <= c->window_cycle) {
		c->packing = false; /* one window raw, then w is known again */
		c->w = 0;
		c->warm = false;
		c->since_probe = 0;
	}
	new_window(c);
}
