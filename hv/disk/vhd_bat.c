/* SPDX-License-Identifier: Apache-2.0 */
/* vhd_bat - is the block table sound?  Two blocks in one place would be two guests' sectors in one. */
#include "hv/disk/vhd_int.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define DIGITS 65536u

/* In order, by their 16 lower bits and then by their 16 upper ones: a table may have millions. */
static int sort(uint32_t *v, size_t n)
{
	uint32_t *other = malloc(n * sizeof(*other)), *count = malloc(DIGITS * sizeof(*count));
	int ret = other && count ? 0 : -ENOMEM;

	for (unsigned int shift = 0; !ret && shift < 32; shift += 16) {
		uint32_t sum = 0, was;

		memset(count, 0, DIGITS * sizeof(*count));
		for (size_t i = 0; i < n; i++)
			count[v[i] >> shift & (DIGITS - 1)]++;
		for (size_t i = 0; i < DIGITS; i++) {
			was = count[i];
			count[i] = sum;
			sum += was;
		}
		for (size_t i = 0; i < n; i++)
			other[count[v[i] >> shift & (DIGITS - 1)]++] = v[i];
		memcpy(v, other, n * sizeof(*v));
	}
	free(other);
	free(count);
	return ret;
}

static int outside(const struct vhd_layout *l, uint32_t block, struct err *e)
{
	uint64_t at = (uint64_t)l->bat[block] * VHD_SECTOR;

	if (at < l->data_start)
		return err_set(e, -EINVAL, "disk %s: VHD: block %u at byte %llu, expected it behind the tables, which end at byte %llu",
			       l->path, block, (unsigned long long)at, (unsigned long long)l->data_start);
	return err_set(e, -EINVAL, "disk %s: VHD: block %u at byte %llu, expected all of its %u bytes in the file, which has %llu: it was "
				   "cut short",
		       l->path, block, (unsigned long long)at, l->bitmap_size + l->header.block_size,
		       (unsigned long long)l->file_size);
}

static int overlap(const struct vhd_layout *l, uint32_t a, uint32_t b, struct err *e)
{
	uint32_t first = 0, second = 0;

	while (l->bat[first] != a)
		first++;
	while (l->bat[second] != b || second == first)
		second++;
	return err_set(e, -EINVAL, "disk %s: VHD: blocks %u and %u lie at bytes %llu and %llu, expected no two over each other",
		       l->path, first, second, (unsigned long long)a * VHD_SECTOR, (unsigned long long)b * VHD_SECTOR);
}

static int check_overlaps(struct vhd_layout *l, uint32_t *places, struct err *e)
{
	uint32_t need = (l->bitmap_size + l->header.block_size) / VHD_SECTOR, n = 0;

	for (uint32_t i = 0; i < l->blocks; i++)
		if (l->bat[i] != VHD_NO_BLOCK)
			places[n++] = l->bat[i];
	if (sort(places, n))
		return err_set(e, -ENOMEM, "disk %s: no memory to check its block table", l->path);
	for (uint32_t i = 1; i < n; i++)
		if (places[i] - places[i - 1] < need)
			return overlap(l, places[i - 1], places[i], e);
	return 0;
}

int vhd_bat_check(struct vhd_layout *l, struct err *e)
{
	uint64_t need = l->bitmap_size + l->header.block_size, last = l->data_start, at;
	uint32_t *places;
	int ret;

	l->end = l->footer_lost ? l->file_size : l->file_size - VHD_FOOTER_SIZE;
	l->end = (l->end + VHD_SECTOR - 1) / VHD_SECTOR * VHD_SECTOR;
	l->allocated = 0;
	for (uint32_t i = 0; i < l->blocks; i++) {
		if (l->bat[i] == VHD_NO_BLOCK)
			continue;
		l->allocated++;
		at = (uint64_t)l->bat[i] * VHD_SECTOR;
		if (at < l->data_start || at > l->file_size || need > l->file_size - at)
			return outside(l, i, e);
		if (at + need > last)
			last = at + need;
	}
	if (last > l->end)
		l->end = last;
	if (!l->allocated)
		return 0;
	places = malloc(l->allocated * sizeof(*places));
	if (!places)
		return err_set(e, -ENOMEM, "disk %s: no memory to check its block table", l->path);
	ret = check_overlaps(l, places, e);
	free(places);
	return ret;
}
