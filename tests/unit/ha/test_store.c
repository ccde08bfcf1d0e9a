/* SPDX-License-Identifier: Apache-2.0 */
/* store: what was told durable is there after every kind of end (rule L). */
#include "ha/store/store.h"
#include "ha/store/store_int.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

struct bed {
	qb_loop_t *loop;
	char dir[64], path[96];
	struct store *s;
	struct store_image image;
	struct err e;
	uint64_t tokens[70000];
	size_t n_tokens, want;
	int failures, recoveries;
	char told[300];
};

static void on_done(void *arg, uint64_t token)
{
	struct bed *b = arg;

	b->tokens[b->n_tokens++] = token;
	if (b->n_tokens == b->want)
		qb_loop_stop(b->loop);
}

static void on_failed(void *arg, const char *text)
{
	struct bed *b = arg;

	b->failures++;
	snprintf(b->told, sizeof(b->told), "%s", text);
	qb_loop_stop(b->loop);
}

static void on_recovered(void *arg)
{
	struct bed *b = arg;

	b->recoveries++;
}

/* fsync() and fdatasync() of this program (--wrap): fail as often as a test says. */
static int syncs_that_fail;

int __real_fsync(int fd);
int __real_fdatasync(int fd);
int __wrap_fsync(int fd);
int __wrap_fdatasync(int fd);

static bool sync_fails(void)
{
	if (__atomic_fetch_sub(&syncs_that_fail, 1, __ATOMIC_SEQ_CST) > 0) {
		errno = EIO;
		return true;
	}
	__atomic_store_n(&syncs_that_fail, 0, __ATOMIC_SEQ_CST);
	return false;
}

int __wrap_fsync(int fd)
{
	return sync_fails() ? -1 : __real_fsync(fd);
}

int __wrap_fdatasync(int fd)
{
	return sync_fails() ? -1 : __real_fdatasync(fd);
}

static const struct store_ops ops = { .done = on_done, .failed = on_failed, .recovered = on_recovered };

static void on_deadline(void *data)
{
	qb_loop_stop(data);
}

static void run(struct bed *b, size_t want)
{
	qb_loop_timer_handle t;

	b->want = want;
	qb_loop_timer_add(b->loop, QB_LOOP_LOW, 5000 * QB_TIME_NS_IN_MSEC, b->loop, on_deadline, &t);
	if (b->n_tokens < want)
		qb_loop_run(b->loop);
	qb_loop_timer_del(b->loop, t);
}

static int reopen(struct bed *b)
{
	store_close(b->s);
	store_image_free(&b->image);
	b->s = NULL;
	return store_open(b->loop, b->dir, &ops, b, &b->s, &b->image, &b->e);
}

static int setup(void **state)
{
	struct bed *b = calloc(1, sizeof(*b));

	strcpy(b->dir, "/tmp/drover-store-XXXXXX");
	assert_non_null(mkdtemp(b->dir));
	snprintf(b->path, sizeof(b->path), "%s/record", b->dir);
	b->loop = qb_loop_create();
	assert_int_equal(reopen(b), 0);
	*state = b;
	return 0;
}

static int teardown(void **state)
{
	struct bed *b = *state;
	char cmd[96];

	store_close(b->s);
	store_image_free(&b->image);
	qb_loop_destroy(b->loop);
	snprintf(cmd, sizeof(cmd), "rm -rf %s", b->dir);
	assert_int_equal(system(cmd), 0);
	free(b);
	return 0;
}

static void put(struct bed *b, enum store_kind kind, const char *text, uint64_t token)
{
	assert_int_equal(store_put(b->s, kind, text, strlen(text), token), 0);
}

static void expect_entries(struct bed *b, const char *snapshot, const char *const *entries, size_t n)
{
	size_t i;

	if (snapshot)
		assert_memory_equal(b->image.snapshot.bytes, snapshot, strlen(snapshot));
	else
		assert_null(b->image.snapshot.bytes);
	assert_int_equal(b->image.n_entries, n);
	for (i = 0; i < n; i++) {
		assert_int_equal(b->image.entries[i].len, strlen(entries[i]));
		assert_memory_equal(b->image.entries[i].bytes, entries[i], strlen(entries[i]));
	}
}

static void a_new_store_is_empty(void **state)
{
	struct bed *b = *state;

	expect_entries(b, NULL, NULL, 0);
}

