/* SPDX-License-Identifier: Apache-2.0 */
/* bitmap - see bitmap.h. */
#include "migrate/pages/bitmap.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

static void clear(struct bitmap *b)
{
	memset(b->words, 0, b->n_extents * EXTENT_WORDS * 8);
}

int bitmap_init(struct bitmap *b, uint64_t n_pages)
{
	b->n_pages = n_pages;
	b->n_extents = (n_pages + EXTENT_PAGES - 1) / EXTENT_PAGES;
	b->words = aligned_alloc(EXTENT_WORDS * 8, (b->n_extents ? b->n_extents : 1) * EXTENT_WORDS * 8);
	if (!b->words)
		return -ENOMEM;
	assert((uintptr_t)b->words % (EXTENT_WORDS * 8) == 0); /* an extent is one line of the cache */
	clear(b);
	return 0;
}

void bitmap_free(struct bitmap *b)
{
	free(b->words);
	b->words = NULL;
}

void bitmap_fill(struct bitmap *b)
{
	memset(b->words, 0xff, b->n_extents * EXTENT_WORDS * 8);
	bitmap_trim(b);
}

void bitmap_trim(struct bitmap *b)
{
	uint64_t i = b->n_pages / 64, end = b->n_extents * EXTENT_WORDS;

	if (i < end && b->n_pages % 64)
		b->words[i++] &= (1ull << (b->n_pages % 64)) - 1;
	assert(i <= end && end - i <= EXTENT_WORDS); /* what lies behind the last page is less than an extent */
	for (; i < end; i++)
		b->words[i] = 0;
}

uint64_t bitmap_count(const struct bitmap *b)
{
	uint64_t i, n = 0;

	for (i = 0; i < b->n_extents * EXTENT_WORDS; i++)
		n += (uint64_t)__builtin_popcountll(b->words[i]);
	assert(n <= b->n_pages); /* bitmap_trim() */
	return n;
}

/* The bits of [first, first + count) that lie in the word of @first. */
static uint64_t word_mask(uint64_t first, uint32_t count, uint32_t *here)
{
	uint32_t bit = first % 64;
	uint32_t n = 64 - bit < count ? 64 - bit : count;

	assert(n && n <= 64);
	*here = n;
	return (n == 64 ? ~0ull : (1ull << n) - 1) << bit;
}

void bitmap_set_range(struct bitmap *b, uint64_t first, uint32_t count)
{
	uint32_t n;
	uint64_t mask;

	assert(first <= b->n_pages && count <= b->n_pages - first);
	for (; count; first += n, count -= n) {
		mask = word_mask(first, count, &n);
		__atomic_fetch_or(&b->words[first / 64], mask, __ATOMIC_RELAXED);
	}
}

bool bitmap_test_range(const struct bitmap *b, uint64_t first, uint32_t count)
{
	uint32_t n;
	uint64_t mask;

	assert(first <= b->n_pages && count <= b->n_pages - first);
	for (; count; first += n, count -= n) {
		mask = word_mask(first, count, &n);
		if ((__atomic_load_n(&b->words[first / 64], __ATOMIC_RELAXED) & mask) != mask)
			return false;
	}
	return true;
}

bool bitmap_first_clear(const struct bitmap *b, uint64_t *page)
{
	uint64_t i, p;

	for (i = 0; i * 64 < b->n_pages; i++) {
		if (!~b->words[i])
			continue;
		p = i * 64 + (uint64_t)__builtin_ctzll(~b->words[i]);
		if (p >= b->n_pages)
			return false;
		*page = p;
		return true;
	}
	return false;
}

bool bitmap_extent_empty(const struct bitmap *b, uint64_t extent)
{
	const uint64_t *w = b->words + extent * EXTENT_WORDS;
	uint64_t any = 0;
	unsigned int i;

	assert(extent < b->n_extents);
	for (i = 0; i < EXTENT_WORDS; i++)
		any |= w[i];
	return !any;
}

int work_init(struct work *w, const struct guest_region *regions, size_t n)
{
	size_t i;

	assert(n <= GUEST_REGIONS_MAX);
	memset(w, 0, sizeof(*w));
	for (i = 0; i < n; i++) {
		if (bitmap_init(&w->maps[i], regions[i].size / GUEST_PAGE)) {
			work_free(w);
			return -ENOMEM;
		}
		w->n++;
	}
	return 0;
}

void work_free(struct work *w)
{
	size_t i;

	for (i = 0; i < w->n; i++)
		bitmap_free(&w->maps[i]);
	w->n = 0;
}

void work_clear(struct work *w)
{
	size_t i;

	for (i = 0; i < w->n; i++)
		clear(&w->maps[i]);
}

uint64_t work_count(const struct work *w)
{
	uint64_t n = 0;
	size_t i;

	for (i = 0; i < w->n; i++)
		n += bitmap_count(&w->maps[i]);
	return n;
}

void work_rewind(struct work *w)
{
	atomic_store(&w->cursor, 0);
}

bool work_claim(struct work *w, size_t *region, uint64_t *extent)
{
	uint64_t at;
	size_t i;

	for (;;) {
		at = atomic_fetch_add_explicit(&w->cursor, 1, memory_order_relaxed);
		for (i = 0; i < w->n && at >= w->maps[i].n_extents; i++)
			at -= w->maps[i].n_extents;
		if (i == w->n)
			return false;
		if (bitmap_extent_empty(&w->maps[i], at))
			continue;
		*region = i;
		*extent = at;
		return true;
	}
}
