/* SPDX-License-Identifier: Apache-2.0 */
/* Buses, configuration space, BARs, MSI-X. */
#include "driver.h"

#include "hv/virtio/virtio_int.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static uint64_t echo_read(void *dev, uint64_t offset, unsigned int len)
{
	return (uintptr_t)dev + offset;
}

static void echo_write(void *dev, uint64_t offset, unsigned int len, uint64_t value)
{
}

static const struct bus_ops echo = { .read = echo_read, .write = echo_write };

static void test_ranges_never_overlap(void **state)
{
	struct bus *b;

	assert_int_equal(bus_create(&b), 0);
	assert_int_equal(bus_add(b, 0x1000, 0x100, &echo, (void *)0x1000), 0);
	assert_int_equal(bus_add(b, 0x10ff, 1, &echo, NULL), -EEXIST);
	assert_int_equal(bus_add(b, 0xfff, 2, &echo, NULL), -EEXIST);
	assert_int_equal(bus_add(b, 0x800, 0x10000, &echo, NULL), -EEXIST);
	assert_int_equal(bus_add(b, 0x1100, 0x10, &echo, (void *)0x1100), 0);
	assert_int_equal(bus_add(b, ~0ull, 2, &echo, NULL), -EINVAL);
	assert_int_equal(bus_read(b, 0x1004, 4), 0x1004);
	assert_int_equal(bus_read(b, 0x1104, 4), 0x1104);
	assert_true(bus_read(b, 0x10fe, 4) == ~0ull); /* half in, half out */
	assert_true(bus_read(b, 0x2000, 1) == ~0ull);
	bus_remove(b, 0x1000, NULL); /* not his */
	assert_int_equal(bus_read(b, 0x1004, 4), 0x1004);
	bus_remove(b, 0x1000, (void *)0x1000);
	assert_true(bus_read(b, 0x1004, 4) == ~0ull);
	bus_destroy(b);
}

struct rig {
	struct bed bed;
	struct virtio_dev *dev;
	struct drv drv;
};

static struct rig *rig_make(void)
{
	struct rig *r = calloc(1, sizeof(*r));
	struct err e;

	assert_int_equal(bed_init(&r->bed), 0);
	assert_int_equal(virtio_rng_create(&r->bed.env, 0, &r->dev, &e), 0);
	virtio_dev_plug(r->dev);
	assert_int_equal(virtio_dev_start(r->dev, &e), 0);
	return r;
}

static void rig_free(struct rig *r)
{
	virtio_dev_destroy(r->dev);
	bed_fini(&r->bed);
	free(r);
}

static uint32_t port_config(struct bed *b, uint32_t address)
{
	bus_write(b->pio, 0xcf8, 4, address);
	return (uint32_t)bus_read(b->pio, 0xcfc, 4);
}

static void test_both_ways_to_configuration_space(void **state)
{
	struct rig *r = rig_make();
	struct bed *b = &r->bed;

	assert_int_equal(drv_config_read(b, 0, 0, 4), 0x0d578086);
	assert_int_equal(drv_config_read(b, 1, 0, 4), 0x10441af4);
	assert_int_equal(drv_config_read(b, 2, 0, 4), 0xffffffff);
	assert_int_equal(port_config(b, 0x80000000 | 1 << 11), 0x10441af4);
	assert_int_equal(port_config(b, 0x80000000 | 1 << 11 | 1 << 8), 0xffffffff);
	assert_int_equal(port_config(b, 0x80000000 | 1 << 16), 0xffffffff);
	assert_int_equal(port_config(b, 1 << 11), 0xffffffff); /* not enabled */
	bus_write(b->pio, 0xcf8, 4, 0x80000000 | 1 << 11);
	assert_int_equal(bus_read(b->pio, 0xcfe, 2), 0x1044);
	assert_int_equal(bus_read(b->pio, 0xcf8, 4), 0x80000000 | 1 << 11);
	/* what Linux does to find type 1 */
	bus_write(b->pio, 0xcfb, 1, 1);
	assert_int_equal(bus_read(b->pio, 0xcf8, 4), 0x80000000 | 1 << 11);
	rig_free(r);
}

