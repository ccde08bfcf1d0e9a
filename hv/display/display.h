/* SPDX-License-Identifier: Apache-2.0 */
/*
 * display - a screen: a PCI function that the stock drivers for Bochs' and QEMU's "bochs-display" know.
 *
 *     BAR 0   the memory that is shown, a region of kind video (hv/memory/memory.h)
 *     BAR 2   registers: 0x000 EDID, 0x500 VBE DISPI, 0x600 size and byte order of these (QEMU docs/specs/standard-vga)
 *
 * The guest draws into the memory and says by registers which part of it is the picture; nothing is told when it
 * draws, so who shows the screen looks from time to time (display_look()).  There is no VGA: before a driver or a
 * firmware that knows it has set a mode, the screen is dark.
 */
#ifndef DROVER_HV_DISPLAY_DISPLAY_H
#define DROVER_HV_DISPLAY_DISPLAY_H

#include "hv/device/device.h"
#include "hv/display/picture.h"

#define DISPLAY_BAR_MEMORY 0
#define DISPLAY_BAR_REGISTERS 2
#define DISPLAY_REGISTERS 4096u
#define DISPLAY_REGION "display" /* the name of its region of memory */

struct display;

extern const struct device_kind display_device;

/** display_create() - with @memory bytes (a power of two, 1 MiB or more); out of the guest's reach; display_destroy() it */
int display_create(struct device_env *env, uint64_t memory, struct display **out, struct err *e);
/** display_destroy() - take it from the guest, and free it with its memory; nobody looks at it any more */
void display_destroy(struct display *d);
/** display_plug() - let the guest find it */
void display_plug(struct display *d);
/** display_state_entry() - its state table */
struct state_entry display_state_entry(struct display *d);

/**
 * display_look() - what is on the screen now; any thread
 * Return: the memory that *@p speaks of, the display's and as long there; read it with picture_rgb().
 */
const uint8_t *display_look(struct display *d, struct picture *p);

/** display_registers() - what the guest has written last, for picture_of(); any thread */
void display_registers(struct display *d, uint16_t dispi[DISPI_COUNT]);

/** display_memory() - the memfd of its memory, which nobody can write who gets it, and as long as the display; any thread */
int display_memory(const struct display *d);

#endif
