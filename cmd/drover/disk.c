/* SPDX-License-Identifier: Apache-2.0 */
/* disk - disk images made and described; the verbs ask no droverd. */
#include "cmd/drover/disk.h"

#include "base/text.h"
#include "conf/units.h"
#include "hv/disk/vhd.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static const char *const format_words[] = { "raw", "vhd", "vhd-fixed" };

/* --- make --- */

int disk_format_word(const char *word, enum disk_format *out)
{
	*out = DISK_VHD;
	for (size_t i = 0; word && i < sizeof(format_words) / sizeof(format_words[0]); i++)
		if (strcmp(word, format_words[i]) == 0) {
			*out = (enum disk_format)i;
			return EXIT_OK;
		}
	return word ? say_error(EXIT_USAGE, "--format %s: expected raw, vhd or vhd-fixed", word) : EXIT_OK;
}

/*
 * Nobody writes to it while we look, nor in the second in which it was written last: a time of whole seconds is all that an image
 * knows it by.  Storage whose clock is ahead is waited for no longer than that.
 */
static int lock_parent(struct disk_made *m)
{
	struct err e = { 0 };
	struct stat st;
	int rc = disk_lock_prepare(m->parent, true, NULL, &m->parent_lock, &e);

	if (rc)
		return say_error(err_exit_code(rc), "%s", e.text);
	for (int i = 0; i < 110 && !fstat(disk_lock_fd(m->parent_lock), &st) && time(NULL) <= st.st_mtime; i++)
		usleep(10000);
	return EXIT_OK;
}

/* In the same directory its name will do, and the two can be moved together; else where it is now. */
static int name_parent(struct disk_made *m)
{
	char image[PATH_MAX];
	const char *name;
	int code = lock_parent(m);
	size_t dir;

	if (code)
		return code;
	if (!realpath(m->parent, m->parent_name) || !realpath(m->path, image))
		return say_error(errno == ENOENT ? EXIT_NOTFOUND : EXIT_ERROR, "%s: %s", m->parent, strerror(errno));
	dir = (size_t)(strrchr(image, '/') + 1 - image);
	name = m->parent_name + dir;
	if (strncmp(image, m->parent_name, dir) == 0 && !strchr(name, '/'))
		memmove(m->parent_name, name, strlen(name) + 1);
	return EXIT_OK;
}

/* A fixed image has all of its space from the start, where storage can set some aside; nobody is to find out later that there was none. */
static int take_space(const struct disk_made *m)
{
	if (m->format != DISK_VHD_FIXED || !fallocate(m->fd, FALLOC_FL_KEEP_SIZE, 0, (off_t)m->size) || errno == EOPNOTSUPP || errno == ENOSYS)
		return EXIT_OK;
	return say_error(EXIT_ERROR, "%s: %s", m->path, strerror(errno));
}

static int make_vhd(struct disk_made *m)
{
	struct vhd_new n = {
		.kind = m->parent ? VHD_DIFFERENCING : m->format == DISK_VHD ? VHD_DYNAMIC :
									       VHD_FIXED,
		.size = m->size,
		.parent_fd = m->parent_lock ? disk_lock_fd(m->parent_lock) : -1,
		.parent = m->parent_name,
	};
	struct err e = { 0 };
	int rc = vhd_create(m->fd, m->path, &n, &m->size, &e);

	return rc ? say_error(err_exit_code(rc), "%s", e.text) : take_space(m);
}

static int make_raw(struct disk_made *m)
{
	m->size = (m->size + 511) / 512 * 512;
	if (m->size > INT64_MAX || ftruncate(m->fd, (off_t)m->size) || fsync(m->fd))
		return say_error(EXIT_ERROR, "%s: %s", m->path, strerror(m->size > INT64_MAX ? EFBIG : errno));
	return EXIT_OK;
}

/* Names of files are anybody's text: a terminal obeys some of it, and JSON does not take all of it. */
static void tell_made(const struct drover *d, const struct disk_made *m)
{
	char size[UNITS_TEXT_MAX], path[PATH_MAX], parent[PATH_MAX];
	json_t *o;

	units_print_size(m->size, size);
	text_copy(path, sizeof(path), m->path);
	text_copy(parent, sizeof(parent), m->parent_name);
	if (d->opt.json) {
		o = json_pack("{s:s, s:s, s:I, s:s?}", "path", path, "format", format_words[m->format], "size",
			      (json_int_t)m->size, "parent", m->parent ? parent : NULL);
		print_json(o);
		json_decref(o);
	} else {
		printf("%s: %s, %s%s%s\n", path, size, format_words[m->format], m->parent ? ", what differs from " : "",
		       m->parent ? parent : "");
	}
}

/* Ctrl-C leaves nothing half-done behind either. */
static const char *volatile unfinished;

static void on_signal(int sig)
{
	if (unfinished)
		unlink(unfinished);
	signal(sig, SIG_DFL);
	raise(sig);
}

static void watch_signals(const char *path)
{
	static const int ends[] = { SIGINT, SIGTERM, SIGHUP };

	unfinished = path;
	/* What is ignored stays so: nohup(1). */
	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++)
		if (signal(ends[i], on_signal) == SIG_IGN)
			signal(ends[i], SIG_IGN);
}

static void made_close(struct disk_made *m, bool keep)
{
	unfinished = NULL;
	if (!keep)
		unlink(m->path);
	disk_lock_release(m->parent_lock);
	close(m->fd);
}

