/* SPDX-License-Identifier: Apache-2.0 */
/* vnc_viewer - see vnc_viewer.h. */
#include "hv/display/vnc_viewer.h"

#include "hv/display/keys.h"

#include <stdlib.h>

/* RFC 6143 7.5.5: from bit 0 on left, middle, right, wheel up, wheel down. */
#define BUTTONS 7
#define WHEEL_UP 8
#define WHEEL_DOWN 16

_Static_assert((SEAT_LEFT | SEAT_MIDDLE | SEAT_RIGHT) == BUTTONS && SEAT_MIDDLE == 2, "buttons are in another order");

struct vnc_viewer {
	struct seat *seat;
	bool down[SEAT_KEYS];
	struct seat_pointer last;
	int wheel; /* bits of it that are down */
};

struct vnc_viewer *vnc_viewer_create(struct seat *seat)
{
	struct vnc_viewer *w = calloc(1, sizeof(*w));

	if (w)
		w->seat = seat;
	return w;
}

void vnc_viewer_destroy(struct vnc_viewer *w)
{
	if (!w)
		return;
	for (uint16_t code = 0; code < SEAT_KEYS; code++)
		if (w->down[code])
			seat_key(w->seat, code, false);
	if (w->last.buttons) {
		w->last.buttons = 0;
		seat_pointer(w->seat, &w->last);
	}
	free(w);
}

/* A viewer repeats what is held; the guest does that itself. */
void vnc_viewer_key(struct vnc_viewer *w, uint32_t keysym, bool down)
{
	uint16_t code = key_by_keysym(keysym);

	if (!code || w->down[code] == down)
		return;
	if (seat_key(w->seat, code, down) || !down)
		w->down[code] = down;
}

static uint16_t place(int at, uint32_t side)
{
	if (at < 0 || side < 2)
		return 0;
	if ((uint32_t)at >= side)
		return SEAT_SIDE;
	return (uint16_t)((uint64_t)at * SEAT_SIDE / (side - 1));
}

/* A turn of the wheel is a button that goes down. */
static int8_t turned(const struct vnc_viewer *w, int buttons)
{
	int fresh = buttons & ~w->wheel;

	return (int8_t)(!!(fresh & WHEEL_UP) - !!(fresh & WHEEL_DOWN));
}

void vnc_viewer_pointer(struct vnc_viewer *w, int x, int y, uint32_t width, uint32_t height, int buttons)
{
	w->last = (struct seat_pointer){
		.x = place(x, width),
		.y = place(y, height),
		.buttons = (uint8_t)(buttons & BUTTONS),
		.wheel = turned(w, buttons),
	};
	w->wheel = buttons & (WHEEL_UP | WHEEL_DOWN);
	seat_pointer(w->seat, &w->last);
	w->last.wheel = 0;
}
