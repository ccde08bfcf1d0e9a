/* SPDX-License-Identifier: Apache-2.0 */
/*
 * disk_record - see disk_record.h for what it promises.
 *
 * Written to "<record>.new", fsync, rename, fsync of the directory: whoever reads it
 * sees an old one or a new one, never a piece.
 *
 *   {"drover-disk": 1, "domain": "web", "uuid": "0123...", "host": "n1", "pid": 123,
 *    "incarnation": 3, "cluster": "...", "nonce": "..."}
 *
 * The last two are left out when they say nothing.
 */
#include "hv/disk/disk_record.h"

#include "base/hex.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define RECORD_MAX 4096
#define RECORD_VERSION 1
#define SUFFIX_ROOM 32 /* ".drover", ".new", ".probe-" and 16 digits */

bool disk_holder_same(const struct disk_holder *a, const struct disk_holder *b)
{
	return !strcmp(a->domain, b->domain) && !memcmp(a->uuid, b->uuid, sizeof(a->uuid)) &&
	       !strcmp(a->host, b->host) && a->pid == b->pid && a->incarnation == b->incarnation &&
	       !strcmp(a->cluster, b->cluster);
}

/* --- where it is --- */

/*
 * The name under which the disk is found now, without symbolic links.
 * #syscalls:broker readlink newfstatat
 */
static int disk_name(int fd, const char *path, const struct stat *st, char *out, struct err *e)
{
	char link[40];
	struct stat named;
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, out, PATH_MAX - 1);
	if (n < 0)
		return err_errno(e, "disk %s: %s", path, link);
	out[n] = '\0';
	if (stat(out, &named) || named.st_dev != st->st_dev || named.st_ino != st->st_ino)
		return err_set(e, -ESTALE, "disk %s: removed or replaced while it was being opened",
			       path);
	return 0;
}

int disk_record_at(int fd, const char *path, const char *run_dir, struct disk_record *out,
		   struct err *e)
{
	char name[PATH_MAX], *slash;
	struct stat st;
	int n, ret;

	if (fstat(fd, &st))
		return err_errno(e, "disk %s", path);
	if (S_ISREG(st.st_mode)) {
		ret = disk_name(fd, path, &st, name, e);
		if (ret)
			return ret;
		n = snprintf(out->file, sizeof(out->file), "%s.drover", name);
	} else if (S_ISBLK(st.st_mode)) {
		n = snprintf(out->file, sizeof(out->file), "%s/%u-%u.drover",
			     run_dir ? run_dir : DISK_RUN_DIR, major(st.st_rdev), minor(st.st_rdev));
	} else {
		return err_set(e, -EINVAL, "disk %s: neither a file nor a block device", path);
	}
	if (n < 0 || (size_t)n + SUFFIX_ROOM > sizeof(out->file))
		return err_set(e, -ENAMETOOLONG, "disk %s: path too long", path);
	memcpy(out->dir, out->file, sizeof(out->dir));
	slash = strrchr(out->dir, '/');
	slash[slash == out->dir] = '\0';
	return 0;
}

/*
 * The run directory of block devices is made when it is needed; others exist.
 * #syscalls:broker mkdir
 */
void disk_record_make_dir(const char *dir)
{
	char part[PATH_MAX];
	char *p;

	snprintf(part, sizeof(part), "%s", dir);
	for (p = part + 1; *p; p++) {
		if (*p != '/')
			continue;
		*p = '\0';
		mkdir(part, 0755);
		*p = '/';
	}
	mkdir(part, 0755);
}

/* --- reading it --- */

static int record_parse(const char *text, size_t len, struct disk_holder *h)
{
	const char *domain, *uuid, *host, *cluster = "", *nonce = "";
	json_int_t pid, incarnation;
	int version, ret = -EINVAL;
	json_t *o;

	o = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);
	if (!o)
		return -EINVAL;
	if (json_unpack(o, "{s:i, s:s, s:s, s:s, s:I, s:I, s?s, s?s}", "drover-disk", &version,
			"domain", &domain, "uuid", &uuid, "host", &host, "pid", &pid,
			"incarnation", &incarnation, "cluster", &cluster, "nonce", &nonce) ||
	    version != RECORD_VERSION || incarnation < 0 || pid < 0 || pid > INT_MAX ||
	    strlen(domain) >= sizeof(h->domain) || strlen(host) >= sizeof(h->host) ||
	    strlen(cluster) >= sizeof(h->cluster) || strlen(nonce) >= sizeof(h->nonce) ||
	    !hex_read(uuid, h->uuid, sizeof(h->uuid)))
		goto out;
	snprintf(h->domain, sizeof(h->domain), "%s", domain);
	snprintf(h->host, sizeof(h->host), "%s", host);
	snprintf(h->cluster, sizeof(h->cluster), "%s", cluster);
	snprintf(h->nonce, sizeof(h->nonce), "%s", nonce);
	h->pid = (pid_t)pid;
	h->incarnation = (uint64_t)incarnation;
	ret = 0;
out:
	json_decref(o);
	return ret;
}

