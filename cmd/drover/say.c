/* SPDX-License-Identifier: Apache-2.0 */
/* say - what a verb has to say at its end: to people, or as JSON to programs. */
#include "cmd/drover/drover.h"

#include "base/text.h"

#include <stdarg.h>
#include <stdio.h>

/* -o json was given: whoever reads our output by program finds an error there too. */
static bool json_errors;
/* ... and whoever reads it line by line finds it in one. */
static bool json_lines;

void say_errors_as_json(bool on)
{
	json_errors = on;
}

void say_lines(void)
{
	json_lines = true;
}

int say_error(int code, const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	/* Names and texts come from anywhere; a terminal obeys some of them, and a line is one line. */
	text_clean(text);
	fprintf(stderr, "drover: %s\n", text);
	if (json_errors) {
		json_t *o = json_pack("{s:i, s:s}", "code", code, "error", text);

		if (json_lines)
			print_json_line(o);
		else
			print_json(o);
		json_decref(o);
	}
	return code;
}

int done(struct drover *d, const char *fmt, ...)
{
	char text[256];
	va_list ap;
	json_t *o;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (d->opt.json) {
		o = json_pack("{s:i, s:s}", "code", 0, "text", text);
		print_json(o);
		json_decref(o);
	} else {
		puts(text);
	}
	return EXIT_OK;
}
