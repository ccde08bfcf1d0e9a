/* SPDX-License-Identifier: Apache-2.0 */
/* picture - see picture.h. */
#include "hv/display/picture.h"

#include <assert.h>
#include <string.h>

static uint32_t depth_of(uint16_t bpp)
{
	return bpp == 16 || bpp == 24 || bpp == 32 ? bpp / 8u : 0;
}

static bool side_ok(uint32_t side)
{
	return side >= PICTURE_SIDE_MIN && side <= PICTURE_SIDE_MAX;
}

/* None of it can overflow: all numbers have 16 bits. */
struct picture picture_of(const uint16_t dispi[DISPI_COUNT], uint64_t memory)
{
	static const struct picture dark;
	uint32_t virt = dispi[DISPI_VIRT_WIDTH];
	struct picture p = { .width = dispi[DISPI_XRES], .height = dispi[DISPI_YRES], .depth = depth_of(dispi[DISPI_BPP]) };

	if (!(dispi[DISPI_ENABLE] & DISPI_ENABLED) || !p.depth || !side_ok(p.width) || !side_ok(p.height))
		return dark;
	p.stride = (virt > p.width ? virt : p.width) * p.depth;
	p.offset = (uint64_t)dispi[DISPI_Y_OFFSET] * p.stride + (uint64_t)dispi[DISPI_X_OFFSET] * p.depth;
	/* The last row ends where its pixels do. */
	if (p.offset + (uint64_t)(p.height - 1) * p.stride + (uint64_t)p.width * p.depth > memory)
		return dark;
	return p;
}

static void put(uint8_t *rgb, unsigned int r, unsigned int g, unsigned int b)
{
	rgb[0] = (uint8_t)r;
	rgb[1] = (uint8_t)g;
	rgb[2] = (uint8_t)b;
}

/* 5-6-5 bits to 8 each: the upper bits once more below, so that white is white. */
static void put_565(uint8_t *rgb, const uint8_t *pixel)
{
	unsigned int v = pixel[0] | (unsigned int)pixel[1] << 8, r = v >> 11, g = v >> 5 & 63, b = v & 31;

	put(rgb, r << 3 | r >> 2, g << 2 | g >> 4, b << 3 | b >> 2);
}

void picture_rgb(const struct picture *p, const uint8_t *memory, uint32_t x, uint32_t y, uint32_t count, uint8_t *rgb)
{
	const uint8_t *from;

	assert(y < p->height && x <= p->width && count <= p->width - x);
	from = memory + p->offset + (uint64_t)y * p->stride + (uint64_t)x * p->depth;
	for (; count; count--, from += p->depth, rgb += PICTURE_RGB)
		if (p->depth == 2)
			put_565(rgb, from);
		else
			put(rgb, from[2], from[1], from[0]);
}
