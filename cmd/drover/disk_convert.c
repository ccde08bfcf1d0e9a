/* SPDX-License-Identifier: Apache-2.0 */
/* disk_convert - an image, or a raw disk, copied into a new image of another format; its parents' contents too. */
#include "cmd/drover/disk.h"

#include "base/clock.h"
#include "base/text.h"
#include "conf/units.h"
#include "hv/disk/block_copy.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The source: locked against writers, as all that it lies on. */
struct convert_source {
	const char *format;
	struct disk_lock *lock, *parents[DISK_PARENTS_MAX];
	struct block *block;
};

static void source_end(struct convert_source *s)
{
	block_close(s->block);
	for (size_t i = 0; i < DISK_PARENTS_MAX; i++)
		disk_lock_release(s->parents[i]);
	disk_lock_release(s->lock);
}

static int source_open(const struct drover *d, struct convert_source *s, struct err *e)
{
	struct block_parent up[DISK_PARENTS_MAX];
	struct block_open_args a = { .path = d->argv[0], .readonly = true, .depth = BLOCK_COPY_DEPTH, .parents = up };
	int ret = disk_lock_prepare(a.path, true, NULL, &s->lock, e);
	struct stat st;

	if (!ret)
		ret = disk_source_format(s->lock, a.path, d->opt.from, &s->format, e);
	if (!ret && d->opt.n_parents && strcmp(s->format, "raw") == 0)
		ret = err_set(e, -EINVAL, "--parent: a raw disk has none");
	for (size_t i = 0; !ret && i < d->opt.n_parents; i++) {
		ret = disk_lock_prepare(d->opt.parents[i], true, NULL, &s->parents[i], e);
		if (!ret)
			up[a.n_parents++] = (struct block_parent){ disk_lock_fd(s->parents[i]), d->opt.parents[i] };
	}
	if (ret)
		return ret;
	a.fd = disk_lock_fd(s->lock);
	/* This host's page cache of a block device may be older than what another host wrote. */
	a.direct = !fstat(a.fd, &st) && S_ISBLK(st.st_mode);
	return block_open_on(s->format, &a, &s->block, e);
}

/* --- the copy --- */

struct showing {
	char path[PATH_MAX];
	uint64_t size, began_ms, told_ms;
};

/* Ten times a second, on a terminal. */
static void show(void *arg, uint64_t done)
{
	struct showing *s = arg;
	uint64_t now = clock_ms(), took = now - s->began_ms;
	char rate[32], line[400];

	if (now - s->told_ms < 100 || !took || !done)
		return;
	s->told_ms = now;
	snprintf(line, sizeof(line), "%.0f %%, %s/s, %.0f s left: %.300s", 100.0 * (double)done / (double)s->size,
		 format_size((double)done * 1000 / (double)took, rate), (double)(s->size - done) * (double)took / (double)done / 1000, s->path);
	text_clean(line);
	line_show(line);
}

static const char *written_as(enum disk_format f)
{
	return f == DISK_RAW ? "raw" : f == DISK_QCOW2 ? "qcow2" :
							 "vhd";
}

static int copy(const struct drover *d, struct convert_source *from, struct disk_made *to)
{
	struct showing s = { .size = block_size(from->block), .began_ms = clock_ms() };
	bool tty = isatty(STDERR_FILENO) && !d->opt.json;
	struct block *out;
	struct err e = { 0 };
	int ret = block_open(written_as(to->format), to->fd, to->path, false, false, BLOCK_COPY_DEPTH, &out, &e);

	if (ret)
		return say_error(err_exit_code(ret), "%s", e.text);
	text_copy(s.path, sizeof(s.path), to->path);
	ret = block_copy(from->block, out, tty ? show : NULL, &s, &e);
	if (s.told_ms)
		line_clear();
	block_close(out);
	return ret ? say_error(err_exit_code(ret), "disk %s to %s: %s", d->argv[0], to->path, e.text) : EXIT_OK;
}

int verb_disk_convert(struct drover *d)
{
	struct disk_made made = { .path = d->argv[1], .fd = -1 };
	struct convert_source from = { 0 };
	struct err e = { 0 };
	int code = disk_format_word(d->opt.format, &made.format), ret;

	if (code)
		return code;
	code = disk_from_word(d->opt.from);
	if (code)
		return code;
	ret = source_open(d, &from, &e);
	if (ret) {
		source_end(&from);
		return say_error(err_exit_code(ret), "%s", e.text);
	}
	made.size = block_size(from.block);
	code = disk_make(&made);
	if (!code) {
		code = copy(d, &from, &made);
		disk_made_end(d, &made, code);
	}
	source_end(&from);
	return code;
}
