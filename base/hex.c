/* SPDX-License-Identifier: Apache-2.0 */
/* hex - see hex.h. */
#include "base/hex.h"

int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)(c | 0x20);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int hex_byte(const char *text)
{
	int high = hex_digit(text[0]), low = high < 0 ? -1 : hex_digit(text[1]);

	return low < 0 ? -1 : high << 4 | low;
}

bool hex_read(const char *text, uint8_t *bytes, size_t n)
{
	for (; n; n--, text += 2) {
		int byte = hex_byte(text);

		if (byte < 0)
			return false;
		*bytes++ = (uint8_t)byte;
	}
	return !*text;
}

void hex_print(const uint8_t *bytes, size_t n, char *text)
{
	static const char digits[] = "0123456789abcdef";

	for (; n; n--, bytes++) {
		*text++ = digits[*bytes >> 4];
		*text++ = digits[*bytes & 15];
	}
	*text = '\0';
}
