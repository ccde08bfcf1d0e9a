/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The power is cut (crash_bed.h) under images in the format qcow2: nothing is referred to that is not counted, by our own
 * check, and for some of them by qemu-img's as well.
 */
#include "crash_bed.h"

#include "hv/disk/qcow2_int.h"

#include <fcntl.h>

/* What the image is like before the guest runs. */
enum shape {
	SMALL,     /* clusters of a sector: many tables of each kind */
	OLD,       /* version 2, which has no zero clusters */
	SNAPSHOT,  /* all clusters and L2 tables are referred to twice */
	GROWING,   /* so large a file that the table of counts has no more entries */
	HOLES,     /* free clusters, with data, before the end of the file */
	AUTOCLEAR, /* others believe what lies beside the disk */
	SHAPES
};

static void less_room(struct block *b, unsigned int n)
{
	struct qcow2_image *q = (struct qcow2_image *)b;

	if (n < q->n_slices)
		q->n_slices = n;
}

static uint64_t get64(int fd, uint64_t at)
{
	uint64_t v;

	assert_int_equal(pread(fd, &v, 8, (off_t)at), 8);
	return be64toh(v);
}

static void put64(int fd, uint64_t v, uint64_t at)
{
	v = htobe64(v);
	crash_put_at(fd, &v, 8, at);
}

/* --- a snapshot, as QEMU makes one --- */

/* One more refers to it. */
static void refer(int fd, const struct qcow2_layout *l, uint64_t host)
{
	uint64_t per_block = l->cluster * 8ull >> l->h.order, at = get64(fd, l->h.table_at + host / per_block * 8) + host % per_block * 2;
	uint8_t p[2];

	assert_int_equal(l->h.order, 4);
	assert_int_equal(pread(fd, p, 2, (off_t)at), 2);
	qcow2_refs_put(p, 0, 4, qcow2_refs_count(p, 0, 4) + 1);
	crash_put_at(fd, p, 2, at);
}

static void share(int fd, const struct qcow2_layout *l, uint64_t at)
{
	uint64_t entry = get64(fd, at);

	if (!(entry & QCOW2_PLACE))
		return;
	put64(fd, entry & ~QCOW2_COPIED, at);
	refer(fd, l, (entry & QCOW2_PLACE) >> l->h.bits);
}

/* L1 is copied to the end of the file, and a table of one snapshot lies behind it. */
static void make_snapshot(int fd)
{
	struct qcow2_layout l;
	uint8_t entry[56 + 8] = { 0 };
	uint64_t end, clusters;
	uint32_t one = htobe32(1);

	assert_int_equal(qcow2_layout_read(fd, "snapshot", &l, NULL), 0);
	end = (l.file_size + l.cluster - 1) >> l.h.bits;
	clusters = (l.h.l1_size * 8ull + l.cluster - 1) >> l.h.bits;
	for (uint32_t i = 0; i < l.h.l1_size; i++) {
		uint64_t l2 = get64(fd, l.h.l1_at + i * 8ull) & QCOW2_PLACE;

		for (uint32_t k = 0; l2 && k < l.l2_entries; k++)
			share(fd, &l, l2 + k * 8ull);
		share(fd, &l, l.h.l1_at + i * 8ull);
		put64(fd, get64(fd, l.h.l1_at + i * 8ull), (end << l.h.bits) + i * 8ull);
	}
	for (uint64_t i = 0; i < clusters + 1; i++)
		refer(fd, &l, end + i);
	put64(fd, (end + clusters) << l.h.bits, 64);
	crash_put_at(fd, &one, 4, 60);
	*(uint64_t *)entry = htobe64(end << l.h.bits);
	*(uint32_t *)(entry + 8) = htobe32(l.h.l1_size);
	entry[13] = 1; /* letters of its id, and of its name */
	entry[15] = 1;
	entry[39] = 16; /* bytes that version 3 has more */
	*(uint64_t *)(entry + 48) = htobe64(l.h.size);
	memcpy(entry + 56, "1s", 2);
	crash_put_at(fd, entry, sizeof(entry), (end + clusters) << l.h.bits);
	assert_int_equal(ftruncate(fd, (off_t)((end + clusters + 1) << l.h.bits)), 0);
	qcow2_layout_end(&l);
}

/* --- images --- */

static void create(int fd, const struct qcow2_new *n)
{
	struct err e = { 0 };

	if (qcow2_create(fd, "crash.qcow2", n, &e))
		fail_msg("%s", e.text);
}

static struct block *open_plainly(struct crash_world *w)
{
	return crash_open(w, w->image, NULL);
}

/* What the guest finds: all of it is here, and its parent's would be the same. */
static void fill(struct crash_world *w)
{
	struct block *b = open_plainly(w);

	crash_fill(b);
	block_close(b);
	w->start = true;
}

static void make_holes(struct crash_world *w)
{
	struct block *b;

	fill(w);
	b = open_plainly(w);
	assert_int_equal(bed_do(b, BLOCK_DISCARD, 0, CRASH_SIZE, NULL), 0);
	assert_int_equal(block_flush(b, NULL), 0);
	block_close(b);
	w->start = false;
}

