/* SPDX-License-Identifier: Apache-2.0 */
/*
 * serial.c - COM1, polled.
 *
 * A byte costs an exit to the VMM (35-75 us measured), so a report line printed
 * at once would look like a gap of many milliseconds.  Text goes to a ring (text.c),
 * and each tick hands at most one transmit FIFO full of it to the UART.
 */
#include "payload.h"

#define COM1 0x3f8
#define LSR 5
#define LSR_DATA 0x01
#define LSR_THRE 0x20
#define PUMP_MAX 8 /* bytes per tick; below the 16 of the FIFO */

void serial_pump(void)
{
	static bool ready;

	if (!text_waiting())
		return;
	if (!ready) {
		out8(COM1 + 2, 0x07); /* FIFO on and empty; 115200 8N1 is what a VMM ignores */
		out8(COM1 + 3, 0x03);
		ready = true;
	}
	if (!(in8(COM1 + LSR) & LSR_THRE))
		return;
	for (int i = 0; i < PUMP_MAX && text_waiting(); i++)
		out8(COM1, text_take());
}

int serial_getc(void)
{
	if (!(in8(COM1 + LSR) & LSR_DATA))
		return -1;
	return in8(COM1);
}
