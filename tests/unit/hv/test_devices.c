/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Devices of a machine that come and go while its guest runs and uses them: nothing is left of one
 * that went, and what stays, stays as it was.
 *
 * The guest looks for a function in slot 1 of the PCI bus for ever.  While there is one it moves its
 * BAR to and fro, resets the device, opens an MSI-X vector and kicks its queue at both places; two
 * threads do as much from outside, as other vCPUs would.
 */
#include "tests/unit/hv/machine_bed.h"
#include "tests/unit/usage.h"

#include "base/clock.h"

#include <errno.h>
#include <malloc.h>
#include <sys/eventfd.h>

#define ROUNDS 1000
#define WARM 20     /* rounds after which all caches are as large as they get */
#define MEET_EACH 5 /* rounds; in the others the device goes as soon as it has come */
#define MEET_NS (50 * NS_PER_MS)
#define SETTLE_NS (5 * NS_PER_SEC)
#define MEETINGS 0x200004u
#define ECAM_SLOT(n) (PCI_ECAM_BASE + ((uint64_t)(n) << 15))
#define HERE 0xc0000000u  /* where a first BAR is given its place (PCI_MMIO_BASE) ... */
#define THERE 0xd0000000u /* ... and where the guest moves it */
#define NOTIFY 0x3000u
#define RNG_ID 0x10441af4u

static const uint8_t meet_slot_1[] = {
	/* loop: */
	0xbe, 0x00, 0x80, 0x00, 0xb0,                               /* mov $ECAM_SLOT(1), %esi */
	0x83, 0x3e, 0xff, 0x74, 0x52,                               /* cmpl $-1, (%esi); je gone */
	0xc7, 0x46, 0x10, 0x00, 0x00, 0x00, 0xc0,                   /* movl $HERE, 0x10(%esi) */
	0x66, 0xc7, 0x46, 0x04, 0x06, 0x00,                         /* movw $6, 4(%esi): COMMAND.MEMORY */
	0xc6, 0x05, 0x14, 0x00, 0x00, 0xc0, 0x00,                   /* movb $0, HERE + 0x14: reset */
	0xc7, 0x05, 0x00, 0x40, 0x00, 0xc0, 0x00, 0x00, 0xe0, 0xfe, /* movl $0xfee00000, HERE + 0x4000: vector 0 */
	0xc7, 0x05, 0x0c, 0x40, 0x00, 0xc0, 0x00, 0x00, 0x00, 0x00, /* movl $0, HERE + 0x400c: open it */
	0x66, 0xc7, 0x46, 0x42, 0x00, 0x80,                         /* movw $0x8000, 0x42(%esi): MSI-X on */
	0x66, 0xc7, 0x05, 0x00, 0x30, 0x00, 0xc0, 0x00, 0x00,       /* movw $0, HERE + NOTIFY */
	0xc7, 0x46, 0x10, 0x00, 0x00, 0x00, 0xd0,                   /* movl $THERE, 0x10(%esi) */
	0xa1, 0x12, 0x00, 0x00, 0xd0,                               /* mov THERE + 0x12, %eax */
	0x66, 0xc7, 0x05, 0x00, 0x30, 0x00, 0xd0, 0x00, 0x00,       /* movw $0, THERE + NOTIFY */
	0xff, 0x05, 0x04, 0x00, 0x20, 0x00,                         /* incl MEETINGS */
	/* gone: */
	0xb8, 0x10, 0x08, 0x00, 0x80, 0x66, 0xba, 0xf8, 0x0c, 0xef, /* outl $BAR 0 of slot 1, $0xcf8 */
	0x66, 0xba, 0xfc, 0x0c, 0xed, 0xef,                         /* inl $0xcfc; outl it back */
	0xff, 0x05, 0x00, 0x00, 0x20, 0x00, 0xeb, 0x8c,             /* incl COUNTER; jmp loop */
};

/* --- what could leak --- */