static void shape_image(struct crash_world *w)
{
	switch ((enum shape)w->shape) {
	case SNAPSHOT:
		fill(w);
		make_snapshot(w->image);
		break;
	case GROWING: /* 64 entries, of blocks of 64 clusters of 512 bytes */
		assert_int_equal(ftruncate(w->image, (64 * 64 - 70) * 512), 0);
		break;
	case HOLES: make_holes(w); break;
	case AUTOCLEAR: put64(w->image, 1ull << 40, QCOW2_AUTOCLEAR_AT); break;
	default: break;
	}
}

static void make(struct crash_world *w)
{
	struct qcow2_new n = { .size = CRASH_SIZE, .cluster = 512 };

	if (w->shape == OLD)
		n = (struct qcow2_new){ .size = CRASH_SIZE, .version = 2, .cluster = 4096 };
	else if (w->shape == SNAPSHOT || w->shape == HOLES)
		n.cluster = 2048;
	else if (w->shape == GROWING)
		n.refcount_order = 6;
	if (w->child) {
		struct qcow2_new p = { .size = CRASH_SIZE };
		struct crash_world of = { .format = w->format, .image = bed_file(), .parent = -1 };

		create(of.image, &p);
		fill(&of);
		w->parent = of.image;
		w->start = true;
		n.backing = "parent.qcow2";
		n.backing_format = "qcow2";
	}
	create(w->image, &n);
	shape_image(w);
}

/* --- checks --- */

static void told(void *arg, const char *line)
{
	print_message("%s: %s\n", (const char *)arg, line);
}

static unsigned long qemu_looked; /* at so many images */

static void by_qemu(int fd, const char *when)
{
	char line[200];
	int ret;

	/* 3: clusters have leaked; as a program that is not there says 127 */
	snprintf(line, sizeof(line), "qemu-img check -U -f qcow2 /proc/%d/fd/%d >/dev/null 2>&1", (int)getpid(), fd);
	ret = system(line); /* NOLINT: the line is this file's own */
	ret = WIFEXITED(ret) ? WEXITSTATUS(ret) : -1;
	if (ret != 0 && ret != 3 && ret != 127)
		fail_msg("%s: qemu-img check: status %d", when, ret);
	qemu_looked += ret != 127;
}

static void check(const struct crash_world *w, int fd, const char *when, uint64_t seed)
{
	struct qcow2_checked c;
	struct err e = { 0 };

	if (qcow2_check(fd, "crash.qcow2", &c, told, (void *)(uintptr_t)when, &e))
		fail_msg("%s: %s", when, e.text);
	if (c.wrong)
		fail_msg("%s: %llu tables lie", when, (unsigned long long)c.wrong);
	if (seed % 100 == 7 && w->parent < 0)
		by_qemu(fd, when);
}

static const struct crash_format qcow2 = {
	.name = "qcow2",
	.shapes = SHAPES,
	.discards = true,
	.make = make,
	.less_room = less_room,
	.check = check,
};

static void test_an_image_survives(void **state)
{
	(void)state;
	crash_run_all(&qcow2, false, 512);
}

static void test_an_image_with_a_parent_survives(void **state)
{
	(void)state;
	crash_run_all(&qcow2, true, 512);
}

static void test_an_image_survives_on_large_sectors(void **state)
{
	(void)state;
	crash_run_all(&qcow2, false, 4096);
}

static void test_an_image_with_a_parent_survives_on_large_sectors(void **state)
{
	(void)state;
	crash_run_all(&qcow2, true, 4096);
}

/* Tables that could not be written are written again, and what an fdatasync has lost is never said to be durable. */
static void test_an_image_survives_requests_that_fail(void **state)
{
	(void)state;
	setenv("CRASH_FAILS", "40", 0);
	crash_run_all(&qcow2, false, 512);
	crash_run_all(&qcow2, true, 512);
	unsetenv("CRASH_FAILS");
}

/* Most have to wait for a flush. */
static void test_an_image_survives_with_little_room(void **state)
{
	(void)state;
	setenv("CRASH_ROOM", "10", 0);
	crash_run_all(&qcow2, true, 512);
	unsetenv("CRASH_ROOM");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_an_image_survives),
		cmocka_unit_test(test_an_image_with_a_parent_survives),
		cmocka_unit_test(test_an_image_survives_on_large_sectors),
		cmocka_unit_test(test_an_image_with_a_parent_survives_on_large_sectors),
		cmocka_unit_test(test_an_image_survives_requests_that_fail),
		cmocka_unit_test(test_an_image_survives_with_little_room),
	};
	int ret;

	if (getenv("CRASH_ONLY"))
		cmocka_set_test_filter(getenv("CRASH_ONLY"));
	ret = cmocka_run_group_tests(tests, NULL, NULL);
	print_message("qcow2: qemu-img check of %lu of these images\n", qemu_looked);
	return ret;
}
