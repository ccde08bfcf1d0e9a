/* SPDX-License-Identifier: Apache-2.0 */
/* witness_disk - see witness_disk.h. */
#include "ha/witness/witness_disk.h"

#include "base/bytes.h"
#include "base/crc32c.h"
#include "ha/core/record/codec.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FORMAT 1
#define HEAD_LEN (8 + 4 + 8)         /* magic, format, id; then the checksum */
#define SLOT_LEN (4 + 4 + 8 + 8 + 8) /* format, node, cluster, two numbers; then the checksum */

static const char magic[8] = { 'D', 'R', 'O', 'V', 'E', 'R', 'W', 'I' };

static const uint8_t *block_of(const struct witness_disk *d, uint32_t n)
{
	return d->blocks + (size_t)n * WITNESS_BLOCK;
}

static bool is_empty(const uint8_t *p, size_t len)
{
	return !*p && !memcmp(p, p + 1, len - 1);
}

/* Its checksum stands behind the first @len bytes. */
static bool is_whole(const uint8_t *p, size_t len)
{
	struct reader r = reader_make(p + len, 4);

	return reader_u32(&r) == crc32c(0, p, len);
}

static void seal(uint8_t *p, size_t len)
{
	struct writer w = writer_make(p + len, 4);

	writer_u32(&w, crc32c(0, p, len));
}

static int bad_io(struct err *e, const struct witness_disk *d, const char *what, ssize_t n)
{
	if (!n)
		return err_set(e, -EINVAL, "%s: too small for a witness, %d bytes were expected", d->path, WITNESS_BYTES);
	return err_errno(e, "%s: cannot %s the witness", d->path, what);
}

static int load(struct witness_disk *d, uint32_t at, uint32_t blocks, struct err *e)
{
	size_t len = (size_t)blocks * WITNESS_BLOCK, got = 0;
	off_t off = (off_t)at * WITNESS_BLOCK;
	ssize_t n;

	while (got < len) {
		n = pread(d->fd, d->blocks + off + got, len - got, off + (off_t)got);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return bad_io(e, d, "read", n);
		got += (size_t)n;
	}
	return 0;
}

static int store(struct witness_disk *d, uint32_t at, uint32_t blocks, struct err *e)
{
	size_t len = (size_t)blocks * WITNESS_BLOCK, put = 0;
	off_t off = (off_t)at * WITNESS_BLOCK;
	ssize_t n;

	while (put < len) {
		n = pwrite(d->fd, d->blocks + off + put, len - put, off + (off_t)put);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return bad_io(e, d, "write", n);
		put += (size_t)n;
	}
	return 0;
}

static int check_head(const struct witness_disk *d, uint64_t id, struct err *e)
{
	const uint8_t *p = d->blocks;
	struct reader r = reader_make(p + sizeof(magic), HEAD_LEN - sizeof(magic));
	uint32_t format = reader_u32(&r);
	uint64_t is = reader_u64(&r);

	if (memcmp(p, magic, sizeof(magic)))
		return err_set(e, -EINVAL, "%s: holds no witness (is another device under this name now?)", d->path);
	if (!is_whole(p, HEAD_LEN) || !is)
		return err_set(e, -EINVAL, "%s: the witness is damaged", d->path);
	if (format != FORMAT)
		return err_set(e, -EINVAL, "%s: a witness of format %u, %d was expected", d->path, format, FORMAT);
	if (id && is != id)
		return err_set(e, -ESTALE, "%s: witness %016llx, but %016llx is configured", d->path, (unsigned long long)is,
			       (unsigned long long)id);
	return 0;
}

/* Looked at before it is opened: a device of another kind may do something when it is. */
static int check_kind(const char *path, struct err *e)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return errno == ENOENT ? 0 : err_errno(e, "%s: cannot open the witness", path);
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
		return err_set(e, -EINVAL, "%s: neither a file nor a block device", path);
	return 0;
}

/* @path: what it is called in errors */
static int open_at(struct witness_disk *d, const char *at, const char *path, int flags, struct err *e)
{
	int rc = check_kind(at, e);

	*d = (struct witness_disk){ .fd = -1, .path = path };
	if (rc)
		return rc;
	d->fd = open(at, O_RDWR | O_DIRECT | O_DSYNC | O_CLOEXEC | O_NOCTTY | O_NONBLOCK | flags, 0600);
	if (d->fd < 0 && errno == EINVAL)
		return err_set(e, -EINVAL, "%s: lies on storage without O_DIRECT, which a witness needs", path);
	if (d->fd < 0 && errno == EBUSY)
		return err_set(e, -EBUSY, "%s: is in use", path);
	if (d->fd < 0)
		return err_errno(e, "%s: cannot open the witness", path);
	d->blocks = aligned_alloc(WITNESS_BLOCK, WITNESS_BYTES);
	if (d->blocks)
		return 0;
	witness_disk_close(d);
	return err_set(e, -ENOMEM, "out of memory");
}

