/* SPDX-License-Identifier: Apache-2.0 */
/* text - see text.h.  UTF-8 as RFC 3629 has it: nothing overlong, no surrogates, up to U+10FFFF. */
#include "base/text.h"

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

unsigned int text_char(const char *text, uint32_t *c)
{
	const unsigned char *s = (const unsigned char *)text;
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	unsigned int n = *s < 0x80 ? 1 : *s >= 0xc2 && *s < 0xe0 ? 2 :
				 *s >= 0xe0 && *s < 0xf0         ? 3 :
				 *s >= 0xf0 && *s < 0xf5         ? 4 :
								   0;
	unsigned int i;

	*c = n == 1 ? *s : n ? *s & (0x7fu >> n) :
			       TEXT_NO_CHAR;
	if (!n)
		return 1;
	for (i = 1; i < n && (s[i] & 0xc0) == 0x80; i++)
		*c = *c << 6 | (s[i] & 0x3f);
	if (i == n && *c >= least[n] && *c <= 0x10ffff && (*c < 0xd800 || *c > 0xdfff))
		return n;
	if (i < n && !s[i])
		return TEXT_CUT_OFF;
	*c = TEXT_NO_CHAR;
	return 1;
}

static bool harmless(uint32_t c)
{
	if (c < 0x20 || (c >= 0x7f && c < 0xa0) || c >= 0xe0000) /* TEXT_NO_CHAR is one */
		return false;
	if (c == 0xfffd || c == 0xfffe || c == 0xffff || c == 0xfeff)
		return false;
	/* separators of lines and paragraphs; marks, embeddings, overrides and isolates of direction */
	return c != 0x61c && c != 0x200e && c != 0x200f && (c < 0x2028 || c > 0x202e) && (c < 0x2066 || c > 0x2069);
}

size_t text_clean(char *s)
{
	const char *from = s;
	char *to = s;
	unsigned int n;
	uint32_t c;

	while (*from && (n = text_char(from, &c)) != TEXT_CUT_OFF) {
		if (!harmless(c)) {
			*to++ = '?';
			from += n;
			continue;
		}
		while (n--)
			*to++ = *from++;
	}
	assert(from >= to); /* it never grows */
	*to = '\0';
	return (size_t)(to - s);
}

void text_copy(char *dst, size_t size, const char *src)
{
	snprintf(dst, size, "%s", src);
	text_clean(dst);
}