static void puts_are_told_durable_in_their_order_and_read_back(void **state)
{
	static const char *const entries[] = { "one", "two", "" };
	struct bed *b = *state;
	size_t i;

	for (i = 0; i < 3; i++)
		put(b, STORE_APPEND, entries[i], 10 + i);
	run(b, 3);
	assert_int_equal(b->n_tokens, 3);
	for (i = 0; i < 3; i++)
		assert_int_equal(b->tokens[i], 10 + i);
	assert_int_equal(reopen(b), 0);
	expect_entries(b, NULL, entries, 3);
}

static void a_snapshot_replaces_what_was_before_and_appends_go_behind_it(void **state)
{
	static const char *const after[] = { "three" };
	struct bed *b = *state;

	put(b, STORE_APPEND, "one", 1);
	put(b, STORE_SNAPSHOT, "SNAP", 2);
	put(b, STORE_APPEND, "three", 3);
	run(b, 3);
	assert_int_equal(reopen(b), 0);
	expect_entries(b, "SNAP", after, 1);
	put(b, STORE_SNAPSHOT, "SNAP2", 4);
	run(b, 4);
	assert_int_equal(reopen(b), 0);
	expect_entries(b, "SNAP2", NULL, 0);
}

#define AT_FIRST STORE_HEADER_LEN
#define SIZE(text) (STORE_RECORD_HEAD + sizeof(text) - 1)

static void put_and_wait(struct bed *b, const char *text)
{
	b->n_tokens = 0;
	put(b, STORE_APPEND, text, 1);
	run(b, 1);
	assert_int_equal(b->n_tokens, 1);
}

static void shut(struct bed *b)
{
	store_close(b->s);
	b->s = NULL;
}

static void empty_store(struct bed *b)
{
	char cmd[128];

	shut(b);
	snprintf(cmd, sizeof(cmd), "rm -f %s/record*", b->dir);
	assert_int_equal(system(cmd), 0);
	assert_int_equal(reopen(b), 0);
}

static void flip(struct bed *b, off_t at)
{
	int fd = open(b->path, O_RDWR);
	uint8_t byte;

	assert_int_equal(pread(fd, &byte, 1, at), 1);
	byte ^= 0x10;
	assert_int_equal(pwrite(fd, &byte, 1, at), 1);
	close(fd);
}

/* A crash inside a write leaves any prefix of the file: whole records stay, the rest goes. */
static void every_torn_tail_is_cut_off_and_the_store_goes_on(void **state)
{
	static const char *const both[] = { "first", "new" };
	size_t size = AT_FIRST + 2 * SIZE("first"), cut;
	struct bed *b = *state;

	for (cut = 1; cut <= SIZE("other"); cut++) {
		empty_store(b);
		put(b, STORE_APPEND, "first", 1);
		put(b, STORE_APPEND, "other", 2);
		shut(b);
		assert_int_equal(truncate(b->path, (off_t)(size - cut)), 0);
		assert_int_equal(reopen(b), 0);
		assert_false(b->image.lost);
		expect_entries(b, NULL, both, 1);
		assert_true(b->image.cut <= SIZE("other") - cut);
		put(b, STORE_APPEND, "new", 3);
		assert_int_equal(reopen(b), 0);
		expect_entries(b, NULL, both, 2);
		assert_int_equal(b->image.cut, 0);
	}
}

/* ... and with room allocated ahead, a sector that never arrived reads as zeros. */
static void a_sector_that_never_arrived_is_a_torn_tail(void **state)
{
	static const char *const first[] = { "first" };
	struct bed *b = *state;
	uint8_t big[3000], zeros[512] = { 0 };
	int fd;

	memset(big, 'x', sizeof(big));
	put_and_wait(b, "first");
	assert_int_equal(store_put(b->s, STORE_APPEND, big, sizeof(big), 2), 0);
	run(b, 2);
	shut(b);
	fd = open(b->path, O_RDWR);
	assert_int_equal(pwrite(fd, zeros, 512, 1024), 512);
	close(fd);
	assert_int_equal(reopen(b), 0);
	assert_false(b->image.lost);
	expect_entries(b, NULL, first, 1);
}

