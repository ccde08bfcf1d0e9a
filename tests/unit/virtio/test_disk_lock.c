/* SPDX-License-Identifier: Apache-2.0 */
/* One writer per disk, and the record that decides a handover without a cluster (rule H). */
#include "hv/disk/disk_below.h"
#include "hv/disk/disk_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <linux/loop.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
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
	if (system("rm -rf lock-test-run"))
		return -1;
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
	disk_lock_release(l); /* GRANT: the source lets go */
	assert_int_equal(disk_lock_take(disk, false, &d, NULL, &l, &e), 0);
	assert_int_equal(disk_lock_take(disk, false, &s, NULL, &l, &e), -EBUSY); /* it runs there */
	disk_lock_release(l);                                                    /* and then dies */
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
		"",
		"x",
		"{}",
		"[]",
		"{\"drover-disk\": 2}",
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

/* Who may write beside the disk may not write what he names there: a hard link to it, or a backup made of links. */
static void test_rule_s_nothing_is_written_through_another_name(void **state)
{
	struct disk_holder a = holder("n1", 1), h;
	char fresh[sizeof(record) + 8], text[16] = "";
	struct disk_lock *l;
	struct err e = { 0 };
	FILE *f;

	snprintf(fresh, sizeof(fresh), "%s.new", record);
	f = fopen("lock-test-other", "w");
	assert_non_null(f);
	fputs("kept", f);
	fclose(f);
	assert_int_equal(link("lock-test-other", fresh), 0);
	assert_int_equal(disk_lock_take(disk, false, &a, NULL, &l, &e), 0);
	disk_lock_release(l);
	f = fopen("lock-test-other", "r");
	assert_non_null(fgets(text, sizeof(text), f));
	fclose(f);
	assert_string_equal(text, "kept");
	unlink("lock-test-other");
	assert_int_equal(disk_lock_record(disk, NULL, &h, &e), 0);
	assert_string_equal(h.host, "n1");
}

/* "One more than the record says" of the highest there is: a record below zero, which nobody reads any more. */
static void test_rule_s_no_record_is_written_that_cannot_be_read(void **state)
{
	struct disk_holder a = holder("n1", INT64_MAX), h;
	struct disk_lock *l;
	struct err e = { 0 };

	assert_int_equal(disk_lock_take(disk, false, &a, NULL, &l, &e), 0);
	disk_lock_release(l);
	a = holder("n2", (uint64_t)INT64_MAX + 1);
	assert_int_equal(disk_lock_take(disk, false, &a, NULL, &l, &e), -EINVAL);
	assert_non_null(strstr(e.text, "incarnation 9223372036854775808"));
	assert_int_equal(disk_lock_record(disk, NULL, &h, &e), 0);
	assert_string_equal(h.host, "n1");
	assert_int_equal(h.incarnation, INT64_MAX);
	unlink(record);
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

/* A loop device over @file from @offset on; @name gets its path. -1: not on this machine. */
static int loop_over(const char *file, uint64_t offset, char name[32])
{
	struct loop_config c = { .info = { .lo_offset = offset, .lo_flags = LO_FLAGS_AUTOCLEAR } };
	int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC), fd = -1;

	c.fd = (uint32_t)open(file, O_RDWR | O_CLOEXEC);
	for (int tries = 0; control >= 0 && (int)c.fd >= 0 && fd < 0 && tries < 20; tries++) {
		snprintf(name, 32, "/dev/loop%d", ioctl(control, LOOP_CTL_GET_FREE));
		fd = open(name, O_RDWR | O_CLOEXEC);
		if (fd >= 0 && ioctl(fd, LOOP_CONFIGURE, &c)) {
			close(fd);
			fd = -1;
		}
	}
	if (control >= 0)
		close(control);
	if ((int)c.fd >= 0)
		close((int)c.fd);
	return fd;
}

static int take(const char *path, bool readonly, struct disk_lock **l)
{
	struct disk_holder a = holder("n1", 1);
	struct err e = { 0 };

	return disk_lock_take(path, readonly, &a, "lock-test-run", l, &e);
}

static void test_a_loop_device_and_its_file_are_one_disk(void **state)
{
	struct disk_lock *file, *first, *l;
	char a[32], b[32], behind[32];
	int fa, fb, fc;

	assert_int_equal(truncate(disk, 1 << 20), 0);
	fa = loop_over(disk, 0, a);
	fb = loop_over(disk, 0, b);
	fc = loop_over(disk, 512 << 10, behind);
	if (fa < 0 || fb < 0 || fc < 0)
		skip();
	assert_int_equal(take(disk, false, &file), 0);
	assert_int_equal(take(a, false, &l), -EBUSY);
	assert_int_equal(take(a, true, &l), -EBUSY);
	disk_lock_release(file);
	assert_int_equal(take(a, false, &first), 0);
	assert_int_equal(take(disk, false, &l), -EBUSY);
	assert_int_equal(take(b, false, &l), -EBUSY);
	assert_int_equal(take(behind, false, &l), -EBUSY); /* a ends with the file */
	disk_lock_release(first);
	assert_int_equal(take(behind, false, &first), 0);
	assert_int_equal(take(disk, true, &l), -EBUSY);
	disk_lock_release(first);
	close(fa);
	close(fb);
	close(fc);
}

