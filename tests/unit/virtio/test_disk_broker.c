/* SPDX-License-Identifier: Apache-2.0 */
/* The broker of disks: what it hands over is as good as one's own, and what it does not hand over nobody gets. */
#include "hv/disk/disk_broker_int.h"
#include "tests/unit/usage.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#define ROUNDS 100

static char disk[64], other[64], record[80];

static struct disk_holder holder(uint64_t incarnation)
{
	struct disk_holder h = { .pid = getpid(), .incarnation = incarnation, .domain = "web", .host = "n1" };

	memset(h.uuid, 0x5a, sizeof(h.uuid));
	return h;
}

static void file_make(const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, 4096), 0);
	close(fd);
}

static int setup(void **state)
{
	snprintf(disk, sizeof(disk), "broker-test-%d.img", (int)getpid());
	snprintf(other, sizeof(other), "broker-test-%d.ro", (int)getpid());
	snprintf(record, sizeof(record), "%s.drover", disk);
	file_make(disk);
	file_make(other);
	return 0;
}

static int teardown(void **state)
{
	unlink(disk);
	unlink(other);
	unlink(record);
	return 0;
}

static struct disk_broker *start(void)
{
	const struct disk_broker_disk disks[] = { { disk, false }, { other, true } };
	struct disk_broker *b;
	struct err e;

	if (disk_broker_start(&b, disks, 2, NULL, 0, &e))
		fail_msg("%s", e.text);
	return b;
}

static struct disk_lock *take(struct disk_broker *b)
{
	struct disk_store store;
	struct disk_lock *l;
	struct err e;

	if (disk_broker_prepare(b, disk, false, true, &l, &store, &e))
		fail_msg("%s", e.text);
	assert_string_not_equal(store.type, "");
	return l;
}

/* What another VMM on this host would be told. */
static int others_try(struct err *e)
{
	struct disk_lock *l;
	int ret = disk_lock_prepare(disk, false, NULL, &l, e);

	if (!ret)
		disk_lock_release(l);
	return ret;
}

static bool there(const char *name)
{
	char path[100];

	snprintf(path, sizeof(path), "%s%s", disk, name);
	return !access(path, F_OK);
}

/* --- as one's own --- */

static void test_lock_record_and_disk_are_as_ones_own(void **state)
{
	struct disk_holder me = holder(3), back;
	struct disk_broker *b = start();
	struct disk_lock *l = take(b);
	struct err e;

	assert_null(disk_lock_last(l));
	assert_true(there(".drover.new")); /* room for the record, kept by the broker */
	assert_int_equal(pwrite(disk_lock_fd(l), "x", 1, 0), 1);
	assert_int_equal(others_try(&e), -EBUSY);
	assert_int_equal(disk_lock_commit(l, &me, NULL), 0);
	assert_int_equal(others_try(&e), -EBUSY);
	assert_non_null(strstr(e.text, "open by domain web (host n1"));
	assert_int_equal(disk_broker_record(b, disk, &back, NULL), 0);
	assert_true(disk_holder_same(&me, &back));
	disk_lock_release(l);
	assert_int_equal(others_try(NULL), 0);
	l = take(b);
	assert_int_equal(disk_lock_last(l)->incarnation, 3);
	me.incarnation = 2;
	assert_int_equal(disk_lock_check(l, &me, 2, &e), -EPERM);
	disk_lock_release(l);
	assert_false(there(".drover.new"));
	disk_broker_stop(b);
}

