/* SPDX-License-Identifier: Apache-2.0 */
/* crash_bed - see crash_bed.h. */
#include "crash_bed.h"

#define OPS 120
#define CUTS 200
#define LAST_CUTS 8 /* after the last answer */

unsigned int crash_setting(const char *name, unsigned int otherwise)
{
	const char *s = getenv(name);

	return s ? (unsigned int)atoi(s) : otherwise;
}

struct block *crash_open(const struct crash_world *w, int fd, const struct block_format *below)
{
	struct block_parent up = { w->parent, "parent" };
	struct block_open_args a = {
		.fd = fd,
		.path = "crash",
		.depth = BED_DEPTH,
		.below = below,
		.parents = &up,
		.n_parents = w->parent >= 0,
	};

	return bed_open_as(w->format->name, &a);
}

void crash_fill(struct block *b)
{
	uint8_t *p = malloc(CRASH_SIZE);

	assert_non_null(p);
	bed_fill(p, 0, CRASH_SIZE, CRASH_START_WHO);
	assert_int_equal(bed_do(b, BLOCK_WRITE, 0, CRASH_SIZE, p), 0);
	assert_int_equal(block_flush(b, NULL), 0);
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

void crash_put_at(int fd, const void *p, size_t len, uint64_t at)
{
	assert_int_equal(pwrite(fd, p, len, (off_t)at), len);
}

static void world_make(struct crash_world *w, const struct crash_format *f, bool child, unsigned int shape, uint32_t sector, uint64_t seed)
{
	unsigned int room = crash_setting("CRASH_ROOM", 0);

	*w = (struct crash_world){ .format = f, .child = child, .seed = seed * 77 + 1, .run = seed, .shape = shape, .parent = -1, .who = CRASH_START_WHO };
	w->image = bed_file();
	f->make(w);
	w->base = copy_of(w->image);
	w->fake = fake_new(sector, seed);
	w->b = crash_open(w, w->image, &block_fake);
	w->fake->fail_one_in = crash_setting("CRASH_FAILS", 0);
	if (room)
		f->less_room(w->b, room);
	assert_true(block_size(w->b) >= CRASH_SIZE);
}

static void world_end(struct crash_world *w)
{
	block_close(w->b);
	fake_free(w->fake);
	for (struct crash_version *v = w->made, *next; v; v = next) {
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
static bool may_be(const struct crash_world *w, uint32_t sector, uint32_t who, uint64_t moment)
{
	const struct crash_version *v;

	for (v = w->last[sector]; v; v = v->before) {
		if (v->issued < moment && v->who == who)
			return true;
		if (v->durable < moment && !v->maybe)
			return false;
	}
	return who == (w->start ? CRASH_START_WHO : 0);
}

static void check_sector(const struct crash_world *w, const uint8_t *p, uint32_t sector, uint64_t moment, const char *when)
{
	uint32_t who = who_of(p, sector);

	if (!may_be(w, sector, who, moment))
		fail_msg("%s, moment %llu of run %llu, shape %u: sector %u has version %u", when, (unsigned long long)moment,
			 (unsigned long long)w->run, w->shape, sector, who);
}

/* --- the guest --- */

static bool range_free(const struct crash_world *w, uint32_t sector, uint32_t n)
{
	for (uint32_t i = sector; i < sector + n; i++)
		if (w->busy[i])
			return false;
	return true;
}

static void write_begin(struct crash_world *w, struct crash_op *o)
{
	for (uint32_t i = o->sector; i < o->sector + o->n; i++) {
		struct crash_version *v = malloc(sizeof(*v));

		assert_non_null(v);
		*v = (struct crash_version){ i, o->who, o->r.io.op == BLOCK_DISCARD, o->issued, UINT64_MAX, UINT64_MAX, w->last[i], w->made };
		w->last[i] = w->made = v;
		w->busy[i] = true;
	}
}

static void write_end(struct crash_world *w, struct crash_op *o)
{
	uint64_t now = fake_moment(w->fake);

	for (uint32_t i = o->sector; i < o->sector + o->n; i++) {
		w->busy[i] = false;
		w->last[i]->done = now;
		if (o->r.io.durable && o->r.io.op != BLOCK_DISCARD)
			w->last[i]->durable = now;
	}
}

static void flush_end(struct crash_world *w, struct crash_op *o)
{
	uint64_t now = fake_moment(w->fake);

	for (uint32_t i = 0; i < CRASH_SECTORS; i++)
		for (struct crash_version *v = w->last[i]; v; v = v->before)
			if (v->done < o->issued && v->durable == UINT64_MAX)
				v->durable = now;
}

/* What a reader finds is at least as new as what was there when it asked. */
static void read_end(struct crash_world *w, struct crash_op *o)
{
	for (uint32_t i = 0; i < o->n; i++) {
		uint32_t who = who_of(o->data + i * 512ull, o->sector + i);
		const struct crash_version *v = w->last[o->sector + i];

		while (v && v->who != who && (v->maybe || v->done == UINT64_MAX || v->done > o->issued))
			v = v->before;
		if (v ? v->who != who : who != (w->start ? CRASH_START_WHO : 0))
			fail_msg("a read of sector %u found version %u, newest is %u", o->sector + i, who,
				 w->last[o->sector + i] ? w->last[o->sector + i]->who : 0);
	}
}

static bool changes(enum block_op op)
{
	return op == BLOCK_WRITE || op == BLOCK_ZERO || op == BLOCK_DISCARD;
}

static void op_begin(struct crash_world *w, struct crash_op *o)
{
	unsigned int dice = (unsigned int)(fake_random(&w->seed) % 20);
	enum block_op op = dice < 10 ? BLOCK_WRITE : dice < 12 ? BLOCK_ZERO :
					     dice < 17         ? BLOCK_READ :
								 BLOCK_FLUSH;

	if (dice == 12 && w->format->discards)
		op = BLOCK_DISCARD;

	/* Near each other, so that they meet in blocks; the last eighth is never written. */
	o->n = 1 + (uint32_t)(fake_random(&w->seed) % (fake_random(&w->seed) % 4 ? 6 : 60));
	o->sector = (uint32_t)(fake_random(&w->seed) % (CRASH_SECTORS * 7 / 8 - o->n));
	if (fake_random(&w->seed) % 2)
		o->sector %= 128;
	if (changes(op) && !range_free(w, o->sector, o->n))
		return;
	o->used = true;
	o->who = op == BLOCK_WRITE ? ++w->who : 0;
	o->issued = fake_moment(w->fake);
	o->data = aligned_alloc(512, o->n * 512ull);
	assert_non_null(o->data);
	bed_fill(o->data, o->sector * 512ull, o->n * 512ull, o->who);
	bed_make(&o->r, op, o->sector * 512ull, op == BLOCK_FLUSH ? 0 : o->n * 512ull, o->data);
	o->r.io.durable = fake_random(&w->seed) % 8 == 0;
	o->r.io.unmap = w->format->discards && op == BLOCK_ZERO && fake_random(&w->seed) % 2;
	if (changes(op))
		write_begin(w, o);
	assert_int_equal(block_queue(w->b, &o->r.io), 0);
}

/* What has failed may be there all the same, and no later answer is about it. */
static void op_failed(struct crash_world *w, struct crash_op *o)
{
	if (changes(o->r.io.op))
		for (uint32_t i = o->sector; i < o->sector + o->n; i++)
			w->busy[i] = false;
}

static void op_end(struct crash_world *w, struct crash_op *o)
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
	case BLOCK_DISCARD:
	case BLOCK_ZERO: write_end(w, o); break;
	case BLOCK_READ: read_end(w, o); break;
	default: flush_end(w, o);
	}
	free(o->data);
	o->used = false;
}

static void guest_runs(struct crash_world *w)
{
	struct pollfd p = { .fd = block_event_fd(w->b), .events = POLLIN };
	unsigned int begun = 0, in_flight = 0, ops = crash_setting("CRASH_OPS", OPS);

	while (begun < ops || in_flight) {
		for (int i = 0; i < CRASH_AT_ONCE && begun < ops; i++) {
			if (w->ops[i].used || fake_random(&w->seed) % 3 == 0)
				continue;
			op_begin(w, &w->ops[i]);
			begun++;
		}
		block_kick(w->b);
		if (poll(&p, 1, 0) == 1)
			block_reap(w->b);
		in_flight = 0;
		for (int i = 0; i < CRASH_AT_ONCE; i++) {
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
static void check_goes_on(struct crash_world *w, int fd, const uint8_t *before, uint64_t seed)
{
	uint32_t sector = (uint32_t)(fake_random(&w->seed) % (CRASH_SECTORS - 4));
	uint8_t *after = malloc(CRASH_SIZE);
	struct block *b = crash_open(w, fd, NULL);
	uint8_t data[1024];

	assert_non_null(after);
	bed_fill(data, sector * 512ull, sizeof(data), 0xfffff);
	assert_int_equal(bed_do(b, BLOCK_WRITE, sector * 512ull, sizeof(data), data), 0);
	assert_int_equal(block_flush(b, NULL), 0);
	block_close(b);
	w->format->check(w, fd, "after going on", seed);
	b = crash_open(w, fd, NULL);
	assert_int_equal(bed_do(b, BLOCK_READ, 0, CRASH_SIZE, after), 0);
	assert_memory_equal(after + sector * 512ull, data, sizeof(data));
	assert_memory_equal(after, before, sector * 512ull);
	assert_memory_equal(after + sector * 512ull + 1024, before + sector * 512ull + 1024, (CRASH_SECTORS - sector) * 512ull - 1024);
	block_close(b);
	free(after);
}

/* By a fake as well, for a ring takes ten times as long to make as all of this. */
static void read_all(const struct crash_world *w, int fd, uint8_t *p)
{
	struct fake_disk *f = fake_new(512, 1);
	struct block *b = crash_open(w, fd, &block_fake);

	assert_int_equal(bed_do(b, BLOCK_READ, 0, CRASH_SIZE, p), 0);
	block_close(b);
	fake_free(f);
}

static void check_cut(struct crash_world *w, uint64_t moment, uint64_t seed)
{
	int fd = fake_cut(w->fake, w->base, moment, seed);
	uint8_t *p = malloc(CRASH_SIZE);
	char when[100];

	assert_non_null(p);
	snprintf(when, sizeof(when), "moment %llu of run %llu, shape %u, seed %llu", (unsigned long long)moment, (unsigned long long)w->run,
		 w->shape, (unsigned long long)seed);
	w->format->check(w, fd, when, seed);
	read_all(w, fd, p);
	for (uint32_t i = 0; i < CRASH_SECTORS; i++)
		check_sector(w, p + i * 512ull, i, moment, "after the cut");
	if (seed % 8 == 0)
		check_goes_on(w, fd, p, seed);
	free(p);
	close(fd);
}

static void crash_run(const struct crash_format *f, bool child, unsigned int shape, uint32_t sector, uint64_t seed)
{
	struct crash_world w;
	uint64_t end;

	world_make(&w, f, child, shape, sector, seed);
	guest_runs(&w);
	end = fake_moment(w.fake);
	for (uint64_t i = 0; i < CUTS; i++)
		check_cut(&w, 1 + end * i / CUTS, i);
	for (uint64_t i = 0; i < LAST_CUTS; i++)
		check_cut(&w, end, 1000 + i);
	world_end(&w);
}

void crash_run_all(const struct crash_format *f, bool child, uint32_t sector)
{
	unsigned int n = crash_setting("CRASH_SEEDS", 1), first = crash_setting("CRASH_FIRST", 1);
	unsigned long long runs = (unsigned long long)n * f->shapes;

	for (unsigned int seed = first; seed < first + n; seed++)
		for (unsigned int shape = 0; shape < f->shapes; shape++)
			crash_run(f, child, shape, sector, (uint64_t)seed * f->shapes + shape);
	print_message("%s: %llu sequences of %u requests, %llu cuts\n", f->name, runs, crash_setting("CRASH_OPS", OPS), runs * (CUTS + LAST_CUTS));
}
