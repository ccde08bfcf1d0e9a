/* SPDX-License-Identifier: Apache-2.0 */
/* vnc_viewer - what one viewer of vnc.c presses and points at, on its way to the seat. */
#ifndef DROVER_HV_DISPLAY_VNC_VIEWER_H
#define DROVER_HV_DISPLAY_VNC_VIEWER_H

#include "hv/display/seat.h"

#include <stdbool.h>
#include <stdint.h>

struct vnc_viewer;

/** vnc_viewer_create() - one who has pressed nothing yet; NULL when there is no memory */
struct vnc_viewer *vnc_viewer_create(struct seat *seat);
/** vnc_viewer_destroy() - it is gone: what it held down is let go; NULL is nothing */
void vnc_viewer_destroy(struct vnc_viewer *w);
/** vnc_viewer_key() - it pressed or let go of @keysym, which is hostile (rule S) */
void vnc_viewer_key(struct vnc_viewer *w, uint32_t keysym, bool down);
/** vnc_viewer_pointer() - its pointer is at @x, @y of @width x @height pixels with these @buttons (RFC 6143 7.5.5); hostile too */
void vnc_viewer_pointer(struct vnc_viewer *w, int x, int y, uint32_t width, uint32_t height, int buttons);

#endif
