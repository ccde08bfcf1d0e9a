/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The power is cut at any moment, with any part of what was not made durable on the disk.
 *
 * A guest writes, zeroes, reads and flushes, several at once, on a disk that is a fake (fake_disk.h).  Then for many moments, and
 * several fates of what was under way, the image is opened as it would be found: it must be sound, and each
 * sector must have what was last flushed, or something later, and never anything else: a zero where there was data of
 * the parent's is as wrong as another sector's.
 */
#include "disk_bed.h"
#include "fake_disk.h"

#include "hv/disk/vhd_int.h"

#include <endian.h>

#define BLOCK 8192u
#define SECTORS 1024u
#define OPS 120
#define AT_ONCE 8
#define CUTS 200
#define PARENTS_WHO 1u

/* What the image is like before the guest runs. */
enum shape {
	OURS,
	FOREIGN,   /* some blocks are there, one behind the other as others lay them, on no whole page */
	HEAD_LOST, /* the footer's copy is damaged */
	TAIL_LOST, /* the footer is, as after a cut */
	SHAPES
};

struct version {
	uint32_t sector, who;           /* who 0: zeroes */
	uint64_t issued, done, durable; /* moments */
	struct version *before;
	struct version *made; /* before this one, of any sector */
};

struct op {
	struct bed_request r;
	uint32_t sector, n, who;
	uint64_t issued;
	uint8_t *data;
	bool used;
};

struct world {
	struct fake_disk *fake;
	struct block *b;
	int image, base, parent; /* parent -1: none */
	uint64_t seed, run;
	enum shape shape;
	struct version *last[SECTORS]; /* of each sector, newest first */
	struct version *made;          /* all of them */
	bool busy[SECTORS];            /* a write is in flight */
	struct op ops[AT_ONCE];
	uint32_t who;
};

/* More of them: VHD_CRASH_SEEDS=100 in the environment; longer ones: VHD_CRASH_OPS=2000. */
static unsigned int setting(const char *name, unsigned int otherwise)
{
	const char *s = getenv(name);

	return s ? (unsigned int)atoi(s) : otherwise;
}

/* So few bitmaps fit into memory that writes wait for room. */
static void few_maps(struct world *w)
{
	unsigned int n = setting("VHD_CRASH_MAPS", 0);
	struct vhd_image *v = (struct vhd_image *)w->b;

	if (n && n < v->n_maps)
		v->n_maps = n;
}

static struct block *open_image(const struct world *w, int fd, const struct block_format *below)
{
	struct block_parent up = { w->parent, "parent.vhd" };
	struct block_open_args a = {
		.fd = fd,
		.path = "crash.vhd",
		.depth = BED_DEPTH,
		.below = below,
		.parents = &up,
		.n_parents = w->parent >= 0,
	};

	return bed_open_on(&a);
}

static void parent_make(struct world *w)
{
	uint8_t *p = malloc(SECTORS * 512);
	struct block *b;

	w->parent = bed_file();
	bed_create(w->parent, VHD_DYNAMIC, SECTORS * 512, 0);
	b = bed_open(w->parent, false);
	bed_fill(p, 0, SECTORS * 512, PARENTS_WHO);
	assert_int_equal(bed_do(b, BLOCK_WRITE, 0, SECTORS * 512, p), 0);
	assert_int_equal(block_flush(b, NULL), 0);
	block_close(b);
	free(p);
}

static int copy_of(int fd)
{
	int to = bed_file();
	uint8_t buf[4096];
	off_t at = 0;
	ssize_t n;

	while ((n = pread(fd, buf, sizeof(buf), at)) > 0) {
		assert_int_equal(pwrite(to, buf, (size_t)n, at), n);
		at += n;
	}
	return to;
}

static void put_at(int fd, const void *p, size_t len, uint64_t at)
{
	assert_int_equal(pwrite(fd, p, len, (off_t)at), len);
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

		put_at(fd, &sector, 4, l.header.table_at + 4 * i);
		put_at(fd, bits, sizeof(bits), at);
		at += l.bitmap_size + l.header.block_size;
	}
	put_at(fd, l.footer_bytes, 512, at);
	vhd_read_end(&l);
}

