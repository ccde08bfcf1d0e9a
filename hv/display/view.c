/* SPDX-License-Identifier: Apache-2.0 */
/*
 * view - see view.h.
 *
 * Beside the copy that is shown lie the bytes it was made of, as the guest has them: those are compared, a
 * row at a time, and only what differs is made into pixels.  Pixels come from the copied bytes, for the guest may draw
 * on meanwhile.
 */
#include "hv/display/view.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define TILE 16u /* pixels that are compared at once where a row differs */

struct view {
	const struct view_events *events;
	void *arg;
	struct picture seen; /* of `bytes`, where rows have no gaps; width 0: dark, and there are no bytes */
	uint8_t *bytes, *pixels;
	uint32_t width, height; /* of `pixels` */
};

int view_create(struct view **out, const struct view_events *events, void *arg)
{
	struct view *v = calloc(1, sizeof(*v));

	if (v)
		v->pixels = calloc(VIEW_DARK_WIDTH * VIEW_DARK_HEIGHT, VIEW_PIXEL);
	if (!v || !v->pixels) {
		free(v);
		return -ENOMEM;
	}
	v->events = events;
	v->arg = arg;
	v->width = VIEW_DARK_WIDTH;
	v->height = VIEW_DARK_HEIGHT;
	*out = v;
	return 0;
}

void view_destroy(struct view *v)
{
	if (!v)
		return;
	free(v->bytes);
	free(v->pixels);
	free(v);
}

uint8_t *view_pixels(const struct view *v, uint32_t *width, uint32_t *height)
{
	*width = v->width;
	*height = v->height;
	return v->pixels;
}

/* --- another mode --- */

static bool same_mode(const struct picture *seen, const struct picture *p)
{
	return seen->width == p->width && seen->height == p->height && seen->depth == p->depth;
}

/* The new one is there before the old one goes. */
static void pixels_change(struct view *v, uint8_t *pixels, uint32_t width, uint32_t height)
{
	uint8_t *old = v->pixels;

	v->pixels = pixels;
	v->width = width;
	v->height = height;
	v->events->resized(v->arg, pixels, width, height);
	free(old);
}

/* Black, and so are bytes of zeros in all depths. */
static int mode_change(struct view *v, const struct picture *p)
{
	uint32_t width = p->width ? p->width : VIEW_DARK_WIDTH, height = p->width ? p->height : VIEW_DARK_HEIGHT;
	uint8_t *pixels = calloc((size_t)width * height, VIEW_PIXEL);
	uint8_t *bytes = p->width ? calloc((size_t)width * height, p->depth) : NULL;

	if (!pixels || (p->width && !bytes)) {
		free(pixels);
		free(bytes);
		return -ENOMEM;
	}
	free(v->bytes);
	v->bytes = bytes;
	v->seen = *p;
	v->seen.offset = 0;
	v->seen.stride = p->width * p->depth;
	pixels_change(v, pixels, width, height);
	return 0;
}

/* --- what differs --- */

struct span {
	uint32_t from, to; /* pixels; to 0: none */
};

/* Where row @y differs, in whole tiles; it is taken. */
static struct span row_take(struct view *v, const uint8_t *row, uint32_t y)
{
	uint8_t *seen = v->bytes + (size_t)y * v->seen.stride;
	struct span s = { 0 };

	if (!memcmp(seen, row, v->seen.stride))
		return s;
	for (uint32_t x = 0; x < v->width; x += TILE) {
		uint32_t n = v->width - x < TILE ? v->width - x : TILE;
		size_t at = (size_t)x * v->seen.depth, len = (size_t)n * v->seen.depth;

		if (!memcmp(seen + at, row + at, len))
			continue;
		memcpy(seen + at, row + at, len);
		s.from = s.to ? s.from : x;
		s.to = x + n;
	}
	return s;
}

static void row_show(struct view *v, struct span s, uint32_t y)
{
	uint8_t rgb[TILE * PICTURE_RGB], *to = v->pixels + ((size_t)y * v->width + s.from) * VIEW_PIXEL;

	for (uint32_t x = s.from; x < s.to; x += TILE) {
		uint32_t n = s.to - x < TILE ? s.to - x : TILE;

		picture_rgb(&v->seen, v->bytes, x, y, n, rgb);
		for (uint32_t i = 0; i < n; i++, to += VIEW_PIXEL)
			memcpy(to, rgb + i * PICTURE_RGB, PICTURE_RGB);
	}
}

static void tell(struct view *v, struct span *s, uint32_t from, uint32_t to)
{
	if (s->to)
		v->events->changed(v->arg, s->from, from, s->to, to);
	s->to = 0;
}

/* Rows that follow each other are told together. */
static void compare(struct view *v, const struct picture *p, const uint8_t *memory)
{
	struct span band = { 0 }, s;
	uint32_t first = 0;

	for (uint32_t y = 0; y < v->height; y++) {
		s = row_take(v, memory + p->offset + (uint64_t)y * p->stride, y);
		if (!s.to) {
			tell(v, &band, first, y);
			continue;
		}
		row_show(v, s, y);
		first = band.to ? first : y;
		band.from = band.to && band.from < s.from ? band.from : s.from;
		band.to = band.to > s.to ? band.to : s.to;
	}
	tell(v, &band, first, v->height);
}

int view_look(struct view *v, const struct picture *p, const uint8_t *memory)
{
	int ret = same_mode(&v->seen, p) ? 0 : mode_change(v, p);

	if (!ret && p->width)
		compare(v, p, memory);
	return ret;
}

int view_forget(struct view *v)
{
	static const struct picture dark;

	return view_look(v, &dark, NULL);
}
