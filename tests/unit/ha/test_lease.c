/* SPDX-License-Identifier: Apache-2.0 */
/* lease: what a host tells its domains, across restarts of the daemon (rule G). */
#include "ha/vmm/lease.h"

#include "ha/store/boot_mark.h"

#include "base/clock.h"
#include "conf/lease_page.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

static char path[64];

static int setup(void **state)
{
	int fd;

	strcpy(path, "/tmp/drover-lease-XXXXXX");
	fd = mkstemp(path);
	assert_true(fd >= 0);
	close(fd);
	unlink(path);
	return 0;
}

static int teardown(void **state)
{
	unlink(path);
	return 0;
}

/* As a VMM maps it. */
static const struct lease_page *reader_map(void)
{
	int fd = open(path, O_RDONLY);
	void *p = mmap(NULL, LEASE_PAGE_SIZE, PROT_READ, MAP_SHARED, fd, 0);

	assert_true(p != MAP_FAILED);
	close(fd);
	return p;
}

static struct lease *lease_make(void)
{
	struct lease *l;

	assert_int_equal(lease_create(path, &l, NULL), 0);
	return l;
}

static struct lease *lease_found(void)
{
	struct lease *l;

	assert_int_equal(lease_open(path, &l, NULL), 0);
	return l;
}

static void a_new_page_lets_nobody_run(void **state)
{
	struct lease *l = lease_make();

	assert_int_equal(lease_page_until(reader_map()), 0);
	lease_close(l);
}

static void a_reader_sees_what_is_published_and_its_end(void **state)
{
	struct lease *l = lease_make();
	const struct lease_page *p = reader_map();

	lease_publish(l, 123456);
	assert_true(lease_page_until(p) == 123456 * NS_PER_MS);
	lease_publish(l, 0);
	assert_true(lease_page_until(p) == 0);
	lease_close(l);
}

static void a_lease_outlives_the_daemon_and_its_restart(void **state)
{
	uint64_t until = clock_ms() + 2500;
	struct lease *l = lease_make();
	const struct lease_page *p = reader_map();

	lease_publish(l, until);
	lease_close(l);
	assert_true(lease_page_until(p) == until * NS_PER_MS);
	l = lease_found();
	assert_true(lease_until_ms(l) == until);
	assert_true(lease_page_until(p) == until * NS_PER_MS);
	lease_close(l);
}

static void a_lease_of_an_earlier_boot_is_cleared(void **state)
{
	struct lease *l = lease_make();

	lease_publish(l, clock_ms() + LEASE_LONGEST_MS + 60000);
	lease_close(l);
	l = lease_found();
	assert_true(lease_until_ms(l) == 0);
	lease_close(l);
}

static void a_page_of_another_version_is_made_anew(void **state)
{
	struct lease_page strange = { .magic = LEASE_PAGE_MAGIC, .version = 99, .until_ns = UINT64_MAX };
	int fd = open(path, O_RDWR | O_CREAT, 0600);
	struct lease *l;

	assert_int_equal(write(fd, &strange, sizeof(strange)), sizeof(strange));
	close(fd);
	l = lease_found();
	assert_true(lease_until_ms(l) == 0);
	lease_publish(l, 77);
	assert_true(lease_page_until(reader_map()) == 77 * NS_PER_MS);
	lease_close(l);
}

static void a_page_that_cannot_be_made_is_an_error_with_its_path(void **state)
{
	struct err e = { 0 };
	struct lease *l;

	assert_int_equal(lease_create("/nonexistent/lease", &l, &e), -ENOENT);
	assert_non_null(strstr(e.text, "/nonexistent/lease"));
	assert_null(l);
	assert_int_equal(lease_open(path, &l, &e), -ENOENT);
	assert_null(l);
}

/* An old VMM that nobody can kill may have the page of its name before. */
static void a_new_page_is_not_the_old_one(void **state)
{
	struct lease *old = lease_make(), *l;
	const struct lease_page *p = reader_map();

	lease_publish(old, 5);
	l = lease_make();
	lease_publish(l, 99);
	assert_true(lease_page_until(p) == 5 * NS_PER_MS);
	assert_true(lease_page_until(reader_map()) == 99 * NS_PER_MS);
	lease_close(old);
	lease_close(l);
}

static void old_mark(const char *mark, const char *node)
{
	FILE *f = fopen(mark, "w");

	fprintf(f, "00000000-0000-4000-8000-000000000000%s", node);
	fclose(f);
}

/* Only the mark of another kernel says that nothing of a daemon before can be left (boot_mark.h). */
static void without_another_kernels_mark_nothing_is_certain(void **state)
{
	char dir[] = "/tmp/drover-mark-XXXXXX", mark[64];

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(mark, sizeof(mark), "%s/boot_id", dir);
	assert_true(boot_mark(dir, 3));
	assert_true(boot_mark(dir, 3));
	old_mark(mark, " 3\n");
	assert_false(boot_mark(dir, 3));
	assert_true(boot_mark(dir, 3));
	assert_int_equal(truncate(mark, 7), 0);
	assert_true(boot_mark(dir, 3));
	/* Another number answers for what ran on another machine, whatever was started anew here. */
	old_mark(mark, " 3\n");
	assert_true(boot_mark(dir, 5));
	old_mark(mark, " 3\n");
	assert_true(boot_mark(dir, 33));
	old_mark(mark, "");
	assert_true(boot_mark(dir, 3));
	/* One that cannot be replaced would say the same again when a daemon did run. */
	unlink(mark);
	assert_int_equal(mkdir(mark, 0700), 0);
	assert_true(boot_mark(dir, 3));
	rmdir(mark);
	/* Nor is one waited for that somebody would have to write first. */
	assert_int_equal(mkfifo(mark, 0600), 0);
	alarm(5);
	assert_true(boot_mark(dir, 3));
	alarm(0);
	unlink(mark);
	rmdir(dir);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_new_page_lets_nobody_run),
		T(a_reader_sees_what_is_published_and_its_end),
		T(a_lease_outlives_the_daemon_and_its_restart),
		T(a_lease_of_an_earlier_boot_is_cleared),
		T(a_new_page_is_not_the_old_one),
		T(a_page_of_another_version_is_made_anew),
		T(a_page_that_cannot_be_made_is_an_error_with_its_path),
		T(without_another_kernels_mark_nothing_is_certain),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
