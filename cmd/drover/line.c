/* SPDX-License-Identifier: Apache-2.0 */
/* line - the progress line of a terminal: one line, which the next one takes the place of. */
#include "cmd/drover/drover.h"

#include <sys/ioctl.h>
#include <unistd.h>

#define COLUMNS_UNKNOWN 80

static size_t columns(void)
{
	struct winsize w;

	return ioctl(STDERR_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col ? w.ws_col : COLUMNS_UNKNOWN;
}

/* Bytes of @text that are at most @n characters of UTF-8. */
static int bytes_of(const char *text, size_t n)
{
	const char *p;

	for (p = text; *p; p++)
		if (((unsigned char)*p & 0xc0) != 0x80 && !n--) /* a new character, and no room */
			break;
	return (int)(p - text);
}

void line_show(const char *text)
{
	/* In the last column some terminals go to the next line: there it could not be taken back. */
	fprintf(stderr, "\r\033[K%.*s", bytes_of(text, columns() - 1), text);
	fflush(stderr);
}

void line_clear(void)
{
	fputs("\r\033[K", stderr);
}
