/* SPDX-License-Identifier: Apache-2.0 */
/* err - see err.h: one line of text, made where the error happens. */
#include "base/err.h"

#include "base/text.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

int err_vset(struct err *e, int code, const char *fmt, va_list ap)
{
	if (e) {
		e->code = code;
		vsnprintf(e->text, sizeof(e->text), fmt, ap);
		text_clean(e->text);
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

int err_errno(struct err *e, const char *fmt, ...)
{
	int code = -errno;
	va_list ap;
	size_t n;

	va_start(ap, fmt);
	err_vset(e, code, fmt, ap);
	va_end(ap);
	if (e) {
		n = strlen(e->text);
		snprintf(e->text + n, sizeof(e->text) - n, ": %s", strerror(-code));
		text_clean(e->text);
	}
	return code;
}

void err_prefix(struct err *e, const char *fmt, ...)
{
	char tail[sizeof(e->text)];
	va_list ap;
	size_t n;

	if (!e)
		return;
	memcpy(tail, e->text, sizeof(tail));
	va_start(ap, fmt);
	vsnprintf(e->text, sizeof(e->text), fmt, ap);
	va_end(ap);
	n = strlen(e->text);
	snprintf(e->text + n, sizeof(e->text) - n, ": %.*s",
		 (int)(sizeof(tail) - 1), tail);
	text_clean(e->text);
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
