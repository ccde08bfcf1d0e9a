/* SPDX-License-Identifier: Apache-2.0 */
/*
 * picture - what a display shows: which bytes of its memory are pixels, and how they are read.
 *
 * The registers that say so are the guest's, so nobody believes them (rule S): a picture is made by
 * picture_of() alone, and every byte of it lies inside the memory, or there is no picture.
 */
#ifndef DROVER_HV_DISPLAY_PICTURE_H
#define DROVER_HV_DISPLAY_PICTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PICTURE_SIDE_MIN 64u
#define PICTURE_SIDE_MAX 4096u /* pixels; more do not fit the memory of a display in a mode that anybody uses */
#define PICTURE_RGB 3u         /* bytes of a pixel as picture_rgb() gives it */

/* The VBE DISPI registers (Bochs, vbe_dispi.txt; QEMU docs/specs/standard-vga), as a guest has written them. */
enum dispi_register {
	DISPI_ID,
	DISPI_XRES,
	DISPI_YRES,
	DISPI_BPP,
	DISPI_ENABLE,
	DISPI_BANK,
	DISPI_VIRT_WIDTH,
	DISPI_VIRT_HEIGHT,
	DISPI_X_OFFSET,
	DISPI_Y_OFFSET,
	DISPI_MEMORY_64K,
	DISPI_COUNT
};

#define DISPI_ENABLED 0x01u

struct picture {
	uint32_t width, height; /* pixels, PICTURE_SIDE_MIN to PICTURE_SIDE_MAX; both 0: the screen is dark */
	uint32_t stride;        /* bytes from a row to the next */
	uint32_t depth;         /* bytes of a pixel: 2 (5-6-5), 3 or 4 (blue, green, red, nothing) */
	uint64_t offset;        /* of its first pixel in the memory, bytes */
};

/**
 * picture_of() - what @dispi shows of @memory bytes
 * Return: a dark one unless it is switched on, in a depth that we know, and all of it lies inside.
 */
struct picture picture_of(const uint16_t dispi[DISPI_COUNT], uint64_t memory);

/**
 * picture_rgb() - @count pixels of row @y from @x on, as red, green, blue
 * @memory: where the display's memory begins here
 * The range must lie inside the picture.  What the guest writes meanwhile may be seen or not.
 */
void picture_rgb(const struct picture *p, const uint8_t *memory, uint32_t x, uint32_t y, uint32_t count, uint8_t *rgb);

#endif
