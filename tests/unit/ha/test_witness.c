/* SPDX-License-Identifier: Apache-2.0 */
/* A storage witness in a real file: what is made, read, refused; and claims from several loops at once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "ha/witness/witness.h"
#include "ha/witness/witness_disk.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <qb/qbloop.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define ID 0x1122334455667788ull
#define CLUSTER 77

/* In place of libc's, in the worker too: one write may fail that has arrived. */
static atomic_bool *fails;

ssize_t pwrite(int fd, const void *buf, size_t n, off_t at)
{
	ssize_t rc = syscall(SYS_pwrite64, fd, buf, n, at);

	if (!fails || !atomic_exchange(fails, false))
		return rc;
	errno = EIO;
	return -1;
}

static char dir[] = "witness.XXXXXX", path[64];

static int make(void **state)
{
	struct err e = { 0 };

	(void)state;
	if (!mkdtemp(dir))
		return -1;
	snprintf(path, sizeof(path), "%s/w", dir);
	return witness_disk_make(path, ID, &e);
}

static int unmake(void **state)
{
	(void)state;
	char lock[80];

	unlink(path);
	for (uint32_t me = 1; me <= 2; me++) {
		snprintf(lock, sizeof(lock), "%s/lock%u", dir, me);
		unlink(lock);
	}
	rmdir(dir);
	strcpy(dir + strlen(dir) - 6, "XXXXXX");
	return 0;
}

static void spoil(off_t at)
{
	int fd = open(path, O_RDWR);

	assert_int_equal(pwrite(fd, "x", 1, at), 1);
	close(fd);
}

static void what_was_written_is_read(void **state)
{
	struct witness_beat beats[CLAIM_SLOTS], beat = { CLUSTER, 3, 4 };
	struct claim_slot slot = { CLUSTER, 9 };
	struct claim_slots slots;
	struct witness_disk d;
	struct err e = { 0 };

	(void)state;
	assert_int_equal(witness_disk_open(&d, path, ID, &e), 0);
	assert_true(witness_disk_id(&d) == ID);
	assert_int_equal(witness_disk_slots(&d, &slots, &e), 0);
	assert_int_equal(witness_disk_beats(&d, CLAIM_SLOTS, beats, &e), 0);
	for (uint32_t i = 0; i < CLAIM_SLOTS; i++)
		assert_true(!slots.of[i].epoch && !beats[i].mark);
	assert_int_equal(witness_disk_claim(&d, 255, &slot, &e), 0);
	assert_int_equal(witness_disk_beat(&d, 255, &beat, &e), 0);
	witness_disk_close(&d);
	assert_int_equal(witness_disk_open(&d, path, 0, &e), 0);
	assert_int_equal(witness_disk_slots(&d, &slots, &e), 0);
	assert_int_equal(witness_disk_beats(&d, CLAIM_SLOTS, beats, &e), 0);
	assert_true(slots.of[255].epoch == 9 && slots.of[255].cluster == CLUSTER);
	assert_true(beats[255].cluster == CLUSTER && beats[255].mark == 3 && beats[255].count == 4);
	witness_disk_close(&d);
}

static void assert_refused(const char *at, uint64_t id, int rc, const char *why)
{
	struct witness_disk d;
	struct err e = { 0 };

	assert_int_equal(witness_disk_open(&d, at, id, &e), rc);
	if (!strstr(e.text, why))
		fail_msg("\"%s\" in \"%s\"", why, e.text);
}