static void shape_image(int fd, enum shape shape, bool child)
{
	if (shape == FOREIGN)
		place_some(fd, child);
	else if (shape == HEAD_LOST)
		put_at(fd, "x", 1, 100);
	else if (shape == TAIL_LOST)
		assert_int_equal(ftruncate(fd, lseek(fd, 0, SEEK_END) - 512), 0);
}

static void world_make(struct world *w, bool child, enum shape shape, uint32_t sector, uint64_t seed)
{
	*w = (struct world){ .seed = seed * 77 + 1, .run = seed, .shape = shape, .parent = -1, .who = PARENTS_WHO };
	w->image = bed_file();
	if (child) {
		parent_make(w);
		bed_create_on(w->image, w->parent, BLOCK);
	} else {
		bed_create(w->image, VHD_DYNAMIC, SECTORS * 512, BLOCK);
	}
	shape_image(w->image, shape, child);
	w->base = copy_of(w->image);
	w->fake = fake_new(sector, seed);
	w->b = open_image(w, w->image, &block_fake);
	w->fake->fail_one_in = setting("VHD_CRASH_FAILS", 0);
	few_maps(w);
	assert_true(block_size(w->b) >= SECTORS * 512);
}

static void world_end(struct world *w)
{
	block_close(w->b);
	fake_free(w->fake);
	for (struct version *v = w->made, *next; v; v = next) {
		next = v->made;
		free(v);
	}
	close(w->image);
	close(w->base);
	if (w->parent >= 0)
		close(w->parent);
}

/* --- what may be there --- */

static uint32_t who_of(const uint8_t *p, uint32_t sector)
{
	uint64_t v, first;

	memcpy(&first, p, 8);
	for (size_t i = 8; i < 512; i += 8) {
		memcpy(&v, p + i, 8);
		if (v != first)
			fail_msg("sector %u is torn", sector);
	}
	if (first && first >> 24 != sector)
		fail_msg("sector %u has what belongs to sector %llu", sector, (unsigned long long)(first >> 24));
	return first & 0xffffff;
}

/* Durable by @moment is what is older than a flush that has answered by then. */
static bool may_be(const struct world *w, uint32_t sector, uint32_t who, uint64_t moment)
{
	const struct version *v;

	for (v = w->last[sector]; v; v = v->before) {
		if (v->issued < moment && v->who == who)
			return true;
		if (v->durable < moment)
			return false;
	}
	return who == (w->parent >= 0 ? PARENTS_WHO : 0);
}

static void check_sector(const struct world *w, const uint8_t *p, uint32_t sector, uint64_t moment, const char *when)
{
	uint32_t who = who_of(p, sector);

	if (!may_be(w, sector, who, moment))
		fail_msg("%s, moment %llu of run %llu, shape %d: sector %u has version %u", when, (unsigned long long)moment,
			 (unsigned long long)w->run, (int)w->shape, sector, who);
}

/* --- the guest --- */

static bool range_free(const struct world *w, uint32_t sector, uint32_t n)
{
	for (uint32_t i = sector; i < sector + n; i++)
		if (w->busy[i])
			return false;
	return true;
}

static void write_begin(struct world *w, struct op *o)
{
	for (uint32_t i = o->sector; i < o->sector + o->n; i++) {
		struct version *v = malloc(sizeof(*v));

		assert_non_null(v);
		*v = (struct version){ i, o->who, o->issued, UINT64_MAX, UINT64_MAX, w->last[i], w->made };
		w->last[i] = w->made = v;
		w->busy[i] = true;
	}
}

static void write_end(struct world *w, struct op *o)
{
	uint64_t now = fake_moment(w->fake);

	for (uint32_t i = o->sector; i < o->sector + o->n; i++) {
		w->busy[i] = false;
		w->last[i]->done = now;
		if (o->r.io.durable)
			w->last[i]->durable = now;
	}
}

static void flush_end(struct world *w, struct op *o)
{
	uint64_t now = fake_moment(w->fake);

	for (uint32_t i = 0; i < SECTORS; i++)
		for (struct version *v = w->last[i]; v; v = v->before)
			if (v->done < o->issued && v->durable == UINT64_MAX)
				v->durable = now;
}