static void test_a_bar_is_sized_moved_and_switched(void **state)
{
	struct rig *r = rig_make();
	struct bed *b = &r->bed;
	uint32_t home = drv_config_read(b, 1, 0x10, 4);

	assert_true(home >= PCI_MMIO_BASE && home % 0x8000 == 0);
	assert_true(bus_read(b->mmio, home + 0x12, 2) == ~0ull); /* off until COMMAND.MEMORY */
	drv_config_write(b, 1, 0x10, 4, 0xffffffff);
	assert_int_equal(drv_config_read(b, 1, 0x10, 4), 0xffff8000);
	drv_config_write(b, 1, 0x10, 4, home);
	drv_config_write(b, 1, 0x14, 4, 0xffffffff);
	assert_int_equal(drv_config_read(b, 1, 0x14, 4), 0);
	drv_config_write(b, 1, 0x04, 2, 0xffff);
	assert_int_equal(drv_config_read(b, 1, 0x04, 2), 0x0407);
	assert_int_equal(bus_read(b->mmio, home + 0x12, 2), 1); /* num_queues */
	drv_config_write(b, 1, 0x10, 4, 0xd0000000);
	assert_true(bus_read(b->mmio, home + 0x12, 2) == ~0ull);
	assert_int_equal(bus_read(b->mmio, 0xd0000012, 2), 1);
	/* never over RAM, ECAM or the APICs */
	drv_config_write(b, 1, 0x10, 4, 0x00100000);
	assert_true(bus_read(b->mmio, 0x00100012, 2) == ~0ull);
	drv_config_write(b, 1, 0x10, 4, 0xfee00000);
	assert_true(bus_read(b->mmio, 0xfee00012, 2) == ~0ull);
	assert_int_equal(drv_config_read(b, 0, 0, 4), 0x0d578086);
	drv_config_write(b, 1, 0x10, 4, home);
	assert_int_equal(bus_read(b->mmio, home + 0x12, 2), 1);
	drv_config_write(b, 1, 0x04, 2, 0);
	assert_true(bus_read(b->mmio, home + 0x12, 2) == ~0ull);
	rig_free(r);
}

static void test_two_bars_at_one_place(void **state)
{
	struct rig *r = rig_make();
	struct virtio_dev *second;
	struct bed *b = &r->bed;
	struct err e;

	assert_int_equal(virtio_rng_create(&b->env, 1, &second, &e), 0);
	virtio_dev_plug(second);
	drv_config_write(b, 1, 0x04, 2, 2);
	drv_config_write(b, 2, 0x10, 4, drv_config_read(b, 1, 0x10, 4));
	drv_config_write(b, 2, 0x04, 2, 2); /* loses */
	drv_config_write(b, 2, 0x10, 4, 0xd0000000);
	assert_int_equal(bus_read(b->mmio, 0xd0000012, 2), 1);
	virtio_dev_destroy(second);
	assert_true(bus_read(b->mmio, 0xd0000012, 2) == ~0ull);
	rig_free(r);
}

/* A device that left leaves nothing: no function, no BAR, no place that the next one could not have. */
static void test_a_device_leaves_and_the_next_finds_its_place(void **state)
{
	uint32_t home = 0, gsi = 0;
	struct virtio_dev *v;
	struct bed b;
	struct err e;

	assert_int_equal(bed_init(&b), 0);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(virtio_rng_create(&b.env, 0, &v, &e), 0);
		assert_int_equal(drv_config_read(&b, 1, 0, 4), 0xffffffff); /* not before it is plugged */
		virtio_dev_plug(v);
		assert_int_equal(drv_config_read(&b, 1, 0, 4), 0x10441af4);
		if (!i) {
			home = drv_config_read(&b, 1, 0x10, 4);
			gsi = v->pci.msix.gsi[0];
		}
		assert_int_equal(drv_config_read(&b, 1, 0x10, 4), home);
		assert_int_equal(v->pci.msix.gsi[0], gsi);
		/* It goes while it answers, and not where it began. */
		drv_config_write(&b, 1, 0x10, 4, 0xd0000000);
		drv_config_write(&b, 1, 0x04, 2, 2);
		assert_int_equal(bus_read(b.mmio, 0xd0000012, 2), 1);
		virtio_dev_destroy(v);
		assert_int_equal(drv_config_read(&b, 1, 0, 4), 0xffffffff);
		assert_true(bus_read(b.mmio, 0xd0000012, 2) == ~0ull);
	}
	bed_fini(&b);
}

