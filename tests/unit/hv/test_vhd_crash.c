/* SPDX-License-Identifier: Apache-2.0 */
/* The power is cut (crash_bed.h) under images in the format vhd. */
#include "crash_bed.h"

#include "hv/disk/vhd_int.h"

#include <endian.h>

#define BLOCK 8192u

/* What the image is like before the guest runs. */
enum shape {
	OURS,
	FOREIGN,   /* some blocks are there, one behind the other as others lay them, on no whole page */
	HEAD_LOST, /* the footer's copy is damaged */
	TAIL_LOST, /* the footer is, as after a cut */
	SHAPES
};

/* So few bitmaps fit into memory that writes wait for room. */
static void less_room(struct block *b, unsigned int n)
{
	struct vhd_image *v = (struct vhd_image *)b;

	if (n < v->n_maps)
		v->n_maps = n;
}

/* Every other block, with nothing in it: to a child all is its parent's, else all is zero and as good as written. */
static void place_some(int fd, bool child)
{
	struct vhd_layout l;
	uint8_t bits[512];
	uint64_t at;

	assert_int_equal(vhd_read(fd, "foreign.vhd", &l, NULL), 0);
	memset(bits, child ? 0 : 0xff, sizeof(bits));
	at = l.data_start + 4 * 512; /* behind the name of the parent */
	assert_int_equal(ftruncate(fd, (off_t)at), 0);
	for (uint32_t i = 0; i < l.blocks; i += 2) {
		uint32_t sector = htobe32((uint32_t)(at / 512));

		crash_put_at(fd, &sector, 4, l.header.table_at + 4 * i);
		crash_put_at(fd, bits, sizeof(bits), at);
		at += l.bitmap_size + l.header.block_size;
	}
	crash_put_at(fd, l.footer_bytes, 512, at);
	vhd_read_end(&l);
}

static void shape_image(int fd, enum shape shape, bool child)
{
	if (shape == FOREIGN)
		place_some(fd, child);
	else if (shape == HEAD_LOST)
		crash_put_at(fd, "x", 1, 100);
	else if (shape == TAIL_LOST)
		assert_int_equal(ftruncate(fd, lseek(fd, 0, SEEK_END) - 512), 0);
}

static void make(struct crash_world *w)
{
	struct block *b;

	if (w->child) {
		w->parent = bed_file();
		w->start = true;
		bed_create(w->parent, VHD_DYNAMIC, CRASH_SIZE, 0);
		b = bed_open(w->parent, false);
		crash_fill(b);
		block_close(b);
		bed_create_on(w->image, w->parent, BLOCK);
	} else {
		bed_create(w->image, VHD_DYNAMIC, CRASH_SIZE, BLOCK);
	}
	shape_image(w->image, (enum shape)w->shape, w->child);
}

static void check(const struct crash_world *w, int fd, const char *when, uint64_t seed)
{
	struct vhd_info info;
	struct err e = { 0 };

	(void)w;
	(void)seed;
	if (vhd_info(fd, "crash.vhd", &info, &e))
		fail_msg("%s: %s", when, e.text);
	if (!strcmp(when, "after going on"))
		assert_false(info.footer_lost);
}

static const struct crash_format vhd = { .name = "vhd", .shapes = SHAPES, .make = make, .less_room = less_room, .check = check };

static void test_a_dynamic_image_survives(void **state)
{
	(void)state;
	crash_run_all(&vhd, false, 512);
}

static void test_a_differencing_image_survives(void **state)
{
	(void)state;
	crash_run_all(&vhd, true, 512);
}

static void test_a_dynamic_image_survives_on_large_sectors(void **state)
{
	(void)state;
	crash_run_all(&vhd, false, 4096);
}

static void test_a_differencing_image_survives_on_large_sectors(void **state)
{
	(void)state;
	crash_run_all(&vhd, true, 4096);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_dynamic_image_survives),
		cmocka_unit_test(test_a_differencing_image_survives),
		cmocka_unit_test(test_a_dynamic_image_survives_on_large_sectors),
		cmocka_unit_test(test_a_differencing_image_survives_on_large_sectors),
	};

	if (getenv("CRASH_ONLY"))
		cmocka_set_test_filter(getenv("CRASH_ONLY"));
	return cmocka_run_group_tests(tests, NULL, NULL);
}