/* What a reader finds is at least as new as what was there when it asked. */
static void read_end(struct world *w, struct op *o)
{
	for (uint32_t i = 0; i < o->n; i++) {
		uint32_t who = who_of(o->data + i * 512ull, o->sector + i);
		const struct version *v = w->last[o->sector + i];

		while (v && v->who != who && (v->done == UINT64_MAX || v->done > o->issued))
			v = v->before;
		if (v ? v->who != who : who != (w->parent >= 0 ? PARENTS_WHO : 0))
			fail_msg("a read of sector %u found version %u, newest is %u", o->sector + i, who,
				 w->last[o->sector + i] ? w->last[o->sector + i]->who : 0);
	}
}

static void op_begin(struct world *w, struct op *o)
{
	unsigned int dice = (unsigned int)(fake_random(&w->seed) % 20);
	enum block_op op = dice < 10 ? BLOCK_WRITE : dice < 12 ? BLOCK_ZERO :
					     dice < 17         ? BLOCK_READ :
								 BLOCK_FLUSH;

	/* Near each other, so that they meet in blocks; the last eighth is never written. */
	o->n = 1 + (uint32_t)(fake_random(&w->seed) % (fake_random(&w->seed) % 4 ? 6 : 60));
	o->sector = (uint32_t)(fake_random(&w->seed) % (SECTORS * 7 / 8 - o->n));
	if (fake_random(&w->seed) % 2)
		o->sector %= 128;
	if ((op == BLOCK_WRITE || op == BLOCK_ZERO) && !range_free(w, o->sector, o->n))
		return;
	o->used = true;
	o->who = op == BLOCK_WRITE ? ++w->who : 0;
	o->issued = fake_moment(w->fake);
	o->data = aligned_alloc(512, o->n * 512ull);
	assert_non_null(o->data);
	bed_fill(o->data, o->sector * 512ull, o->n * 512ull, o->who);
	bed_make(&o->r, op, o->sector * 512ull, op == BLOCK_FLUSH ? 0 : o->n * 512ull, o->data);
	o->r.io.durable = fake_random(&w->seed) % 8 == 0;
	if (op == BLOCK_WRITE || op == BLOCK_ZERO)
		write_begin(w, o);
	assert_int_equal(block_queue(w->b, &o->r.io), 0);
}

/* What has failed may be there all the same, and no later answer is about it. */
static void op_failed(struct world *w, struct op *o)
{
	if (o->r.io.op == BLOCK_WRITE || o->r.io.op == BLOCK_ZERO)
		for (uint32_t i = o->sector; i < o->sector + o->n; i++)
			w->busy[i] = false;
}

static void op_end(struct world *w, struct op *o)
{
	if (o->r.ret && w->fake->fail_one_in) {
		op_failed(w, o);
		free(o->data);
		o->used = false;
		return;
	}
	assert_int_equal(o->r.ret, 0);
	switch (o->r.io.op) {
	case BLOCK_WRITE:
	case BLOCK_ZERO: write_end(w, o); break;
	case BLOCK_READ: read_end(w, o); break;
	default: flush_end(w, o);
	}
	free(o->data);
	o->used = false;
}

static void guest_runs(struct world *w)
{
	struct pollfd p = { .fd = block_event_fd(w->b), .events = POLLIN };
	unsigned int begun = 0, in_flight = 0, ops = setting("VHD_CRASH_OPS", OPS);

	while (begun < ops || in_flight) {
		for (int i = 0; i < AT_ONCE && begun < ops; i++) {
			if (w->ops[i].used || fake_random(&w->seed) % 3 == 0)
				continue;
			op_begin(w, &w->ops[i]);
			begun++;
		}
		block_kick(w->b);
		if (poll(&p, 1, 0) == 1)
			block_reap(w->b);
		in_flight = 0;
		for (int i = 0; i < AT_ONCE; i++) {
			if (w->ops[i].used && w->ops[i].r.done)
				op_end(w, &w->ops[i]);
			in_flight += w->ops[i].used;
		}
		if (in_flight && poll(&p, 1, 5000) != 1)
			fail_msg("%u requests never came back", in_flight);
	}
}

/* --- the cut --- */