static void test_undo_puts_the_record_back(void **state)
{
	struct disk_holder one = holder(1), two = holder(2), back;
	struct disk_broker *b = start();
	struct disk_lock *l = take(b);

	assert_int_equal(disk_lock_commit(l, &one, NULL), 0);
	assert_int_equal(disk_lock_undo(l, NULL), 0);
	assert_int_equal(disk_broker_record(b, disk, &back, NULL), -ENOENT);
	assert_int_equal(disk_lock_commit(l, &one, NULL), 0);
	disk_lock_release(l);
	l = take(b);
	assert_int_equal(disk_lock_commit(l, &two, NULL), 0);
	assert_int_equal(disk_lock_undo(l, NULL), 0);
	assert_int_equal(disk_broker_record(b, disk, &back, NULL), 0);
	assert_int_equal(back.incarnation, 1);
	disk_lock_release(l);
	disk_broker_stop(b);
}

/* The broker's answer and one's own are the same; a file made anew under the name is another one. */
static void test_a_disk_that_lost_its_name_is_told(void **state)
{
	struct disk_broker *brokers[] = { start(), NULL };
	struct disk_lock *l;
	struct err e;
	char old[80];

	snprintf(old, sizeof(old), "%s.old", disk);
	for (size_t i = 0; i < 2; i++) {
		l = take(brokers[i]);
		assert_int_equal(disk_lock_named(l, &e), 0);
		assert_int_equal(rename(disk, old), 0);
		assert_int_equal(disk_lock_named(l, &e), -ESTALE);
		assert_non_null(strstr(e.text, "nothing there any more"));
		file_make(disk);
		assert_int_equal(disk_lock_named(l, &e), -ESTALE);
		assert_non_null(strstr(e.text, "not the one that the domain has open"));
		assert_int_equal(unlink(disk) || symlink(old, disk), 0);
		assert_int_equal(disk_lock_named(l, &e), 0);
		assert_int_equal(unlink(disk) || mkfifo(disk, 0600), 0); /* waits for nobody */
		assert_int_equal(disk_lock_named(l, &e), -ESTALE);
		assert_int_equal(rename(old, disk), 0);
		assert_int_equal(disk_lock_named(l, &e), 0);
		disk_lock_release(l);
		disk_broker_stop(brokers[i]);
	}
}

static void test_a_probe_takes_and_leaves_nothing(void **state)
{
	struct disk_broker *b = start();
	struct disk_lock *l = take(b);
	struct disk_store store;
	int fd;

	assert_int_equal(disk_broker_probe(b, disk, false, &fd, &store, NULL), 0);
	close(fd);
	assert_int_equal(disk_broker_arbitrates(b, disk), disk_lock_arbitrates(disk));
	assert_int_equal(others_try(NULL), -EBUSY);
	disk_lock_release(l);
	assert_int_equal(others_try(NULL), 0);
	disk_broker_stop(b);
}

static void test_nothing_leaks(void **state)
{
	struct disk_broker *b = start();
	unsigned int before = usage_entries("/proc/self/fd");
	struct disk_store store;
	struct disk_lock *l;
	int fd;

	for (int i = 0; i < ROUNDS; i++) {
		l = take(b);
		assert_int_equal(disk_broker_probe(b, disk, true, &fd, &store, NULL), 0);
		close(fd);
		disk_lock_release(l);
	}
	assert_int_equal(usage_entries("/proc/self/fd"), before);
	disk_broker_stop(b);
	assert_int_equal(usage_entries("/proc/self/fd"), before - 1);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* no child is left */
}

/* --- when one of the two ends --- */

/* Its own copy would keep the lock until it, too, is gone: too late for who starts the domain anew. */
static void test_a_lock_ends_with_the_vmm_that_was_killed(void **state)
{
	int ready[2], status;
	char c;
	pid_t vmm;

	for (int i = 0; i < ROUNDS / 5; i++) {
		assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
		vmm = fork();
		if (!vmm) {
			take(start());
			if (write(ready[1], "x", 1) == 1)
				pause();
			_exit(1);
		}
		assert_int_equal(read(ready[0], &c, 1), 1);
		assert_int_equal(others_try(NULL), -EBUSY);
		assert_int_equal(kill(vmm, SIGKILL), 0);
		assert_int_equal(waitpid(vmm, &status, 0), vmm);
		assert_int_equal(others_try(NULL), 0);
		close(ready[0]);
		close(ready[1]);
	}
}

