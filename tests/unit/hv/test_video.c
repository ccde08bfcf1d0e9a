/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory behind a BAR that the guest moves, on KVM: where it finds it, and that a migration loses none of what it
 * wrote at any of the places (rule D).
 */
#include "hv/display/display.h"
#include "hv/display/seat.h"
#include "tests/unit/hv/machine_bed.h"

#include <errno.h>
#include <sys/socket.h>

#define MEMORY (4u << 20)
#define WORDS (MEMORY / GMEM_PAGE / 64)
#define REGION 2u /* the first behind RAM's */
#define AT_HERE 0x5000u
#define AT_THERE 0x9000u
#define AT_NOWHERE 0xd000u

/* Draws a number at one place of its BAR, at another, and where it is switched off, for ever. */
static const uint8_t draw_it[] = {
	0xbe, 0x00, 0x80, 0x00, 0xb0, /* mov $ECAM of slot 1, %esi */
	/* loop: */
	0xc7, 0x46, 0x10, 0x00, 0x00, 0x00, 0xc0, /* movl $HERE, 0x10(%esi) */
	0x66, 0xc7, 0x46, 0x04, 0x02, 0x00,       /* movw $2, 4(%esi): COMMAND.MEMORY */
	0xff, 0x05, 0x00, 0x00, 0x20, 0x00,       /* incl COUNTER */
	0xa1, 0x00, 0x00, 0x20, 0x00,             /* mov COUNTER, %eax */
	0xa3, 0x00, 0x50, 0x00, 0xc0,             /* mov %eax, HERE + AT_HERE */
	0xc7, 0x46, 0x10, 0x00, 0x00, 0x00, 0xd0, /* movl $THERE, 0x10(%esi) */
	0xa3, 0x00, 0x90, 0x00, 0xd0,             /* mov %eax, THERE + AT_THERE */
	0x66, 0xc7, 0x46, 0x04, 0x00, 0x00,       /* movw $0, 4(%esi) */
	0xa3, 0x00, 0xd0, 0x00, 0xd0,             /* mov %eax, THERE + AT_NOWHERE */
	0xeb, 0xca,                               /* jmp loop */
};

static void open_with_display(struct box *b)
{
	struct machine_options o = { .event = on_event, .arg = b };
	struct err e;

	memset(b, 0, sizeof(*b));
	b->conf = make_domain(draw_it, sizeof(draw_it), 1);
	b->conf->display = (struct domain_display){ .present = true, .memory = MEMORY };
	o.conf = b->conf;
	if (machine_create(&b->m, &o, &e))
		fail_msg("%s", e.text);
}

static uint32_t drawn(struct box *b, uint32_t at)
{
	const struct gmem_region *r = gmem_region_get(b->m->mem, REGION);
	uint32_t v;

	memcpy(&v, r->host + at, sizeof(v));
	return v;
}

/* As the engine does it: fetch, clear, then read. */
static void harvest(struct box *b, uint64_t *bits, uint8_t *copy)
{
	const struct gmem_region *r = gmem_region_get(b->m->mem, REGION);
	struct err e;

	if (machine_dirty_fetch(b->m, REGION, bits, &e) ||
	    machine_dirty_clear(b->m, REGION, 0, MEMORY / GMEM_PAGE, bits, &e))
		fail_msg("%s", e.text);
	for (uint64_t p = 0; p < MEMORY / GMEM_PAGE; p++)
		if (bits[p / 64] >> (p % 64) & 1)
			memcpy(copy + p * GMEM_PAGE, r->host + p * GMEM_PAGE, GMEM_PAGE);
	memset(bits, 0, WORDS * sizeof(*bits));
}

static void test_the_guest_draws_where_its_bar_is(void **state)
{
	struct box b;
	uint32_t n;

	open_with_display(&b);
	assert_string_equal(gmem_region_get(b.m->mem, REGION)->name, DISPLAY_REGION);
	box_start(&b);
	wait_for_count(&b, 10);
	assert_int_equal(machine_hold(b.m, HOLD_OPERATOR, NULL), 0);
	n = counter(&b);
	assert_true(drawn(&b, AT_HERE) + 1 >= n);
	assert_true(drawn(&b, AT_THERE) + 1 >= n);
	assert_int_equal(drawn(&b, AT_NOWHERE), 0);
	/* a reset switches it off: nothing is there that the guest has not asked for */
	assert_int_equal(machine_reset(b.m, NULL), 0);
	assert_int_equal(gmem_region_get(b.m->mem, REGION)->at, 0);
	box_close(&b);
}

