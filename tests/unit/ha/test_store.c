/* SPDX-License-Identifier: Apache-2.0 */
/* store: what was told durable is there after every kind of end (rule L). */
#include "ha/store.h"
#include "ha/store_int.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

struct bed {
	qb_loop_t *loop;
	char dir[64], path[96];
	struct store *s;
	struct store_image image;
	struct err e;
	uint64_t tokens[64];
	size_t n_tokens, want;
	int failures;
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
	qb_loop_stop(b->loop);
}

static const struct store_ops ops = { .done = on_done, .failed = on_failed };

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

/* A crash inside a write leaves any prefix of the file: whole records stay, the rest goes. */
static void every_torn_tail_is_cut_off_and_the_store_goes_on(void **state)
{
	static const char *const both[] = { "first", "new" };
	size_t whole = STORE_HEADER_LEN + STORE_RECORD_HEAD + 5, cut;
	struct bed *b = *state;
	struct stat st;

	for (cut = 1; cut <= STORE_RECORD_HEAD + 5; cut++) {
		put(b, STORE_SNAPSHOT, "", 0);
		store_close(b->s);
		b->s = NULL;
		unlink(b->path);
		assert_int_equal(reopen(b), 0);
		put(b, STORE_APPEND, "first", 1);
		put(b, STORE_APPEND, "other", 2);
		store_close(b->s);
		b->s = NULL;
		assert_int_equal(stat(b->path, &st), 0);
		assert_int_equal(truncate(b->path, st.st_size - (off_t)cut), 0);
		assert_int_equal(reopen(b), 0);
		expect_entries(b, NULL, both, 1);
		assert_int_equal(b->image.cut, STORE_RECORD_HEAD + 5 - cut);
		put(b, STORE_APPEND, "new", 3);
		assert_int_equal(reopen(b), 0);
		expect_entries(b, NULL, both, 2);
		assert_int_equal(b->image.cut, 0);
	}
	assert_int_equal(whole, 33);
}

static void a_record_with_a_flipped_bit_ends_the_file(void **state)
{
	static const char *const good[] = { "first" };
	struct bed *b = *state;
	uint8_t byte;
	int fd;

	put(b, STORE_APPEND, "first", 1);
	put(b, STORE_APPEND, "other", 2);
	store_close(b->s);
	b->s = NULL;
	fd = open(b->path, O_RDWR);
	assert_int_equal(pread(fd, &byte, 1, 33 + STORE_RECORD_HEAD + 2), 1);
	byte ^= 0x10;
	assert_int_equal(pwrite(fd, &byte, 1, 33 + STORE_RECORD_HEAD + 2), 1);
	close(fd);
	assert_int_equal(reopen(b), 0);
	expect_entries(b, NULL, good, 1);
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

static void a_second_droverd_is_kept_out(void **state)
{
	struct store_image image;
	struct store *second;
	struct bed *b = *state;

	assert_int_equal(store_open(b->loop, b->dir, &ops, b, &second, &image, &b->e), -EBUSY);
	assert_non_null(strstr(b->e.text, "another droverd"));
}

static void a_write_that_fails_is_told_and_nothing_is_claimed(void **state)
{
	struct bed *b = *state;

	/* `record.new` cannot be made: a directory is in its place */
	char blocked[128];

	snprintf(blocked, sizeof(blocked), "%s/record.new", b->dir);
	assert_int_equal(mkdir(blocked, 0700), 0);
	put(b, STORE_SNAPSHOT, "SNAP", 7);
	put(b, STORE_APPEND, "behind it", 8);
	run(b, 64);
	assert_int_equal(b->failures, 1);
	assert_int_equal(b->n_tokens, 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_new_store_is_empty),
		T(puts_are_told_durable_in_their_order_and_read_back),
		T(a_snapshot_replaces_what_was_before_and_appends_go_behind_it),
		T(every_torn_tail_is_cut_off_and_the_store_goes_on),
		T(a_record_with_a_flipped_bit_ends_the_file),
		T(a_file_of_somebody_else_is_refused_and_left_alone),
		T(a_second_droverd_is_kept_out),
		T(a_write_that_fails_is_told_and_nothing_is_claimed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
