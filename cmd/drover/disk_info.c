/* SPDX-License-Identifier: Apache-2.0 */
/* disk_info - disk images described; the verb asks no droverd. */
#include "cmd/drover/disk.h"

#include "base/text.h"
#include "conf/units.h"
#include "hv/disk/qcow2.h"
#include "hv/disk/vhd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* --- VHD --- */

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

static int learn_vhd(int fd, const char *path, struct vhd_info *i, struct vhd_parent *p, struct err *e)
{
	int rc = vhd_info(fd, path, i, e);

	if (!rc && i->kind == VHD_DIFFERENCING)
		rc = vhd_parent_of(fd, path, p, e);
	if (rc)
		return rc;
	text_clean(i->creator);
	text_clean(p->relative);
	text_clean(p->absolute);
	text_clean(p->name);
	text_clean(p->url);
	return 0;
}

static int info_vhd(const struct drover *d, int fd, const char *path, struct err *e)
{
	struct vhd_parent *parent = calloc(1, sizeof(*parent));
	struct vhd_info info;
	json_t *o;
	int rc = parent ? learn_vhd(fd, d->argv[0], &info, parent, e) : err_set(e, -ENOMEM, "out of memory");

	if (!rc && d->opt.json) {
		o = as_json(path, &info, parent);
		print_json(o);
		json_decref(o);
	} else if (!rc) {
		tell_info(path, &info, parent);
	}
	free(parent);
	return rc;
}

/* --- qcow2 --- */

static json_t *qcow2_json(const char *path, const struct qcow2_info *i)
{
	const char *parent = i->backing[0] ? i->backing : NULL, *format = i->backing_format[0] ? i->backing_format : NULL;

	return json_pack("{s:s, s:s, s:i, s:I, s:I, s:I, s:i, s:i, s:b, s:b, s:s?, s:s?}", "path", path, "format", "qcow2", "version",
			 (int)i->version, "size", (json_int_t)i->size, "file_size", (json_int_t)i->file_size, "cluster_size",
			 (json_int_t)i->cluster, "refcount_bits", (int)i->refcount_bits, "snapshots", (int)i->snapshots, "lazy", i->lazy,
			 "dirty", i->dirty, "parent", parent, "parent_format", parent ? format : NULL);
}

static void tell_qcow2(const char *path, const struct qcow2_info *i)
{
	char size[UNITS_TEXT_MAX], cluster[UNITS_TEXT_MAX];

	printf("%s: qcow2, version %u\n", path, i->version);
	printf("  size       %s\n", units_print_size(i->size, size));
	printf("  clusters   of %s, counted in %u bits\n", units_print_size(i->cluster, cluster), i->refcount_bits);
	if (i->snapshots)
		printf("  snapshots  %u internal ones\n", i->snapshots);
	if (i->backing[0])
		printf("  parent     %s, %s (as the image says)\n", i->backing,
		       i->backing_format[0] ? i->backing_format : "of what format it does not say");
	if (i->dirty)
		puts("  dirty      its counts are not right, as after a crash; qemu-img check -r all mends them");
}

static int info_qcow2(const struct drover *d, int fd, const char *path, struct err *e)
{
	struct qcow2_info i;
	json_t *o;
	int rc = qcow2_info(fd, d->argv[0], &i, e);

	if (rc)
		return rc;
	text_clean(i.backing);
	text_clean(i.backing_format);
	if (d->opt.json) {
		o = qcow2_json(path, &i);
		print_json(o);
		json_decref(o);
	} else {
		tell_qcow2(path, &i);
	}
	return 0;
}

/* --- the verb --- */

/* Nothing is written, so the first bytes may say what it is. */
bool disk_looks_like_qcow2(int fd)
{
	char mark[4];

	return pread(fd, mark, sizeof(mark), 0) == sizeof(mark) && !memcmp(mark, "QFI\xfb", sizeof(mark));
}

int verb_disk_info(struct drover *d)
{
	int fd = open(d->argv[0], O_RDONLY | O_CLOEXEC | O_NONBLOCK), rc;
	char path[PATH_MAX];
	struct err e = { 0 };

	text_copy(path, sizeof(path), d->argv[0]);
	if (fd < 0)
		rc = err_errno(&e, "%s", d->argv[0]);
	else if (disk_looks_like_qcow2(fd))
		rc = info_qcow2(d, fd, path, &e);
	else
		rc = info_vhd(d, fd, path, &e);
	if (fd >= 0)
		close(fd);
	return rc ? say_error(rc == -EINVAL ? EXIT_ERROR : err_exit_code(rc), "%s", e.text) : EXIT_OK;
}