int witness_disk_open(struct witness_disk *d, const char *path, uint64_t id, struct err *e)
{
	int rc = open_at(d, path, path, 0, e);

	if (rc)
		return rc;
	rc = load(d, 0, 1, e);
	if (!rc)
		rc = check_head(d, id, e);
	if (rc)
		witness_disk_close(d);
	return rc;
}

static bool same_file(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_rdev == b->st_rdev;
}

int witness_disk_again(struct witness_disk *d, uint64_t id, struct err *e)
{
	struct stat now, then;
	int rc;

	if (stat(d->path, &now) < 0)
		return err_errno(e, "%s: cannot open the witness", d->path);
	if (fstat(d->fd, &then) < 0 || !same_file(&now, &then))
		return err_set(e, -ESTALE, "%s: something else has this name now", d->path);
	rc = load(d, 0, 1, e);
	return rc ? rc : check_head(d, id, e);
}

uint64_t witness_disk_id(const struct witness_disk *d)
{
	struct reader r = reader_make(d->blocks + HEAD_LEN - 8, 8);

	return reader_u64(&r);
}

void witness_disk_close(struct witness_disk *d)
{
	close(d->fd);
	free(d->blocks);
	d->fd = -1;
	d->blocks = NULL;
}

/* Three numbers that node @node wrote into block @at; zeros: it never did.  False: damaged. */
static bool get(const struct witness_disk *d, uint32_t at, uint32_t node, uint64_t v[3])
{
	const uint8_t *p = block_of(d, at);
	struct reader r = reader_make(p, SLOT_LEN);

	v[0] = v[1] = v[2] = 0;
	if (is_empty(p, SLOT_LEN + 4))
		return true;
	if (!is_whole(p, SLOT_LEN) || reader_u32(&r) != FORMAT || reader_u32(&r) != node)
		return false;
	for (int i = 0; i < 3; i++)
		v[i] = reader_u64(&r);
	return true;
}

static int put(struct witness_disk *d, uint32_t at, uint32_t node, const uint64_t v[3], struct err *e)
{
	uint8_t *p = d->blocks + (size_t)at * WITNESS_BLOCK;
	struct writer w = writer_make(p, SLOT_LEN);

	memset(p, 0, WITNESS_BLOCK);
	writer_u32(&w, FORMAT);
	writer_u32(&w, node);
	for (int i = 0; i < 3; i++)
		writer_u64(&w, v[i]);
	seal(p, SLOT_LEN);
	return store(d, at, 1, e);
}

int witness_disk_slots(struct witness_disk *d, struct claim_slots *out, struct err *e)
{
	int rc = load(d, 0, CLAIM_SLOTS, e);
	uint64_t v[3];

	memset(out, 0, sizeof(*out));
	for (uint32_t i = 1; i < CLAIM_SLOTS && !rc; i++) {
		if (!get(d, i, i, v))
			return err_set(e, -EBADMSG, "%s: the slot of node %u is damaged; make a new witness", d->path, i);
		out->of[i] = (struct claim_slot){ .cluster = v[0], .epoch = v[1] };
	}
	return rc;
}

int witness_disk_claim(struct witness_disk *d, uint32_t node, const struct claim_slot *s, struct err *e)
{
	return put(d, node, node, (uint64_t[]){ s->cluster, s->epoch, 0 }, e);
}

int witness_disk_beats(struct witness_disk *d, uint32_t n, struct witness_beat *out, struct err *e)
{
	int rc = load(d, CLAIM_SLOTS, n, e);
	uint64_t v[3];

	for (uint32_t i = 0; i < n && !rc; i++) {
		get(d, CLAIM_SLOTS + i, i, v);
		out[i] = (struct witness_beat){ .cluster = v[0], .mark = v[1], .count = v[2] };
	}
	return rc;
}

int witness_disk_beat(struct witness_disk *d, uint32_t node, const struct witness_beat *b, struct err *e)
{
	return put(d, CLAIM_SLOTS + node, node, (uint64_t[]){ b->cluster, b->mark, b->count }, e);
}

