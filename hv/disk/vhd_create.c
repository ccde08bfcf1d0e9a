/* SPDX-License-Identifier: Apache-2.0 */
/* vhd_create - new images (vhd.h), as the picture in vhd_int.h has them. */
#include "hv/disk/vhd_int.h"

#include "base/text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define HEADER_AT VHD_FOOTER_SIZE
#define TABLE_AT (HEADER_AT + VHD_HEADER_SIZE)
#define LOCATOR_ROOM 2048u /* bytes in front of the first block */

struct making {
	int fd;
	const char *path;
	const struct vhd_new *n;
	struct vhd_footer footer;
	struct vhd_header header;
	uint8_t locator[LOCATOR_ROOM];
	uint64_t end; /* of all tables */
	struct err *e;
};

static int put(const struct making *m, const void *p, size_t len, uint64_t at)
{
	return image_pwrite(m->fd, m->path, "VHD", p, len, at, m->e);
}

/* --- sizes --- */

/* The smallest size that is enough and is a geometry's: readers of the one and the other see the same disk. */
static uint64_t both_sizes(uint64_t size)
{
	uint64_t want = (size + VHD_SECTOR - 1) / VHD_SECTOR, got = 0;
	struct vhd_footer f;

	for (uint64_t more = 0; got < want; more++) {
		vhd_geometry(want + more, &f);
		got = (uint64_t)f.cylinders * f.heads * f.sectors;
		if (more > 65535) /* larger than any geometry: the current size counts for all */
			return want * VHD_SECTOR;
	}
	return got * VHD_SECTOR;
}

static int check_new(const struct making *m)
{
	const struct vhd_new *n = m->n;
	uint32_t block = n->block_size ? n->block_size : VHD_BLOCK_DEFAULT;
	struct stat st;

	if (fstat(m->fd, &st))
		return err_errno(m->e, "disk %s", m->path);
	if (!S_ISREG(st.st_mode) || st.st_size)
		return err_set(m->e, -EINVAL, "disk %s: expected an empty file to make a VHD of", m->path);
	if (n->kind != VHD_FIXED && n->kind != VHD_DYNAMIC && n->kind != VHD_DIFFERENCING)
		return err_set(m->e, -EINVAL, "disk %s: VHD: kind %u, expected fixed, dynamic or differencing", m->path, n->kind);
	if (n->kind != VHD_DIFFERENCING && (!n->size || n->size > VHD_SIZE_MAX))
		return err_set(m->e, -EINVAL, "disk %s: VHD: %llu bytes, expected at least one and at most %llu", m->path,
			       (unsigned long long)n->size, VHD_SIZE_MAX);
	if ((block & (block - 1)) || block < VHD_BLOCK_MIN || block > VHD_BLOCK_MAX || n->size / block >= VHD_BLOCKS_MAX)
		return err_set(m->e, -EINVAL, "disk %s: VHD: blocks of %u bytes, expected a power of two from %u to %u, and at most %u blocks",
			       m->path, block, VHD_BLOCK_MIN, VHD_BLOCK_MAX, VHD_BLOCKS_MAX);
	return 0;
}

static int make_footer(struct making *m)
{
	struct vhd_footer *f = &m->footer;
	uint64_t size = m->n->kind == VHD_DIFFERENCING ? m->footer.size : both_sizes(m->n->size);

	*f = (struct vhd_footer){
		.kind = m->n->kind,
		.header_at = HEADER_AT,
		.original_size = size,
		.current_size = size,
		.size = size,
		.time = (uint32_t)(time(NULL) - VHD_EPOCH),
		.creator = "drov",
	};
	vhd_geometry(size / VHD_SECTOR, f);
	if (getrandom(f->id, sizeof(f->id), 0) != sizeof(f->id))
		return err_errno(m->e, "disk %s: VHD: an id for it", m->path);
	return 0;
}

/* --- the parent --- */

static void put_unit(uint8_t *p, uint32_t unit, bool big)
{
	p[big ? 0 : 1] = (uint8_t)(unit >> 8);
	p[big ? 1 : 0] = (uint8_t)unit;
}

/* UTF-16, with Windows' separators.  Return: bytes; 0 when it does not fit, or is no text. */
static size_t to_utf16(const char *text, uint8_t *out, size_t room, bool big)
{
	size_t n = 0;
	unsigned int len;
	uint32_t c;

	for (; *text; text += len) {
		len = text_char(text, &c);
		if (len == TEXT_CUT_OFF || c == TEXT_NO_CHAR || n + 4 > room)
			return 0;
		if (c >= 0x10000) {
			put_unit(out + n, 0xd800 + ((c - 0x10000) >> 10), big);
			n += 2;
			c = 0xdc00 + ((c - 0x10000) & 0x3ff);
		}
		put_unit(out + n, c == '/' ? '\\' : c, big);
		n += 2;
	}
	return n;
}