static void what_is_no_witness_or_another_is_refused(void **state)
{
	char other[80];
	int fd;

	(void)state;
	assert_refused(path, ID + 1, -ESTALE, "1122334455667788, but 1122334455667789 is configured");
	snprintf(other, sizeof(other), "%s/none", dir);
	assert_refused(other, ID, -ENOENT, "cannot open the witness");
	fd = open(other, O_CREAT | O_WRONLY, 0600);
	assert_int_equal(ftruncate(fd, 512), 0);
	assert_refused(other, ID, -EINVAL, "too small");
	assert_int_equal(ftruncate(fd, WITNESS_BYTES), 0);
	assert_refused(other, ID, -EINVAL, "holds no witness");
	close(fd);
	unlink(other);
	assert_int_equal(mkfifo(other, 0600), 0);
	assert_refused(other, ID, -EINVAL, "neither a file nor a block device");
	unlink(other);
	spoil(9);
	assert_refused(path, ID, -EINVAL, "damaged");
}

static void a_damaged_slot_is_told_and_a_damaged_beat_is_none(void **state)
{
	struct witness_beat beats[CLAIM_SLOTS], beat = { CLUSTER, 3, 4 };
	struct claim_slot slot = { CLUSTER, 9 };
	struct claim_slots slots;
	struct witness_disk d;
	struct err e = { 0 };

	(void)state;
	assert_int_equal(witness_disk_open(&d, path, ID, &e), 0);
	assert_int_equal(witness_disk_claim(&d, 7, &slot, &e), 0);
	assert_int_equal(witness_disk_beat(&d, 7, &beat, &e), 0);
	spoil(7 * WITNESS_BLOCK + 17);
	spoil((CLAIM_SLOTS + 7) * WITNESS_BLOCK + 17);
	assert_int_equal(witness_disk_slots(&d, &slots, &e), -EBADMSG);
	assert_non_null(strstr(e.text, "the slot of node 7 is damaged"));
	assert_int_equal(witness_disk_beats(&d, CLAIM_SLOTS, beats, &e), 0);
	assert_true(!beats[7].mark);
	witness_disk_close(&d);
}

static void nothing_that_lies_there_is_overwritten(void **state)
{
	struct err e = { 0 };
	char other[80];
	int fd;

	(void)state;
	assert_int_equal(witness_disk_make(path, 5, &e), -EEXIST);
	assert_non_null(strstr(e.text, "has a witness already"));
	snprintf(other, sizeof(other), "%s/disk", dir);
	fd = open(other, O_CREAT | O_WRONLY, 0600);
	assert_int_equal(write(fd, "precious", 8), 8);
	close(fd);
	assert_int_equal(witness_disk_make(other, 5, &e), -EEXIST);
	assert_non_null(strstr(e.text, "something else lies there"));
	unlink(other);
}

/* A full file system, power lost, a signal: what there is of it is no witness, and does not stand in the way of one. */
static void a_witness_that_could_not_be_made_whole_is_none(void **state)
{
	struct rlimit all, few;
	struct err e = { 0 };
	char other[80];

	(void)state;
	snprintf(other, sizeof(other), "%s/room", dir);
	close(open(other, O_CREAT | O_WRONLY, 0600));
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &all), 0);
	few = all;
	few.rlim_cur = WITNESS_BYTES / 2;
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &few), 0);
	assert_int_equal(witness_disk_make(other, 5, &e), -EFBIG);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &all), 0);
	assert_refused(other, 0, -EINVAL, "holds no witness");
	assert_int_equal(witness_disk_make(other, 6, &e), 0);
	unlink(other);
}

struct maker {
	pthread_t thread;
	pthread_barrier_t *at_once;
	const char *path;
	uint64_t id;
	int rc;
};

static void *make_main(void *arg)
{
	struct maker *m = arg;
	struct err e = { 0 };

	pthread_barrier_wait(m->at_once);
	m->rc = witness_disk_make(m->path, m->id, &e);
	return NULL;
}