int disk_record_read(const struct disk_record *r, struct disk_holder *h, struct err *e)
{
	int fd = open(r->file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	char text[RECORD_MAX];
	int saved;
	ssize_t n;

	memset(h, 0, sizeof(*h));
	if (fd < 0)
		return err_errno(e, "%s", r->file);
	n = read(fd, text, sizeof(text));
	saved = errno;
	close(fd);
	if (n < 0)
		return err_set(e, -saved, "%s: %s", r->file, strerror(saved));
	if (n == 0 || n == RECORD_MAX || record_parse(text, (size_t)n, h))
		return err_set(e, -EINVAL, "%s: not a record of who holds the disk; look at it, "
					   "and remove it if no host has the disk open",
			       r->file);
	return 0;
}

/* --- writing it --- */

static void fresh_name(const struct disk_record *r, char *out, size_t len)
{
	snprintf(out, len, "%s.new", r->file);
}

static char *record_text(const struct disk_holder *h)
{
	char uuid[2 * sizeof(h->uuid) + 1];
	json_t *o;
	char *text;

	hex_print(h->uuid, sizeof(h->uuid), uuid);
	o = json_pack("{s:i, s:s, s:s, s:s, s:I, s:I}", "drover-disk", RECORD_VERSION,
		      "domain", h->domain, "uuid", uuid, "host", h->host,
		      "pid", (json_int_t)h->pid, "incarnation", (json_int_t)h->incarnation);
	if (o && *h->cluster && json_object_set_new(o, "cluster", json_string(h->cluster))) {
		json_decref(o);
		return NULL;
	}
	if (o && *h->nonce && json_object_set_new(o, "nonce", json_string(h->nonce))) {
		json_decref(o);
		return NULL;
	}
	text = o ? json_dumps(o, JSON_COMPACT | JSON_PRESERVE_ORDER) : NULL;
	json_decref(o);
	return text;
}

/*
 * Open @file to write it whole, as it is (what disk_record_reserve() has got) or made anew.  Never one
 * that has another name as well: a copy by hard links, or somebody else's file that was put here.
 * #syscalls:broker openat unlink
 */
static int open_to_write(const char *file)
{
	int flags = O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;
	int fd = open(file, flags, 0644);
	struct stat st;

	if (fd < 0 || (!fstat(fd, &st) && S_ISREG(st.st_mode) && st.st_nlink <= 1))
		return fd;
	close(fd);
	return unlink(file) ? -1 : open(file, flags | O_EXCL, 0644);
}

/*
 * Not O_TRUNC: what disk_record_reserve() has got is written over.
 * #syscalls:broker pwrite64 ftruncate fsync
 */
static int write_file(const char *file, const char *text, size_t len, struct err *e)
{
	int fd, saved = 0;
	ssize_t n;

	fd = open_to_write(file);
	if (fd < 0)
		return err_errno(e, "%s", file);
	n = pwrite(fd, text, len, 0);
	if (n < 0)
		saved = errno;
	else if ((size_t)n != len)
		saved = ENOSPC;
	else if (ftruncate(fd, (off_t)len) || fsync(fd))
		saved = errno;
	/* NFS may say only here that it had no room. */
	if (close(fd) && !saved)
		saved = errno;
	return saved ? err_set(e, -saved, "%s: %s", file, strerror(saved)) : 0;
}

static int sync_dir(const struct disk_record *r, struct err *e)
{
	int fd = open(r->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), ret = 0;

	if (fd < 0 || fsync(fd))
		ret = err_errno(e, "%s", r->dir);
	if (fd >= 0)
		close(fd);
	return ret;
}

static int write_blanks(const char *file, struct err *e)
{
	char blank[RECORD_MAX];
	int ret;

	memset(blank, ' ', sizeof(blank));
	ret = write_file(file, blank, sizeof(blank), e);
	if (ret)
		unlink(file);
	return ret;
}

int disk_record_reserve(const struct disk_record *r, struct err *e)
{
	char fresh[PATH_MAX + SUFFIX_ROOM];

	disk_record_make_dir(r->dir);
	fresh_name(r, fresh, sizeof(fresh));
	return write_blanks(fresh, e);
}

void disk_record_unreserve(const struct disk_record *r)
{
	char fresh[PATH_MAX + SUFFIX_ROOM];

	fresh_name(r, fresh, sizeof(fresh));
	unlink(fresh);
}

/* #syscalls:broker rename */
int disk_record_write(const struct disk_record *r, const struct disk_holder *h, struct err *e)
{
	char fresh[PATH_MAX + SUFFIX_ROOM];
	char *text;
	int ret;

	/* What could not be read back is not written: one more than the highest would lock everybody out. */
	if (h->incarnation > INT64_MAX)
		return err_set(e, -EINVAL, "%s: incarnation %llu is more than the %lld that a record can say; one that "
					   "high was not counted: look at it, and write a lower one",
			       r->file,
			       (unsigned long long)h->incarnation, (long long)INT64_MAX);
	if (h->pid < 0)
		return err_set(e, -EINVAL, "%s: pid %d", r->file, (int)h->pid);
	text = record_text(h);
	if (!text)
		return err_set(e, -ENOMEM, "%s: no memory, or a name that is not UTF-8", r->file);
	disk_record_make_dir(r->dir);
	fresh_name(r, fresh, sizeof(fresh));
	ret = write_file(fresh, text, strlen(text), e);
	if (!ret && rename(fresh, r->file))
		ret = err_errno(e, "%s", r->file);
	if (ret)
		unlink(fresh);
	else
		ret = sync_dir(r, e);
	free(text);
	return ret;
}

int disk_record_remove(const struct disk_record *r, struct err *e)
{
	if (unlink(r->file) && errno != ENOENT)
		return err_errno(e, "%s", r->file);
	return sync_dir(r, e);
}

int disk_record_probe(const struct disk_record *r, struct err *e)
{
	char file[PATH_MAX + SUFFIX_ROOM];
	uint64_t any;
	int ret;

	/* A name of our own: the disk's holder may be writing its record now. */
	if (getrandom(&any, sizeof(any), 0) != sizeof(any))
		return err_errno(e, "%s: random number", r->file);
	disk_record_make_dir(r->dir);
	snprintf(file, sizeof(file), "%s.probe-%016llx", r->file, (unsigned long long)any);
	ret = write_blanks(file, e);
	if (!ret && unlink(file))
		ret = err_errno(e, "%s", file);
	return ret;
}
