/* SPDX-License-Identifier: Apache-2.0 */
/*
 * edid - see edid.h.  Numbers in brackets are sections of VESA E-EDID Standard, Release A2 (EDID 1.4).
 *
 * There is no monitor: sizes in millimetres are those of 96 dots per inch, and timings are CVT with reduced blanking,
 * as a driver makes them.
 */
#include "hv/display/edid.h"

#include <string.h>

#define RATE_HZ 60u
#define H_BLANK 160u /* VESA CVT 1.1, 3.4.2: reduced blanking */
#define H_FRONT 48u
#define H_SYNC 32u
#define V_BLANK 23u
#define V_FRONT 3u
#define V_SYNC 6u
#define MM(pixels) ((pixels)*254 / 960)

static void put_u16(uint8_t *p, unsigned int v)
{
	p[0] = (uint8_t)v;
	p[1] = (uint8_t)(v >> 8);
}

/* Standard timings [3.9]: width / 8 - 31, then the ratio of the sides and the rate - 60. */
static void put_standard(uint8_t *p)
{
	static const uint8_t modes[8][2] = {
		{ 1920 / 8 - 31, 3 << 6 }, /* 16:9, 1080 */
		{ 1680 / 8 - 31, 0 << 6 }, /* 16:10, 1050 */
		{ 1440 / 8 - 31, 0 << 6 }, /* 900 */
		{ 1280 / 8 - 31, 2 << 6 }, /* 5:4, 1024 */
		{ 1280 / 8 - 31, 0 << 6 }, /* 800 */
		{ 1024 / 8 - 31, 1 << 6 }, /* 4:3, 768 */
		{ 1, 1 },                  /* none */
		{ 1, 1 },
	};

	memcpy(p, modes, sizeof(modes));
}

/* The preferred mode, as a detailed timing [3.10.2]. */
static void put_detailed(uint8_t *p)
{
	unsigned int w = EDID_WIDTH, h = EDID_HEIGHT;
	unsigned int clock = (w + H_BLANK) * (h + V_BLANK) * RATE_HZ / 10000; /* in 10 kHz */

	put_u16(p, clock);
	p[2] = (uint8_t)w;
	p[3] = (uint8_t)H_BLANK;
	p[4] = (uint8_t)(w >> 8 << 4 | H_BLANK >> 8);
	p[5] = (uint8_t)h;
	p[6] = (uint8_t)V_BLANK;
	p[7] = (uint8_t)(h >> 8 << 4 | V_BLANK >> 8);
	p[8] = (uint8_t)H_FRONT;
	p[9] = (uint8_t)H_SYNC;
	p[10] = (uint8_t)(V_FRONT << 4 | V_SYNC);
	p[12] = (uint8_t)MM(w);
	p[13] = (uint8_t)MM(h);
	p[14] = (uint8_t)(MM(w) >> 8 << 4 | MM(h) >> 8);
	p[17] = 0x1a; /* digital, separate sync, of which the horizontal one is positive */
}

/* What a monitor can take [3.10.3.3.1]; and its name [3.10.3.4]. */
static void put_descriptors(uint8_t *p)
{
	static const uint8_t limits[18] = { 0, 0, 0, 0xfd, 0, 50, 75, 30, 120, 30, 0, '\n', ' ', ' ', ' ', ' ', ' ', ' ' };
	static const uint8_t name[18] = { 0, 0, 0, 0xfc, 0, 'D', 'r', 'o', 'v', 'e', 'r', '\n', ' ', ' ', ' ', ' ', ' ', ' ' };
	static const uint8_t unused[18] = { 0, 0, 0, 0x10 };

	memcpy(p, limits, sizeof(limits));
	memcpy(p + 18, name, sizeof(name));
	memcpy(p + 36, unused, sizeof(unused));
}

void edid_make(uint8_t edid[EDID_SIZE])
{
	static const uint8_t header[8] = { 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0 };
	/* Chromaticity of sRGB [3.7]. */
	static const uint8_t colours[10] = { 0xee, 0x91, 0xa3, 0x54, 0x4c, 0x99, 0x26, 0x0f, 0x50, 0x54 };
	unsigned int sum = 0;

	memset(edid, 0, EDID_SIZE);
	memcpy(edid, header, sizeof(header));
	edid[8] = (uint8_t)(('D' - '@') << 2 | ('R' - '@') >> 3); /* maker "DRV" [3.4.1]: five bits a letter */
	edid[9] = (uint8_t)(('R' - '@') << 5 | ('V' - '@'));
	edid[16] = 0xff; /* the year is that of the model [3.4.4] */
	edid[17] = 2026 - 1990;
	edid[18] = 1;
	edid[19] = 4;
	edid[20] = 0xa0; /* digital, eight bits a colour [3.6.1] */
	edid[21] = (uint8_t)(MM(EDID_WIDTH) / 10);
	edid[22] = (uint8_t)(MM(EDID_HEIGHT) / 10);
	edid[23] = 120;  /* gamma 2.2 [3.6.3] */
	edid[24] = 0x06; /* sRGB; the first detailed timing is the preferred one [3.6.4] */
	memcpy(edid + 25, colours, sizeof(colours));
	edid[35] = 0x21; /* 640x480, 800x600 at 60 Hz [3.8] */
	edid[36] = 0x08; /* 1024x768 */
	put_standard(edid + 38);
	put_detailed(edid + 54);
	put_descriptors(edid + 72);
	for (unsigned int i = 0; i < EDID_SIZE - 1; i++)
		sum += edid[i];
	edid[EDID_SIZE - 1] = (uint8_t)(256 - sum % 256);
}