static pid_t only_child(void)
{
	char path[64];
	FILE *f;
	int pid = 0;

	snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int)gettid());
	f = fopen(path, "re");
	assert_non_null(f);
	assert_int_equal(fscanf(f, "%d", &pid), 1);
	fclose(f);
	return pid;
}

static void test_a_broker_that_is_gone_is_told_of_and_the_lock_is_kept(void **state)
{
	struct disk_broker *b = start();
	struct disk_lock *l = take(b), *second;
	struct disk_holder me = holder(1);
	struct disk_store store;
	struct err e;

	assert_int_equal(kill(only_child(), SIGKILL), 0);
	assert_int_equal(disk_lock_commit(l, &me, &e), -EPIPE);
	assert_non_null(strstr(e.text, "the process that opens disks has ended"));
	assert_int_equal(disk_broker_prepare(b, other, true, false, &second, &store, &e), -EPIPE);
	assert_false(disk_broker_arbitrates(b, disk));
	assert_int_equal(others_try(NULL), -EBUSY);
	disk_lock_release(l);
	assert_int_equal(others_try(NULL), 0);
	disk_broker_stop(b);
	unlink(record);
}

/* Else what came next would be the answer to another question: one disk's descriptor for another disk. */
static void test_an_answer_that_found_no_room_is_not_the_next_ones(void **state)
{
	struct disk_broker *b = start();
	struct rlimit was, none;
	struct stat st, wanted;
	struct disk_store store;
	struct disk_lock *l;
	struct err e;
	int fd = dup(STDIN_FILENO);

	assert_true(fd >= 0);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &was), 0);
	none = was;
	none.rlim_cur = (rlim_t)fd;
	close(fd);
	for (int i = 0; i < BROKER_LOCKS_MAX + 1; i++) {
		assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
		assert_int_equal(disk_broker_prepare(b, i % 2 ? disk : other, !(i % 2), false, &l, &store, &e), -EMFILE);
		assert_int_equal(disk_broker_probe(b, other, true, &fd, &store, NULL), -EMFILE);
		assert_int_equal(setrlimit(RLIMIT_NOFILE, &was), 0);
	}
	assert_non_null(strstr(e.text, "no room for its descriptors"));
	assert_int_equal(others_try(NULL), 0);
	l = take(b);
	assert_int_equal(fstat(disk_lock_fd(l), &st), 0);
	assert_int_equal(stat(disk, &wanted), 0);
	assert_int_equal(st.st_ino, wanted.st_ino);
	disk_lock_release(l);
	assert_false(there(".drover.new"));
	disk_broker_stop(b);
}

/* The life file of a domain says by who has it open that it lives; a log by who could still write to it. */
static void test_a_broker_has_nothing_of_its_vmms_open(void **state)
{
	char path[64], link[64], to[64];
	struct disk_broker *b = start();
	struct disk_lock *l = take(b);
	unsigned int sockets = 0;
	struct dirent *de;
	ssize_t n;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)only_child());
	d = opendir(path);
	assert_non_null(d);
	while ((de = readdir(d))) {
		if (de->d_name[0] == '.')
			continue;
		snprintf(link, sizeof(link), "%.32s/%.16s", path, de->d_name);
		n = readlink(link, to, sizeof(to) - 1);
		to[n > 0 ? n : 0] = '\0';
		sockets += !strncmp(to, "socket:", 7);
		if (strncmp(to, "socket:", 7) && strcmp(to, "/dev/null"))
			fail_msg("the broker has %s open", to);
	}
	closedir(d);
	assert_int_equal(sockets, 1);
	disk_lock_release(l);
	disk_broker_stop(b);
}

/* --- what is not served --- */

