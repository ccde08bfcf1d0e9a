/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vhd_parent - what an image differs from: where it says that is, and is this it?
 *
 * A parent must not change once there are images made from it.  So an image keeps its parent's unique id and
 * the time of its last change ([VHD], Parent Unique ID, Parent Time Stamp); who wrote to the parent since has
 * made the image worthless, and we say so instead of showing a guest a mixture.  A parent is never opened by what an
 * image says: that is text from a file.
 */
#include "hv/disk/vhd_int.h"

#include "base/hex.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define LOCATOR_MAX (VHD_PATH_MAX * 2u) /* bytes read of one */

/* --- text --- */

static size_t put_utf8(char *out, size_t room, uint32_t c)
{
	if (c < 0x80 && room > 1) {
		out[0] = (char)c;
		return 1;
	}
	if (c >= 0x80 && c < 0x800 && room > 2) {
		out[0] = (char)(0xc0 | c >> 6);
		out[1] = (char)(0x80 | (c & 0x3f));
		return 2;
	}
	if (c >= 0x800 && c < 0x10000 && room > 3) {
		out[0] = (char)(0xe0 | c >> 12);
		out[1] = (char)(0x80 | (c >> 6 & 0x3f));
		out[2] = (char)(0x80 | (c & 0x3f));
		return 3;
	}
	if (c >= 0x10000 && room > 4) {
		out[0] = (char)(0xf0 | c >> 18);
		out[1] = (char)(0x80 | (c >> 12 & 0x3f));
		out[2] = (char)(0x80 | (c >> 6 & 0x3f));
		out[3] = (char)(0x80 | (c & 0x3f));
		return 4;
	}
	return 0;
}

static uint32_t unit_at(const uint8_t *p, bool big)
{
	return big ? (uint32_t)p[0] << 8 | p[1] : (uint32_t)p[1] << 8 | p[0];
}

/* UTF-16 until its end, a NUL, or what cannot be: then it is no path, and empty. */
static void from_utf16(const uint8_t *p, size_t len, bool big, char out[VHD_PATH_MAX])
{
	size_t n = 0, step;

	for (size_t i = 0; i + 2 <= len; i += 2) {
		uint32_t c = unit_at(p + i, big), low;

		if (!c)
			break;
		if (c >= 0xd800 && c < 0xe000) {
			low = i + 4 <= len ? unit_at(p + i + 2, big) : 0;
			if (c >= 0xdc00 || low < 0xdc00 || low >= 0xe000)
				goto bad;
			c = 0x10000 + ((c & 0x3ff) << 10) + (low & 0x3ff);
			i += 2;
		}
		step = put_utf8(out + n, VHD_PATH_MAX - n, c == '\\' ? '/' : c);
		if (!step)
			goto bad;
		n += step;
	}
	out[n] = '\0';
	return;
bad:
	out[0] = '\0';
}

/* --- where it is --- */

static int read_locator(int fd, const struct vhd_layout *l, const struct vhd_locator *at, struct vhd_parent *out, struct err *e)
{
	uint8_t text[LOCATOR_MAX];
	ssize_t n;

	if (at->code != VHD_W2RU && at->code != VHD_W2KU && at->code != VHD_MACX)
		return 0;
	if (at->len > sizeof(text) || at->at < VHD_FOOTER_SIZE || at->at > l->file_size || at->len > l->file_size - at->at)
		return err_set(e, -EINVAL, "disk %s: VHD: a name of its parent, %u bytes at byte %llu, expected at most %zu, in the file",
			       l->path, at->len, (unsigned long long)at->at, sizeof(text));
	n = image_pread(fd, text, at->len, at->at);
	if (n < (ssize_t)at->len)
		return err_set(e, n < 0 ? (int)n : -EIO, "disk %s: VHD: reading the name of its parent", l->path);
	if (at->code == VHD_MACX) {
		snprintf(out->url, sizeof(out->url), "%.*s", (int)(at->len < sizeof(out->url) ? at->len : sizeof(out->url) - 1),
			 (const char *)text);
		return 0;
	}
	/* Windows writes these as it has them, from the low byte. */
	from_utf16(text, at->len, false, at->code == VHD_W2RU ? out->relative : out->absolute);
	return 0;
}

