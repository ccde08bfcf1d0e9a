/* SPDX-License-Identifier: Apache-2.0 */
/*
 * image_flush - tables on their way to the disk, in the order that makes a power cut harmless (image.h).
 *
 *     now    those that began to wait before it began: what they wait for is what begin() saw
 *     next   those that came later: it begins anew for them when it has ended
 */
#include "hv/disk/image_int.h"

#include <assert.h>
#include <errno.h>

static void phase_write(struct image *im);

/* --- the end --- */

/*
 * The kernel tells of lost writes once.  Where no guest's flush has heard it now, the next one must.  Only a table that could
 * not be written is no loss: it is dirty as before.
 */
static void tell(struct image *im, struct image_req *r, int ret)
{
	struct image_req *next;
	bool kept = ret && im->flush.kept, heard = !ret || kept;

	for (; r; r = next) {
		next = r->next;
		heard |= r->guest && r->guest->op == BLOCK_FLUSH;
		image_req_finish(im, r, ret, kept);
	}
	if (!heard)
		block_owe(&im->block, ret);
}

static void flush_end(struct image *im)
{
	struct image_flush *f = &im->flush;
	struct image_req *r = f->now;

	f->running = false;
	f->now = NULL;
	if (f->tables)
		im->ops->end(im, f->ret);
	tell(im, r, f->ret);
	if (f->next)
		image_flush_start(im);
	if (im->waiting)
		image_wake(im);
}

/* --- fdatasync --- */

static void next_phase(struct image *im)
{
	struct image_flush *f = &im->flush;

	if (f->ret || !f->tables || f->phase == IMAGE_PHASES_MAX)
		flush_end(im);
	else
		phase_write(im);
}

static void sync_done(struct image_io *io, int ret)
{
	struct image *im = io->im;

	im->flush.ret = ret;
	if (ret && im->ops->copies)
		im->lost = ret;
	next_phase(im);
}

static void sync_start(struct image *im)
{
	struct image_flush *f = &im->flush;

	f->wrote = false;
	f->sync.req = (struct block_req){ .op = BLOCK_FLUSH };
	f->sync.im = im;
	f->sync.done = sync_done;
	f->ret = image_io_start(im, &f->sync);
	if (f->ret)
		flush_end(im);
}

/* --- a phase --- */

static void table_failed(struct image_flush *f, int ret)
{
	f->ret = ret;
	f->kept = true;
}

static void meta_done(struct image_io *io, int ret)
{
	struct image *im = io->im;
	struct image_flush *f = &im->flush;

	f->busy[io - f->ios] = false;
	f->in_flight--;
	if (ret)
		table_failed(f, ret);
	phase_write(im);
}

static int meta_start(struct image *im, unsigned int i, const struct image_meta *m)
{
	struct image_flush *f = &im->flush;
	struct image_io *io = &f->ios[i];
	int ret;

	f->iov[i] = (struct iovec){ m->data, m->len };
	io->req = (struct block_req){ .op = BLOCK_WRITE, .offset = m->file, .len = m->len, .iov = &f->iov[i], .n_iov = 1 };
	io->im = im;
	io->done = meta_done;
	ret = image_io_start(im, io);
	if (ret)
		return ret;
	f->busy[i] = f->wrote = true;
	f->in_flight++;
	return 0;
}

static bool phase_fill(struct image *im)
{
	struct image_flush *f = &im->flush;
	struct image_meta m;
	int ret;

	for (unsigned int i = 0; i < IMAGE_META_IOS; i++) {
		if (f->busy[i])
			continue;
		if (f->ret || !im->ops->write(im, f->phase, &m))
			return false;
		ret = meta_start(im, i, &m);
		if (ret)
			table_failed(f, ret);
	}
	return true;
}

/* As much as may be in flight; when all of the phase is written, make it durable and go on. */
static void phase_write(struct image *im)
{
	struct image_flush *f = &im->flush;

	do {
		if (phase_fill(im) || f->in_flight)
			return;
		f->phase++;
#ifdef MUTANT_NO_BARRIER
	} while (!f->ret && f->phase < IMAGE_PHASES_MAX);
#else
	} while (!f->ret && !f->wrote && f->phase < IMAGE_PHASES_MAX);
#endif
	if (f->ret || !f->wrote)
		flush_end(im);
	else
		sync_start(im);
}

/* --- the beginning --- */

void image_flush_start(struct image *im)
{
	struct image_flush *f = &im->flush;

	if (f->running)
		return;
	f->running = true;
	f->phase = 0;
	f->ret = 0;
	f->kept = false;
	f->now = f->next;
	f->next = NULL;
	f->tables = !im->lost && !im->block.readonly && im->ops->dirty(im);
	if (f->tables)
		im->ops->begin(im);
	if (im->lost) {
		f->ret = im->lost;
		flush_end(im);
		return;
	}
#ifdef MUTANT_TABLES_FIRST
	if (f->tables) {
		phase_write(im);
		return;
	}
#endif
	sync_start(im);
}

void image_flush_join(struct image *im, struct image_req *r)
{
	r->next = im->flush.next;
	im->flush.next = r;
	image_flush_start(im);
}
