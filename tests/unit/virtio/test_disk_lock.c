/* SPDX-License-Identifier: Apache-2.0 */
/* One writer per disk, and the record that decides a handover without a cluster (rule H). */
#include "hv/disk_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static char disk[64], record[80];

static struct disk_holder holder(const char *host, uint64_t incarnation)
{
	struct disk_holder h = { .pid = getpid(), .incarnation = incarnation };

	snprintf(h.domain, sizeof(h.domain), "web");
	snprintf(h.host, sizeof(h.host), "%s", host);
	memset(h.uuid, 0x5a, sizeof(h.uuid));
	return h;
}

static int setup(void **state)
{
	int fd;

	snprintf(disk, sizeof(disk), "lock-test-%d.img", (int)getpid());
	snprintf(record, sizeof(record), "%s.drover", disk);
	unlink(record);
	fd = open(disk, O_RDWR | O_CREAT | O_TRUNC, 0600);
	if (fd < 0 || ftruncate(fd, 4096))
		return -1;
	close(fd);
	return 0;
}

static int teardown(void **state)
{
	unlink(disk);
	unlink(record);
	return 0;
}

static void put_record(const char *text)
{
	FILE *f = fopen(record, "w");

	fputs(text, f);
	fclose(f);
}

static void test_a_second_writer_learns_who_the_first_is(void **state)
{
	struct disk_holder a = holder("n1", 1), b = holder("n2", 2), who;
	struct disk_lock *la, *lb = NULL;
	struct err e = { 0 };
	char want[160];

	assert_int_equal(disk_lock_take(disk, false, &a, NULL, &la, &e), 0);
	assert_int_equal(disk_lock_take(disk, false, &b, NULL, &lb, &e), -EBUSY);
	snprintf(want, sizeof(want), "disk %s is open by domain web (host n1, pid %d)", disk,
		 (int)getpid());
	assert_string_equal(e.text, want);
	assert_int_equal(err_exit_code(-EBUSY), EXIT_REFUSED);
	assert_int_equal(disk_lock_record(disk, NULL, &who, &e), 0);
	assert_int_equal(who.incarnation, 1);
	assert_string_equal(who.host, "n1");
	disk_lock_release(la);
	assert_int_equal(disk_lock_take(disk, false, &b, NULL, &lb, &e), 0);
	disk_lock_release(lb);
}

static void test_rule_h_the_destination_ran_so_the_source_never_resumes(void **state)
{
	struct disk_holder s = holder("n1", 1), d = holder("n2", 2);
	struct disk_lock *l;
	struct err e = { 0 };

	assert_int_equal(disk_lock_take(disk, false, &s, NULL, &l, &e), 0);
	disk_lock_release(l);                                /* GRANT: the source lets go */
	assert_int_equal(disk_lock_take(disk, false, &d, NULL, &l, &e), 0);
	assert_int_equal(disk_lock_take(disk, false, &s, NULL, &l, &e), -EBUSY); /* it runs there */
	disk_lock_release(l);                                /* and then dies */
	assert_int_equal(disk_lock_take(disk, false, &s, NULL, &l, &e), -EPERM); /* it has run there */
	assert_non_null(strstr(e.text, "incarnation 2"));
}

static void test_rule_h_nobody_came_so_the_source_resumes(void **state)
{
	struct disk_holder s = holder("n1", 1);
	struct disk_lock *l;
	struct err e = { 0 };

	assert_int_equal(disk_lock_take(disk, false, &s, NULL, &l, &e), 0);
	disk_lock_release(l);
	assert_int_equal(disk_lock_take(disk, false, &s, NULL, &l, &e), 0);
	disk_lock_release(l);
}

static void test_a_killed_holder_leaves_its_record_but_not_its_lock(void **state)
{
	struct disk_holder a = holder("n1", 3), b = holder("n2", 4), who;
	struct disk_lock *l;
	struct err e = { 0 };
	int ready[2], status;
	char c;
	pid_t pid;

	assert_int_equal(pipe(ready), 0);
	pid = fork();
	if (!pid) {
		if (disk_lock_take(disk, false, &a, NULL, &l, NULL) ||
		    write(ready[1], "x", 1) != 1)
			_exit(1);
		pause();
	}
	assert_int_equal(read(ready[0], &c, 1), 1);
	assert_int_equal(disk_lock_take(disk, false, &b, NULL, &l, &e), -EBUSY);
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	assert_int_equal(disk_lock_record(disk, NULL, &who, &e), 0);
	assert_int_equal(who.incarnation, 3);
	assert_int_equal(disk_lock_take(disk, false, &b, NULL, &l, &e), 0);
	disk_lock_release(l);
	close(ready[0]);
	close(ready[1]);
}