/* Addresses are given from below, in the order of creation, and a gap is filled by what fits. */
static void test_bars_are_given_the_lowest_place(void **state)
{
	static const uint64_t bar = 0x8000;
	struct virtio_dev *v[3], *again;
	struct bed b;
	struct err e;

	assert_int_equal(bed_init(&b), 0);
	for (unsigned int i = 0; i < 3; i++) {
		assert_int_equal(virtio_rng_create(&b.env, i, &v[i], &e), 0);
		virtio_dev_plug(v[i]);
		assert_int_equal(drv_config_read(&b, 1 + i, 0x10, 4), PCI_MMIO_BASE + i * bar);
	}
	virtio_dev_destroy(v[1]);
	assert_int_equal(virtio_rng_create(&b.env, 1, &again, &e), 0);
	virtio_dev_plug(again);
	assert_int_equal(drv_config_read(&b, 2, 0x10, 4), PCI_MMIO_BASE + bar);
	virtio_dev_destroy(again);
	virtio_dev_destroy(v[2]);
	virtio_dev_destroy(v[0]);
	bed_fini(&b);
}

/* Whose registers answer at @base: the 16 bits that it was marked with (queue_select). */
static uint64_t mark_at(struct bed *b, uint64_t base)
{
	return bus_read(b->mmio, base + 0x16, 2);
}

static void test_a_bar_that_was_in_the_way_makes_room(void **state)
{
	struct rig *r = rig_make();
	struct virtio_dev *second;
	struct bed *b = &r->bed;
	uint32_t one = drv_config_read(b, 1, 0x10, 4), two;
	struct pci_saved fresh[2];
	struct err e;

	assert_int_equal(virtio_rng_create(&b->env, 1, &second, &e), 0);
	virtio_dev_plug(second);
	pci_dev_save(&r->dev->pci, &fresh[0]);
	pci_dev_save(&second->pci, &fresh[1]);
	two = drv_config_read(b, 2, 0x10, 4);
	drv_config_write(b, 1, 0x04, 2, 2);
	drv_config_write(b, 2, 0x04, 2, 2);
	bus_write(b->mmio, one + 0x16, 2, 1);
	bus_write(b->mmio, two + 0x16, 2, 2);
	/* They change places, one after the other. */
	drv_config_write(b, 1, 0x10, 4, two);
	assert_true(mark_at(b, one) == ~0ull);
	assert_int_equal(mark_at(b, two), 2);
	drv_config_write(b, 2, 0x10, 4, one);
	assert_int_equal(mark_at(b, one), 2);
	assert_int_equal(mark_at(b, two), 1);
	/* The second goes over the first, which is switched off and on: now it has to wait itself. */
	drv_config_write(b, 2, 0x10, 4, two);
	assert_int_equal(mark_at(b, two), 1);
	drv_config_write(b, 1, 0x04, 2, 0);
	assert_int_equal(mark_at(b, two), 2);
	drv_config_write(b, 1, 0x04, 2, 2);
	assert_int_equal(mark_at(b, two), 2);
	/* A reset, which loads what was when they were new, brings each home, whatever the order. */
	assert_int_equal(pci_dev_load(&second->pci, &fresh[1], &e), 0);
	assert_int_equal(mark_at(b, two), 1);
	assert_int_equal(pci_dev_load(&r->dev->pci, &fresh[0], &e), 0);
	drv_config_write(b, 1, 0x04, 2, 2);
	drv_config_write(b, 2, 0x04, 2, 2);
	assert_int_equal(mark_at(b, one), 1);
	assert_int_equal(mark_at(b, two), 2);
	virtio_dev_destroy(second);
	rig_free(r);
}