static void test_other_paths_are_not_served(void **state)
{
	struct disk_broker *b = start();
	struct disk_holder h;
	struct disk_store store;
	struct disk_lock *l;
	struct err e;
	int fd;

	assert_int_equal(disk_broker_prepare(b, "/etc/passwd", true, false, &l, &store, &e), -EPERM);
	assert_string_equal(e.text, "disk /etc/passwd: not one that this VMM was started with");
	assert_int_equal(disk_broker_probe(b, "/etc/passwd", true, &fd, &store, NULL), -EPERM);
	assert_int_equal(disk_broker_record(b, "/etc/passwd", &h, NULL), -EPERM);
	assert_false(disk_broker_arbitrates(b, "/etc/passwd"));
	/* one that the domain may only read */
	assert_int_equal(disk_broker_prepare(b, other, false, false, &l, &store, &e), -EPERM);
	assert_int_equal(disk_broker_prepare(b, other, true, false, &l, &store, NULL), 0);
	assert_int_equal(fcntl(disk_lock_fd(l), F_GETFL) & O_ACCMODE, O_RDONLY);
	disk_lock_release(l);
	disk_broker_stop(b);
}

static void test_errors_come_as_they_are(void **state)
{
	struct disk_broker *b = start();
	struct disk_store store;
	struct disk_lock *l;
	struct err e;

	unlink(disk);
	assert_int_equal(disk_broker_prepare(b, disk, false, true, &l, &store, &e), -ENOENT);
	assert_int_equal(e.code, -ENOENT);
	assert_non_null(strstr(e.text, "No such file"));
	disk_broker_stop(b);
}

/* --- a VMM that its guest has taken over --- */

static void *serve(void *arg)
{
	const struct disk_broker_disk disks[] = { { disk, false } };
	int sock = *(int *)arg;

	broker_serve(sock, disks, 1);
	close(sock);
	return NULL;
}

/* @shown: a descriptor that goes with it, -1: none */
static int ask(int sock, const struct broker_question *q, int shown, struct err *e)
{
	struct broker_answer a;
	int fds[PACKET_FDS_MAX];
	size_t n;

	assert_int_equal(packet_send(sock, q, sizeof(*q), &shown, shown >= 0), 0);
	assert_int_equal(packet_receive(sock, &a, sizeof(a), fds, &n), 0);
	assert_int_equal(n, 0);
	*e = a.err;
	return a.ret;
}

/* A yes that is neither 0 nor 1: not half of it is taken for a reader's question and half for a writer's. */
static void test_a_question_is_yes_or_no(void **state)
{
	static const uint8_t odd[] = { 2, 3, 4, 254, 255 };
	struct broker_question q = { .op = BROKER_PROBE };
	struct err e;
	int pair[2];
	pthread_t t;

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(pthread_create(&t, NULL, serve, &pair[1]), 0);
	snprintf(q.path, sizeof(q.path), "%s", disk);
	for (size_t i = 0; i < 2 * sizeof(odd); i++) {
		q.op = i % 2 ? BROKER_PROBE : BROKER_PREPARE;
		q.readonly = odd[i / 2];
		q.unmounted = 0;
		assert_int_equal(ask(pair[0], &q, -1, &e), -EINVAL);
		q.readonly = 1;
		q.unmounted = odd[i / 2];
		assert_int_equal(ask(pair[0], &q, -1, &e), -EINVAL);
	}
	close(pair[0]);
	pthread_join(t, NULL);
}

