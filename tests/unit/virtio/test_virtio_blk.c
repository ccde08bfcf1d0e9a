/* SPDX-License-Identifier: Apache-2.0 */
/* The block device, driven through its registers and rings on a real file. */
#include "driver.h"

#include "base/clock.h"
#include "hv/virtio/virtio_int.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define DISK_SIZE (4u << 20)
#define F_FLUSH (1ull << 9)

struct rig {
	struct bed bed;
	struct virtio_dev *blk;
	struct drv drv;
	char path[64];
	struct disk_holder me;
	uint64_t header, status;
};

static void disk_fill(const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	uint8_t page[4096];
	unsigned int i;

	assert_true(fd >= 0);
	for (i = 0; i < DISK_SIZE / sizeof(page); i++) {
		memset(page, (int)(i & 0xff), sizeof(page));
		assert_int_equal(pwrite(fd, page, sizeof(page), i * sizeof(page)), sizeof(page));
	}
	close(fd);
}

static struct virtio_dev *make_blk(struct rig *r, bool readonly, bool direct)
{
	struct virtio_blk_conf c = { .path = r->path, .readonly = readonly, .direct = direct, .serial = "serial-7" };
	struct virtio_dev *v;
	struct err e = { 0 };

	assert_int_equal(virtio_blk_create(&r->bed.env, 0, &c, &v, &e), 0);
	virtio_dev_plug(v);
	return v;
}

static struct rig *rig_make(bool readonly, bool direct, uint64_t features)
{
	struct rig *r = calloc(1, sizeof(*r));
	struct err e = { 0 };

	snprintf(r->path, sizeof(r->path), "blk-test-%d.img", (int)getpid());
	disk_fill(r->path);
	snprintf(r->me.domain, sizeof(r->me.domain), "web");
	snprintf(r->me.host, sizeof(r->me.host), "n1");
	r->me.pid = getpid();
	r->me.incarnation = 1;
	assert_int_equal(bed_init(&r->bed), 0);
	r->blk = make_blk(r, readonly, direct);
	if (virtio_blk_open(r->blk, &r->me, &e))
		fail_msg("%s", e.text);
	assert_int_equal(virtio_dev_start(r->blk, &e), 0);
	drv_probe(&r->drv, &r->bed, r->blk, 1);
	drv_features(&r->drv, features);
	drv_vectors(&r->drv, 1);
	drv_queue(&r->drv, 0, 128);
	drv_ok(&r->drv);
	r->header = bed_alloc(&r->bed, 4096);
	r->status = bed_alloc(&r->bed, 4096);
	return r;
}

static void rig_free(struct rig *r)
{
	char record[80];

	virtio_dev_destroy(r->blk);
	bed_fini(&r->bed);
	unlink(r->path);
	snprintf(record, sizeof(record), "%s.drover", r->path);
	unlink(record);
	free(r);
}

static void put_header(struct rig *r, uint32_t type, uint64_t sector)
{
	struct {
		uint32_t type, reserved;
		uint64_t sector;
	} h = { type, 0, sector };
	uint8_t unset = 0xee;

	gmem_write(r->bed.mem, r->header, &h, sizeof(h));
	gmem_write(r->bed.mem, r->status, &unset, 1);
}

static uint8_t get_status(struct rig *r)
{
	uint8_t s;

	gmem_read(r->bed.mem, r->status, &s, 1);
	return s;
}

/* One request with one data buffer; its status, or 0xff if it never came back. */
static uint8_t request(struct rig *r, uint32_t type, uint64_t sector, uint64_t gpa, uint32_t len,
		       uint32_t *used)
{
	struct drv_buf b[3] = {
		{ r->header, 16, false },
		{ gpa, len, type == 0 || type == 8 },
		{ r->status, 1, true },
	};
	uint16_t head, got;
	uint32_t n;

	put_header(r, type, sector);
	if (!len)
		b[1] = b[2];
	head = drv_add(&r->drv, 0, b, len ? 3 : 2);
	drv_kick(&r->drv, 0);
	if (!drv_wait(&r->drv, 0, &got, &n) || got != head)
		return 0xff;
	if (used)
		*used = n;
	return get_status(r);
}

