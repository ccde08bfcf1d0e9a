/* SPDX-License-Identifier: Apache-2.0 */
/* disk - new images, for the verbs that make them (disk.c, disk_convert.c), and what is read by them. */
#ifndef DROVER_CMD_DISK_H
#define DROVER_CMD_DISK_H

#include "cmd/drover/drover.h"
#include "hv/disk/disk_lock.h"

#include <limits.h>

enum disk_format {
	DISK_RAW,
	DISK_VHD, /* dynamic, or differencing where it has a parent */
	DISK_VHD_FIXED,
	DISK_QCOW2
};

/* An image that is being made. */
struct disk_made {
	const char *path, *parent; /* parent: as it is said on the line, NULL: none */
	const char *from;          /* --from: of a qcow2's parent, NULL: not said */
	const char *parent_format; /* ... found out */
	char parent_name[PATH_MAX];
	enum disk_format format;
	uint64_t size; /* bytes; with a parent 0: as large as that */
	int fd;        /* with a writer's lock: no domain starts on what is half there */
	struct disk_lock *parent_lock;
};

/** disk_format_word() - "raw", "vhd", "vhd-fixed", "qcow2"; NULL is vhd; an exit code, error said */
int disk_format_word(const char *word, enum disk_format *out);
/** disk_from_word() - is it one that --from may say?  NULL is; an exit code, error said */
int disk_from_word(const char *word);
/** disk_source_format() - what --from @said of a disk that is locked; or raw, and refused where it looks like something else */
int disk_source_format(struct disk_lock *lock, const char *path, const char *said, const char **out, struct err *e);
/** disk_looks_like_qcow2() - for those who only look */
bool disk_looks_like_qcow2(int fd);
/**
 * disk_make() - make @m's file, which must not be there; @m->size is then what a guest will see
 * @m: @m->fd is -1 before; disk_made_end() it after success
 * Return: an exit code, error said; nothing is left behind but after EXIT_OK.
 */
int disk_make(struct disk_made *m);
/** disk_made_end() - close it; say what was made, or, when @code is not EXIT_OK, remove it */
void disk_made_end(const struct drover *d, struct disk_made *m, int code);

#endif
