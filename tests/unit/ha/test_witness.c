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
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ID 0x1122334455667788ull
#define CLUSTER 77

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
	unlink(path);
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

/* What a loop was told. */
struct told {
	qb_loop_t *loop;
	struct witness *w;
	bool ok, claimed;
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

static void begin_of(struct told *t, uint32_t me, uint64_t cluster)
{
	struct err e = { 0 };

	memset(t, 0, sizeof(*t));
	t->loop = qb_loop_create();
	assert_int_equal(witness_open(t->loop, path, ID, me, &ops, t, &t->w, &e), 0);
	witness_cluster(t->w, cluster);
	qb_loop_run(t->loop);
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

	t->claimed = false;
	assert_true(witness_claim(t->w, &c));
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_was_written_is_read, make, unmake),
		cmocka_unit_test_setup_teardown(what_is_no_witness_or_another_is_refused, make, unmake),
		cmocka_unit_test_setup_teardown(a_damaged_slot_is_told_and_a_damaged_beat_is_none, make, unmake),
		cmocka_unit_test_setup_teardown(nothing_that_lies_there_is_overwritten, make, unmake),
		cmocka_unit_test_setup_teardown(claims_are_granted_one_after_the_other, make, unmake),
		cmocka_unit_test_setup_teardown(another_clusters_witness_is_refused_and_left_as_it_is, make, unmake),
		cmocka_unit_test_setup_teardown(a_slot_that_was_set_back_is_told_and_written_again, make, unmake),
		cmocka_unit_test_setup_teardown(a_witness_that_is_not_there_is_told, make, unmake),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