static void test_reads_what_the_disk_holds(void **state)
{
	struct rig *r = rig_make(false, false, F_FLUSH);
	uint64_t gpa = bed_alloc(&r->bed, 8192);
	uint8_t buf[8192];
	uint32_t used;

	assert_int_equal(request(r, 0, 8 * 5, gpa, sizeof(buf), &used), 0);
	assert_int_equal(used, sizeof(buf) + 1);
	gmem_read(r->bed.mem, gpa, buf, sizeof(buf));
	assert_int_equal(buf[0], 5);
	assert_int_equal(buf[4095], 5);
	assert_int_equal(buf[4096], 6);
	assert_true(drv_interrupts(&r->drv, 1) > 0);
	rig_free(r);
}

static void test_writes_reach_the_file(void **state)
{
	struct rig *r = rig_make(false, false, 0);
	uint64_t gpa = bed_alloc(&r->bed, 4096);
	uint8_t buf[4096], back[4096];
	int fd;

	memset(buf, 0xa5, sizeof(buf));
	gmem_write(r->bed.mem, gpa, buf, sizeof(buf));
	assert_int_equal(request(r, 1, 16, gpa, sizeof(buf), NULL), 0);
	assert_int_equal(request(r, 4, 0, 0, 0, NULL), 0);
	fd = open(r->path, O_RDONLY);
	assert_int_equal(pread(fd, back, sizeof(back), 8192), sizeof(back));
	close(fd);
	assert_memory_equal(buf, back, sizeof(buf));
	rig_free(r);
}

static void test_direct_io_takes_odd_buffers(void **state)
{
	struct rig *r = rig_make(false, true, F_FLUSH);
	uint64_t gpa = bed_alloc(&r->bed, 16384) + 3;
	uint8_t buf[8192];

	memset(buf, 0x3c, sizeof(buf));
	gmem_write(r->bed.mem, gpa, buf, 4096);
	assert_int_equal(request(r, 1, 8, gpa, 4096, NULL), 0);
	assert_int_equal(request(r, 0, 8, gpa + 4096, 8192, NULL), 0);
	gmem_read(r->bed.mem, gpa + 4096, buf, sizeof(buf));
	assert_int_equal(buf[0], 0x3c);
	assert_int_equal(buf[4095], 0x3c);
	assert_int_equal(buf[4096], 2);
	rig_free(r);
}

static void test_rule_d_marks_data_status_and_ring(void **state)
{
	struct rig *r = rig_make(false, false, F_FLUSH);
	uint64_t gpa;

	r->bed.next_gpa = (r->bed.next_gpa + 4095) & ~4095ull;
	gpa = bed_alloc(&r->bed, 3 * 4096);
	r->bed.mem->tracking = true;
	put_header(r, 0, 0);
	bed_dirty_clear(&r->bed);
	assert_false(bed_is_dirty(&r->bed, gpa));
	assert_int_equal(request(r, 0, 0, gpa, 2 * 4096, NULL), 0);
	assert_true(bed_is_dirty(&r->bed, gpa));
	assert_true(bed_is_dirty(&r->bed, gpa + 4096));
	assert_false(bed_is_dirty(&r->bed, gpa + 8192));
	assert_true(bed_is_dirty(&r->bed, r->status));
	assert_true(bed_is_dirty(&r->bed, r->drv.q[0].used));
	assert_false(bed_is_dirty(&r->bed, r->drv.q[0].avail));
	rig_free(r);
}

/* A write of one sector is given to the device, which does not end it. */
static void write_waits(struct rig *r, uint64_t gpa)
{
	struct drv_buf b[3] = { { r->header, 16, false }, { gpa, 512, false }, { r->status, 1, true } };
	uint16_t head;
	uint32_t len;

	put_header(r, 1, 0);
	drv_add(&r->drv, 0, b, 3);
	drv_kick(&r->drv, 0);
	usleep(50000);
	assert_false(drv_poll(&r->drv, 0, &head, &len));
}