struct usage {
	unsigned int fds, threads;
	size_t state_len, heap;
	uint64_t changes; /* of regions of memory */
	uint32_t gsi;     /* the next vector that would be given */
};

static struct usage usage_now(struct machine *m)
{
	struct usage u = { .changes = m->mem->changes };
	uint8_t *buf;
	int fd;

	assert_int_equal(machine_hold(m, HOLD_OPERATOR, NULL), 0);
	assert_int_equal(machine_save(m, &buf, &u.state_len, NULL), 0);
	free(buf);
	assert_int_equal(machine_release(m, HOLD_OPERATOR, NULL), 0);
	assert_int_equal(irq_msi_alloc(m->irq, &u.gsi, &fd, NULL), 0);
	irq_msi_free(m->irq, u.gsi);
	u.fds = usage_entries("/proc/self/fd");
	u.threads = usage_entries("/proc/self/task");
	u.heap = mallinfo2().uordblks;
	return u;
}

static uint64_t nothing_read(void *dev, uint64_t offset, unsigned int len)
{
	return ~0ull;
}

static void nothing_written(void *dev, uint64_t offset, unsigned int len, uint64_t value)
{
}

/* Nobody answers at @base, no ioeventfd of KVM's is there, and another could have the place. */
static void assert_free(struct machine *m, uint64_t base)
{
	static const struct bus_ops nobody = { .read = nothing_read, .write = nothing_written };
	int fd = eventfd(0, EFD_CLOEXEC);

	assert_true(bus_read(m->mmio, base + 0x12, 2) == ~0ull);
	assert_int_equal(bus_add(m->mmio, base, 0x8000, &nobody, &fd), 0);
	bus_remove(m->mmio, base, &fd);
	assert_int_equal(irq_ioeventfd(m->irq, base + NOTIFY, 0, fd, true), 0);
	assert_int_equal(irq_ioeventfd(m->irq, base + NOTIFY, 0, fd, false), 0);
	close(fd);
}

static void assert_nothing_leaked(struct machine *m, const struct usage *before)
{
	uint64_t end = clock_ns() + SETTLE_NS;
	struct usage now = usage_now(m);

	/* Other such threads of the kernel's end a little after their ring. */
	while (now.threads != before->threads && clock_ns() < end) {
		nap_ms(10);
		now = usage_now(m);
	}
	assert_int_equal(now.fds, before->fds);
	assert_int_equal(now.threads, before->threads);
	assert_int_equal(now.changes, before->changes);
	assert_int_equal(now.state_len, before->state_len);
	assert_int_equal(now.gsi, before->gsi);
	/* The smallest block that malloc() gives has 16 bytes and as many of its own. */
	assert_true(now.heap < before->heap + ROUNDS * 16);
	for (unsigned int slot = 1; slot < PCI_DEVICES_MAX; slot++)
		assert_true(bus_read(m->mmio, ECAM_SLOT(slot), 4) == ~0ull);
	assert_free(m, HERE);
	assert_free(m, THERE);
}

/* --- others that use the bus --- */

struct toucher {
	struct machine *m;
	_Atomic bool stop;
	_Atomic uint64_t met;
};

static void *touch(void *arg)
{
	struct toucher *t = arg;

	while (!atomic_load(&t->stop)) {
		if (bus_read(t->m->mmio, ECAM_SLOT(1), 4) == RNG_ID)
			atomic_fetch_add(&t->met, 1);
		bus_write(t->m->mmio, ECAM_SLOT(1) + 0x10, 4, THERE);
		bus_write(t->m->mmio, ECAM_SLOT(1) + 0x04, 2, 2);
		bus_read(t->m->mmio, THERE + 0x14, 1);
		bus_read(t->m->mmio, HERE + 0x4000, 4);
		nap_ms(0);
	}
	return NULL;
}

static uint32_t meetings(struct box *b)
{
	uint32_t v;

	assert_int_equal(gmem_read(machine_memory(b->m), MEETINGS, &v, sizeof(v)), 0);
	return v;
}