static void test_capabilities_lead_to_all_areas(void **state)
{
	struct rig *r = rig_make();
	struct bed *b = &r->bed;
	unsigned int cap = drv_config_read(b, 1, 0x34, 1), seen = 0, n = 0;

	for (; cap && n < 20; n++) {
		unsigned int id = drv_config_read(b, 1, cap, 1);

		if (id == 0x09)
			seen |= 1u << drv_config_read(b, 1, cap + 3, 1);
		else if (id == 0x11)
			seen |= 1u;
		cap = drv_config_read(b, 1, cap + 1, 1);
	}
	assert_int_equal(n, 6);
	assert_int_equal(seen, 0x3f);
	rig_free(r);
}

static void test_the_window_shows_the_bar(void **state)
{
	struct rig *r = rig_make();
	struct bed *b = &r->bed;
	unsigned int cap = drv_config_read(b, 1, 0x34, 1);

	while (cap && !(drv_config_read(b, 1, cap, 1) == 9 && drv_config_read(b, 1, cap + 3, 1) == 5))
		cap = drv_config_read(b, 1, cap + 1, 1);
	assert_true(cap > 0);
	drv_config_write(b, 1, cap + 4, 1, 0);
	drv_config_write(b, 1, cap + 8, 4, 0x12); /* num_queues */
	drv_config_write(b, 1, cap + 12, 4, 2);
	assert_int_equal(drv_config_read(b, 1, cap + 16, 4), 1);
	drv_config_write(b, 1, cap + 8, 4, 0x14); /* device_status */
	drv_config_write(b, 1, cap + 12, 4, 1);
	drv_config_write(b, 1, cap + 16, 1, 3);
	assert_int_equal(drv_config_read(b, 1, cap + 16, 1), 3);
	/* nonsense does nothing */
	drv_config_write(b, 1, cap + 12, 4, 3);
	drv_config_read(b, 1, cap + 16, 4);
	drv_config_write(b, 1, cap + 12, 4, 4);
	drv_config_write(b, 1, cap + 8, 4, 0xfffffffc);
	drv_config_read(b, 1, cap + 16, 4);
	rig_free(r);
}

static void test_a_masked_vector_is_pending(void **state)
{
	struct rig *r = rig_make();

	drv_probe(&r->drv, &r->bed, r->dev, 1);
	drv_vectors(&r->drv, 1);
	drv_write(&r->drv, 0x4010 + 12, 4, 1); /* mask vector 1 */
	assert_int_equal(drv_read(&r->drv, 0x6000, 8), 0);
	msix_raise(&r->dev->pci, 1);
	msix_raise(&r->dev->pci, 77); /* no such vector: ignored */
	assert_int_equal(drv_read(&r->drv, 0x6000, 8), 2);
	assert_int_equal(drv_read(&r->drv, 0x6000, 4), 2);
	assert_int_equal(drv_read(&r->drv, 0x4010, 8), 0xfee00000);
	assert_int_equal(drv_read(&r->drv, 0x4018, 4), 0x31);
	drv_write(&r->drv, 0x4010 + 12, 4, 0);
	assert_int_equal(drv_read(&r->drv, 0x6000, 8), 0);
	assert_int_equal(drv_interrupts(&r->drv, 1), 1); /* it was kept, and fires now */
	rig_free(r);
}

static void test_a_reset_forgets_what_was_pending(void **state)
{
	struct rig *r = rig_make();
	struct pci_saved fresh, pending;
	struct err e;

	pci_dev_save(&r->dev->pci, &fresh);
	msix_raise(&r->dev->pci, 1);
	pci_dev_save(&r->dev->pci, &pending);
	assert_memory_equal(pending.msix_pending, "\0\1", 2);
	assert_int_equal(pci_dev_load(&r->dev->pci, &fresh, &e), 0);
	pci_dev_save(&r->dev->pci, &fresh);
	assert_memory_equal(fresh.msix_pending, "\0\0", 2);
	assert_int_equal(pci_dev_load(&r->dev->pci, &pending, &e), 0);
	pci_dev_save(&r->dev->pci, &pending);
	assert_memory_equal(pending.msix_pending, "\0\1", 2);
	rig_free(r);
}

