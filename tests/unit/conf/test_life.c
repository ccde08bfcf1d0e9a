/* SPDX-License-Identifier: Apache-2.0 */
/* A VMM's last word, as droverd reads it. */
#include "conf/vmm_life.h"
#include "conf/vmm_state.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

static char path[64];

/* What is read of a life that ended with @text, as a VMM or, @raw, as anybody wrote it. */
static struct vmm_life after(const char *text, bool raw)
{
	struct vmm_life l = { 0 };
	char line[600];
	struct err e;
	int fd;

	strcpy(path, "/tmp/drover-life-XXXXXX");
	close(mkstemp(path));
	assert_int_equal(vmm_life_begin(path, 7, &fd, &e), 0);
	if (raw) {
		snprintf(line, sizeof(line), "end failed 1 %s\n", text);
		assert_int_equal(write(fd, line, strlen(line)), strlen(line));
	} else {
		vmm_life_end(fd, VMM_END_FAILED, 1, text);
	}
	close(fd);
	fd = vmm_life_open(path, &e);
	assert_int_equal(vmm_life_look(fd, &l, &e), 0);
	close(fd);
	unlink(path);
	return l;
}

/* It becomes the reason that all hosts show, and JSON takes no half of a character. */
static void a_last_word_is_cut_between_characters(void **state)
{
	char text[400] = "x";
	size_t i, pad;

	for (pad = 0; pad < 2; pad++) {
		for (i = pad; i + 2 < sizeof(text); i += 2)
			memcpy(text + i, "\xc3\xa4", 3);
		assert_int_equal((strlen(after(text, false).text) - pad) % 2, 0);
		assert_int_equal((strlen(after(text, true).text) - pad) % 2, 0);
		assert_true(strlen(after(text, false).text) > VMM_LIFE_TEXT_MAX - 3);
	}
}

static void a_last_word_is_one_harmless_line(void **state)
{
	assert_string_equal(after("a\nend poweroff 0 b\x1b[2J\xc2\x9b\xff", false).text, "a?end poweroff 0 b?[2J??");
	assert_int_equal(after("a\nend poweroff 0 b", false).end, VMM_END_FAILED);
	assert_string_equal(after("a\x1b[2J\xc2\x9b\xff", true).text, "a?[2J??");
}

/* Who lives in it can write it: what droverd wrote before that counts, and what is there twice is spoilt. */
static void a_vmm_gives_itself_no_other_number(void **state)
{
	static const char *const more[] = { "incarnation 8\n", "incarnation 7\n", "file 0-0\n" };
	struct vmm_life l;
	struct err e;
	int fd, read;

	for (size_t i = 0; i < sizeof(more) / sizeof(more[0]); i++) {
		strcpy(path, "/tmp/drover-life-XXXXXX");
		close(mkstemp(path));
		assert_int_equal(vmm_life_begin(path, 7, &fd, &e), 0);
		read = vmm_life_open(path, &e);
		assert_int_equal(vmm_life_look(read, &l, &e), 0);
		assert_int_equal(l.incarnation, 7);
		assert_int_equal(write(fd, more[i], strlen(more[i])), strlen(more[i]));
		assert_int_equal(vmm_life_look(read, &l, &e), -EINVAL);
		assert_true(l.lives && l.incarnation == 7 && !l.copy);
		close(read);
		close(fd);
		unlink(path);
	}
}

static void a_vmm_can_say_each_state_but_those_that_are_droverds_own(void **state)
{
	enum vmm_state s = VMM_STATES;

	(void)state;
	for (enum vmm_state i = 0; i < VMM_STATES; i++) {
		bool own = i != VMM_STARTING && i != VMM_EXITED;

		assert_int_equal(vmm_state_parse(vmm_state_str(i), &s), own ? 0 : -EINVAL);
		if (own)
			assert_int_equal(s, i);
	}
	assert_int_equal(vmm_state_parse("dancing", &s), -EINVAL);
	assert_int_equal(vmm_state_parse(NULL, &s), -EINVAL);
	assert_string_equal(vmm_state_str(VMM_STATES), "?");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_vmm_can_say_each_state_but_those_that_are_droverds_own),
		cmocka_unit_test(a_last_word_is_cut_between_characters),
		cmocka_unit_test(a_last_word_is_one_harmless_line),
		cmocka_unit_test(a_vmm_gives_itself_no_other_number),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