static void a_flipped_bit_anywhere_is_a_lost_disk(void **state)
{
	size_t end = AT_FIRST + 3 * SIZE("other"), at;
	struct bed *b = *state;
	char bad[96];

	snprintf(bad, sizeof(bad), "%s/record.bad", b->dir);
	for (at = 0; at < end; at++) {
		empty_store(b);
		put_and_wait(b, "first");
		put_and_wait(b, "other");
		put_and_wait(b, "third");
		shut(b);
		flip(b, (off_t)at);
		assert_int_equal(reopen(b), 0);
		assert_true(b->image.lost);
		assert_non_null(strstr(b->image.why, "damaged at byte"));
		expect_entries(b, NULL, NULL, 0);
		assert_int_equal(access(bad, F_OK), 0);
		put_and_wait(b, "others gave it");
		assert_int_equal(reopen(b), 0);
		assert_false(b->image.lost);
		assert_int_equal(b->image.n_entries, 1);
	}
}

static void acknowledged_records_that_are_missing_are_a_lost_disk(void **state)
{
	struct bed *b = *state;

	put_and_wait(b, "first");
	put_and_wait(b, "other");
	assert_int_equal(reopen(b), 0); /* all of it is sealed now */
	shut(b);
	assert_int_equal(truncate(b->path, AT_FIRST + SIZE("first")), 0);
	assert_int_equal(reopen(b), 0);
	assert_true(b->image.lost);
}

static void more_appends_than_any_count_are_all_kept(void **state)
{
	struct bed *b = *state;
	uint32_t i, n = 66000;

	for (i = 0; i < n; i++)
		assert_int_equal(store_put(b->s, STORE_APPEND, &i, sizeof(i), i), 0);
	run(b, n);
	assert_int_equal(reopen(b), 0);
	assert_int_equal(b->image.n_entries, n);
	assert_int_equal(b->image.cut, 0);
	for (i = 0; i < n; i++)
		assert_memory_equal(b->image.entries[i].bytes, &i, sizeof(i));
}

static void what_a_failed_sync_left_is_written_anew_before_it_is_told_durable(void **state)
{
	static const char *const both[] = { "first", "other" };
	struct bed *b = *state;
	struct stat before, after;

	put_and_wait(b, "first");
	assert_int_equal(stat(b->path, &before), 0);
	syncs_that_fail = 3;
	b->n_tokens = 0;
	put(b, STORE_APPEND, "other", 2);
	run(b, 1);
	assert_int_equal(b->failures, 1);
	assert_int_equal(b->n_tokens, 0);
	assert_non_null(store_failing(b->s));
	run(b, 1);
	assert_int_equal(b->n_tokens, 1);
	assert_int_equal(b->recoveries, 1);
	assert_null(store_failing(b->s));
	assert_int_equal(stat(b->path, &after), 0);
	assert_int_not_equal(before.st_ino, after.st_ino);
	assert_int_equal(reopen(b), 0);
	expect_entries(b, NULL, both, 2);
}

/* An operator cleans up, or restores, under a daemon that runs: what is told durable is found by name. */
static void a_record_that_lost_its_name_is_written_anew(void **state)
{
	static const char *const both[] = { "first", "other" };
	struct bed *b = *state;

	put_and_wait(b, "first");
	assert_int_equal(unlink(b->path), 0);
	b->n_tokens = 0;
	put(b, STORE_APPEND, "other", 2);
	run(b, 1);
	assert_int_equal(b->failures, 0);
	assert_int_equal(b->n_tokens, 1);
	assert_int_equal(reopen(b), 0);
	expect_entries(b, NULL, both, 2);
}

static void nothing_is_durable_in_a_directory_that_lost_its_name(void **state)
{
	static const char *const both[] = { "first", "other" };
	struct bed *b = *state;
	char away[80];

	snprintf(away, sizeof(away), "%s.away", b->dir);
	put_and_wait(b, "first");
	for (int replaced = 0; replaced < 2; replaced++) {
		assert_int_equal(rename(b->dir, away), 0);
		assert_int_equal(replaced ? mkdir(b->dir, 0700) : 0, 0);
		b->n_tokens = 0;
		b->failures = b->recoveries = 0;
		put(b, replaced ? STORE_APPEND : STORE_SNAPSHOT, replaced ? "other" : "whole", 2);
		run(b, 1);
		assert_int_equal(b->failures, 1);
		assert_int_equal(b->n_tokens, 0);
		assert_non_null(strstr(b->told, "another directory is there, or none"));
		assert_int_equal(replaced ? rmdir(b->dir) : 0, 0);
		assert_int_equal(rename(away, b->dir), 0);
		run(b, 1);
		assert_int_equal(b->n_tokens, 1);
		assert_int_equal(b->recoveries, 1);
	}
	assert_int_equal(reopen(b), 0);
	expect_entries(b, "whole", both + 1, 1);
}