static void test_readers_share_and_keep_writers_out(void **state)
{
	struct disk_holder a = holder("n1", 1);
	struct disk_lock *one, *two, *three;
	struct err e = { 0 };

	assert_int_equal(disk_lock_take(disk, true, &a, NULL, &one, &e), 0);
	assert_int_equal(disk_lock_take(disk, true, &a, NULL, &two, &e), 0);
	assert_int_equal(disk_lock_take(disk, false, &a, NULL, &three, &e), -EBUSY);
	assert_non_null(strstr(e.text, "for reading"));
	assert_int_equal(access(record, F_OK), -1);
	disk_lock_release(one);
	disk_lock_release(two);
	assert_int_equal(disk_lock_take(disk, false, &a, NULL, &three, &e), 0);
	disk_lock_release(three);
}

static void test_another_domain_starts_anew(void **state)
{
	struct disk_holder a = holder("n1", 9), b = holder("n1", 1);
	struct disk_lock *l;
	struct err e = { 0 };

	assert_int_equal(disk_lock_take(disk, false, &a, NULL, &l, &e), 0);
	disk_lock_release(l);
	b.uuid[0] ^= 1;
	assert_int_equal(disk_lock_take(disk, false, &b, NULL, &l, &e), 0);
	disk_lock_release(l);
}

static void test_rule_s_a_record_that_makes_no_sense_is_kept(void **state)
{
	static const char *const bad[] = {
		"", "x", "{}", "[]", "{\"drover-disk\": 2}",
		"{\"drover-disk\":1,\"domain\":\"web\",\"uuid\":\"5a\",\"host\":\"n1\",\"pid\":1,"
		"\"incarnation\":1}",
		"{\"drover-disk\":1,\"domain\":\"web\",\"uuid\":"
		"\"5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a\",\"host\":\"n1\",\"pid\":1,"
		"\"incarnation\":-1}",
		"{\"drover-disk\":1,\"domain\":"
		"\"wwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwww\","
		"\"uuid\":\"5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a\",\"host\":\"n1\",\"pid\":1,"
		"\"incarnation\":1}",
	};
	struct disk_holder a = holder("n1", 1);
	struct disk_lock *l;
	struct err e;
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		put_record(bad[i]);
		e = (struct err){ 0 };
		assert_int_equal(disk_lock_take(disk, false, &a, NULL, &l, &e), -EINVAL);
		assert_non_null(strstr(e.text, "not a record"));
	}
	unlink(record);
	assert_int_equal(disk_lock_take(disk, false, &a, NULL, &l, &e), 0);
	disk_lock_release(l);
}

static void test_what_is_not_a_disk(void **state)
{
	struct disk_holder a = holder("n1", 1);
	struct disk_lock *l;
	struct err e = { 0 };

	assert_int_equal(disk_lock_take("/no/such/disk", false, &a, NULL, &l, &e), -ENOENT);
	assert_int_equal(err_exit_code(-ENOENT), EXIT_NOTFOUND);
	assert_int_equal(disk_lock_take("/dev/null", false, &a, NULL, &l, &e), -EINVAL);
	assert_int_equal(disk_lock_take("/tmp", false, &a, NULL, &l, &e), -EINVAL);
	assert_true(disk_lock_arbitrates(disk));
	assert_false(disk_lock_arbitrates("/dev/null"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		T(test_a_second_writer_learns_who_the_first_is),
		T(test_rule_h_the_destination_ran_so_the_source_never_resumes),
		T(test_rule_h_nobody_came_so_the_source_resumes),
		T(test_a_killed_holder_leaves_its_record_but_not_its_lock),
		T(test_readers_share_and_keep_writers_out),
		T(test_another_domain_starts_anew),
		T(test_rule_s_a_record_that_makes_no_sense_is_kept),
		T(test_what_is_not_a_disk),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
