/* SPDX-License-Identifier: Apache-2.0 */
/* Pinning: a thread is where it was put, or it is said which CPUs there are not. */
#include "hv/cpu/pin.h"

#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct cpu_list list_of(const char *text)
{
	struct cpu_list l;

	assert_true(cpu_list_read(text, &l));
	return l;
}

static struct cpu_list ours(void)
{
	struct cpu_list l;

	assert_int_equal(pin_read(pthread_self(), &l), 0);
	return l;
}

/* Whatever a test did, the next one may be anywhere again. */
static int teardown(void **state)
{
	return sched_setaffinity(0, sizeof(cpu_set_t), *state);
}

static int setup(void **state)
{
	static cpu_set_t set;

	*state = &set;
	return sched_getaffinity(0, sizeof(set), &set);
}

static void a_thread_is_where_it_was_put(void **state)
{
	struct cpu_list all = ours(), one = { { 0 } }, now;
	unsigned int last = 0;

	for (unsigned int i = 0; i < CPU_LIST_MAX; i++)
		if (cpu_list_has(&all, i))
			last = i;
	cpu_list_put(&one, last);
	assert_int_equal(pin_thread(pthread_self(), &one, 0, NULL), 0);
	now = ours();
	assert_memory_equal(&now, &one, sizeof(one));
	assert_int_equal(sched_getcpu(), last);
}

/* The kernel would take the rest and say nothing. */
static void what_is_not_there_is_named(void **state)
{
	struct cpu_list some = ours(), none = list_of("1022-1023");
	struct err e;

	cpu_list_put(&some, 1023);
	assert_int_equal(pin_thread(pthread_self(), &some, 2, &e), -EPERM);
	assert_string_equal(e.text, "cpu.pin: vCPU 2 cannot run on CPU 1023 of this host: not online");
	assert_int_equal(pin_thread(pthread_self(), &none, 0, &e), -EPERM);
	assert_string_equal(e.text, "cpu.pin: vCPU 0 cannot run on CPU 1022-1023 of this host: not online");
}

static void lists_are_read_and_written_as_the_kernel_does(void **state)
{
	static const char *const good[] = { "0", "1023", "0-3", "0-3,8", "0,2,4", "7-8,10-1023" };
	static const char *const bad[] = { "", ",", "1,", ",1", "3-1", "1-", "-1", "1024", "0-1024", "a", "1 ", " 1", "1;2", "0x1",
					   "99999999999999999999", "1--2", "1-2-3", "+1" };
	char text[CPU_LIST_TEXT], small[8];
	struct cpu_list l, every_second = { { 0 } };

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		l = list_of(good[i]);
		assert_string_equal(cpu_list_print(&l, text, sizeof(text)), good[i]);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(cpu_list_read(bad[i], &l));
	l = list_of("3,1,2,2-5");
	assert_string_equal(cpu_list_print(&l, text, sizeof(text)), "1-5");
	for (unsigned int i = 1; i < CPU_LIST_MAX; i += 2)
		cpu_list_put(&every_second, i);
	assert_true(cpu_list_read(cpu_list_print(&every_second, text, sizeof(text)), &l));
	assert_memory_equal(&l, &every_second, sizeof(l));
	assert_string_equal(cpu_list_print(&every_second, small, sizeof(small)), "1,3,5,7");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_thread_is_where_it_was_put, setup, teardown),
		cmocka_unit_test_setup_teardown(what_is_not_there_is_named, setup, teardown),
		cmocka_unit_test(lists_are_read_and_written_as_the_kernel_does),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
