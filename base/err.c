/* SPDX-License-Identifier: Apache-2.0 */
/* err - see err.h: one line of text, made where the error happens. */
#include "base/err.h"

#include "base/text.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define WHOLE_MAX 8192 /* two paths and what is said about them */

/*
 * @whole, which is changed, as the text of @e.  What is wrong with a thing stands behind its name, and a name
 * can be a path of 4095 bytes: of what is too long the middle goes.
 */
static void keep(struct err *e, char whole[WHOLE_MAX])
{
	static const char gap[] = " ... ";
	const size_t room = sizeof(e->text) - sizeof(gap);
	size_t n = text_clean(whole);
	const char *tail;

	if (n < sizeof(e->text)) {
		memcpy(e->text, whole, n + 1);
		return;
	}
	tail = whole + n - room / 2;
	while ((*tail & 0xc0) == 0x80) /* of a character that begins before it */
		tail++;
	text_copy(e->text, room - room / 2 + 1, whole);
	strcat(e->text, gap);
	strcat(e->text, tail);
}

int err_vset(struct err *e, int code, const char *fmt, va_list ap)
{
	char whole[WHOLE_MAX];

	if (e) {
		e->code = code;
		vsnprintf(whole, sizeof(whole), fmt, ap);
		keep(e, whole);
	}
	return code;
}

int err_set(struct err *e, int code, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	err_vset(e, code, fmt, ap);
	va_end(ap);
	return code;
}

/* @fmt, then ": ", then @rest: what does not fit is cut from the former. */
static void join(struct err *e, const char *rest, const char *fmt, va_list ap)
{
	char whole[WHOLE_MAX];
	size_t left = sizeof(whole) - sizeof(": ") - strlen(rest), n;

	vsnprintf(whole, left, fmt, ap);
	n = strlen(whole);
	snprintf(whole + n, sizeof(whole) - n, ": %s", rest);
	keep(e, whole);
}

int err_errno(struct err *e, const char *fmt, ...)
{
	int code = -errno;
	va_list ap;

	if (!e)
		return code;
	e->code = code;
	va_start(ap, fmt);
	join(e, strerror(-code), fmt, ap);
	va_end(ap);
	return code;
}

void err_prefix(struct err *e, const char *fmt, ...)
{
	char tail[sizeof(e->text)];
	va_list ap;

	if (!e)
		return;
	memcpy(tail, e->text, sizeof(tail));
	va_start(ap, fmt);
	join(e, tail, fmt, ap);
	va_end(ap);
}

int err_exit_code(int code)
{
	switch (code) {
	case 0:
		return EXIT_OK;
	case -EINVAL:
	case -EPROTO:
		return EXIT_USAGE;
	case -ENOENT:
	case -ENODEV:
	case -ESRCH:
		return EXIT_NOTFOUND;
	case -ETIMEDOUT:
	case -ETIME:
		return EXIT_TIMEOUT;
	case -EPERM:
	case -EBUSY:
	case -EWOULDBLOCK:
		return EXIT_REFUSED;
	default:
		return EXIT_ERROR;
	}
}

bool err_is_shortage(int code)
{
	return code == -EMFILE || code == -ENFILE || code == -ENOMEM || code == -ENOBUFS || code == -ENOSPC;
}
