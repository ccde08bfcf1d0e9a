/* SPDX-License-Identifier: Apache-2.0 */
/* text.c - what the payload says, in a ring until the serial line takes it. */
#include "payload.h"

#define RING 16384

static char ring[RING];
static uint32_t head, tail;

static void put_char(char c)
{
	if (head - tail == RING)
		return; /* nobody reads: lose text, not time */
	ring[head++ % RING] = c;
}

bool text_waiting(void)
{
	return head != tail;
}

char text_take(void)
{
	return ring[tail++ % RING];
}

void put_str(const char *s)
{
	for (; *s; s++) {
		if (*s == '\n')
			put_char('\r');
		put_char(*s);
	}
}

void put_dec(uint64_t v)
{
	char buf[21];
	int i = 20;

	buf[i] = 0;
	do {
		buf[--i] = '0' + v % 10;
		v /= 10;
	} while (v);
	put_str(buf + i);
}

void put_milli(uint64_t v)
{
	put_dec(v / 1000);
	put_char('.');
	put_char('0' + v / 100 % 10);
	put_char('0' + v / 10 % 10);
	put_char('0' + v % 10);
}

void put_hex(uint64_t v)
{
	put_str("0x");
	for (int shift = 60; shift >= 0; shift -= 4)
		if (v >> shift || !shift)
			put_char("0123456789abcdef"[v >> shift & 15]);
}

void put_kv(const char *key, uint64_t v)
{
	put_char(' ');
	put_str(key);
	put_char('=');
	put_dec(v);
}

void serial_flush(void)
{
	uint64_t end = rdtsc() + tsc_of_us(200000);

	while (text_waiting() && rdtsc() < end)
		serial_pump();
}