static void test_hostile_questions_are_refused(void **state)
{
	struct broker_question q = { .op = 99 };
	struct broker_answer a;
	int pair[2], fd, fds[PACKET_FDS_MAX], none[PACKET_FDS_MAX];
	unsigned int before;
	size_t n, n_none;
	pthread_t t;
	struct err e;
	char closed;

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(pthread_create(&t, NULL, serve, &pair[1]), 0);
	assert_int_equal(ask(pair[0], &q, -1, &e), -EINVAL);
	q.op = BROKER_COMMIT;
	assert_int_equal(ask(pair[0], &q, -1, &e), -EINVAL);
	q.handle = UINT32_MAX;
	assert_int_equal(ask(pair[0], &q, -1, &e), -EINVAL);
	assert_string_equal(e.text, "disk: there is no lock 4294967295, or it is not there any more");
	q.op = BROKER_RELEASE;
	assert_int_equal(ask(pair[0], &q, -1, &e), -EINVAL);
	q.op = BROKER_PREPARE;
	memset(q.path, 'a', sizeof(q.path)); /* without an end */
	assert_int_equal(ask(pair[0], &q, -1, &e), -EPERM);
	/* names without an end in what is to be recorded */
	snprintf(q.path, sizeof(q.path), "%s", disk);
	assert_int_equal(packet_send(pair[0], &q, sizeof(q), NULL, 0), 0);
	assert_int_equal(packet_receive(pair[0], &a, sizeof(a), fds, &n), 0);
	assert_int_equal(a.ret, 0);
	assert_int_equal(packet_receive(pair[0], &closed, 1, none, &n_none), 0);
	memset(&q.me, 'b', sizeof(q.me));
	q.op = BROKER_COMMIT;
	q.handle = a.handle;
	q.me.incarnation = 1;
	/* what nobody could read again would lock the next one out */
	q.me.pid = -1;
	assert_int_equal(ask(pair[0], &q, fds[0], &e), -EINVAL);
	q.me.pid = 1;
	/* a record is written for who shows the lock of that disk */
	assert_int_equal(ask(pair[0], &q, -1, &e), -EINVAL);
	assert_int_equal(ask(pair[0], &q, pair[0], &e), -EINVAL);
	fd = open(other, O_RDWR | O_CLOEXEC);
	assert_int_equal(ask(pair[0], &q, fd, &e), -EINVAL);
	close(fd);
	fd = open(disk, O_RDWR | O_CLOEXEC); /* the disk, but somebody else has its lock */
	assert_int_equal(ask(pair[0], &q, fd, &e), -EINVAL);
	close(fd);
	assert_int_equal(ask(pair[0], &q, fds[0], &e), 0);
	q.op = BROKER_RELEASE;
	assert_int_equal(ask(pair[0], &q, fds[0], &e), 0);
	assert_int_equal(ask(pair[0], &q, fds[0], &e), -EINVAL);
	while (n)
		close(fds[--n]);
	/* descriptors that nobody asked for */
	before = usage_entries("/proc/self/fd");
	q.op = 99;
	assert_int_equal(packet_send(pair[0], &q, sizeof(q), pair, 2), 0);
	assert_int_equal(packet_receive(pair[0], &a, sizeof(a), fds, &n), 0);
	assert_int_equal(usage_entries("/proc/self/fd"), before);
	/* a piece of a question is the end */
	assert_int_equal(packet_send(pair[0], &q, sizeof(q) - 1, NULL, 0), 0);
	pthread_join(t, NULL);
	assert_int_equal(packet_receive(pair[0], &a, sizeof(a), fds, &n), -EPIPE);
	close(pair[0]);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_lock_record_and_disk_are_as_ones_own),
		TEST(test_undo_puts_the_record_back),
		TEST(test_a_disk_that_lost_its_name_is_told),
		TEST(test_a_probe_takes_and_leaves_nothing),
		TEST(test_nothing_leaks),
		TEST(test_a_lock_ends_with_the_vmm_that_was_killed),
		TEST(test_a_broker_that_is_gone_is_told_of_and_the_lock_is_kept),
		TEST(test_an_answer_that_found_no_room_is_not_the_next_ones),
		TEST(test_a_broker_has_nothing_of_its_vmms_open),
		TEST(test_other_paths_are_not_served),
		TEST(test_errors_come_as_they_are),
		TEST(test_a_question_is_yes_or_no),
		TEST(test_hostile_questions_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
