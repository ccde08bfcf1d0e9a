/* SPDX-License-Identifier: Apache-2.0 */
/* keys - see keys.h; keysyms.c has the names of X. */
#include "hv/display/keys.h"

#include <errno.h>
#include <linux/input-event-codes.h>
#include <string.h>
#include <strings.h>

struct key_name {
	const char *name;
	uint16_t code;
};

/* The names of linux/input-event-codes.h without KEY_, and what people call them. */
static const struct key_name names[] = {
	{ "esc", KEY_ESC },
	{ "escape", KEY_ESC },
	{ "1", KEY_1 },
	{ "2", KEY_2 },
	{ "3", KEY_3 },
	{ "4", KEY_4 },
	{ "5", KEY_5 },
	{ "6", KEY_6 },
	{ "7", KEY_7 },
	{ "8", KEY_8 },
	{ "9", KEY_9 },
	{ "0", KEY_0 },
	{ "minus", KEY_MINUS },
	{ "equal", KEY_EQUAL },
	{ "backspace", KEY_BACKSPACE },
	{ "tab", KEY_TAB },
	{ "q", KEY_Q },
	{ "w", KEY_W },
	{ "e", KEY_E },
	{ "r", KEY_R },
	{ "t", KEY_T },
	{ "y", KEY_Y },
	{ "u", KEY_U },
	{ "i", KEY_I },
	{ "o", KEY_O },
	{ "p", KEY_P },
	{ "leftbrace", KEY_LEFTBRACE },
	{ "rightbrace", KEY_RIGHTBRACE },
	{ "enter", KEY_ENTER },
	{ "ret", KEY_ENTER },
	{ "return", KEY_ENTER },
	{ "leftctrl", KEY_LEFTCTRL },
	{ "ctrl", KEY_LEFTCTRL },
	{ "control", KEY_LEFTCTRL },
	{ "a", KEY_A },
	{ "s", KEY_S },
	{ "d", KEY_D },
	{ "f", KEY_F },
	{ "g", KEY_G },
	{ "h", KEY_H },
	{ "j", KEY_J },
	{ "k", KEY_K },
	{ "l", KEY_L },
	{ "semicolon", KEY_SEMICOLON },
	{ "apostrophe", KEY_APOSTROPHE },
	{ "grave", KEY_GRAVE },
	{ "leftshift", KEY_LEFTSHIFT },
	{ "shift", KEY_LEFTSHIFT },
	{ "backslash", KEY_BACKSLASH },
	{ "z", KEY_Z },
	{ "x", KEY_X },
	{ "c", KEY_C },
	{ "v", KEY_V },
	{ "b", KEY_B },
	{ "n", KEY_N },
	{ "m", KEY_M },
	{ "comma", KEY_COMMA },
	{ "dot", KEY_DOT },
	{ "slash", KEY_SLASH },
	{ "rightshift", KEY_RIGHTSHIFT },
	{ "kpasterisk", KEY_KPASTERISK },
	{ "leftalt", KEY_LEFTALT },
	{ "alt", KEY_LEFTALT },
	{ "space", KEY_SPACE },
	{ "spc", KEY_SPACE },
	{ "capslock", KEY_CAPSLOCK },
	{ "f1", KEY_F1 },
	{ "f2", KEY_F2 },
	{ "f3", KEY_F3 },
	{ "f4", KEY_F4 },
	{ "f5", KEY_F5 },
	{ "f6", KEY_F6 },
	{ "f7", KEY_F7 },
	{ "f8", KEY_F8 },
	{ "f9", KEY_F9 },
	{ "f10", KEY_F10 },
	{ "f11", KEY_F11 },
	{ "f12", KEY_F12 },
	{ "numlock", KEY_NUMLOCK },
	{ "scrolllock", KEY_SCROLLLOCK },
	{ "kp0", KEY_KP0 },
	{ "kp1", KEY_KP1 },
	{ "kp2", KEY_KP2 },
	{ "kp3", KEY_KP3 },
	{ "kp4", KEY_KP4 },
	{ "kp5", KEY_KP5 },
	{ "kp6", KEY_KP6 },
	{ "kp7", KEY_KP7 },
	{ "kp8", KEY_KP8 },
	{ "kp9", KEY_KP9 },
	{ "kpminus", KEY_KPMINUS },
	{ "kpplus", KEY_KPPLUS },
	{ "kpdot", KEY_KPDOT },
	{ "kpenter", KEY_KPENTER },
	{ "kpslash", KEY_KPSLASH },
	{ "102nd", KEY_102ND },
	{ "rightctrl", KEY_RIGHTCTRL },
	{ "rightalt", KEY_RIGHTALT },
	{ "altgr", KEY_RIGHTALT },
	{ "sysrq", KEY_SYSRQ },
	{ "print", KEY_SYSRQ },
	{ "home", KEY_HOME },
	{ "up", KEY_UP },
	{ "pageup", KEY_PAGEUP },
	{ "pgup", KEY_PAGEUP },
	{ "left", KEY_LEFT },
	{ "right", KEY_RIGHT },
	{ "end", KEY_END },
	{ "down", KEY_DOWN },
	{ "pagedown", KEY_PAGEDOWN },
	{ "pgdn", KEY_PAGEDOWN },
	{ "insert", KEY_INSERT },
	{ "ins", KEY_INSERT },
	{ "delete", KEY_DELETE },
	{ "del", KEY_DELETE },
	{ "pause", KEY_PAUSE },
	{ "leftmeta", KEY_LEFTMETA },
	{ "meta", KEY_LEFTMETA },
	{ "super", KEY_LEFTMETA },
	{ "win", KEY_LEFTMETA },
	{ "rightmeta", KEY_RIGHTMETA },
	{ "compose", KEY_COMPOSE },
	{ "menu", KEY_COMPOSE },
	{ "power", KEY_POWER },
};