static void test_a_migration_loses_nothing_of_it(void **state)
{
	uint64_t bits[WORDS];
	uint8_t *copy = calloc(1, MEMORY);
	struct box b;
	struct err e;

	open_with_display(&b);
	box_start(&b);
	wait_for_count(&b, 2);
	if (machine_dirty_start(b.m, &e))
		fail_msg("%s", e.text);
	memset(bits, 0xff, sizeof(bits));
	/* Wherever it stands still: with what it wrote in place, or moved since. */
	for (int round = 0; round < 50; round++) {
		assert_int_equal(machine_release(b.m, HOLD_MIGRATION, NULL), 0);
		harvest(&b, bits, copy);
		wait_for_count(&b, counter(&b) + 2);
		assert_int_equal(machine_hold(b.m, HOLD_MIGRATION, NULL), 0);
		harvest(&b, bits, copy);
		assert_memory_equal(copy, gmem_region_get(b.m->mem, REGION)->host, MEMORY);
	}
	/* what has left its place is sent whole; then no more */
	assert_int_equal(machine_dirty_fetch(b.m, REGION, bits, NULL), 0);
	for (unsigned int i = 0; i < WORDS; i++)
		assert_true(bits[i] == 0);
	machine_dirty_stop(b.m);
	box_close(&b);
	free(copy);
}

static void test_it_comes_and_goes_with_its_device(void **state)
{
	struct gmem_piece video = { .name = "other", .kind = GMEM_VIDEO, .gpa = 0x40000000, .size = MEMORY };
	struct box b;
	struct err e;

	open_with_display(&b);
	assert_int_equal(machine_memory_add(b.m, &video, NULL, NULL, &e), -EPERM);
	assert_string_equal(e.text, "memory other: it comes and goes with its device");
	assert_int_equal(machine_memory_remove(b.m, DISPLAY_REGION, &e), -EPERM);
	assert_int_equal(machine_device_remove(b.m, "display", 0, &e), -EPERM);
	/* and a machine that ends in a migration takes it along */
	assert_int_equal(machine_dirty_start(b.m, NULL), 0);
	box_close(&b);
}

/* Its state and memory in another machine are what they were. */
static void test_both_ends_agree_on_it(void **state)
{
	struct box a, b;
	json_t *there;
	uint8_t *saved;
	size_t len;
	struct err e;

	open_with_display(&a);
	open_with_display(&b);
	memcpy(b.conf->uuid, a.conf->uuid, sizeof(b.conf->uuid));
	there = machine_describe(a.m);
	if (machine_match(b.m, there, &e))
		fail_msg("%s", e.text);
	json_decref(there);
	box_start(&a);
	wait_for_count(&a, 3);
	assert_int_equal(machine_hold(a.m, HOLD_MIGRATION, NULL), 0);
	if (machine_save(a.m, &saved, &len, &e) || machine_load(b.m, saved, len, &e))
		fail_msg("%s", e.text);
	assert_true(gmem_region_get(a.m->mem, REGION)->at == gmem_region_get(b.m->mem, REGION)->at);
	assert_true(gmem_region_get(a.m->mem, REGION)->gpa == gmem_region_get(b.m->mem, REGION)->gpa);
	free(saved);
	box_close(&a);
	box_close(&b);
}

struct presses {
	struct seat *seat;
	_Atomic bool stop;
};

static void *press(void *arg)
{
	struct presses *p = arg;

	while (!atomic_load(&p->stop)) {
		seat_key(p->seat, 30, true);
		seat_key(p->seat, 30, false);
		seat_pointer(p->seat, &(struct seat_pointer){ .x = 1 });
		seat_has_keyboard(p->seat);
	}
	return NULL;
}

/* Somebody presses keys all the time, and somebody speaks to the agent. */
static void test_keyboard_tablet_and_console_come_and_go(void **state)
{
	static const char *const kinds[] = { "keyboard", "tablet", "console" };
	struct presses p = { 0 };
	pthread_t thread;
	struct box b;
	struct err e;
	int pair[2];

	open_with_display(&b);
	b.conf->guest_agent = true;
	p.seat = machine_seat(b.m);
	assert_int_equal(pthread_create(&thread, NULL, press, &p), 0);
	box_start(&b);
	if (machine_device_add(b.m, "console", 0, b.conf, &e))
		fail_msg("%s", e.text);
	for (int round = 0; round < 50; round++) {
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
		assert_int_equal(machine_agent_attach(b.m, pair[0], &e), 0);
		for (int k = 0; k < 3; k++)
			if (machine_device_remove(b.m, kinds[k], 0, &e))
				fail_msg("%s", e.text);
		assert_int_equal(machine_agent_attach(b.m, pair[1], &e), -ENOENT);
		assert_false(machine_agent_is_open(b.m));
		assert_int_equal(recv(pair[1], &e, 1, 0), 0); /* hung up */
		close(pair[1]);
		for (int k = 0; k < 3; k++)
			if (machine_device_add(b.m, kinds[k], 0, b.conf, &e))
				fail_msg("%s", e.text);
	}
	atomic_store(&p.stop, true);
	pthread_join(thread, NULL);
	box_close(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_guest_draws_where_its_bar_is),
		cmocka_unit_test(test_a_migration_loses_nothing_of_it),
		cmocka_unit_test(test_it_comes_and_goes_with_its_device),
		cmocka_unit_test(test_both_ends_agree_on_it),
		cmocka_unit_test(test_keyboard_tablet_and_console_come_and_go),
	};

	return box_has_kvm() ? cmocka_run_group_tests(tests, NULL, NULL) : 77;
}
