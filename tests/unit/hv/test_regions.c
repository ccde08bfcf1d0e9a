/* SPDX-License-Identifier: Apache-2.0 */
/* Regions of memory that come and go while a guest uses them, each by the rules of its kind: nothing is left of one that went. */
#include "tests/unit/hv/regions_bed.h"
#include "tests/unit/usage.h"

#include <errno.h>
#include <malloc.h>

#define ROUNDS 100

/* --- what could leak --- */

struct usage {
	unsigned int fds, threads, mappings;
	size_t heap;
};

static unsigned int lines(const char *path)
{
	FILE *f = fopen(path, "re");
	unsigned int n = 0;
	int c;

	assert_non_null(f);
	while ((c = getc(f)) != EOF)
		n += c == '\n';
	fclose(f);
	return n;
}

static struct usage usage_now(void)
{
	return (struct usage){ usage_entries("/proc/self/fd"), usage_entries("/proc/self/task"), lines("/proc/self/maps"),
			       mallinfo2().uordblks };
}

static void assert_nothing_leaked(const struct usage *before)
{
	struct usage now = usage_now();

	assert_int_equal(now.fds, before->fds);
	assert_int_equal(now.threads, before->threads);
	assert_int_equal(now.mappings, before->mappings);
	assert_true(now.heap < before->heap + ROUNDS * 16);
}

/* --- rom --- */

static void test_a_rom_is_read_and_run_and_not_written(void **state)
{
	struct usage before;
	uint32_t third;
	struct box b;

	box_open(&b, use_it, sizeof(use_it), 1);
	box_start(&b);
	sees(&b, ~0u);
	add(b.m, &rom, NULL, NULL);
	take_away(b.m, "rom");
	before = usage_now();
	for (int i = 0; i < ROUNDS; i++) {
		add(b.m, &rom, NULL, NULL);
		sees(&b, MAGIC);
		call_it(&b);
		memcpy(&third, gmem_region_find(b.m->mem, "rom")->host + 8, sizeof(third));
		assert_int_equal(third, 0);
		take_away(b.m, "rom");
		sees(&b, ~0u);
	}
	assert_nothing_leaked(&before);
	assert_int_equal(atomic_load(&b.event), 0);
	box_close(&b);
}

static void test_a_rom_is_no_place_for_devices(void **state)
{
	struct iovec iov;
	uint32_t v = 1;
	struct box b;

	box_open(&b, use_it, sizeof(use_it), 1);
	add(b.m, &rom, NULL, NULL);
	assert_int_equal(gmem_iov(b.m->mem, PLACE, 4, GMEM_READ, &iov), -EFAULT);
	assert_int_equal(gmem_write(b.m->mem, PLACE, &v, sizeof(v)), -EFAULT);
	assert_int_equal(gmem_store(b.m->mem, gmem_region_find(b.m->mem, "rom"), 0, &v, sizeof(v)), -EPERM);
	box_close(&b);
}

/* --- flash --- */

/* Its third word; a vCPU that runs programs it. */
static uint32_t flash_third(struct programmer *p)
{
	uint32_t third;

	assert_int_equal(machine_hold(p->m, HOLD_OPERATOR, NULL), 0);
	memcpy(&third, p->r->host + 8, sizeof(third));
	assert_int_equal(machine_release(p->m, HOLD_OPERATOR, NULL), 0);
	return third;
}

static void test_writes_to_flash_go_to_its_device(void **state)
{
	struct programmer p = { 0 };
	struct usage before;
	uint32_t third = 0, writes;
	struct box b;

	box_open(&b, use_it, sizeof(use_it), 1);
	p.m = b.m;
	box_start(&b);
	a_round(&b); /* KVM has made its own threads by then */
	flash_add(&p);
	take_away(b.m, "flash");
	before = usage_now();
	for (int i = 0; i < ROUNDS; i++) {
		flash_add(&p);
		sees(&b, MAGIC);
		call_it(&b);
		assert_int_equal(flash_third(&p), WRITTEN);
		take_away(b.m, "flash");
		writes = atomic_load(&p.writes);
		sees(&b, ~0u);
		assert_int_equal(atomic_load(&p.writes), writes); /* its device hears no more */
	}
	assert_nothing_leaked(&before);
	assert_int_equal(gmem_store(b.m->mem, gmem_region_get(b.m->mem, 0), 0, &third, 4), -EPERM);
	box_close(&b);
}

static void test_flash_is_kept_over_a_reset(void **state)
{
	struct programmer p = { 0 };
	struct box b;

	box_open(&b, use_it, sizeof(use_it), 1);
	p.m = b.m;
	box_start(&b);
	flash_add(&p);
	sees(&b, MAGIC);
	assert_int_equal(machine_reset(b.m, NULL), 0);
	assert_int_equal(flash_third(&p), WRITTEN);
	sees(&b, MAGIC);
	box_close(&b);
}