#define N_NAMES (sizeof(names) / sizeof(names[0]))

uint16_t key_by_name(const char *name, size_t len)
{
	if (len > 4 && !strncasecmp(name, "KEY_", 4)) {
		name += 4;
		len -= 4;
	}
	for (size_t i = 0; i < N_NAMES; i++)
		if (strlen(names[i].name) == len && !strncasecmp(names[i].name, name, len))
			return names[i].code;
	return KEY_RESERVED;
}

int keys_by_names(const char *text, uint16_t keys[KEYS_AT_ONCE], struct err *e)
{
	int n = 0;
	size_t len;

	for (;; text += len + 1) {
		len = strcspn(text, "-");
		if (n == KEYS_AT_ONCE)
			return err_set(e, -EINVAL, "keys: more than %d at once", KEYS_AT_ONCE);
		keys[n] = key_by_name(text, len);
		if (!keys[n])
			return err_set(e, -EINVAL, "keys: '%.*s' is no key; expected names such as ctrl-alt-delete, f5, KEY_A",
				       (int)(len < 32 ? len : 32), text);
		n++;
		if (!text[len])
			return n;
	}
}

/* What is on the keys of the rows of a US keyboard, without and with shift. */
static const struct {
	const char *plain, *shifted;
	uint16_t first; /* the codes of a row follow each other */
} rows[] = {
	{ "1234567890-=", "!@#$%^&*()_+", KEY_1 },
	{ "qwertyuiop[]", "QWERTYUIOP{}", KEY_Q },
	{ "asdfghjkl;'`", "ASDFGHJKL:\"~", KEY_A },
	{ "\\zxcvbnm,./", "|ZXCVBNM<>?", KEY_BACKSLASH },
	{ " ", "", KEY_SPACE },
	{ "\n", "", KEY_ENTER },
	{ "\t", "", KEY_TAB },
};

uint16_t key_by_char(char c, bool *shift)
{
	for (size_t i = 0; c && i < sizeof(rows) / sizeof(rows[0]); i++) {
		const char *at = strchr(rows[i].plain, c);

		*shift = !at;
		if (at)
			return (uint16_t)(rows[i].first + (at - rows[i].plain));
		at = strchr(rows[i].shifted, c);
		if (at)
			return (uint16_t)(rows[i].first + (at - rows[i].shifted));
	}
	return KEY_RESERVED;
}
