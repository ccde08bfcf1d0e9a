/* SPDX-License-Identifier: Apache-2.0 */
/* test_arbiter - what each arbiter says to each side, and when it says nothing (migrate/arbiter.h). */
#include "migrate/arbiter/cluster.h"
#include "migrate/arbiter/disk.h"
#include "migrate/arbiter/none.h"

#include "base/clock.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include <unistd.h>

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define SHORT_MS 20

static int ask(const struct arbiter *a, enum migrate_role role, uint64_t incarnation, enum outcome *out)
{
	struct err e = { 0 };
	int rc = a->ops->ask(a->self, role, role == MIGRATE_SOURCE ? OUTCOME_ABORT : OUTCOME_COMMIT, incarnation, SHORT_MS,
			     out, &e);

	assert_true(rc == 0 || e.text[0]);
	return rc;
}

/* --- none --- */

static void nobody_decides_for_the_source_but_a_person(void **state)
{
	struct arbiter_none n;
	struct arbiter a = arbiter_none_make(&n);
	enum outcome o = 0;

	assert_int_equal(ask(&a, MIGRATE_DESTINATION, 2, &o), 0);
	assert_int_equal(o, OUTCOME_COMMIT);
	assert_int_equal(ask(&a, MIGRATE_SOURCE, 2, &o), -EAGAIN);
	arbiter_none_decide(&n, OUTCOME_ABORT);
	assert_int_equal(ask(&a, MIGRATE_SOURCE, 2, &o), 0);
	assert_int_equal(o, OUTCOME_ABORT);
}

/* --- cluster --- */

struct asked {
	struct arbiter_cluster *c;
	unsigned int times;
	enum outcome proposal;
	uint64_t incarnation;
	pthread_t answer;
};

static struct arbiter cluster_of(struct asked *q, void (*puts)(void *arg, enum outcome proposal, uint64_t incarnation))
{
	arbiter_cluster_init(q->c, puts, q);
	return arbiter_cluster_make(q->c);
}

static void put(void *arg, enum outcome proposal, uint64_t incarnation)
{
	struct asked *q = arg;

	q->times++;
	q->proposal = proposal;
	q->incarnation = incarnation;
}

static void the_cluster_is_asked_until_it_answers_about_this_incarnation(void **state)
{
	struct arbiter_cluster c;
	struct asked q = { .c = &c };
	struct arbiter a = cluster_of(&q, put);
	enum outcome o = 0;
	struct err e;

	assert_int_equal(ask(&a, MIGRATE_SOURCE, 7, &o), -EAGAIN);
	assert_int_equal(ask(&a, MIGRATE_SOURCE, 7, &o), -EAGAIN);
	assert_int_equal(q.times, 2);
	assert_int_equal(q.proposal, OUTCOME_ABORT);
	assert_int_equal(q.incarnation, 7);

	/* Said of another one, it is no answer. */
	assert_int_equal(arbiter_cluster_decide(&c, OUTCOME_COMMIT, 6, &e), 0);
	assert_int_equal(ask(&a, MIGRATE_SOURCE, 7, &o), -EAGAIN);
	assert_int_equal(arbiter_cluster_decide(&c, OUTCOME_COMMIT, 7, &e), 0);
	assert_int_equal(ask(&a, MIGRATE_SOURCE, 7, &o), 0);
	assert_int_equal(o, OUTCOME_COMMIT); /* the opposite of what was proposed */
	arbiter_cluster_fini(&c);
}

static void what_the_cluster_has_said_stands(void **state)
{
	struct arbiter_cluster c;
	struct asked q = { .c = &c };
	struct arbiter a = cluster_of(&q, put);
	enum outcome o = 0;
	struct err e;

	assert_int_equal(arbiter_cluster_decide(&c, OUTCOME_ABORT, 7, &e), 0);
	assert_int_equal(arbiter_cluster_decide(&c, OUTCOME_ABORT, 7, &e), 0);
	assert_int_equal(arbiter_cluster_decide(&c, OUTCOME_COMMIT, 7, &e), -EPERM);
	assert_int_equal(ask(&a, MIGRATE_DESTINATION, 7, &o), 0);
	assert_int_equal(o, OUTCOME_ABORT);
	arbiter_cluster_fini(&c);
}

static void *decide_soon(void *arg)
{
	struct asked *q = arg;
	struct err e;

	usleep(SHORT_MS * 1000);
	assert_int_equal(arbiter_cluster_decide(q->c, OUTCOME_COMMIT, q->incarnation, &e), 0);
	return NULL;
}