static void test_a_write_waits_for_the_gate(void **state)
{
	struct rig *r = rig_make(false, false, F_FLUSH);
	uint64_t gpa = bed_alloc(&r->bed, 512);
	struct err e = { 0 };
	uint16_t head;
	uint32_t len;

	atomic_store(&r->bed.gate_open, false);
	assert_int_equal(request(r, 0, 0, gpa, 512, NULL), 0); /* reads go through */
	write_waits(r, gpa);
	assert_int_equal(virtio_dev_quiesce(r->blk, 1000, &e), 0);
	atomic_store(&r->bed.gate_open, true);
	usleep(20000);
	assert_false(drv_poll(&r->drv, 0, &head, &len));
	virtio_dev_start(r->blk, &e);
	assert_true(drv_wait(&r->drv, 0, &head, &len));
	assert_int_equal(get_status(r), 0);
	rig_free(r);
}

static void test_a_gate_that_opens_by_itself_lets_writes_go(void **state)
{
	struct rig *r = rig_make(false, false, F_FLUSH | VIRTIO_F_EVENT_IDX);
	uint64_t gpa = bed_alloc(&r->bed, 512);
	uint16_t head;
	uint32_t len;

	atomic_store(&r->bed.gate_open, false);
	write_waits(r, gpa);
	atomic_store(&r->bed.gate_open, true); /* nobody starts, nobody kicks */
	assert_true(drv_wait(&r->drv, 0, &head, &len));
	assert_int_equal(get_status(r), 0);
	rig_free(r);
}

static atomic_uint looks;

/* Open to the first who looks. */
static bool closes_behind(void *arg)
{
	struct bed *b = arg;

	return atomic_fetch_add(&looks, 1) == 0 || atomic_load(&b->gate_open);
}

/* It closes when the device has looked, and the disk asks again: the guest waits, and the machine is told of no failure. */
static void test_a_gate_that_closes_behind_a_write_keeps_it(void **state)
{
	struct rig *r = rig_make(false, false, F_FLUSH);
	uint64_t gpa = bed_alloc(&r->bed, 512);
	struct err e = { 0 };
	uint16_t head;
	uint32_t len;

	atomic_store(&r->bed.gate_open, false);
	atomic_store(&looks, 0);
	r->bed.env.may_submit = closes_behind;
	write_waits(r, gpa);
	assert_int_equal(virtio_dev_quiesce(r->blk, 1000, &e), 0); /* nothing is in flight */
	virtio_dev_start(r->blk, &e);
	usleep(50000);
	assert_false(drv_poll(&r->drv, 0, &head, &len));
	atomic_store(&r->bed.gate_open, true); /* nobody starts, nobody kicks */
	assert_true(drv_wait(&r->drv, 0, &head, &len));
	assert_int_equal(get_status(r), 0);
	rig_free(r);
}

static void test_quiet_means_quiet(void **state)
{
	struct rig *r = rig_make(false, false, F_FLUSH);
	uint64_t gpa = bed_alloc(&r->bed, 65536), begin, took;
	struct drv_buf b[3] = { { r->header, 16, false }, { gpa, 65536, true }, { r->status, 1, true } };
	struct err e = { 0 };
	uint16_t head;
	uint32_t len;
	int i, n = 0;

	put_header(r, 0, 0);
	for (i = 0; i < 30; i++)
		drv_add(&r->drv, 0, b, 3);
	drv_kick(&r->drv, 0);
	assert_int_equal(virtio_dev_quiesce(r->blk, 5000, &e), 0);
	while (drv_poll(&r->drv, 0, &head, &len))
		n++;
	usleep(20000);
	assert_false(drv_poll(&r->drv, 0, &head, &len));
	virtio_dev_start(r->blk, &e);
	for (; n < 30; n++)
		assert_true(drv_wait(&r->drv, 0, &head, &len));
	usleep(1000);
	begin = clock_ns();
	assert_int_equal(virtio_dev_quiesce(r->blk, 1000, &e), 0);
	took = clock_ns() - begin;
	printf("idle quiesce: %llu us\n", (unsigned long long)(took / NS_PER_US));
	rig_free(r);
}