int disk_make(struct disk_made *m)
{
	struct err e = { 0 };
	int code, rc;

	m->fd = open(m->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (m->fd < 0)
		return say_error(errno == EEXIST ? EXIT_REFUSED : err_exit_code(-errno), "%s: %s", m->path,
				 errno == EEXIST ? "it is there already" : strerror(errno));
	watch_signals(m->path);
	rc = disk_lock_new_file(m->fd, m->path, &e);
	code = rc ? say_error(err_exit_code(rc), "%s", e.text) : m->parent ? name_parent(m) :
									     EXIT_OK;
	if (!code)
		code = m->format == DISK_RAW ? make_raw(m) : make_vhd(m);
	if (code)
		made_close(m, false);
	return code;
}

void disk_made_end(const struct drover *d, struct disk_made *m, int code)
{
	if (!code)
		tell_made(d, m);
	made_close(m, !code);
}

/* --- create --- */

static int understand(const struct drover *d, struct disk_made *m)
{
	const char *size = d->argc > 1 ? d->argv[1] : NULL;
	int code = disk_format_word(d->opt.format, &m->format);

	m->path = d->argv[0];
	m->parent = d->opt.n_parents ? d->opt.parents[0] : NULL;
	if (code)
		return code;
	if (d->opt.n_parents > 1)
		return say_error(EXIT_USAGE, "--parent: expected one, which may have parents itself");
	if (m->parent && m->format != DISK_VHD)
		return say_error(EXIT_USAGE, "--parent: only an image of format vhd can have one");
	if (m->parent && size)
		return say_error(EXIT_USAGE, "%s: an image with a parent is as large as that", size);
	if (!m->parent && !size)
		return say_error(EXIT_USAGE, "a size is missing: 10G, 512M");
	if (size && (units_parse_size(size, &m->size) || !m->size))
		return say_error(EXIT_USAGE, "%s: expected a size, such as 10G or 512M", size);
	return EXIT_OK;
}

int verb_disk_create(struct drover *d)
{
	struct disk_made m = { .fd = -1 };
	int code = understand(d, &m);

	if (!code)
		code = disk_make(&m);
	if (!code)
		disk_made_end(d, &m, code);
	return code;
}

/* --- info --- */

static const char *kind_word(enum vhd_kind k)
{
	return k == VHD_FIXED ? "fixed" : k == VHD_DYNAMIC ? "dynamic" :
							     "differencing";
}

static json_t *as_json(const char *path, const struct vhd_info *i, const struct vhd_parent *p)
{
	return json_pack("{s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:b, s:s, s:s?}", "path", path, "format", "vhd", "kind",
			 kind_word(i->kind), "size", (json_int_t)i->size, "file_size", (json_int_t)i->file_size, "block_size",
			 (json_int_t)i->block_size, "allocated", (json_int_t)i->allocated, "unused", (json_int_t)i->unused,
			 "footer_lost", i->footer_lost, "creator", i->creator, "parent",
			 i->kind == VHD_DIFFERENCING ? vhd_parent_text(p) : NULL);
}

static void tell_info(const char *path, const struct vhd_info *i, const struct vhd_parent *p)
{
	char size[UNITS_TEXT_MAX], block[UNITS_TEXT_MAX], unused[UNITS_TEXT_MAX];

	printf("%s: vhd, %s\n", path, kind_word(i->kind));
	printf("  size       %s\n", units_print_size(i->size, size));
	if (i->current_size != i->size)
		printf("  footer     says %s; whose program made it sees as much as its geometry has\n", units_print_size(i->current_size, block));
	if (i->kind != VHD_FIXED)
		printf("  blocks     %u of %u, of %s\n", i->allocated, i->blocks, units_print_size(i->block_size, block));
	if (i->unused)
		printf("  unused     %s\n", units_print_size(i->unused, unused));
	if (i->kind == VHD_DIFFERENCING)
		printf("  parent     %s (as the image says)\n", vhd_parent_text(p));
	if (i->footer_lost)
		puts("  footer     lost at its end, as after a crash; its copy is used, and the next flush puts it back");
	printf("  made by    %s\n", i->creator);
}

static int learn(const char *path, struct vhd_info *i, struct vhd_parent *p, struct err *e)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), rc;

	if (fd < 0)
		return err_errno(e, "%s", path);
	rc = vhd_info(fd, path, i, e);
	if (!rc && i->kind == VHD_DIFFERENCING)
		rc = vhd_parent_of(fd, path, p, e);
	close(fd);
	if (rc)
		return rc;
	text_clean(i->creator);
	text_clean(p->relative);
	text_clean(p->absolute);
	text_clean(p->name);
	text_clean(p->url);
	return 0;
}

int verb_disk_info(struct drover *d)
{
	struct vhd_parent *parent = calloc(1, sizeof(*parent));
	char path[PATH_MAX];
	struct vhd_info info;
	struct err e = { 0 };
	json_t *o;
	int rc;

	if (!parent)
		return say_error(EXIT_ERROR, "out of memory");
	text_copy(path, sizeof(path), d->argv[0]);
	rc = learn(d->argv[0], &info, parent, &e);
	if (rc) {
		rc = say_error(rc == -EINVAL ? EXIT_ERROR : err_exit_code(rc), "%s", e.text);
	} else if (d->opt.json) {
		o = as_json(path, &info, parent);
		print_json(o);
		json_decref(o);
	} else {
		tell_info(path, &info, parent);
	}
	free(parent);
	return rc;
}
