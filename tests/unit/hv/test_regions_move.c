/* SPDX-License-Identifier: Apache-2.0 */
/* Regions of memory in a migration: what is sent, what is logged, and that none comes or goes meanwhile. */
#include "tests/unit/hv/regions_bed.h"

#include <errno.h>

#define WORDS (8u << 20 >> 12 >> 6) /* of a bitmap of the guest's RAM */

/* All that is dirty in region @id, into @copy, as the engine does it: clear, then read. */
static void harvest(struct machine *m, uint32_t id, uint64_t *bits, uint8_t *copy)
{
	const struct gmem_region *r = gmem_region_get(m->mem, id);
	uint64_t pages = r->size / GMEM_PAGE;

	assert_int_equal(machine_dirty_fetch(m, id, bits, NULL), 0);
	assert_int_equal(machine_dirty_clear(m, id, 0, pages, bits, NULL), 0);
	for (uint64_t p = 0; p < pages; p++)
		if (bits[p / 64] >> (p % 64) & 1)
			memcpy(copy + p * GMEM_PAGE, r->host + p * GMEM_PAGE, GMEM_PAGE);
	memset(bits, 0, WORDS * sizeof(*bits));
}

static void test_what_a_migration_sends_follows_from_the_kinds(void **state)
{
	struct gmem_piece other = rom;
	uint8_t *copy[4] = { calloc(1, 8u << 20), NULL, calloc(1, SIZE), calloc(1, SIZE) };
	uint64_t bits[WORDS];
	struct programmer p = { 0 };
	struct box b;

	other.gpa += 2 * SIZE;
	box_open(&b, use_it, sizeof(use_it), 1);
	p.m = b.m;
	box_start(&b);
	flash_add(&p);                /* id 2: the first behind RAM's */
	add(b.m, &other, NULL, NULL); /* id 3 */
	assert_int_equal(p.r->id, 2);
	assert_int_equal(machine_dirty_start(b.m, NULL), 0);
	for (int round = 0; round < 20; round++) {
		for (uint32_t id = 0; id < 4; id += 1 + !id) {
			memset(bits, round ? 0 : 0xff, sizeof(bits)); /* all pages once: how the engine begins */
			harvest(b.m, id, bits, copy[id]);
		}
		a_round(&b);
	}
	assert_int_equal(machine_hold(b.m, HOLD_MIGRATION, NULL), 0);
	/* a rom has been sent, and is not again; flash is, as its device has programmed it */
	assert_int_equal(machine_dirty_fetch(b.m, 3, bits, NULL), 0);
	assert_int_equal(bits[0], 0);
	assert_int_equal(machine_dirty_fetch(b.m, 2, bits, NULL), 0);
	assert_int_equal(bits[0], 1);
	harvest(b.m, 2, bits, copy[2]);
	harvest(b.m, 0, bits, copy[0]);
	assert_memory_equal(copy[0], gmem_region_get(b.m->mem, 0)->host, 8u << 20);
	assert_memory_equal(copy[2], p.r->host, SIZE);
	assert_memory_equal(copy[3], gmem_region_get(b.m->mem, 3)->host, SIZE);
	machine_dirty_stop(b.m);
	box_close(&b);
	for (int i = 0; i < 4; i++)
		free(copy[i]);
}

static void test_none_comes_or_goes_during_a_migration(void **state)
{
	struct gmem_piece other = rom;
	uint64_t bits[WORDS] = { 0 }, before;
	struct box b;
	struct err e;

	other.name = "other";
	other.gpa += SIZE;
	box_open(&b, use_it, sizeof(use_it), 1);
	box_start(&b);
	add(b.m, &rom, NULL, NULL);
	before = machine_changes(b.m);
	assert_int_equal(machine_dirty_start(b.m, NULL), 0);
	assert_int_equal(machine_memory_add(b.m, &other, NULL, NULL, &e), -EBUSY);
	assert_string_equal(e.text, "memory other: the domain is being migrated");
	assert_int_equal(machine_memory_remove(b.m, "rom", &e), -EBUSY);
	assert_string_equal(e.text, "memory rom: the domain is being migrated");
	machine_dirty_stop(b.m);
	assert_int_equal(machine_hold(b.m, HOLD_MIGRATION, NULL), 0);
	assert_int_equal(machine_memory_remove(b.m, "rom", &e), -EBUSY);
	assert_int_equal(machine_release(b.m, HOLD_MIGRATION, NULL), 0);
	assert_int_equal(machine_changes(b.m), before);
	/* afterwards they do, and the log of the next migration works on what is there then */
	take_away(b.m, "rom");
	add(b.m, &other, NULL, NULL);
	assert_int_equal(machine_changes(b.m), before + 2);
	assert_int_equal(machine_dirty_start(b.m, NULL), 0);
	a_round(&b);
	assert_int_equal(machine_dirty_fetch(b.m, 0, bits, NULL), 0);
	assert_true(bits[GUEST_COUNTER / GMEM_PAGE / 64] >> (GUEST_COUNTER / GMEM_PAGE % 64) & 1);
	machine_dirty_stop(b.m);
	box_close(&b);
}

static void test_shared_memory_is_not_logged(void **state)
{
	struct gmem_piece shm = { .name = "shm", .kind = GMEM_SHARED, .gpa = PLACE, .size = SIZE, .fd = memfd(F_SEAL_SHRINK) };
	uint64_t bits[WORDS];
	struct box b;
	struct err e;

	box_open(&b, use_it, sizeof(use_it), 1);
	add(b.m, &shm, NULL, NULL);
	assert_int_equal(machine_dirty_start(b.m, NULL), 0);
	assert_int_equal(machine_dirty_fetch(b.m, 2, bits, &e), -EINVAL);
	assert_string_equal(e.text, "dirty log: region 2 is not sent");
	machine_dirty_stop(b.m);
	box_close(&b);
	close(shm.fd);
}

static void test_both_ends_must_have_the_same_regions(void **state)
{
	struct box a, b;
	json_t *there;
	struct err e;

	box_open(&a, use_it, sizeof(use_it), 1);
	box_open(&b, use_it, sizeof(use_it), 1);
	memcpy(b.conf->uuid, a.conf->uuid, sizeof(b.conf->uuid));
	there = machine_describe(a.m);
	assert_int_equal(machine_match(b.m, there, &e), 0);
	json_decref(there);
	add(a.m, &rom, NULL, NULL);
	there = machine_describe(a.m);
	assert_int_equal(machine_match(b.m, there, &e), -EINVAL);
	assert_string_equal(e.text, "regions of memory: rom there, nothing here");
	add(b.m, &rom, NULL, NULL);
	assert_int_equal(machine_match(b.m, there, &e), 0);
	take_away(b.m, "rom");
	add(b.m, &(struct gmem_piece){ .name = "rom", .kind = GMEM_FLASH, .gpa = PLACE, .size = SIZE }, NULL, NULL);
	assert_int_equal(machine_match(b.m, there, &e), -EINVAL);
	assert_string_equal(e.text, "regions of memory: rom there, flash here");
	json_decref(there);
	box_close(&a);
	box_close(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_a_migration_sends_follows_from_the_kinds),
		cmocka_unit_test(test_none_comes_or_goes_during_a_migration),
		cmocka_unit_test(test_shared_memory_is_not_logged),
		cmocka_unit_test(test_both_ends_must_have_the_same_regions),
	};

	return box_has_kvm() ? cmocka_run_group_tests(tests, NULL, NULL) : 77;
}
