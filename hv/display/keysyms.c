/* SPDX-License-Identifier: Apache-2.0 */
/*
 * keysyms - the keys of X's names (X Window System Protocol, appendix A; RFC 6143 7.5.4).
 *
 * A viewer says which character its person meant, and shift by itself.  What is sent on is the key that has it on a US
 * keyboard; a guest with another layout sees that key.
 */
#include "hv/display/keys.h"

#include <linux/input-event-codes.h>

static const struct {
	uint32_t first;
	uint16_t n;
	uint16_t codes[12];
} runs[] = {
	{ 0xff08, 2, { KEY_BACKSPACE, KEY_TAB } },
	{ 0xff0d, 1, { KEY_ENTER } },
	{ 0xff13, 3, { KEY_PAUSE, KEY_SCROLLLOCK, KEY_SYSRQ } },
	{ 0xff1b, 1, { KEY_ESC } },
	{ 0xff50, 8, { KEY_HOME, KEY_LEFT, KEY_UP, KEY_RIGHT, KEY_DOWN, KEY_PAGEUP, KEY_PAGEDOWN, KEY_END } },
	{ 0xff61, 1, { KEY_SYSRQ } },
	{ 0xff63, 1, { KEY_INSERT } },
	{ 0xff67, 1, { KEY_COMPOSE } },
	{ 0xff7f, 1, { KEY_NUMLOCK } },
	{ 0xff8d, 1, { KEY_KPENTER } },
	{ 0xff95, 11, { KEY_KP7, KEY_KP4, KEY_KP8, KEY_KP6, KEY_KP2, KEY_KP9, KEY_KP3, KEY_KP1, KEY_KP5, KEY_KP0, KEY_KPDOT } },
	{ 0xffaa, 6, { KEY_KPASTERISK, KEY_KPPLUS, KEY_KPCOMMA, KEY_KPMINUS, KEY_KPDOT, KEY_KPSLASH } },
	{ 0xffb0, 10, { KEY_KP0, KEY_KP1, KEY_KP2, KEY_KP3, KEY_KP4, KEY_KP5, KEY_KP6, KEY_KP7, KEY_KP8, KEY_KP9 } },
	{ 0xffbe, 12, { KEY_F1, KEY_F2, KEY_F3, KEY_F4, KEY_F5, KEY_F6, KEY_F7, KEY_F8, KEY_F9, KEY_F10, KEY_F11, KEY_F12 } },
	{ 0xffe1, 5, { KEY_LEFTSHIFT, KEY_RIGHTSHIFT, KEY_LEFTCTRL, KEY_RIGHTCTRL, KEY_CAPSLOCK } },
	{ 0xffe7, 6, { KEY_LEFTMETA, KEY_RIGHTMETA, KEY_LEFTALT, KEY_RIGHTALT, KEY_LEFTMETA, KEY_RIGHTMETA } },
	{ 0xffff, 1, { KEY_DELETE } },
	{ 0xfe03, 1, { KEY_RIGHTALT } },
};

uint16_t key_by_keysym(uint32_t keysym)
{
	bool shift;

	if (keysym >= ' ' && keysym <= '~')
		return key_by_char((char)keysym, &shift);
	for (unsigned int i = 0; i < sizeof(runs) / sizeof(runs[0]); i++)
		if (keysym >= runs[i].first && keysym - runs[i].first < runs[i].n)
			return runs[i].codes[keysym - runs[i].first];
	return KEY_RESERVED;
}
