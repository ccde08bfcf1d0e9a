/* SPDX-License-Identifier: Apache-2.0 */
/* edid - what a monitor says of itself (VESA E-EDID 1.4), so that drivers know which modes to offer. */
#ifndef DROVER_HV_DISPLAY_EDID_H
#define DROVER_HV_DISPLAY_EDID_H

#include <stdint.h>

#define EDID_SIZE 128u

/** edid_make() - a digital monitor that likes EDID_WIDTH x EDID_HEIGHT best, and knows the usual modes */
void edid_make(uint8_t edid[EDID_SIZE]);

#define EDID_WIDTH 1280u
#define EDID_HEIGHT 800u

#endif
