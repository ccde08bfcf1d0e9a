/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vhd_read - the tables of an image, read from its file and believed only after a look at each of them (rule S).
 *
 * There are two footers.  [VHD] wants the one at the end taken, and its copy at the start where that is damaged.  We
 * take the copy where both are there: what lies at the end of a file that lost its footer may be a guest's data,
 * which may look like a footer and send us anywhere.  The first bytes are a guest's only where the disk is fixed;
 * so an image whose ends say different things is nobody's.
 */
#include "hv/disk/vhd_int.h"

#include <errno.h>
#include <endian.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define TRIES_MAX 5
#define SIZE_MAX_READ (1ull << 41) /* sectors of blocks have 32 bits */

static int wrong(const struct vhd_layout *l, struct err *e, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

static int wrong(const struct vhd_layout *l, struct err *e, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	err_vset(e, -EINVAL, fmt, ap);
	va_end(ap);
	err_prefix(e, "disk %s: VHD", l->path); /* and ": " */
	return -EINVAL;
}

static int read_at(const struct vhd_layout *l, int fd, void *buf, size_t len, uint64_t at, const char *what, struct err *e)
{
	ssize_t n = image_pread(fd, buf, len, at);

	if (n < 0)
		return err_set(e, (int)n, "disk %s: VHD: reading its %s: %s", l->path, what, strerror((int)-n));
	if ((size_t)n < len)
		return wrong(l, e, "%s at byte %llu: the file ends after %zd bytes of it, expected %zu", what,
			     (unsigned long long)at, n, len);
	return 0;
}

/* --- footers --- */

static bool has_tables(const struct vhd_footer *f)
{
	return f->kind == VHD_DYNAMIC || f->kind == VHD_DIFFERENCING;
}

static int choose_footer(struct vhd_layout *l, const uint8_t *head, const uint8_t *tail, struct err *e)
{
	struct vhd_footer h, t;
	bool has_head = vhd_footer_get(head, &h), has_tail = vhd_footer_get(tail, &t);

	if (!has_head && !has_tail)
		return wrong(l, e, "no footer in the last 512 bytes and no copy of one in the first, expected 'conectix', version 1 and "
				   "the right checksum in one of them");
	if (has_tail && t.kind == VHD_FIXED && has_head && has_tables(&h))
		return wrong(l, e, "the footer says that it is fixed, the first 512 bytes that it has tables: one of them may be a "
				   "guest's data, and nobody can say which");
	l->head_lost = !has_head;
	if (has_tail && (t.kind == VHD_FIXED || !has_head || !has_tables(&h))) {
		l->footer = t;
		memcpy(l->footer_bytes, tail, VHD_FOOTER_SIZE);
		return 0;
	}
	if (h.kind == VHD_FIXED)
		return wrong(l, e, "no footer in the last 512 bytes, expected one behind the bytes of a fixed disk");
	l->footer_lost = !has_tail;
	l->footer = h;
	memcpy(l->footer_bytes, head, VHD_FOOTER_SIZE);
	return 0;
}

static int check_footer(const struct vhd_layout *l, struct err *e)
{
	const struct vhd_footer *f = &l->footer;

	if (f->kind != VHD_FIXED && !has_tables(f))
		return wrong(l, e, "disk type %u, expected 2 (fixed), 3 (dynamic) or 4 (differencing)", f->kind);
	if (!f->size || f->size % VHD_SECTOR || f->size > SIZE_MAX_READ)
		return wrong(l, e, "a size of %llu bytes, expected whole sectors of 512, at least one and at most %llu bytes of them",
			     (unsigned long long)f->size, SIZE_MAX_READ);
	if (f->kind == VHD_FIXED && f->size > l->file_size - VHD_FOOTER_SIZE)
		return wrong(l, e, "a fixed disk of %llu bytes in a file of %llu, expected all of them and a footer of 512",
			     (unsigned long long)f->size, (unsigned long long)l->file_size);
	return 0;
}

static int read_footer(struct vhd_layout *l, int fd, struct err *e)
{
	uint8_t head[VHD_FOOTER_SIZE], tail[VHD_FOOTER_SIZE];
	int ret;

	if (l->file_size < VHD_FOOTER_SIZE)
		return wrong(l, e, "a file of %llu bytes, expected at least a footer of 512", (unsigned long long)l->file_size);
	ret = read_at(l, fd, head, sizeof(head), 0, "footer's copy", e);
	if (!ret)
		ret = read_at(l, fd, tail, sizeof(tail), l->file_size - VHD_FOOTER_SIZE, "footer", e);
	if (!ret)
		ret = choose_footer(l, head, tail, e);
	return ret ? ret : check_footer(l, e);
}

/* --- header --- */

static bool power_of_two(uint32_t n)
{
	return n && !(n & (n - 1));
}

static int check_header(struct vhd_layout *l, struct err *e)
{
	const struct vhd_header *h = &l->header;
	uint64_t blocks;

	if (!power_of_two(h->block_size) || h->block_size < VHD_BLOCK_MIN || h->block_size > VHD_BLOCK_MAX)
		return wrong(l, e, "blocks of %u bytes, expected a power of two from %u to %u", h->block_size, VHD_BLOCK_MIN,
			     VHD_BLOCK_MAX);
	blocks = (l->footer.size + h->block_size - 1) / h->block_size;
	if (blocks > VHD_BLOCKS_MAX || blocks > h->entries)
		return wrong(l, e, "%llu bytes are %llu blocks of %u, but the table has %u entries; expected enough, and at most %u blocks",
			     (unsigned long long)l->footer.size, (unsigned long long)blocks, h->block_size, h->entries,
			     VHD_BLOCKS_MAX);
	l->blocks = (uint32_t)blocks;
	l->bitmap_size = (h->block_size / VHD_SECTOR / 8 + VHD_SECTOR - 1) / VHD_SECTOR * VHD_SECTOR;
	return 0;
}

/* Tables are written, so none may lie on another. */
static int check_places(struct vhd_layout *l, struct err *e)
{
	uint64_t header = l->footer.header_at, table = l->header.table_at;
	uint64_t bytes = ((uint64_t)l->header.entries * 4 + VHD_SECTOR - 1) / VHD_SECTOR * VHD_SECTOR;

	if (table % VHD_SECTOR || table < VHD_FOOTER_SIZE || table > l->file_size || l->blocks * 4ull > l->file_size - table)
		return wrong(l, e, "its block table at byte %llu, expected %u entries of 4 bytes at a whole sector behind the first, in "
				   "a file of %llu bytes",
			     (unsigned long long)table, l->blocks, (unsigned long long)l->file_size);
	if (table < header + VHD_HEADER_SIZE && header < table + bytes)
		return wrong(l, e, "its block table at byte %llu lies over its header at byte %llu", (unsigned long long)table,
			     (unsigned long long)header);
	l->data_start = table + bytes > header + VHD_HEADER_SIZE ? table + bytes : header + VHD_HEADER_SIZE;
	return 0;
}

static int read_header(struct vhd_layout *l, int fd, struct err *e)
{
	uint8_t p[VHD_HEADER_SIZE];
	uint64_t at = l->footer.header_at;
	int ret;

	if (at % VHD_SECTOR || at < VHD_FOOTER_SIZE || at > l->file_size || l->file_size - at < VHD_HEADER_SIZE)
		return wrong(l, e, "its header at byte %llu, expected a whole sector behind the first, and 1024 bytes, in a file of %llu",
			     (unsigned long long)at, (unsigned long long)l->file_size);
	ret = read_at(l, fd, p, sizeof(p), at, "header", e);
	if (ret)
		return ret;
	if (!vhd_header_get(p, &l->header))
		return wrong(l, e, "no header at byte %llu, expected 'cxsparse', version 1 and the right checksum",
			     (unsigned long long)at);
	ret = check_header(l, e);
	return ret ? ret : check_places(l, e);
}

/* --- the block table --- */

/* What lies behind our blocks in the last sector is kept as it is: others may see a larger disk (vhd.h). */
static int read_bat(struct vhd_layout *l, int fd, struct err *e)
{
	size_t len = (size_t)vhd_bat_sectors(l) * VHD_SECTOR;
	ssize_t n;

	l->bat = malloc(l->blocks * sizeof(*l->bat));
	l->bat_disk = aligned_alloc(IMAGE_ALIGN, (len + IMAGE_ALIGN - 1) / IMAGE_ALIGN * IMAGE_ALIGN);
	if (!l->bat || !l->bat_disk)
		return err_set(e, -ENOMEM, "disk %s: no memory for its block table", l->path);
	memset(l->bat_disk, 0xff, len);
	n = image_pread(fd, l->bat_disk, len, l->header.table_at);
	if (n < 0)
		return err_set(e, (int)n, "disk %s: VHD: reading its block table: %s", l->path, strerror((int)-n));
	if ((size_t)n < l->blocks * sizeof(*l->bat))
		return wrong(l, e, "its block table ends after %zd bytes, expected %u entries of 4", n, l->blocks);
	for (uint32_t i = 0; i < l->blocks; i++)
		l->bat[i] = be32toh(l->bat_disk[i]);
	return vhd_bat_check(l, e);
}

int vhd_read_footer(int fd, const char *path, struct vhd_layout *l, struct err *e)
{
	struct stat st;

	*l = (struct vhd_layout){ .path = path };
	if (fstat(fd, &st))
		return err_errno(e, "disk %s", path);
	if (!S_ISREG(st.st_mode))
		return err_set(e, -EINVAL, "disk %s: a VHD in something that is no file, expected a regular file", path);
	l->file_size = (uint64_t)st.st_size;
	return read_footer(l, fd, e);
}

static int read_once(int fd, const char *path, struct vhd_layout *l, struct err *e)
{
	int ret = vhd_read_footer(fd, path, l, e);

	if (ret || l->footer.kind == VHD_FIXED)
		return ret;
	ret = read_header(l, fd, e);
	return ret ? ret : read_bat(l, fd, e);
}

/*
 * Somebody may be writing to it: where a domain will arrive, its disk is looked at before.  At each moment the file is sound,
 * but we take several; what seems to lie behind its end may be there now.
 */
int vhd_read(int fd, const char *path, struct vhd_layout *l, struct err *e)
{
	unsigned int tries = TRIES_MAX;
	struct stat st;
	int ret;

	while ((ret = read_once(fd, path, l, e)) == -EINVAL && --tries && !fstat(fd, &st) &&
	       (uint64_t)st.st_size != l->file_size)
		vhd_read_end(l);
	return ret;
}

void vhd_read_end(struct vhd_layout *l)
{
	free(l->bat);
	free(l->bat_disk);
	l->bat = l->bat_disk = NULL;
}

int vhd_info(int fd, const char *path, struct vhd_info *out, struct err *e)
{
	struct vhd_layout l;
	int ret = vhd_read(fd, path, &l, e);

	*out = (struct vhd_info){ 0 };
	if (!ret) {
		const struct vhd_footer *f = &l.footer;
		uint64_t need = (uint64_t)l.allocated * (l.bitmap_size + l.header.block_size);

		*out = (struct vhd_info){
			.kind = f->kind,
			.size = f->size,
			.current_size = f->current_size,
			.time = f->time,
			.block_size = l.header.block_size,
			.blocks = l.blocks,
			.allocated = l.allocated,
			.file_size = l.file_size,
			.footer_lost = l.footer_lost,
		};
		if (f->kind != VHD_FIXED)
			out->unused = l.end - l.data_start - need;
		memcpy(out->id, f->id, sizeof(out->id));
		memcpy(out->creator, f->creator, sizeof(out->creator));
	}
	vhd_read_end(&l);
	return ret;
}