static void test_bad_requests_get_errors(void **state)
{
	struct rig *r = rig_make(false, false, F_FLUSH);
	uint64_t gpa = bed_alloc(&r->bed, 4096), beyond = DISK_SIZE / 512;
	json_t *s;

	assert_int_equal(request(r, 0, beyond, gpa, 512, NULL), 1);
	assert_int_equal(request(r, 0, beyond - 1, gpa, 1024, NULL), 1);
	assert_int_equal(request(r, 0, ~0ull / 512, gpa, 512, NULL), 1);
	assert_int_equal(request(r, 0, ~0ull, gpa, 512, NULL), 1);
	assert_int_equal(request(r, 0, 0, gpa, 100, NULL), 1);  /* not a whole sector */
	assert_int_equal(request(r, 99, 0, gpa, 512, NULL), 2); /* unknown type */
	assert_int_equal(request(r, 0, 0, gpa, 512, NULL), 0);  /* and it still works */
	s = virtio_dev_stats(r->blk);
	assert_int_equal(json_integer_value(json_object_get(s, "errors")), 6);
	assert_int_equal(json_integer_value(json_object_get(s, "reads")), 1);
	json_decref(s);
	rig_free(r);
}

static void test_discard_and_zeroes(void **state)
{
	struct rig *r = rig_make(false, false, F_FLUSH);
	uint64_t gpa = bed_alloc(&r->bed, 4096);
	struct {
		uint64_t sector;
		uint32_t n, flags;
	} range = { 8, 8, 0 };
	uint8_t buf[4096];
	size_t i;

	gmem_write(r->bed.mem, gpa, &range, sizeof(range));
	assert_int_equal(request(r, 13, 0, gpa, sizeof(range), NULL), 0);
	assert_int_equal(request(r, 0, 8, gpa, 4096, NULL), 0);
	gmem_read(r->bed.mem, gpa, buf, sizeof(buf));
	for (i = 0; i < sizeof(buf); i++)
		assert_int_equal(buf[i], 0);
	range.sector = 16;
	gmem_write(r->bed.mem, gpa, &range, sizeof(range));
	assert_int_equal(request(r, 11, 0, gpa, sizeof(range), NULL), 0);
	range.flags = 1; /* unmap goes with zeroes only */
	gmem_write(r->bed.mem, gpa, &range, sizeof(range));
	assert_int_equal(request(r, 11, 0, gpa, sizeof(range), NULL), 2);
	range.sector = DISK_SIZE / 512 - 1;
	range.flags = 0;
	gmem_write(r->bed.mem, gpa, &range, sizeof(range));
	assert_int_equal(request(r, 13, 0, gpa, sizeof(range), NULL), 1);
	rig_free(r);
}

static void test_readonly_refuses_writes(void **state)
{
	struct rig *r = rig_make(true, false, F_FLUSH);
	uint64_t gpa = bed_alloc(&r->bed, 512);

	assert_int_equal(request(r, 1, 0, gpa, 512, NULL), 1);
	assert_int_equal(request(r, 0, 0, gpa, 512, NULL), 0);
	rig_free(r);
}

static void test_the_serial_number(void **state)
{
	struct rig *r = rig_make(false, false, F_FLUSH);
	uint64_t gpa = bed_alloc(&r->bed, 32);
	char id[21] = { 0 };

	assert_int_equal(request(r, 8, 0, gpa, 20, NULL), 0);
	gmem_read(r->bed.mem, gpa, id, 20);
	assert_string_equal(id, "serial-7");
	rig_free(r);
}