static void of_two_who_make_one_at_once_one_does(void **state)
{
	pthread_barrier_t at_once;
	struct maker m[2];
	struct witness_disk d;
	struct err e = { 0 };
	char other[80];

	(void)state;
	snprintf(other, sizeof(other), "%s/both", dir);
	pthread_barrier_init(&at_once, NULL, 2);
	for (int round = 0; round < 40; round++) {
		if (round % 2)
			close(open(other, O_CREAT | O_WRONLY, 0600));
		for (int i = 0; i < 2; i++) {
			m[i] = (struct maker){ .at_once = &at_once, .path = other, .id = 10u + (unsigned)i };
			assert_int_equal(pthread_create(&m[i].thread, NULL, make_main, &m[i]), 0);
		}
		for (int i = 0; i < 2; i++)
			pthread_join(m[i].thread, NULL);
		assert_true(!m[0].rc != !m[1].rc);
		assert_int_equal(witness_disk_open(&d, other, m[m[0].rc != 0].id, &e), 0);
		witness_disk_close(&d);
		unlink(other);
	}
	pthread_barrier_destroy(&at_once);
}

/* What a loop was told. */
struct told {
	qb_loop_t *loop;
	struct witness *w;
	bool ok, claimed, late;
	struct claim_nodes live;
	uint64_t epoch, seen;
	char text[256];
};

static void on_claimed(void *arg, uint64_t epoch, bool ok, uint64_t seen, const char *text)
{
	struct told *t = arg;

	t->claimed = true;
	t->epoch = epoch;
	t->ok = ok;
	t->seen = seen;
	snprintf(t->text, sizeof(t->text), "%s", text);
	qb_loop_stop(t->loop);
}

static void on_seen(void *arg, bool ok, const struct claim_nodes *live, uint64_t newest, const char *text)
{
	struct told *t = arg;

	t->ok = ok;
	t->live = *live;
	t->seen = newest;
	snprintf(t->text, sizeof(t->text), "%s", text);
	qb_loop_stop(t->loop);
}

static const struct witness_ops ops = { on_claimed, on_seen };

static void on_patience(void *data)
{
	struct told *t = data;

	t->late = true;
	qb_loop_stop(t->loop);
}

/* Until something is told, at most @ms. */
static void run_for(struct told *t, uint64_t ms)
{
	qb_loop_timer_handle h;

	t->late = false;
	assert_int_equal(qb_loop_timer_add(t->loop, QB_LOOP_LOW, ms * QB_TIME_NS_IN_MSEC, t, on_patience, &h), 0);
	qb_loop_run(t->loop);
	if (!t->late)
		qb_loop_timer_del(t->loop, h);
}

static void open_one(struct told *t, uint32_t me)
{
	char lock[80];
	const struct witness_worker conf = { .path = path, .id = ID, .me = me, .lock_path = lock };
	struct err e = { 0 };

	snprintf(lock, sizeof(lock), "%s/lock%u", dir, me);
	memset(t, 0, sizeof(*t));
	t->loop = qb_loop_create();
	assert_int_equal(witness_open(t->loop, &conf, &ops, t, &t->w, &e), 0);
}

static void begin_of(struct told *t, uint32_t me, uint64_t cluster)
{
	open_one(t, me);
	qb_loop_run(t->loop);
	assert_false(claim_nodes_has(&t->live, me)); /* whose host it is is not known yet */
	witness_cluster(t->w, cluster);
	run_for(t, 3000); /* of one that is not there no more is told */
}

static void begin(struct told *t, uint32_t me)
{
	begin_of(t, me, CLUSTER);
}

static void end(struct told *t)
{
	witness_close(t->w);
	qb_loop_destroy(t->loop);
}

static bool claim(struct told *t, uint32_t me, uint64_t epoch, uint64_t log)
{
	const uint32_t nodes[] = { me };
	struct claim c = { .me = me, .cluster = CLUSTER, .epoch = epoch, .log = log, .nodes = nodes, .n = 1 };
	struct err e = { 0 };

	t->claimed = false;
	assert_int_equal(witness_claim(t->w, &c, &e), 0);
	while (!t->claimed)
		qb_loop_run(t->loop);
	assert_true(t->epoch == epoch);
	return t->ok;
}