static void test_two_nodes_of_one_device_are_one_disk(void **state)
{
	struct disk_lock *first, *l;
	const char *node = "lock-test-node";
	struct stat st;
	char a[32];
	int fn, fa = loop_over(disk, 0, a);

	unlink(node);
	if (fa < 0 || stat(a, &st) || mknod(node, S_IFBLK | 0600, st.st_rdev))
		skip();
	fn = open(node, O_RDONLY | O_CLOEXEC);
	if (fn < 0) { /* a file system without devices */
		unlink(node);
		skip();
	}
	close(fn);
	assert_int_equal(take(a, false, &first), 0);
	assert_int_equal(take(node, false, &l), -EBUSY);
	assert_int_equal(take(node, true, &l), -EBUSY);
	disk_lock_release(first);
	assert_int_equal(take(node, true, &first), 0);
	assert_int_equal(take(a, true, &l), 0);
	disk_lock_release(l);
	disk_lock_release(first);
	unlink(node);
	close(fa);
}

/* In a sysfs of our own: device 9:@minor, with a file of one line in it. */
static void sysfs(unsigned int minor, const char *file, const char *line)
{
	char path[256], *p;
	FILE *f;

	snprintf(path, sizeof(path), "lock-test-sys/dev/block/9:%u/%s", minor, file);
	for (p = path; (p = strchr(p + 1, '/'));) {
		*p = '\0';
		mkdir(path, 0700);
		*p = '/';
	}
	f = fopen(path, "w");
	assert_non_null(f);
	fprintf(f, "%s\n", line);
	fclose(f);
}

static int below(unsigned int minor, bool readonly, struct disk_below *b, struct err *e)
{
	return disk_below_take_device(makedev(9, minor), "/dev/x", readonly, "lock-test-run", "lock-test-sys", b, e);
}

/* 9:1 and 9:2 are partitions of 9:0; 9:8 and 9:9 are volumes on 9:2. */
static void test_who_stands_on_a_disk_shares_it_with_his_like_alone(void **state)
{
	static const struct {
		unsigned int a, b;
		bool both, reads; /* may b have it as well; only to read? */
	} pair[] = {
		{ 0, 1, false, false },
		{ 1, 0, false, true },
		{ 1, 2, true, true },
		{ 8, 9, true, true },
		{ 8, 8, false, false },
		{ 8, 2, false, true },
		{ 2, 8, false, false },
		{ 8, 0, false, true },
		{ 0, 9, false, false },
		{ 8, 1, true, true },
	};
	struct disk_below a, b;
	struct err e = { 0 };

	sysfs(0, "dev", "9:0");
	assert_int_equal(system("cd lock-test-sys/dev/block && mkdir -p 9:0/p1 9:0/p2 && "
				"ln -sfn 9:0/p1 9:1 && ln -sfn 9:0/p2 9:2"),
			 0);
	sysfs(1, "partition", "1");
	sysfs(2, "partition", "2");
	sysfs(8, "slaves/p2/dev", "9:2");
	sysfs(9, "slaves/p2/dev", "9:2");
	for (size_t i = 0; i < sizeof(pair) / sizeof(pair[0]); i++) {
		assert_int_equal(below(pair[i].a, false, &a, &e), 0);
		assert_int_equal(below(pair[i].b, false, &b, &e), pair[i].both ? 0 : -EBUSY);
		disk_below_release(&b);
		assert_int_equal(below(pair[i].b, true, &b, &e), pair[i].reads ? 0 : -EBUSY);
		disk_below_release(&b);
		disk_below_release(&a);
	}
	assert_int_equal(below(0, true, &a, &e), 0);
	assert_int_equal(below(9, true, &b, &e), 0);
	disk_below_release(&b);
	disk_below_release(&a);
	assert_int_equal(system("rm -rf lock-test-sys"), 0);
}

/* The kernel gives the name of a loop device's file as it is: the lock is that of the whole name, not of its first line. */
static void test_a_file_behind_a_loop_device_has_any_name(void **state)
{
	static const char *const names[] = {
		"lock-test-odd",
		"lock-test-odd\nname",
		"lock-test-odd\n",
		"lock-test odd\\040 (deleted)",
	};
	struct disk_below a, b;
	struct err e = { 0 };
	int fds[4];

	for (size_t i = 0; i < 4; i++) {
		fds[i] = open(names[i], O_RDWR | O_CREAT | O_CLOEXEC, 0600);
		assert_true(fds[i] >= 0);
	}
	for (size_t i = 0; i < 4; i++) {
		sysfs(20, "loop/backing_file", names[i]);
		assert_int_equal(below(20, false, &a, &e), 0);
		for (size_t k = 0; k < 4; k++) {
			assert_int_equal(disk_below_take(fds[k], names[k], false, "lock-test-run", &b, &e),
					 k == i ? -EBUSY : 0);
			disk_below_release(&b);
		}
		disk_below_release(&a);
	}
	for (size_t i = 0; i < 4; i++) {
		close(fds[i]);
		unlink(names[i]);
	}
	/* a file that is gone has no name */
	assert_int_equal(below(20, false, &a, &e), 0);
	disk_below_release(&a);
	assert_int_equal(system("rm -rf lock-test-sys"), 0);
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
		T(test_rule_s_nothing_is_written_through_another_name),
		T(test_rule_s_no_record_is_written_that_cannot_be_read),
		T(test_what_is_not_a_disk),
		T(test_a_loop_device_and_its_file_are_one_disk),
		T(test_who_stands_on_a_disk_shares_it_with_his_like_alone),
		T(test_a_file_behind_a_loop_device_has_any_name),
		T(test_two_nodes_of_one_device_are_one_disk),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