/* It is an image like any other: what is written now is there afterwards, and beside it what was there. */
static void check_goes_on(struct world *w, int fd, const uint8_t *before)
{
	uint32_t sector = (uint32_t)(fake_random(&w->seed) % (SECTORS - 4));
	uint8_t *after = malloc(SECTORS * 512);
	struct vhd_info info;
	struct block *b = open_image(w, fd, NULL);
	uint8_t data[1024];

	assert_non_null(after);
	bed_fill(data, sector * 512ull, sizeof(data), 0xfffff);
	assert_int_equal(bed_do(b, BLOCK_WRITE, sector * 512ull, sizeof(data), data), 0);
	assert_int_equal(block_flush(b, NULL), 0);
	block_close(b);
	assert_int_equal(vhd_info(fd, "crash.vhd", &info, NULL), 0);
	assert_false(info.footer_lost);
	b = open_image(w, fd, NULL);
	assert_int_equal(bed_do(b, BLOCK_READ, 0, SECTORS * 512, after), 0);
	assert_memory_equal(after + sector * 512ull, data, sizeof(data));
	assert_memory_equal(after, before, sector * 512ull);
	assert_memory_equal(after + sector * 512ull + 1024, before + sector * 512ull + 1024, (SECTORS - sector) * 512ull - 1024);
	block_close(b);
	free(after);
}

/* By a fake as well, for a ring takes ten times as long to make as all of this. */
static void read_all(const struct world *w, int fd, uint8_t *p)
{
	struct fake_disk *f = fake_new(512, 1);
	struct block *b = open_image(w, fd, &block_fake);

	assert_int_equal(bed_do(b, BLOCK_READ, 0, SECTORS * 512, p), 0);
	block_close(b);
	fake_free(f);
}

static void check_cut(struct world *w, uint64_t moment, uint64_t seed)
{
	int fd = fake_cut(w->fake, w->base, moment, seed);
	uint8_t *p = malloc(SECTORS * 512);
	struct vhd_info info;
	struct err e = { 0 };

	assert_non_null(p);
	if (vhd_info(fd, "crash.vhd", &info, &e))
		fail_msg("moment %llu, seed %llu: %s", (unsigned long long)moment, (unsigned long long)seed, e.text);
	read_all(w, fd, p);
	for (uint32_t i = 0; i < SECTORS; i++)
		check_sector(w, p + i * 512ull, i, moment, "after the cut");
	if (seed % 8 == 0)
		check_goes_on(w, fd, p);
	free(p);
	close(fd);
}

static void run(bool child, enum shape shape, uint32_t sector, uint64_t seed)
{
	struct world w;
	uint64_t end;

	world_make(&w, child, shape, sector, seed);
	guest_runs(&w);
	end = fake_moment(w.fake);
	for (uint64_t i = 0; i < CUTS; i++)
		check_cut(&w, 1 + end * i / CUTS, i);
	for (uint64_t i = 0; i < 8; i++)
		check_cut(&w, end, 1000 + i);
	world_end(&w);
}

static void run_all(bool child, uint32_t sector)
{
	unsigned int n = setting("VHD_CRASH_SEEDS", 1), first = setting("VHD_CRASH_FIRST", 1);

	for (unsigned int seed = first; seed < first + n; seed++)
		for (enum shape shape = 0; shape < SHAPES; shape++)
			run(child, shape, sector, seed * SHAPES + shape);
}

static void test_a_dynamic_image_survives(void **state)
{
	(void)state;
	run_all(false, 512);
}

static void test_a_differencing_image_survives(void **state)
{
	(void)state;
	run_all(true, 512);
}

static void test_a_dynamic_image_survives_on_large_sectors(void **state)
{
	(void)state;
	run_all(false, 4096);
}

static void test_a_differencing_image_survives_on_large_sectors(void **state)
{
	(void)state;
	run_all(true, 4096);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_dynamic_image_survives),
		cmocka_unit_test(test_a_differencing_image_survives),
		cmocka_unit_test(test_a_dynamic_image_survives_on_large_sectors),
		cmocka_unit_test(test_a_differencing_image_survives_on_large_sectors),
	};

	if (getenv("VHD_CRASH_ONLY"))
		cmocka_set_test_filter(getenv("VHD_CRASH_ONLY"));
	return cmocka_run_group_tests(tests, NULL, NULL);
}
