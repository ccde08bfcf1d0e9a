/* SPDX-License-Identifier: Apache-2.0 */
/*
 * viewer_int - what a VMM and the process that serves its viewers (viewer.c) say to each other, in packets; the VMM
 * believes nothing of it (rule S).
 */
#ifndef DROVER_HV_CMD_VIEWER_INT_H
#define DROVER_HV_CMD_VIEWER_INT_H

#include "hv/display/picture.h"

#include <stdint.h>

#define VIEWER_PROGRAM "drover-hv-viewer"
#define VIEWER_NO_SANDBOX "--no-sandbox" /* as its second argument; the first is the domain's name */

/* Its descriptors when it begins; 0, 1 and 2 are /dev/null. */
enum viewer_fd {
	VIEWER_FD_VMM = 3,
	VIEWER_FD_LISTEN,
	VIEWER_FD_MEMORY, /* the display's, to be read */
	VIEWER_FD_END
};

enum viewer_op {
	VIEWER_LOOK,    /* number -> struct viewer_answer */
	VIEWER_KEY,     /* code, down */
	VIEWER_POINTER, /* x, y, buttons, wheel: as in struct seat_pointer */
};

/* No bool in it, as in struct broker_question. */
struct viewer_question {
	uint32_t op;
	uint32_t number;
	uint16_t code, x, y;
	uint8_t down, buttons;
	int8_t wheel;
	uint8_t unused[3];
};

struct viewer_answer {
	uint32_t number;             /* of the question */
	uint16_t dispi[DISPI_COUNT]; /* display_registers() */
};

#endif