static void put_and_be_answered(void *arg, enum outcome proposal, uint64_t incarnation)
{
	struct asked *q = arg;

	put(q, proposal, incarnation);
	assert_int_equal(pthread_create(&q->answer, NULL, decide_soon, q), 0);
}

static void an_answer_wakes_who_waits_for_it(void **state)
{
	struct arbiter_cluster c;
	struct asked q = { .c = &c };
	struct arbiter a = cluster_of(&q, put_and_be_answered);
	enum outcome o = 0;
	struct err e;

	assert_int_equal(a.ops->ask(a.self, MIGRATE_DESTINATION, OUTCOME_COMMIT, 7, 60000, &o, &e), 0);
	assert_int_equal(o, OUTCOME_COMMIT);
	pthread_join(q.answer, NULL);
	assert_int_equal(q.times, 1);
	arbiter_cluster_fini(&c);
}

/* --- disk --- */

struct disk {
	int prepare, commit; /* what they answer */
	bool taken;          /* by the destination, on record */
	uint64_t committed;  /* 0: commit() was not called */
};

static int disk_prepare(void *guest, struct err *e)
{
	const struct disk *d = guest;

	return d->prepare ? err_set(e, d->prepare, "prepare") : 0;
}

static int disk_commit(void *guest, uint64_t incarnation, struct err *e)
{
	struct disk *d = guest;

	d->committed = incarnation;
	return d->commit ? err_set(e, d->commit, "commit") : 0;
}

static bool disk_taken(void *arg)
{
	return ((const struct disk *)arg)->taken;
}

static const struct guest_ops disk_guest = { .prepare = disk_prepare, .commit = disk_commit };

#define COMMIT OUTCOME_COMMIT
#define ABORT OUTCOME_ABORT

/* Who asks, what the disk answers, what follows: 0 = nobody can know yet. */
static const struct {
	enum migrate_role role;
	struct disk disk;
	enum outcome says;
} answers[] = {
	{ MIGRATE_DESTINATION, { 0, 0 }, COMMIT },
	{ MIGRATE_DESTINATION, { -EBUSY }, ABORT },    /* the source took it back, and holds it */
	{ MIGRATE_DESTINATION, { -EPERM }, ABORT },    /* ... and has let go of it since */
	{ MIGRATE_DESTINATION, { 0, -EPERM }, ABORT }, /* ... just now */
	{ MIGRATE_DESTINATION, { -EIO }, 0 },
	{ MIGRATE_DESTINATION, { 0, -EIO }, 0 },
	{ MIGRATE_SOURCE, { 0, 0 }, ABORT },
	{ MIGRATE_SOURCE, { -EBUSY, 0, .taken = true }, COMMIT },
	{ MIGRATE_SOURCE, { -EBUSY, 0, .taken = false }, 0 }, /* a backup has it, or a destination that has not written yet */
	{ MIGRATE_SOURCE, { -EPERM }, COMMIT },
	{ MIGRATE_SOURCE, { 0, -EPERM }, COMMIT },
	{ MIGRATE_SOURCE, { -ENOENT }, 0 },
	{ MIGRATE_SOURCE, { 0, -EIO }, 0 },
};

static void a_disk_says_who_has_it(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
		struct disk disk = answers[i].disk;
		struct arbiter_disk d = { { &disk_guest, &disk }, disk_taken, &disk, .back_incarnation = 8 };
		struct arbiter a = arbiter_disk_make(&d);
		enum outcome o = 0;
		int rc = ask(&a, answers[i].role, 7, &o);

		if (!!rc != !answers[i].says || o != answers[i].says)
			fail_msg("row %zu: %d, outcome %d", i, rc, o);
		/* Above what was granted, so that a late destination can never use that. */
		if (!disk.prepare)
			assert_int_equal(disk.committed, answers[i].role == MIGRATE_SOURCE ? 8 : 7);
		else
			assert_int_equal(disk.committed, 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nobody_decides_for_the_source_but_a_person),
		cmocka_unit_test(the_cluster_is_asked_until_it_answers_about_this_incarnation),
		cmocka_unit_test(what_the_cluster_has_said_stands),
		cmocka_unit_test(an_answer_wakes_who_waits_for_it),
		cmocka_unit_test(a_disk_says_who_has_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
