/* SPDX-License-Identifier: Apache-2.0 */
/* disk_check - is all of an image's tables right?  Nothing is mended; the verb asks no droverd. */
#include "cmd/drover/disk.h"

#include "base/text.h"
#include "hv/disk/disk_format.h"
#include "hv/disk/qcow2.h"
#include "hv/disk/vhd.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

struct checking {
	const struct drover *d;
	char path[PATH_MAX]; /* as text */
	const char *format;
	json_t *lines;   /* of what is wrong */
	uint64_t wrong;  /* things */
	uint64_t leaked; /* bytes of the file that nothing refers to */
};

static void tell(void *arg, const char *line)
{
	struct checking *c = arg;

	if (c->d->opt.json)
		json_array_append_new(c->lines, json_string(line));
	else
		printf("%s: %s\n", c->path, line);
}

/* What its tables say is checked by whoever reads them: the first lie is all there is to say. */
static int check_vhd(struct checking *c, int fd, struct err *e)
{
	struct vhd_info i;
	int rc = vhd_info(fd, c->d->argv[0], &i, e);

	if (rc == -EINVAL) {
		c->wrong = 1;
		tell(c, e->text);
		return 0;
	}
	c->leaked = i.unused;
	return rc;
}

static int check_qcow2(struct checking *c, int fd, struct err *e)
{
	struct qcow2_checked found;
	struct qcow2_info i = { 0 };
	int rc = qcow2_check(fd, c->d->argv[0], &found, tell, c, e);

	if (!rc)
		rc = qcow2_info(fd, c->d->argv[0], &i, e);
	if (rc == -EINVAL) {
		c->wrong = 1;
		tell(c, e->text);
		return 0;
	}
	if (!rc && i.dirty)
		tell(c, "marked as dirty: its counts are not right; qemu-img check -r all mends them");
	c->wrong = found.wrong + i.dirty;
	c->leaked = found.leaks * i.cluster;
	return rc;
}

/* What --from says; or what it looks like: nothing is written, so a guest that made it look like that does no harm. */
static const char *format_of(const struct drover *d, int fd)
{
	struct stat st;
	struct err e = { 0 };

	if (d->opt.from)
		return d->opt.from;
	if (disk_looks_like_qcow2(fd))
		return "qcow2";
	if (!fstat(fd, &st) && S_ISREG(st.st_mode) && disk_format_check(fd, d->argv[0], (uint64_t)st.st_size, &e) == -EINVAL &&
	    strstr(e.text, "looks like VHD,"))
		return "vhd";
	return "raw";
}

static void report(const struct checking *c)
{
	json_t *o;

	if (c->d->opt.json) {
		o = json_pack("{s:s, s:s, s:I, s:I, s:O}", "path", c->path, "format", c->format, "wrong", (json_int_t)c->wrong, "leaked",
			      (json_int_t)c->leaked, "lines", c->lines);
		print_json(o);
		json_decref(o);
		return;
	}
	if (!strcmp(c->format, "raw"))
		printf("%s: raw, there is nothing to check\n", c->path);
	else
		printf("%s: %s, %llu things are wrong, %llu bytes of the file are not used\n", c->path, c->format, (unsigned long long)c->wrong,
		       (unsigned long long)c->leaked);
}

int verb_disk_check(struct drover *d)
{
	struct checking c = { .d = d, .lines = json_array() };
	struct disk_lock *lock = NULL;
	struct err e = { 0 };
	int code = disk_from_word(d->opt.from), rc;

	if (code)
		goto out;
	text_copy(c.path, sizeof(c.path), d->argv[0]);
	rc = disk_lock_prepare(d->argv[0], true, NULL, &lock, &e);
	if (!rc) {
		c.format = format_of(d, disk_lock_fd(lock));
		if (!strcmp(c.format, "qcow2"))
			rc = check_qcow2(&c, disk_lock_fd(lock), &e);
		else if (!strcmp(c.format, "vhd"))
			rc = check_vhd(&c, disk_lock_fd(lock), &e);
	}
	if (rc)
		code = say_error(err_exit_code(rc), "%s", e.text);
	else
		report(&c);
	if (!rc && c.wrong)
		code = EXIT_ERROR;
	disk_lock_release(lock);
out:
	json_decref(c.lines);
	return code;
}