static void test_an_indirect_chain_cut_small(void **state)
{
	struct rig *r = rig_make(false, false, F_FLUSH | VIRTIO_F_INDIRECT_DESC);
	uint64_t gpa = bed_alloc(&r->bed, 4096);
	struct drv_buf b[6] = {
		{ r->header, 7, false },
		{ r->header + 7, 9, false },
		{ gpa, 100, true },
		{ gpa + 1000, 411, true },
		{ gpa + 3000, 1, true },
		{ r->status, 1, true },
	};
	uint8_t buf[4096];
	uint16_t head;
	uint32_t len;

	put_header(r, 0, 8 * 9);
	drv_add_indirect(&r->drv, 0, b, 6);
	drv_kick(&r->drv, 0);
	assert_true(drv_wait(&r->drv, 0, &head, &len));
	assert_int_equal(len, 513);
	assert_int_equal(get_status(r), 0);
	gmem_read(r->bed.mem, gpa, buf, sizeof(buf));
	assert_int_equal(buf[99], 9);
	assert_int_equal(buf[100], 0);
	assert_int_equal(buf[1410], 9);
	assert_int_equal(buf[3000], 9);
	rig_free(r);
}

static void test_rule_s_a_broken_ring_stops_only_the_device(void **state)
{
	struct rig *r = rig_make(false, false, F_FLUSH);
	uint64_t gpa = bed_alloc(&r->bed, 512);
	struct drv_buf outside = { BED_MEMORY - 8, 16, true };
	int i;

	drv_add(&r->drv, 0, &outside, 1);
	drv_kick(&r->drv, 0);
	for (i = 0; i < 200 && !(drv_read(&r->drv, 0x14, 1) & 64); i++)
		usleep(1000);
	assert_true(drv_read(&r->drv, 0x14, 1) & 64);
	assert_true(drv_interrupts(&r->drv, 0) > 0);
	/* a reset brings it back */
	drv_features(&r->drv, F_FLUSH);
	drv_queue(&r->drv, 0, 64);
	drv_ok(&r->drv);
	assert_int_equal(request(r, 0, 0, gpa, 512, NULL), 0);
	rig_free(r);
}

static int move_state(struct virtio_dev *from, struct virtio_dev *to, struct err *e)
{
	struct state_entry a[DEVICE_STATES_MAX], b[DEVICE_STATES_MAX];
	size_t n = virtio_dev_state(from, a), i;
	static uint8_t buf[16384];
	int ret = 0;

	assert_int_equal(virtio_dev_state(to, b), n);
	for (i = 0; i < n && !ret; i++) {
		struct writer w = writer_make(buf, sizeof(buf));
		struct reader rd;

		assert_int_equal(state_save_one(&a[i], &w, e), 0);
		assert_string_equal(a[i].instance, b[i].instance);
		rd = reader_make(buf, writer_len(&w));
		ret = state_load_one(&b[i], a[i].desc->version, &rd, e);
	}
	return ret;
}

static void test_a_moved_device_goes_on_with_the_same_rings(void **state)
{
	struct rig *r = rig_make(false, false, F_FLUSH | VIRTIO_F_EVENT_IDX);
	uint64_t gpa = bed_alloc(&r->bed, 4096);
	struct virtio_dev *old = r->blk;
	struct pci_bus *old_pci = r->bed.pci;
	struct bus *old_pio = r->bed.pio, *old_mmio = r->bed.mmio;
	struct drv_buf b[3] = { { r->header, 16, false }, { gpa, 512, true }, { r->status, 1, true } };
	struct err e = { 0 };
	uint16_t head;
	uint32_t len;
	json_t *p;
	struct state_entry st[DEVICE_STATES_MAX];

	assert_int_equal(request(r, 0, 0, gpa, 512, NULL), 0);
	assert_int_equal(virtio_dev_quiesce(old, 1000, &e), 0);
	/* A request is in the ring, and its kick is lost on the way. */
	put_header(r, 0, 8 * 3);
	drv_add(&r->drv, 0, b, 3);
	assert_int_equal(bus_create(&r->bed.pio), 0);
	assert_int_equal(bus_create(&r->bed.mmio), 0);
	assert_int_equal(pci_bus_create(&r->bed.pci, r->bed.pio, r->bed.mmio, r->bed.irq, &e), 0);
	assert_int_equal(pci_bus_plug(r->bed.pci, &e), 0);
	r->bed.env.pci = r->bed.pci;
	r->blk = make_blk(r, false, false);
	if (move_state(old, r->blk, &e))
		fail_msg("%s", e.text);
	virtio_dev_state(r->blk, st);
	p = state_print(&st[1]);
	assert_int_equal(json_integer_value(json_object_get(p, "capacity")), DISK_SIZE);
	json_decref(p);
	/* The old owner still has the disk. */
	r->me.incarnation = 2;
	assert_int_equal(virtio_blk_open(r->blk, &r->me, &e), -EBUSY);
	assert_non_null(strstr(e.text, "is open by domain web (host n1, pid "));
	virtio_blk_release(old);
	if (virtio_blk_open(r->blk, &r->me, &e))
		fail_msg("%s", e.text);
	virtio_dev_start(r->blk, &e);
	r->drv.dev = r->blk;
	assert_true(drv_wait(&r->drv, 0, &head, &len));
	assert_int_equal(get_status(r), 0);
	assert_true(drv_interrupts(&r->drv, 1) > 0);
	/* Registers moved as well: BAR, status, queue. */
	assert_int_equal(drv_read(&r->drv, 0x14, 1), 15);
	assert_int_equal(request(r, 0, 8, gpa, 512, NULL), 0);
	/* Rule H: the old owner cannot have it back. */
	virtio_dev_quiesce(r->blk, 1000, &e);
	virtio_blk_release(r->blk);
	r->me.incarnation = 1;
	assert_int_equal(virtio_blk_open(old, &r->me, &e), -EPERM);
	virtio_dev_destroy(old);
	pci_bus_destroy(old_pci);
	bus_destroy(old_pio);
	bus_destroy(old_mmio);
	rig_free(r);
}

