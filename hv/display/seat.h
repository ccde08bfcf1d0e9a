/* SPDX-License-Identifier: Apache-2.0 */
/*
 * seat - who sits before the screen: keys and pointer, on their way to whichever device the guest listens to.
 *
 *     send-key, VNC ──> seat ──> virtio keyboard, virtio tablet; a PS/2 keyboard where the guest has no better
 *
 * Devices join in the order of the machine's table, and each event goes to the first whose driver listens.  A key
 * goes up where it went down, whoever listens by then.  Codes are Linux's (linux/input-event-codes.h), which
 * are those of VIRTIO 1.2 5.8; a device with codes of its own translates.
 *
 * Threads: any.  A device's functions are called with the seat's lock held: they may take the device's and must not
 * call back.
 */
#ifndef DROVER_HV_DISPLAY_SEAT_H
#define DROVER_HV_DISPLAY_SEAT_H

#include <stdbool.h>
#include <stdint.h>

#define SEAT_KEYS 256u   /* codes below this are keys of a keyboard */
#define SEAT_SIDE 32767u /* the pointer is at 0 to this, whatever the size of the screen */
#define SEAT_DEVICES_MAX 4

struct seat;

struct seat_pointer {
	uint16_t x, y;   /* 0 to SEAT_SIDE, from the upper left corner */
	uint8_t buttons; /* that are down: SEAT_LEFT, ... */
	int8_t wheel;    /* turns since the last time, up is positive */
};

enum {
	SEAT_LEFT = 1,
	SEAT_MIDDLE = 2,
	SEAT_RIGHT = 4
};

struct seat_device {
	/* @code goes down or up.  Return: false: the guest does not listen there, or has no room for more.  NULL: no keyboard. */
	bool (*key)(void *dev, uint16_t code, bool down);
	/* The pointer is there now.  Return: as above.  NULL: no pointer. */
	bool (*pointer)(void *dev, const struct seat_pointer *p);
	/* Is there a driver that listens? */
	bool (*listens)(void *dev);
};

/** seat_create() - an empty one; 0 and *@out, seat_destroy() it; -ENOMEM */
int seat_create(struct seat **out);
/** seat_destroy() - nobody uses it any more; NULL is nothing */
void seat_destroy(struct seat *s);

/** seat_join() - @dev hears of what happens at @s from now on; -ENOSPC */
int seat_join(struct seat *s, const struct seat_device *ops, void *dev);
/** seat_leave() - on return it hears nothing any more; nothing when it had not joined; not with a lock that its functions take */
void seat_leave(struct seat *s, void *dev);

/** seat_key() - a key goes down or up; false: nobody has heard of it */
bool seat_key(struct seat *s, uint16_t code, bool down);
/** seat_pointer() - the pointer is there now; false: nobody has heard of it */
bool seat_pointer(struct seat *s, const struct seat_pointer *p);
/** seat_has_keyboard() - is there a keyboard that the guest listens to? */
bool seat_has_keyboard(struct seat *s);

#endif