static bool guest_meets_it(struct box *b)
{
	uint64_t end = clock_ns() + MEET_NS;
	uint32_t n = meetings(b);

	while (meetings(b) == n && clock_ns() < end)
		usleep(20);
	return meetings(b) != n;
}

static unsigned int come_and_go(struct box *b, const struct domain_conf *with, unsigned int rounds)
{
	unsigned int met = 0;
	struct err e;

	for (unsigned int i = 0; i < rounds; i++) {
		if (machine_device_add(b->m, "rng", 0, with, &e))
			fail_msg("round %u: %s", i, e.text);
		met += i % MEET_EACH == 0 && guest_meets_it(b);
		if (machine_device_remove(b->m, "rng", 0, &e))
			fail_msg("round %u: %s", i, e.text);
	}
	return met;
}

static void test_a_device_comes_and_goes_a_thousand_times(void **state)
{
	struct toucher t = { 0 };
	struct domain_conf with;
	pthread_t threads[2];
	struct usage before;
	unsigned int met;
	struct box b;

	box_open(&b, meet_slot_1, sizeof(meet_slot_1), 1);
	with = *b.conf;
	with.rng = true;
	box_start(&b);
	t.m = b.m;
	for (int i = 0; i < 2; i++)
		pthread_create(&threads[i], NULL, touch, &t);
	come_and_go(&b, &with, WARM);
	before = usage_now(b.m);
	met = come_and_go(&b, &with, ROUNDS);
	print_message("met by the guest in %u of %u rounds, by others %llu times\n", met, ROUNDS / MEET_EACH,
		      (unsigned long long)atomic_load(&t.met));
	assert_true(met > ROUNDS / MEET_EACH / 10);
	assert_true(atomic_load(&t.met) > 0);
	assert_nothing_leaked(b.m, &before);
	atomic_store(&t.stop, true);
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(atomic_load(&b.event), 0);
	wait_for_count(&b, counter(&b));
	box_close(&b);
}

/* --- disks --- */

static void make_disk(char *path, size_t size)
{
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	close(fd);
}

static void unlink_disk(const char *path)
{
	char record[128];

	snprintf(record, sizeof(record), "%s.drover", path);
	unlink(record);
	unlink(path);
}

static bool somebody_holds(const char *path)
{
	struct flock l = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	int fd = open(path, O_RDWR | O_CLOEXEC);
	bool held = !fcntl(fd, F_OFD_GETLK, &l) && l.l_type != F_UNLCK;

	close(fd);
	return held;
}

/* A disk that comes to a domain that owns its disks is owned before the guest sees it (rule H). */
static void test_a_disk_is_taken_when_it_comes_and_let_go_when_it_goes(void **state)
{
	char path[] = "/tmp/drover-test-disk-XXXXXX";
	struct usage before = { 0 };
	struct domain_conf with;
	struct box b;
	struct err e;

	make_disk(path, 1 << 20);
	box_open(&b, meet_slot_1, sizeof(meet_slot_1), 1);
	with = *b.conf;
	with.n_disks = 1;
	with.disks[0] = (struct domain_disk){ .path = path };
	assert_int_equal(machine_disks_prepare(b.m, &e), 0);
	assert_int_equal(machine_disks_commit(b.m, 7, 7, &e), 0);
	box_start(&b);
	for (int i = 0; i < 2 * WARM; i++) {
		/* Not at first: io_uring keeps one thread of the kernel's for each thread that ever used it, and malloc() what was freed. */
		if (i == WARM)
			before = usage_now(b.m);
		if (machine_device_add(b.m, "blk", 0, &with, &e))
			fail_msg("%s", e.text);
		assert_true(somebody_holds(path));
		guest_meets_it(&b);
		if (machine_device_remove(b.m, "blk", 0, &e))
			fail_msg("%s", e.text);
		assert_false(somebody_holds(path));
	}
	assert_nothing_leaked(b.m, &before);
	/* One that cannot be taken does not come. */
	unlink(path);
	assert_int_equal(machine_device_add(b.m, "blk", 0, &with, &e), -ENOENT);
	assert_nothing_leaked(b.m, &before);
	box_close(&b);
	unlink_disk(path);
}

