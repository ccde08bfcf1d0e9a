/* SPDX-License-Identifier: Apache-2.0 */
/*
 * view - a copy of a screen, for those who show it to others: it finds out what has changed.
 *
 * Nothing tells that a guest has drawn, so each look compares all that is shown with the copy.  That costs
 * what it costs to read it once; whoever does so chooses how often.
 *
 * Threads: one at a time.
 */
#ifndef DROVER_HV_DISPLAY_VIEW_H
#define DROVER_HV_DISPLAY_VIEW_H

#include "hv/display/picture.h"

#define VIEW_PIXEL 4u /* bytes of a pixel in the copy: red, green, blue, nothing */
#define VIEW_DARK_WIDTH 640u
#define VIEW_DARK_HEIGHT 400u

struct view;

struct view_events {
	/* The screen has another size: @pixels are the copy from now on, the one before is freed on return. */
	void (*resized)(void *arg, uint8_t *pixels, uint32_t width, uint32_t height);
	/* The pixels in [@x, @x_end) of rows [@y, @y_end) are other ones. */
	void (*changed)(void *arg, uint32_t x, uint32_t y, uint32_t x_end, uint32_t y_end);
};

/** view_create() - of a dark screen; 0 and *@out, view_destroy() it; -ENOMEM */
int view_create(struct view **out, const struct view_events *events, void *arg);
/** view_destroy() - and its copy; NULL is nothing */
void view_destroy(struct view *v);

/** view_look() - compare with @p of @memory (display_look()) and tell what is new; -ENOMEM: nothing is new yet */
int view_look(struct view *v, const struct picture *p, const uint8_t *memory);
/** view_forget() - the screen is dark as long as nobody looks; gives back the memory of a large copy */
int view_forget(struct view *v);

/** view_pixels() - the copy and its size, rows without a gap; until the next look */
uint8_t *view_pixels(const struct view *v, uint32_t *width, uint32_t *height);

#endif
