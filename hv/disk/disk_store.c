/* SPDX-License-Identifier: Apache-2.0 */
/*
 * disk_store - see disk_store.h for what it tells.
 *
 * By the mount, not by statfs(2): NFS 3 and 4 have one magic number, and whether
 * locks are local is a mount option (nfs(5): nolock, local_lock).
 */
#include "hv/disk/disk_store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define FIELDS_BEFORE_DASH 6 /* proc(5), mountinfo: id parent dev root mount-point options [tags] - */

static bool listed(const char *const *list, const char *type)
{
	for (; *list; list++)
		if (!strcmp(*list, type))
			return true;
	return false;
}

/* File systems that one host mounts at a time. */
static const char *const one_host[] = {
	"ext2", "ext3", "ext4", "xfs", "btrfs", "bcachefs", "f2fs", "jfs", "reiserfs", "zfs", "tmpfs",
	"ramfs", "rootfs", "overlay", "vfat", "exfat", "ntfs3", "iso9660", "udf", "squashfs", "erofs",
	NULL
};

/* Those whose locks are one host's or all hosts', and the kernel or the server sees to it; with FUSE, who is behind it matters. */
static const char *const locks_held[] = {
	"nfs4", "nfs", "cifs", "smb3", "gfs2", "ocfs2", "ceph", "lustre", "gpfs", "fuse.glusterfs", NULL
};

/* Is @word one of the comma-separated @options? */
static bool option(const char *options, const char *word)
{
	size_t len = strlen(word);
	const char *at;

	for (at = options; (at = strstr(at, word)); at++)
		if ((at == options || at[-1] == ',') && (!at[len] || at[len] == ','))
			return true;
	return false;
}

/* A lock that only this host knows, or whose loss the server does not tell to who writes. */
static bool locks_fail(const char *type, const char *options)
{
	if (!strcmp(type, "nfs") || !strcmp(type, "nfs4"))
		return option(options, "vers=3") || option(options, "vers=2") ||
		       option(options, "nolock") || option(options, "local_lock=all") ||
		       option(options, "local_lock=posix");
	if (!strcmp(type, "cifs") || !strcmp(type, "smb3"))
		return option(options, "nobrl");
	return !strcmp(type, "ocfs2") && option(options, "localflocks");
}

static void judge(const char *type, const char *options, struct disk_store *out)
{
	snprintf(out->type, sizeof(out->type), "%s", type);
	out->shared = !listed(one_host, type);
	out->locks = !locks_fail(type, options);
	out->locks_known = out->locks && (!out->shared || listed(locks_held, type));
}

/* One line: "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue" */
static int judge_line(char *line, uint64_t id, struct disk_store *out)
{
	char *save, *word = strtok_r(line, " ", &save), *type;
	unsigned int n = 1;

	if (!word || strtoull(word, NULL, 10) != id)
		return -ENOENT;
	while (word && (n <= FIELDS_BEFORE_DASH || strcmp(word, "-"))) {
		word = strtok_r(NULL, " ", &save);
		n++;
	}
	type = word ? strtok_r(NULL, " ", &save) : NULL;
	word = type ? strtok_r(NULL, " ", &save) : NULL; /* the source */
	word = word ? strtok_r(NULL, " ", &save) : NULL;
	if (!type)
		return -ENOENT;
	judge(type, word ? word : "", out);
	return 0;
}

int disk_store_mount(const char *mountinfo, uint64_t id, struct disk_store *out)
{
	char *text = strdup(mountinfo), *line, *save;
	int ret = -ENOENT;

	if (!text)
		return -ENOMEM;
	for (line = strtok_r(text, "\n", &save); line && ret; line = strtok_r(NULL, "\n", &save))
		ret = judge_line(line, id, out);
	free(text);
	return ret;
}

static char *read_mountinfo(void)
{
	FILE *f = fopen("/proc/self/mountinfo", "re");
	char *text = NULL;
	size_t size = 0;
	ssize_t n;

	if (!f)
		return NULL;
	n = getdelim(&text, &size, '\0', f); /* there is none: the whole file */
	fclose(f);
	if (n > 0)
		return text;
	free(text);
	return NULL;
}

/* #syscalls:broker statx */
int disk_store_of(int fd, struct disk_store *out, struct err *e)
{
	struct statx st;
	char *text;
	int ret;

	memset(out, 0, sizeof(*out));
	if (statx(fd, "", AT_EMPTY_PATH, STATX_TYPE | STATX_MNT_ID, &st))
		return err_errno(e, "statx");
	if (S_ISBLK(st.stx_mode)) {
		*out = (struct disk_store){ .type = "block device", .shared = true };
		return 0;
	}
	if (!S_ISREG(st.stx_mode))
		return err_set(e, -EINVAL, "neither a file nor a block device");
	text = read_mountinfo();
	ret = text && (st.stx_mask & STATX_MNT_ID) ? disk_store_mount(text, st.stx_mnt_id, out) : -ENOENT;
	free(text);
	return ret ? err_set(e, ret, "its mount is not in /proc/self/mountinfo") : 0;
}