static const char *last_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

static int name_parent(struct making *m)
{
	const char *path = m->n->parent;
	struct vhd_locator *l = &m->header.locators[0];
	bool absolute = path[0] == '/';
	size_t dot = absolute || path[0] == '.' ? 0 : 2, n;

	if (dot)
		memcpy(m->locator, ".\0\\\0", 4);
	n = to_utf16(path, m->locator + 2 * dot, sizeof(m->locator) - 2 * dot, false);
	if (!n || !to_utf16(last_of(path), m->header.parent_name, sizeof(m->header.parent_name), true))
		return err_set(m->e, -EINVAL, "disk %s: VHD: its parent '%.200s', expected a path in UTF-8 of at most %u characters, its last part "
					      "of at most 254",
			       m->path, path, LOCATOR_ROOM / 2 - 4);
	l->code = absolute ? VHD_W2KU : VHD_W2RU;
	l->len = (uint32_t)(n + 2 * dot);
	l->space = LOCATOR_ROOM / VHD_SECTOR;
	l->at = m->end;
	m->end += LOCATOR_ROOM;
	return 0;
}

static int learn_parent(struct making *m)
{
	struct vhd_info info;
	struct stat st;
	int ret = vhd_info(m->n->parent_fd, m->n->parent, &info, m->e);

	if (ret)
		return ret;
	if (fstat(m->n->parent_fd, &st))
		return err_errno(m->e, "disk %s", m->n->parent);
	m->footer.size = info.size;
	memcpy(m->header.parent_id, info.id, sizeof(info.id));
	m->header.parent_time = (uint32_t)(st.st_mtime - VHD_EPOCH);
	return 0;
}

/* --- the file --- */

static int write_tables(struct making *m)
{
	uint8_t footer[VHD_FOOTER_SIZE], header[VHD_HEADER_SIZE], none[4096];
	uint64_t at = TABLE_AT, table_end = m->header.table_at + (m->header.entries * 4ull + VHD_SECTOR - 1) / VHD_SECTOR * VHD_SECTOR;
	int ret;

	vhd_footer_put(footer, &m->footer);
	vhd_header_put(header, &m->header);
	memset(none, 0xff, sizeof(none));
	ret = put(m, footer, sizeof(footer), 0);
	if (!ret)
		ret = put(m, header, sizeof(header), HEADER_AT);
	for (; !ret && at < table_end; at += sizeof(none))
		ret = put(m, none, table_end - at < sizeof(none) ? (size_t)(table_end - at) : sizeof(none), at);
	if (!ret && m->header.locators[0].code)
		ret = put(m, m->locator, sizeof(m->locator), m->header.locators[0].at);
	return ret ? ret : put(m, footer, sizeof(footer), vhd_footer_place(m->end));
}

static int make_tables(struct making *m)
{
	struct vhd_header *h = &m->header;

	h->block_size = m->n->block_size ? m->n->block_size : VHD_BLOCK_DEFAULT;
	h->entries = (uint32_t)((m->footer.size + h->block_size - 1) / h->block_size);
	h->table_at = TABLE_AT;
	m->end = TABLE_AT + (h->entries * 4ull + VHD_SECTOR - 1) / VHD_SECTOR * VHD_SECTOR;
	if (m->n->kind == VHD_DIFFERENCING && name_parent(m))
		return -EINVAL;
	return write_tables(m);
}

static int make_fixed(struct making *m)
{
	uint8_t footer[VHD_FOOTER_SIZE];

	vhd_footer_put(footer, &m->footer);
	return put(m, footer, sizeof(footer), m->footer.size);
}

int vhd_create(int fd, const char *path, const struct vhd_new *n, uint64_t *size, struct err *e)
{
	struct making *m = calloc(1, sizeof(*m));
	int ret;

	if (!m)
		return err_set(e, -ENOMEM, "disk %s: no memory", path);
	*m = (struct making){ .fd = fd, .path = path, .n = n, .e = e };
	ret = check_new(m);
	if (!ret && n->kind == VHD_DIFFERENCING)
		ret = learn_parent(m);
	if (!ret)
		ret = make_footer(m);
	if (!ret)
		ret = n->kind == VHD_FIXED ? make_fixed(m) : make_tables(m);
	if (!ret && fsync(fd))
		ret = err_errno(e, "disk %s: VHD: writing it", path);
	if (!ret && size)
		*size = m->footer.size;
	free(m);
	return ret;
}