static int parent_of(int fd, const struct vhd_layout *l, struct vhd_parent *out, struct err *e)
{
	const struct vhd_header *h = &l->header;
	int ret = 0;

	if (l->footer.kind != VHD_DIFFERENCING)
		return err_set(e, -ENOENT, "disk %s: VHD: has no parent", l->path);
	memcpy(out->id, h->parent_id, sizeof(out->id));
	out->time = h->parent_time;
	from_utf16(h->parent_name, sizeof(h->parent_name), true, out->name);
	for (unsigned int i = 0; !ret && i < VHD_LOCATORS; i++)
		ret = read_locator(fd, l, &h->locators[i], out, e);
	return ret;
}

int vhd_parent_of(int fd, const char *path, struct vhd_parent *out, struct err *e)
{
	struct vhd_layout l;
	int ret = vhd_read(fd, path, &l, e);

	*out = (struct vhd_parent){ 0 };
	if (!ret)
		ret = parent_of(fd, &l, out, e);
	vhd_read_end(&l);
	return ret;
}

const char *vhd_parent_text(const struct vhd_parent *p)
{
	return p->relative[0] ? p->relative : p->absolute[0] ? p->absolute :
				      p->name[0]             ? p->name :
							       p->url;
}

/* --- is this it? --- */

static int check_id(const struct vhd_image *v, const char *parent, const uint8_t id[16], struct err *e)
{
	char want[33], got[33];

	if (!memcmp(id, v->l.header.parent_id, 16))
		return 0;
	hex_print(v->l.header.parent_id, 16, want);
	hex_print(id, 16, got);
	return err_set(e, -ESTALE, "disk %s: VHD: its parent has the id %s, but %s has %s: it is another image", v->l.path, want, parent, got);
}

static int check_time(const struct vhd_image *v, const struct block_parent *p, struct err *e)
{
	uint32_t want = v->l.header.parent_time;
	struct stat st;

	if (fstat(p->fd, &st))
		return err_errno(e, "disk %s", p->path);
	/* As it is written: files from before 2000 are there too, and their times wrap. */
	if (!want || (uint32_t)(st.st_mtime - VHD_EPOCH) == want)
		return 0;
	return err_set(e, -ESTALE, "disk %s: VHD: its parent %s was changed at %lld, after the image was made of it (%lld, in seconds since "
				   "1970), and what the image shows would be wrong; if nobody wrote to it, set the time back: touch -d @%lld",
		       v->l.path, p->path, (long long)st.st_mtime, (long long)want + VHD_EPOCH, (long long)want + VHD_EPOCH);
}

static int not_given(const struct block_open_args *a, const struct vhd_layout *l, struct err *e)
{
	struct vhd_parent p = { 0 };
	int ret = parent_of(a->fd, l, &p, e);

	if (ret)
		return ret;
	return err_set(e, -ENOENT, "disk %s: VHD: differs from a parent, '%.200s', which was not given", a->path,
		       vhd_parent_text(&p));
}

int vhd_parent_open(struct vhd_image *v, const struct block_open_args *a, struct err *e)
{
	struct block_open_args up = *a;
	struct vhd_layout l;
	int ret;

	if (!a->n_parents)
		return not_given(a, &v->l, e);
	up.fd = a->parents[0].fd;
	up.path = a->parents[0].path;
	up.readonly = true;
	up.parents = a->parents + 1;
	up.n_parents = a->n_parents - 1;
	up.event_fd = &v->image.block.event_fd;
	ret = image_check_parents(a, "VHD", e);
	if (!ret)
		ret = block_open_on("vhd", &up, &v->image.parent, e);
	/* Opened, it is read past the page cache, if anything here is. */
	if (!ret)
		ret = vhd_read_footer(up.fd, up.path, &l, e);
	if (!ret)
		ret = check_id(v, up.path, l.footer.id, e);
	return ret ? ret : check_time(v, &a->parents[0], e);
}
