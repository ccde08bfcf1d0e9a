/* SPDX-License-Identifier: Apache-2.0 */
/* disk_make - new disk images, and what goes away again when that fails (disk.h). */
#include "cmd/drover/disk.h"

#include "base/text.h"
#include "conf/units.h"
#include "hv/disk/disk_format.h"
#include "hv/disk/qcow2.h"
#include "hv/disk/vhd.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static const char *const format_words[] = { "raw", "vhd", "vhd-fixed", "qcow2" };

int disk_format_word(const char *word, enum disk_format *out)
{
	*out = DISK_VHD;
	for (size_t i = 0; word && i < sizeof(format_words) / sizeof(format_words[0]); i++)
		if (strcmp(word, format_words[i]) == 0) {
			*out = (enum disk_format)i;
			return EXIT_OK;
		}
	return word ? say_error(EXIT_USAGE, "--format %s: expected raw, vhd, vhd-fixed or qcow2", word) : EXIT_OK;
}

int disk_from_word(const char *word)
{
	if (!word || !strcmp(word, "raw") || !strcmp(word, "vhd") || !strcmp(word, "qcow2"))
		return EXIT_OK;
	return say_error(EXIT_USAGE, "--from %s: expected raw, vhd or qcow2", word);
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
	for (int i = 0; m->format == DISK_VHD && i < 110 && !fstat(disk_lock_fd(m->parent_lock), &st) && time(NULL) <= st.st_mtime; i++)
		usleep(10000);
	return EXIT_OK;
}

int disk_source_format(struct disk_lock *lock, const char *path, const char *said, const char **out, struct err *e)
{
	struct stat st;
	int fd = disk_lock_fd(lock), ret;

	*out = said ? said : "raw";
	if (said || fstat(fd, &st) || !S_ISREG(st.st_mode))
		return 0;
	ret = disk_format_check(fd, path, (uint64_t)st.st_size, e);
	return ret == -EINVAL ? err_set(e, ret, "%s; here: --from raw, --from vhd, --from qcow2", e->text) : ret;
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

/* Of the parent, as its guest sees it. */
static int parent_size(const struct disk_made *m, uint64_t *out, struct err *e)
{
	int fd = disk_lock_fd(m->parent_lock), rc;
	struct qcow2_info q;
	struct vhd_info v;
	off_t end;

	if (!strcmp(m->parent_format, "qcow2")) {
		rc = qcow2_info(fd, m->parent, &q, e);
		*out = q.size;
		return rc;
	}
	if (!strcmp(m->parent_format, "vhd")) {
		rc = vhd_info(fd, m->parent, &v, e);
		*out = v.size;
		return rc;
	}
	end = lseek(fd, 0, SEEK_END);
	*out = end < 0 ? 0 : (uint64_t)end;
	return end < 0 ? err_errno(e, "%s: size", m->parent) : 0;
}

static int make_qcow2(struct disk_made *m)
{
	struct qcow2_new n = { 0 };
	struct err e = { 0 };
	int rc = 0;

	if (m->parent) {
		n.backing = m->parent_name;
		rc = disk_source_format(m->parent_lock, m->parent, m->from, &m->parent_format, &e);
		if (!rc && !m->size)
			rc = parent_size(m, &m->size, &e);
		n.backing_format = m->parent_format;
	}
	m->size = (m->size + 511) / 512 * 512;
	n.size = m->size;
	if (!rc)
		rc = qcow2_create(m->fd, m->path, &n, &e);
	return rc ? say_error(err_exit_code(rc), "%s", e.text) : EXIT_OK;
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
		code = m->format == DISK_RAW ? make_raw(m) : m->format == DISK_QCOW2 ? make_qcow2(m) :
										       make_vhd(m);
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
