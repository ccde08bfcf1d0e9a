/* SPDX-License-Identifier: Apache-2.0 */
/* domain_text - a domain's file out of a test's text, for tests: read, or refused in so many words. */
#ifndef DROVER_TESTS_CONF_DOMAIN_TEXT_H
#define DROVER_TESTS_CONF_DOMAIN_TEXT_H

#include "conf/domain.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define LEAST "name: web\nmemory: 4G\nkernel: /boot/vmlinuz\n"

static inline struct domain_conf *parse(const char *text)
{
	struct domain_conf *c;
	struct err e = { 0 };

	if (domain_conf_parse("t.yaml", text, strlen(text), &c, &e))
		fail_msg("%s", e.text);
	return c;
}

static inline void refused(const char *text, const char *expected)
{
	struct domain_conf *c = (void *)1;
	struct err e = { 0 };

	assert_int_equal(domain_conf_parse("t.yaml", text, strlen(text), &c, &e), -EINVAL);
	assert_null(c);
	assert_string_equal(e.text, expected);
	assert_int_equal(e.code, -EINVAL);
}

#endif