static void test_another_disk_size_is_refused(void **state)
{
	struct rig *r = rig_make(false, false, F_FLUSH);
	struct err e = { 0 };

	virtio_dev_quiesce(r->blk, 1000, &e);
	virtio_blk_release(r->blk);
	assert_int_equal(truncate(r->path, DISK_SIZE / 2), 0);
	assert_int_equal(virtio_blk_open(r->blk, &r->me, &e), -EINVAL);
	assert_non_null(strstr(e.text, "4194304"));
	rig_free(r);
}

static void test_reset_waits_for_requests(void **state)
{
	struct rig *r = rig_make(false, false, F_FLUSH);
	uint64_t gpa = bed_alloc(&r->bed, 65536);
	struct drv_buf b[3] = { { r->header, 16, false }, { gpa, 65536, true }, { r->status, 1, true } };
	int i, round;

	for (round = 0; round < 20; round++) {
		put_header(r, 0, 0);
		for (i = 0; i < 30; i++)
			drv_add(&r->drv, 0, b, 3);
		drv_kick(&r->drv, 0);
		drv_features(&r->drv, F_FLUSH);
		/* Nothing is written any more once status reads 0. */
		drv_queue(&r->drv, 0, 128);
		drv_ok(&r->drv);
	}
	assert_int_equal(request(r, 0, 0, gpa, 512, NULL), 0);
	rig_free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reads_what_the_disk_holds),
		cmocka_unit_test(test_writes_reach_the_file),
		cmocka_unit_test(test_direct_io_takes_odd_buffers),
		cmocka_unit_test(test_rule_d_marks_data_status_and_ring),
		cmocka_unit_test(test_a_write_waits_for_the_gate),
		cmocka_unit_test(test_a_gate_that_opens_by_itself_lets_writes_go),
		cmocka_unit_test(test_a_gate_that_closes_behind_a_write_keeps_it),
		cmocka_unit_test(test_quiet_means_quiet),
		cmocka_unit_test(test_bad_requests_get_errors),
		cmocka_unit_test(test_discard_and_zeroes),
		cmocka_unit_test(test_readonly_refuses_writes),
		cmocka_unit_test(test_the_serial_number),
		cmocka_unit_test(test_an_indirect_chain_cut_small),
		cmocka_unit_test(test_rule_s_a_broken_ring_stops_only_the_device),
		cmocka_unit_test(test_a_moved_device_goes_on_with_the_same_rings),
		cmocka_unit_test(test_another_disk_size_is_refused),
		cmocka_unit_test(test_reset_waits_for_requests),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