static void claims_are_granted_one_after_the_other(void **state)
{
	struct told a, b;

	(void)state;
	begin(&a, 1);
	assert_true(a.ok);
	begin(&b, 2);
	assert_true(b.ok && claim_nodes_has(&b.live, 2) && !claim_nodes_has(&b.live, 1)); /* nothing went on there yet */
	assert_true(claim(&a, 1, 6, 5));
	assert_false(claim(&b, 2, 7, 5));
	assert_true(b.seen == 6);
	assert_non_null(strstr(b.text, "node 1 has gone on"));
	assert_true(claim(&b, 2, 7, 6));
	assert_false(claim(&a, 1, 8, 6));
	end(&a);
	end(&b);
}

/* That n1 asked and got nothing does not keep n2 out. */
static void a_claim_whose_write_failed_but_arrived_is_taken_back(void **state)
{
	struct told a, b;

	(void)state;
	begin(&a, 1);
	atomic_store(fails, true);
	assert_false(claim(&a, 1, 6, 5));
	assert_non_null(strstr(a.text, "cannot write the witness"));
	end(&a);
	begin(&b, 2);
	assert_true(claim(&b, 2, 7, 5));
	end(&b);
}

static void another_clusters_witness_is_refused_and_left_as_it_is(void **state)
{
	struct witness_beat beats[CLAIM_SLOTS];
	struct witness_disk d;
	struct err e = { 0 };
	struct told a, b;

	(void)state;
	begin(&a, 1);
	end(&a);
	begin_of(&b, 1, CLUSTER + 1);
	assert_false(b.ok);
	assert_non_null(strstr(b.text, "another cluster's"));
	end(&b);
	assert_int_equal(witness_disk_open(&d, path, ID, &e), 0);
	assert_int_equal(witness_disk_beats(&d, CLAIM_SLOTS, beats, &e), 0);
	assert_true(beats[1].cluster == CLUSTER && beats[1].count == 1);
	witness_disk_close(&d);
}

/* What this daemon has claimed is claimed, whatever became of it there. */
static void a_slot_that_was_set_back_is_told_and_written_again(void **state)
{
	struct claim_slot old = { CLUSTER, 2 };
	struct claim_slots slots;
	struct witness_disk d;
	struct err e = { 0 };
	struct told a;

	(void)state;
	begin(&a, 1);
	assert_true(claim(&a, 1, 6, 5));
	assert_int_equal(witness_disk_open(&d, path, ID, &e), 0);
	assert_int_equal(witness_disk_claim(&d, 1, &old, &e), 0);
	assert_false(claim(&a, 1, 8, 6));
	assert_non_null(strstr(a.text, "was it set back?"));
	assert_int_equal(witness_disk_slots(&d, &slots, &e), 0);
	assert_true(slots.of[1].epoch == 6);
	assert_true(claim(&a, 1, 8, 6));
	witness_disk_close(&d);
	end(&a);
}

static void a_witness_that_is_not_there_is_told(void **state)
{
	struct told a;

	(void)state;
	unlink(path);
	begin(&a, 1);
	assert_false(a.ok);
	assert_non_null(strstr(a.text, "cannot open the witness"));
	assert_false(claim(&a, 1, 6, 5));
	end(&a);
}

/* As a predecessor does whose write is still on its way. */
static int hold_lock(uint32_t me)
{
	char lock[80];
	int fd;

	snprintf(lock, sizeof(lock), "%s/lock%u", dir, me);
	fd = open(lock, O_RDWR | O_CREAT, 0600);
	assert_int_equal(flock(fd, LOCK_EX), 0);
	return fd;
}

static void nothing_is_done_before_the_one_before_has_ended(void **state)
{
	const uint32_t nodes[] = { 1 };
	struct claim c = { .me = 1, .cluster = CLUSTER, .epoch = 6, .log = 5, .nodes = nodes, .n = 1 };
	struct err e = { 0 };
	int held = hold_lock(1);
	struct told t;

	(void)state;
	open_one(&t, 1);
	assert_int_equal(witness_claim(t.w, &c, &e), 0);
	assert_int_equal(witness_claim(t.w, &c, &e), -EBUSY);
	run_for(&t, 200);
	assert_false(t.ok || t.claimed);
	close(held);
	while (!t.claimed)
		qb_loop_run(t.loop);
	assert_true(t.ok);
	end(&t);
}

