/* SPDX-License-Identifier: Apache-2.0 */
/*
 * err - the text of an error, made where it happens, with the values.
 *
 * A function that can fail for a reason worth telling takes a `struct err *`
 * as its last parameter, returns 0 or a negative errno, and fills the text
 * exactly once.  The text is one line, without newline, and says what, where
 * and what was expected: "web.yaml:7: memory: got '4X', expected a size such
 * as 4G".  A caller that has something to add (a file name, a peer) puts it in
 * front with err_prefix().  NULL is accepted and means "nobody will read it".
 * Whatever went into it, the text is clean (base/text.h): one line that a
 * terminal shows and that JSON takes.
 */
#ifndef DROVER_BASE_ERR_H
#define DROVER_BASE_ERR_H

#include <stdarg.h>
#include <stdbool.h>

struct err {
	int code; /* the negative errno that was returned, 0 = no error */
	char text[480];
};

/* Exit codes of every Drover program (docs/drover.1, EXIT STATUS). */
enum exit_code {
	EXIT_OK = 0,
	EXIT_ERROR = 1,
	EXIT_USAGE = 2,    /* bad arguments or a bad file */
	EXIT_NOTFOUND = 3, /* no such domain, host, kernel, file */
	EXIT_TIMEOUT = 4,
	EXIT_REFUSED = 5, /* no quorum, no lease, held by somebody else */
};

/**
 * err_set() - fill @e and return @code
 * @e: where the text goes, may be NULL
 * @code: negative errno
 */
int err_set(struct err *e, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
int err_vset(struct err *e, int code, const char *fmt, va_list ap);

/** err_errno() - like err_set() with ": strerror(errno)" behind; returns -errno */
int err_errno(struct err *e, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/** err_prefix() - put "text: " in front of what @e says */
void err_prefix(struct err *e, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/** err_exit_code() - the exit code that fits a negative errno (-ENOENT 3, -ETIMEDOUT 4, -EPERM/-EBUSY 5, -EINVAL 2, else 1) */
int err_exit_code(int code);

/**
 * err_is_shortage() - is @code, a negative errno, a want of descriptors, memory or the like?
 * Then it is this process or its host that could not look, and nothing is known of what was to be looked at.
 */
bool err_is_shortage(int code);

#endif