/* --- shared --- */

static void test_shared_memory_is_another_ones_too(void **state)
{
	struct gmem_piece shm = { .name = "shm", .kind = GMEM_SHARED, .gpa = PLACE, .size = SIZE, .fd = memfd(F_SEAL_SHRINK) };
	volatile uint32_t *there = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, shm.fd, 0);
	struct usage before;
	struct box b;

	assert_true(there != MAP_FAILED);
	box_open(&b, use_it, sizeof(use_it), 1);
	box_start(&b);
	a_round(&b);
	before = usage_now();
	for (uint32_t i = 0; i < ROUNDS; i++) {
		there[0] = i;
		there[2] = 0;
		add(b.m, &shm, NULL, NULL);
		sees(&b, i);
		assert_int_equal(there[2], WRITTEN);
		there[0] = MAGIC;
		sees(&b, MAGIC);
		take_away(b.m, "shm");
		there[2] = 0;
		sees(&b, ~0u);
		assert_int_equal(there[2], 0);
	}
	assert_nothing_leaked(&before);
	box_close(&b);
	munmap((void *)there, SIZE);
	close(shm.fd);
}

static void test_a_file_that_may_shrink_is_not_shared(void **state)
{
	struct gmem_piece shm = { .name = "shm", .kind = GMEM_SHARED, .gpa = PLACE, .size = SIZE, .fd = memfd(0) };
	struct usage before;
	struct box b;
	struct err e;

	box_open(&b, use_it, sizeof(use_it), 1);
	before = usage_now();
	assert_int_equal(machine_memory_add(b.m, &shm, NULL, NULL, &e), -EINVAL);
	assert_non_null(strstr(e.text, "shm: memory: a file that is to be shared may shrink"));
	assert_int_equal(fcntl(shm.fd, F_ADD_SEALS, F_SEAL_SHRINK), 0);
	shm.size = 2 * SIZE;
	assert_int_equal(machine_memory_add(b.m, &shm, NULL, NULL, &e), -EINVAL);
	assert_non_null(strstr(e.text, "65536 bytes of file for 131072"));
	assert_nothing_leaked(&before);
	box_close(&b);
	close(shm.fd);
}

/* --- what is refused --- */

static void refused(struct machine *m, struct gmem_piece p, int why, const char *text)
{
	struct err e;

	assert_int_equal(machine_memory_add(m, &p, NULL, NULL, &e), why);
	if (!strstr(e.text, text))
		fail_msg("'%s' is not in '%s'", text, e.text);
}

static void test_what_is_no_region_is_refused(void **state)
{
	struct gmem_piece p = rom;
	char name[] = "one0";
	struct usage before;
	struct box b;
	struct err e;

	box_open(&b, use_it, sizeof(use_it), 1);
	before = usage_now();
	p.gpa = 0x100000;
	refused(b.m, p, -EEXIST, "memory rom: memory ram is at 0x0");
	p.gpa = 0xfea00000; /* where acpi_pm answers */
	refused(b.m, p, -EEXIST, "a device is there");
	p.gpa = PLACE + 1;
	refused(b.m, p, -EINVAL, "whole pages");
	p.gpa = UINT64_MAX - 0xfff;
	refused(b.m, p, -EINVAL, "whole pages");
	p = rom;
	p.image_len = SIZE + 1;
	refused(b.m, p, -EINVAL, "65537 bytes do not fit its 65536");
	p.name = "a name of twenty chars";
	refused(b.m, p, -EINVAL, "22 characters");
	p = rom;
	p.kind = GMEM_RAM;
	refused(b.m, p, -EINVAL, "ram is there from the start");
	assert_int_equal(machine_memory_remove(b.m, "ram", &e), -EPERM);
	assert_int_equal(machine_memory_remove(b.m, "rom", &e), -ENOENT);
	assert_nothing_leaked(&before);
	p = rom;
	p.name = name;
	for (; name[3] < '0' + GMEM_REGIONS_MAX - GMEM_RAM_MAX; name[3]++, p.gpa += SIZE)
		add(b.m, &p, NULL, NULL);
	refused(b.m, p, -ENOSPC, "there are 16 regions already");
	name[3] = '3';
	refused(b.m, p, -EEXIST, "memory one3: it is there already");
	box_close(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_rom_is_read_and_run_and_not_written),
		cmocka_unit_test(test_a_rom_is_no_place_for_devices),
		cmocka_unit_test(test_writes_to_flash_go_to_its_device),
		cmocka_unit_test(test_flash_is_kept_over_a_reset),
		cmocka_unit_test(test_shared_memory_is_another_ones_too),
		cmocka_unit_test(test_a_file_that_may_shrink_is_not_shared),
		cmocka_unit_test(test_what_is_no_region_is_refused),
	};

	return box_has_kvm() ? cmocka_run_group_tests(tests, NULL, NULL) : 77;
}