static void a_start_trusts_no_page_that_another_process_left(void **state)
{
	struct bed *b = *state;
	struct stat before, after;

	put_and_wait(b, "first");
	assert_int_equal(stat(b->path, &before), 0);
	assert_int_equal(reopen(b), 0);
	assert_int_equal(stat(b->path, &after), 0);
	assert_int_not_equal(before.st_ino, after.st_ino);
	shut(b);
	syncs_that_fail = 2;
	assert_int_equal(reopen(b), 0);
	assert_non_null(store_failing(b->s)); /* read, but nothing to rely on yet */
	syncs_that_fail = 0;
	put_and_wait(b, "other");
	assert_int_equal(b->recoveries, 1);
	assert_null(store_failing(b->s));
}

/* A file system of our own, or skip. */
static void small_disk(struct bed *b, const char *options)
{
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		skip();
	shut(b);
	assert_int_equal(mount("t", b->dir, "tmpfs", 0, options), 0);
	assert_int_equal(reopen(b), 0);
}

static void fill(struct bed *b)
{
	static const char junk[4096] = "x";
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "%s/junk", b->dir);
	fd = open(path, O_CREAT | O_WRONLY, 0600);
	while (write(fd, junk, sizeof(junk)) > 0)
		;
	close(fd);
}

static void no_disk(struct bed *b)
{
	shut(b);
	assert_int_equal(umount2(b->dir, MNT_DETACH), 0);
}

static void a_full_file_system_leaves_the_room_that_was_kept(void **state)
{
	struct bed *b = *state;
	char snap[1000] = "SNAP";
	int i;

	small_disk(b, "size=16m");
	fill(b);
	b->n_tokens = 0;
	for (i = 0; i < 1500; i++) /* as much as the core appends before a snapshot, and more */
		assert_int_equal(store_put(b->s, STORE_APPEND, snap, sizeof(snap), i), 0);
	assert_int_equal(store_put(b->s, STORE_SNAPSHOT, snap, sizeof(snap), i), 0);
	run(b, 1501);
	assert_int_equal(b->n_tokens, 1501);
	assert_int_equal(b->failures, 0);
	assert_int_equal(reopen(b), 0); /* a restart needs no more either */
	assert_null(store_failing(b->s));
	no_disk(b);
}

static void a_full_disk_is_told_once_and_left_behind_when_there_is_room(void **state)
{
	static uint8_t big[600 << 10];
	struct bed *b = *state;
	char junk[128];
	int i;

	small_disk(b, "size=1m");
	fill(b);
	b->n_tokens = 0;
	assert_int_equal(store_put(b->s, STORE_APPEND, big, sizeof(big), 1), 0);
	for (i = 0; i < 3; i++)
		run(b, 1);
	assert_int_equal(b->failures, 1);
	assert_int_equal(b->n_tokens, 0);
	assert_non_null(strstr(b->told, "No space left"));
	snprintf(junk, sizeof(junk), "%s/junk", b->dir);
	assert_int_equal(unlink(junk), 0);
	assert_int_equal(mount("t", b->dir, "tmpfs", MS_REMOUNT, "size=8m"), 0);
	run(b, 1);
	assert_int_equal(b->n_tokens, 1);
	assert_int_equal(b->recoveries, 1);
	no_disk(b);
}

static void a_read_only_disk_is_read_and_told(void **state)
{
	static const char *const first[] = { "first" };
	struct bed *b = *state;

	small_disk(b, "size=8m");
	put_and_wait(b, "first");
	shut(b);
	assert_int_equal(mount("t", b->dir, "tmpfs", MS_REMOUNT | MS_RDONLY, "size=8m"), 0);
	assert_int_equal(reopen(b), 0);
	expect_entries(b, NULL, first, 1);
	assert_non_null(strstr(store_failing(b->s), "Read-only"));
	assert_int_equal(mount("t", b->dir, "tmpfs", MS_REMOUNT, "size=8m"), 0);
	put_and_wait(b, "other");
	assert_int_equal(b->recoveries, 1);
	no_disk(b);
}