/* --- what else knows of devices --- */

static void test_a_device_that_came_is_saved_reset_and_counted(void **state)
{
	struct domain_conf with;
	json_t *stats, *d;
	uint8_t *buf;
	struct box b;
	size_t len;
	struct err e;

	box_open(&b, meet_slot_1, sizeof(meet_slot_1), 1);
	with = *b.conf;
	with.rng = true;
	box_start(&b);
	assert_int_equal(machine_device_add(b.m, "rng", 0, &with, &e), 0);
	stats = machine_stats(b.m);
	assert_int_equal(json_array_size(json_object_get(stats, "rngs")), 1);
	json_decref(stats);
	for (int i = 0; i < 100 && !guest_meets_it(&b); i++)
		;
	assert_int_equal(machine_hold(b.m, HOLD_OPERATOR, &e), 0);
	assert_int_equal(machine_save(b.m, &buf, &len, &e), 0);
	assert_int_equal(bus_read(b.m->mmio, ECAM_SLOT(1) + 0x04, 2), 6);
	/* As after power-on: its BAR where it was given its place, and off. */
	assert_int_equal(machine_reset(b.m, &e), 0);
	assert_int_equal(bus_read(b.m->mmio, ECAM_SLOT(1) + 0x04, 2), 0);
	assert_int_equal(bus_read(b.m->mmio, ECAM_SLOT(1) + 0x10, 4), HERE);
	assert_int_equal(machine_load(b.m, buf, len, &e), 0);
	assert_int_equal(bus_read(b.m->mmio, ECAM_SLOT(1) + 0x04, 2), 6);
	d = machine_print(b.m, "rng0");
	assert_non_null(d);
	json_decref(d);
	assert_int_equal(machine_device_remove(b.m, "rng", 0, &e), 0);
	assert_null(machine_print(b.m, "rng0"));
	assert_int_equal(machine_load(b.m, buf, len, &e), -EINVAL); /* one record more than there are devices */
	free(buf);
	box_close(&b);
}

static struct machine *machine_of(struct domain_conf *c, struct box *b)
{
	struct machine_options o = { .conf = c, .event = on_event, .arg = b };
	struct machine *m;
	struct err e;

	if (machine_create(&m, &o, &e))
		fail_msg("%s", e.text);
	return m;
}

/* Records cross in the order of the table, whoever came first; but the guest knows slots. */
static void test_the_order_of_coming_changes_slots_and_nothing_else(void **state)
{
	struct domain_conf both, later;
	struct machine *m, *n;
	struct box b;
	json_t *d;
	struct err e;

	box_open(&b, meet_slot_1, sizeof(meet_slot_1), 1);
	both = *b.conf;
	both.rng = true;
	both.n_disks = 1;
	both.disks[0] = (struct domain_disk){ .path = (char *)"/nowhere" };
	later = *b.conf;
	later.rng = true;
	m = machine_of(&both, &b);
	n = machine_of(&later, &b);
	assert_int_equal(machine_device_add(n, "blk", 0, &both, &e), 0);
	d = machine_describe(m);
	assert_int_equal(machine_match(n, d, &e), -EINVAL);
	assert_string_equal(e.text, "devices: blk0 is in slot 1 of the PCI bus there, in 2 here");
	/* In the order of the file it comes to be the same machine. */
	assert_int_equal(machine_device_remove(n, "rng", 0, &e), 0);
	assert_int_equal(machine_device_remove(n, "blk", 0, &e), 0);
	assert_int_equal(machine_device_add(n, "blk", 0, &both, &e), 0);
	assert_int_equal(machine_device_add(n, "rng", 0, &both, &e), 0);
	assert_int_equal(machine_match(n, d, &e), 0);
	json_decref(d);
	machine_destroy(m);
	machine_destroy(n);
	box_close(&b);
}