static void test_negotiation_refuses_what_it_must(void **state)
{
	struct rig *r = rig_make();

	drv_probe(&r->drv, &r->bed, r->dev, 1);
	drv_features(&r->drv, 1ull << 50);
	assert_int_equal(drv_read(&r->drv, 0x14, 1), 3); /* FEATURES_OK stays clear */
	drv_ok(&r->drv);
	assert_int_equal(drv_read(&r->drv, 0x14, 1), 3); /* and nothing works without it */
	drv_features(&r->drv, 0);
	assert_int_equal(drv_read(&r->drv, 0x14, 1), 11);
	drv_write(&r->drv, 0x0c, 4, 0); /* too late to change */
	drv_write(&r->drv, 0x16, 2, 7); /* no such queue */
	assert_int_equal(drv_read(&r->drv, 0x18, 2), 0);
	drv_write(&r->drv, 0x16, 2, 0);
	drv_write(&r->drv, 0x1a, 2, 9); /* no such vector */
	assert_int_equal(drv_read(&r->drv, 0x1a, 2), 0xffff);
	drv_write(&r->drv, 0x18, 2, 3); /* not a power of two */
	drv_write(&r->drv, 0x1c, 2, 1);
	assert_int_equal(drv_read(&r->drv, 0x1c, 2), 0);
	assert_true(drv_read(&r->drv, 0x14, 1) & 64);
	rig_free(r);
}

static void test_entropy(void **state)
{
	struct rig *r = rig_make();
	uint64_t gpa = bed_alloc(&r->bed, 512);
	struct drv_buf b[2] = { { gpa, 16, true }, { gpa + 256, 100, true } };
	uint8_t got[356], zero[100] = { 0 };
	uint16_t head;
	uint32_t len;
	int i;

	drv_probe(&r->drv, &r->bed, r->dev, 1);
	drv_features(&r->drv, VIRTIO_F_EVENT_IDX);
	drv_vectors(&r->drv, 1);
	drv_queue(&r->drv, 0, 8);
	drv_ok(&r->drv);
	for (i = 0; i < 50; i++) {
		drv_add(&r->drv, 0, b, 2);
		drv_kick(&r->drv, 0);
		assert_true(drv_wait(&r->drv, 0, &head, &len));
		assert_int_equal(len, 116);
	}
	gmem_read(r->bed.mem, gpa, got, sizeof(got));
	assert_memory_not_equal(got, zero, 16);
	assert_memory_equal(got + 16, zero, 100);
	assert_memory_not_equal(got + 256, zero, 100);
	rig_free(r);
}

static int resets;

static void on_reset(void *arg)
{
	resets++;
}

static void test_reset_by_port(void **state)
{
	struct rig *r = rig_make();

	pci_bus_on_reset(r->bed.pci, on_reset, NULL);
	bus_write(r->bed.pio, 0xcf9, 1, 2);
	assert_int_equal(resets, 0);
	bus_write(r->bed.pio, 0xcf9, 1, 6);
	assert_int_equal(resets, 1);
	rig_free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ranges_never_overlap),
		cmocka_unit_test(test_both_ways_to_configuration_space),
		cmocka_unit_test(test_a_bar_is_sized_moved_and_switched),
		cmocka_unit_test(test_two_bars_at_one_place),
		cmocka_unit_test(test_a_bar_that_was_in_the_way_makes_room),
		cmocka_unit_test(test_a_device_leaves_and_the_next_finds_its_place),
		cmocka_unit_test(test_bars_are_given_the_lowest_place),
		cmocka_unit_test(test_capabilities_lead_to_all_areas),
		cmocka_unit_test(test_the_window_shows_the_bar),
		cmocka_unit_test(test_a_masked_vector_is_pending),
		cmocka_unit_test(test_a_reset_forgets_what_was_pending),
		cmocka_unit_test(test_negotiation_refuses_what_it_must),
		cmocka_unit_test(test_entropy),
		cmocka_unit_test(test_reset_by_port),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