/* droverd ends while the worker before its own hangs: its own ends with it, and what it asked is not done. */
static void who_waits_for_another_ends_with_droverd(void **state)
{
	const uint32_t nodes[] = { 1 };
	struct claim c = { .me = 1, .cluster = CLUSTER, .epoch = 6, .log = 5, .nodes = nodes, .n = 1 };
	struct claim_slots slots;
	struct witness_disk d;
	struct err e = { 0 };
	struct told t, next;
	int held;

	(void)state;
	held = hold_lock(1);
	open_one(&t, 1);
	assert_int_equal(witness_claim(t.w, &c, &e), 0);
	end(&t);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* no child is left */
	close(held);
	begin(&next, 1);
	assert_int_equal(witness_disk_open(&d, path, ID, &e), 0);
	assert_int_equal(witness_disk_slots(&d, &slots, &e), 0);
	assert_true(slots.of[1].epoch == 0);
	assert_true(claim(&next, 1, 7, 6));
	assert_int_equal(witness_disk_slots(&d, &slots, &e), 0);
	assert_true(slots.of[1].epoch == 7);
	witness_disk_close(&d);
	end(&next);
}

static pid_t only_child(void)
{
	char name[64], text[64] = "";
	FILE *f;

	snprintf(name, sizeof(name), "/proc/self/task/%d/children", getpid());
	f = fopen(name, "r");
	assert_non_null(f);
	assert_non_null(fgets(text, sizeof(text), f));
	fclose(f);
	return (pid_t)strtol(text, NULL, 10);
}

static void one_that_ends_is_replaced(void **state)
{
	struct told t;

	(void)state;
	begin(&t, 1);
	assert_true(t.ok);
	kill(only_child(), SIGKILL);
	while (t.ok)
		qb_loop_run(t.loop);
	assert_non_null(strstr(t.text, "has ended, and is started again"));
	assert_true(claim(&t, 1, 6, 5));
	end(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_was_written_is_read, make, unmake),
		cmocka_unit_test_setup_teardown(what_is_no_witness_or_another_is_refused, make, unmake),
		cmocka_unit_test_setup_teardown(a_damaged_slot_is_told_and_a_damaged_beat_is_none, make, unmake),
		cmocka_unit_test_setup_teardown(nothing_that_lies_there_is_overwritten, make, unmake),
		cmocka_unit_test_setup_teardown(a_witness_that_could_not_be_made_whole_is_none, make, unmake),
		cmocka_unit_test_setup_teardown(of_two_who_make_one_at_once_one_does, make, unmake),
		cmocka_unit_test_setup_teardown(claims_are_granted_one_after_the_other, make, unmake),
		cmocka_unit_test_setup_teardown(a_claim_whose_write_failed_but_arrived_is_taken_back, make, unmake),
		cmocka_unit_test_setup_teardown(another_clusters_witness_is_refused_and_left_as_it_is, make, unmake),
		cmocka_unit_test_setup_teardown(a_slot_that_was_set_back_is_told_and_written_again, make, unmake),
		cmocka_unit_test_setup_teardown(a_witness_that_is_not_there_is_told, make, unmake),
		cmocka_unit_test_setup_teardown(nothing_is_done_before_the_one_before_has_ended, make, unmake),
		cmocka_unit_test_setup_teardown(who_waits_for_another_ends_with_droverd, make, unmake),
		cmocka_unit_test_setup_teardown(one_that_ends_is_replaced, make, unmake),
	};

	fails = mmap(NULL, sizeof(*fails), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (fails == MAP_FAILED)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
