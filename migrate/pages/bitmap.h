/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bitmap - which pages, one bit each, and how several threads share them out.
 *
 *   word      | 64 pages | 64 pages | ...
 *   extent    |        8 words = 512 pages = 2 MiB = one cache line       |
 *   work      region 0: extent 0, 1, 2 ...  region 1: extent 0, 1 ...
 *                          ^ cursor: who adds one owns the extent
 *
 * A bitmap's array is padded to whole extents and aligned to them, so looking
 * for the next extent with work costs one cache line each and a page never
 * shares an extent with another thread's page.
 */
#ifndef DROVER_MIGRATE_PAGES_BITMAP_H
#define DROVER_MIGRATE_PAGES_BITMAP_H

#include "migrate/wire/wire.h"

#include <assert.h>
#include <stdatomic.h>

#define EXTENT_WORDS (EXTENT_PAGES / 64)

struct bitmap {
	uint64_t *words;
	uint64_t n_pages, n_extents;
};

/** bitmap_init() - @n_pages bits, all clear, in whole extents that begin on lines of the cache; 0 or -ENOMEM */
int bitmap_init(struct bitmap *b, uint64_t n_pages);
/** bitmap_free() - also one that was never made, if it is all zeroes */
void bitmap_free(struct bitmap *b);
/** bitmap_fill() - all pages, and none behind the last */
void bitmap_fill(struct bitmap *b);
/** bitmap_count() - pages that are set */
uint64_t bitmap_count(const struct bitmap *b);
/** bitmap_trim() - drop bits behind the last page, whoever set them */
void bitmap_trim(struct bitmap *b);

static inline bool bitmap_test(const struct bitmap *b, uint64_t page)
{
	assert(page < b->n_pages);
	return b->words[page / 64] >> (page % 64) & 1;
}

/** bitmap_set_range() - atomic per word, for threads that share a bitmap; inside one extent */
void bitmap_set_range(struct bitmap *b, uint64_t first, uint32_t count);
/** bitmap_test_range() - all of [first, first + count) are set */
bool bitmap_test_range(const struct bitmap *b, uint64_t first, uint32_t count);
/** bitmap_first_clear() - the first page that is not set; false when all are */
bool bitmap_first_clear(const struct bitmap *b, uint64_t *page);
/** bitmap_extent_empty() - none of the extent's pages is set */
bool bitmap_extent_empty(const struct bitmap *b, uint64_t extent);

/* The bitmaps of all regions, and the cursor over their extents. */
struct work {
	struct bitmap maps[GUEST_REGIONS_MAX];
	size_t n;
	_Atomic uint64_t cursor;
};

/** work_init() - a bitmap, all clear, for each of @n regions; 0 or -ENOMEM, then nothing is left behind */
int work_init(struct work *w, const struct guest_region *regions, size_t n);
/** work_free() - the bitmaps; again, or one that work_init() could not make, is fine */
void work_free(struct work *w);
/** work_clear() - no page of any region; the cursor stays where it is */
void work_clear(struct work *w);
/** work_count() - pages that are set in all regions */
uint64_t work_count(const struct work *w);
/** work_rewind() - hand out all extents anew; nobody may be claiming */
void work_rewind(struct work *w);
/** work_claim() - the next extent with pages in it; false when there is none left */
bool work_claim(struct work *w, size_t *region, uint64_t *extent);

#endif