/* Two ends have agreed; then, before the pages are logged, devices change places at the source. */
static void test_devices_that_came_and_went_are_counted(void **state)
{
	struct domain_conf both;
	struct machine *m, *n;
	uint64_t agreed;
	uint8_t *buf;
	struct box b;
	json_t *d;
	size_t len;
	struct err e;

	box_open(&b, meet_slot_1, sizeof(meet_slot_1), 1);
	both = *b.conf;
	both.rng = true;
	both.n_disks = 1;
	both.disks[0] = (struct domain_disk){ .path = (char *)"/nowhere" };
	m = machine_of(&both, &b);
	n = machine_of(&both, &b);
	agreed = machine_changes(m);
	d = machine_describe(m);
	assert_int_equal(machine_match(n, d, &e), 0);
	json_decref(d);
	assert_int_equal(machine_device_remove(m, "blk", 0, &e), 0);
	assert_int_equal(machine_device_remove(m, "rng", 0, &e), 0);
	assert_int_equal(machine_device_add(m, "rng", 0, &both, &e), 0);
	assert_int_equal(machine_device_add(m, "blk", 0, &both, &e), 0);
	/* The records tell nothing of slots, and are the same: who moves it has to ask. */
	assert_int_equal(machine_save(m, &buf, &len, &e), 0);
	assert_int_equal(machine_load(n, buf, len, &e), 0);
	free(buf);
	assert_true(machine_changes(m) != agreed);
	machine_destroy(m);
	machine_destroy(n);
	box_close(&b);
}

static void test_what_cannot_be_is_refused_by_name(void **state)
{
	struct domain_conf with;
	struct box b;
	struct err e;

	box_open(&b, meet_slot_1, sizeof(meet_slot_1), 1);
	with = *b.conf;
	with.rng = true;
	assert_int_equal(machine_device_add(b.m, "floppy", 0, &with, &e), -EINVAL);
	assert_non_null(strstr(e.text, "floppy"));
	assert_int_equal(machine_device_add(b.m, "rng", 0, b.conf, &e), -EINVAL);
	assert_int_equal(machine_device_add(b.m, "rng", 1, &with, &e), -EINVAL);
	assert_int_equal(machine_device_add(b.m, "serial", 0, &with, &e), -EEXIST);
	assert_int_equal(machine_device_remove(b.m, "serial", 0, &e), -EPERM);
	assert_int_equal(machine_device_remove(b.m, "pci", 0, &e), -EPERM);
	assert_int_equal(machine_device_remove(b.m, "rng", 0, &e), -ENOENT);
	assert_int_equal(machine_device_add(b.m, "rng", 0, &with, &e), 0);
	assert_int_equal(machine_device_add(b.m, "rng", 0, &with, &e), -EEXIST);
	/* Both ends of a migration have agreed on what there is. */
	assert_int_equal(machine_dirty_start(b.m, &e), 0);
	assert_int_equal(machine_device_remove(b.m, "rng", 0, &e), -EBUSY);
	machine_dirty_stop(b.m);
	assert_int_equal(machine_device_remove(b.m, "rng", 0, &e), 0);
	box_close(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_device_comes_and_goes_a_thousand_times),
		cmocka_unit_test(test_a_disk_is_taken_when_it_comes_and_let_go_when_it_goes),
		cmocka_unit_test(test_a_device_that_came_is_saved_reset_and_counted),
		cmocka_unit_test(test_the_order_of_coming_changes_slots_and_nothing_else),
		cmocka_unit_test(test_devices_that_came_and_went_are_counted),
		cmocka_unit_test(test_what_cannot_be_is_refused_by_name),
	};

	if (!box_has_kvm())
		return 77;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