/* Is there anything that would be lost?  A new file is empty, a device may hold zeros. */
static int check_free(struct witness_disk *d, struct err *e)
{
	ssize_t n = pread(d->fd, d->blocks, WITNESS_BYTES, 0);

	if (n < 0)
		return bad_io(e, d, "read", n);
	if (n >= WITNESS_BLOCK && !check_head(d, 0, e))
		return err_set(e, -EEXIST, "%s: has a witness already, %016llx; remove it, or wipe the device, if no cluster needs it", d->path,
			       (unsigned long long)witness_disk_id(d));
	if (n > 0 && !is_empty(d->blocks, (size_t)n))
		return err_set(e, -EEXIST, "%s: something else lies there; wipe it if it is not needed", d->path);
	return 0;
}

/* A file grows, a device does not. */
static int check_size(const struct witness_disk *d, struct err *e)
{
	struct stat st;

	if (fstat(d->fd, &st) < 0)
		return bad_io(e, d, "read", -1);
	if (S_ISBLK(st.st_mode) && lseek(d->fd, 0, SEEK_END) < WITNESS_BYTES)
		return bad_io(e, d, "write", 0);
	return 0;
}

/* Two who make one there at once: of a device O_EXCL is enough on this host. */
static int lock(const struct witness_disk *d, struct err *e)
{
	struct flock l = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

	if (fcntl(d->fd, F_OFD_SETLK, &l) < 0 && (errno == EAGAIN || errno == EACCES))
		return err_set(e, -EBUSY, "%s: is in use", d->path);
	return 0; /* storage without locks: what stands there in the end is looked at */
}

/* The head last: before it there is none, wherever this ends. */
static int write_empty(struct witness_disk *d, uint64_t id, struct err *e)
{
	struct writer w = writer_make(d->blocks, HEAD_LEN);
	int rc;

	memset(d->blocks, 0, WITNESS_BYTES);
	rc = store(d, 1, 2 * CLAIM_SLOTS - 1, e);
	if (rc)
		return rc;
	writer_bytes(&w, magic, sizeof(magic));
	writer_u32(&w, FORMAT);
	writer_u64(&w, id);
	seal(d->blocks, HEAD_LEN);
	rc = store(d, 0, 1, e);
	if (!rc && fsync(d->fd) < 0)
		rc = bad_io(e, d, "write", -1);
	if (!rc)
		rc = load(d, 0, 1, e);
	return rc ? rc : check_head(d, id, e);
}

static int make_there(const char *path, bool device, uint64_t id, struct err *e)
{
	struct witness_disk d;
	/* O_EXCL of a device: nobody uses it, mounted, as swap or below another. */
	int rc = open_at(&d, path, path, device ? O_EXCL : 0, e);

	if (rc)
		return rc;
	rc = lock(&d, e);
	if (!rc)
		rc = check_size(&d, e);
	if (!rc)
		rc = check_free(&d, e);
	if (!rc)
		rc = write_empty(&d, id, e);
	witness_disk_close(&d);
	return rc;
}

/* A new name lasts when its directory is written. */
static int sync_dir(const char *path, struct err *e)
{
	char copy[PATH_MAX];
	int fd, rc = 0;

	snprintf(copy, sizeof(copy), "%s", path);
	fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fsync(fd) < 0)
		rc = err_errno(e, "%s: cannot write its directory", path);
	if (fd >= 0)
		close(fd);
	return rc;
}

/* It gets its name when it is whole; who has that name by then keeps it. */
static int make_new(const char *path, uint64_t id, struct err *e)
{
	char new[PATH_MAX];
	struct witness_disk d;
	int rc;

	if (snprintf(new, sizeof(new), "%s.%016llx", path, (unsigned long long)id) >= (int)sizeof(new))
		return err_set(e, -ENAMETOOLONG, "a path of at most %d bytes was expected", PATH_MAX - 20);
	rc = open_at(&d, new, path, O_CREAT | O_EXCL, e);
	if (rc == -ENOENT)
		err_set(e, rc, "%s: there is no such directory", path);
	if (rc && rc != -EEXIST)
		unlink(new); /* made, but without O_DIRECT it is of no use */
	if (rc)
		return rc;
	rc = write_empty(&d, id, e);
	if (!rc && link(new, path) < 0)
		rc = errno == EEXIST ? err_set(e, -EEXIST, "%s: somebody else has made it meanwhile", path) :
				       err_errno(e, "%s: cannot make the witness", path);
	witness_disk_close(&d);
	unlink(new);
	return rc ? rc : sync_dir(path, e);
}

int witness_disk_make(const char *path, uint64_t id, struct err *e)
{
	struct stat st;

	if (!stat(path, &st))
		return make_there(path, S_ISBLK(st.st_mode), id, e);
	if (errno != ENOENT)
		return err_errno(e, "%s: cannot make the witness", path);
	if (!lstat(path, &st))
		return err_set(e, -EEXIST, "%s: a symbolic link to nothing lies there", path);
	return make_new(path, id, e);
}