static void a_file_of_somebody_else_is_refused_and_left_alone(void **state)
{
	struct bed *b = *state;
	struct stat st;
	int fd;

	store_close(b->s);
	b->s = NULL;
	fd = open(b->path, O_RDWR | O_TRUNC);
	assert_int_equal(write(fd, "this is not a record file", 25), 25);
	close(fd);
	assert_int_equal(reopen(b), -EINVAL);
	assert_non_null(strstr(b->e.text, "not a Drover record file"));
	assert_int_equal(stat(b->path, &st), 0);
	assert_int_equal(st.st_size, 25);
}

/* A backup, or another host's: what it says is read, and that it may be old is told until the core has the record anew. */
static void a_copy_of_the_record_is_told_until_a_snapshot_replaces_it(void **state)
{
	struct bed *b = *state;
	char cmd[640];

	put_and_wait(b, "one");
	assert_int_equal(reopen(b), 0);
	assert_false(b->image.copied);
	shut(b);
	snprintf(cmd, sizeof(cmd), "cp -a %s %s.backup && rm %s && mv %s.backup %s", b->path, b->path, b->path,
		 b->path, b->path);
	assert_int_equal(system(cmd), 0);
	assert_int_equal(reopen(b), 0);
	if (!b->image.copied)
		skip(); /* a file system that does not tell when a file was born */
	expect_entries(b, NULL, (const char *const[]){ "one" }, 1);
	put_and_wait(b, "two");
	assert_int_equal(reopen(b), 0);
	assert_true(b->image.copied);
	expect_entries(b, NULL, (const char *const[]){ "one", "two" }, 2);
	b->n_tokens = 0;
	put(b, STORE_SNAPSHOT, "all", 7);
	run(b, 1);
	assert_int_equal(reopen(b), 0);
	assert_false(b->image.copied);
	assert_int_equal(reopen(b), 0);
	assert_false(b->image.copied);
}

static void a_second_droverd_is_kept_out(void **state)
{
	struct store_image image;
	struct store *second;
	struct bed *b = *state;

	assert_int_equal(store_open(b->loop, b->dir, &ops, b, &second, &image, &b->e), -EBUSY);
	assert_non_null(strstr(b->e.text, "another droverd"));
}

static void a_write_that_cannot_begin_is_told_and_nothing_is_claimed_until_it_can(void **state)
{
	struct bed *b = *state;

	/* `record.new` cannot be made: a directory is in its place */
	char blocked[128];

	snprintf(blocked, sizeof(blocked), "%s/record.new", b->dir);
	shut(b);
	unlink(blocked);
	assert_int_equal(mkdir(blocked, 0700), 0);
	assert_int_equal(reopen(b), 0);
	assert_non_null(strstr(store_failing(b->s), "Is a directory"));
	put(b, STORE_SNAPSHOT, "SNAP", 7);
	put(b, STORE_APPEND, "behind it", 8);
	assert_int_equal(rmdir(blocked), 0);
	run(b, 2);
	assert_int_equal(b->n_tokens, 2);
	assert_int_equal(b->recoveries, 1);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_new_store_is_empty),
		T(puts_are_told_durable_in_their_order_and_read_back),
		T(a_snapshot_replaces_what_was_before_and_appends_go_behind_it),
		T(every_torn_tail_is_cut_off_and_the_store_goes_on),
		T(a_sector_that_never_arrived_is_a_torn_tail),
		T(a_flipped_bit_anywhere_is_a_lost_disk),
		T(acknowledged_records_that_are_missing_are_a_lost_disk),
		T(more_appends_than_any_count_are_all_kept),
		T(what_a_failed_sync_left_is_written_anew_before_it_is_told_durable),
		T(a_record_that_lost_its_name_is_written_anew),
		T(nothing_is_durable_in_a_directory_that_lost_its_name),
		T(a_start_trusts_no_page_that_another_process_left),
		T(a_full_file_system_leaves_the_room_that_was_kept),
		T(a_full_disk_is_told_once_and_left_behind_when_there_is_room),
		T(a_read_only_disk_is_read_and_told),
		T(a_file_of_somebody_else_is_refused_and_left_alone),
		T(a_copy_of_the_record_is_told_until_a_snapshot_replaces_it),
		T(a_second_droverd_is_kept_out),
		T(a_write_that_cannot_begin_is_told_and_nothing_is_claimed_until_it_can),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
