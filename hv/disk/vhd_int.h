/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vhd_int - what the files of the format vhd share; [VHD] is named in vhd.h.
 *
 *     footer's copy  512 bytes      \
 *     header        1024 bytes       |  before `data_start`; anywhere there but for the copy
 *     BAT           4 per block      |  (block allocation table: sector of each block, or none)
 *     locators of the parent        /
 *     blocks, each: bitmap (1 bit per sector, from the highest of byte 0; padded to a sector), data
 *     footer         512 bytes
 *
 * Numbers are big-endian.
 */
#ifndef DROVER_HV_DISK_VHD_INT_H
#define DROVER_HV_DISK_VHD_INT_H

#include "hv/disk/image.h"
#include "hv/disk/vhd.h"

#define VHD_SECTOR 512u
#define VHD_FOOTER_SIZE 512u  /* [VHD], Hard Disk Footer Format */
#define VHD_HEADER_SIZE 1024u /* [VHD], Dynamic Disk Header Format */
#define VHD_NO_BLOCK 0xffffffffu
#define VHD_LOCATORS 8u
/* [VHD], Platform Code: of names in UTF-16, relative and absolute, and of a URL */
#define VHD_W2RU 0x57327275u
#define VHD_W2KU 0x57326b75u
#define VHD_MACX 0x4d616358u
#define VHD_EPOCH 946684800 /* 2000-01-01 00:00:00 UTC, in seconds of time(2) */
/* Ours: room for the tables is taken when an image is opened, whatever it says. */
#define VHD_BLOCK_MIN 4096u
#define VHD_BLOCK_MAX (256u << 20)
#define VHD_BLOCKS_MAX (4u << 20) /* 2 TiB in blocks of 512 KiB, the smallest that [VHD] has seen tested */
#define VHD_BITMAPS_MAX 1024u     /* kept in memory */
#define VHD_BITMAPS_MIN 16u
#define VHD_BITMAPS_BYTES (1u << 20) /* ... and what they may take together */

struct vhd_footer {
	enum vhd_kind kind;
	uint64_t header_at, original_size, current_size;
	uint64_t size; /* that a guest sees, vhd.h */
	uint32_t time, features;
	uint16_t cylinders;
	uint8_t heads, sectors;
	uint8_t id[16];
	char creator[5];
};

struct vhd_locator {
	uint32_t code, space, len; /* space: sectors, or bytes: programs differ */
	uint64_t at;
};

struct vhd_header {
	uint64_t table_at;
	uint32_t entries, block_size;
	uint8_t parent_id[16];
	uint32_t parent_time;
	uint8_t parent_name[512]; /* UTF-16, big-endian */
	struct vhd_locator locators[VHD_LOCATORS];
};

/* An image as its tables say. */
struct vhd_layout {
	const char *path; /* for errors */
	uint64_t file_size;
	struct vhd_footer footer;
	uint8_t footer_bytes[VHD_FOOTER_SIZE]; /* as they are written again */
	bool footer_lost, head_lost;           /* the one at the end, its copy at the start */
	/* Not of fixed ones: */
	struct vhd_header header;
	uint32_t blocks, allocated;
	uint32_t bitmap_size; /* bytes, padded */
	uint64_t data_start;  /* no block lies before it */
	uint64_t end;         /* where the footer lies, or where nothing does */
	uint32_t *bat;        /* sector of each block, VHD_NO_BLOCK for none */
	uint32_t *bat_disk;   /* the same as it is on the disk, big-endian, whole sectors of it */
};

/* A block's bitmap in memory. */
struct vhd_bitmap {
	struct image_io io; /* first */
	struct iovec iov;
	struct vhd_image *v;
	uint32_t block;
	uint8_t *bits;      /* now */
	uint8_t *going;     /* ... and as they are being written */
	unsigned int users; /* pieces in flight */
	bool used, loading; /* used: it is some block's */
	int failed;         /* it could not be read */
	bool dirty, fresh;  /* fresh: the disk's BAT does not have the block yet */
	bool is_going, was_fresh;
	uint64_t last;           /* use, for the choice of who goes */
	struct vhd_bitmap *next; /* of those with the same hash */
};

#define VHD_HASH 256u

struct vhd_image {
	struct image image; /* first */
	struct vhd_layout l;
	uint8_t *sectors;    /* of the BAT: bit set where it is to be written */
	uint8_t *full;       /* bit per block: all of its bitmap's bits are set, no need to look */
	uint8_t *footer;     /* its bytes, aligned */
	uint64_t footer_end; /* the footer on the disk is behind blocks that end there; UINT64_MAX: there may be none */
	uint64_t end_goes;   /* ... and one behind these is being written */
	struct vhd_bitmap *maps, *hash[VHD_HASH];
	unsigned int n_maps, n_dirty;
	uint64_t clock;
	void *room; /* of all bits */
	/* A flush under way. */
	unsigned int next_map;
	uint32_t next_sector;
	bool going, footer_written, copy_written;
};

static inline struct vhd_image *vhd_of(struct image *im)
{
	return (struct vhd_image *)im;
}

static inline bool vhd_bit(const uint8_t *bits, uint64_t n)
{
	return bits[n / 8] & (0x80 >> n % 8);
}

static inline void vhd_bit_set(uint8_t *bits, uint64_t n)
{
	bits[n / 8] |= (uint8_t)(0x80 >> n % 8);
}

/** vhd_footer_place() - where the footer goes when blocks end at @end: so that the file ends on a whole 4 KiB */
static inline uint64_t vhd_footer_place(uint64_t end)
{
	return (end + VHD_FOOTER_SIZE + IMAGE_ALIGN - 1) / IMAGE_ALIGN * IMAGE_ALIGN - VHD_FOOTER_SIZE;
}

/* vhd_layout.c: the bytes of footer and header */

/** vhd_checksum() - one's complement of the sum of all bytes but the four at @skip ([VHD], Checksum) */
uint32_t vhd_checksum(const uint8_t *p, size_t len, size_t skip);
/** vhd_geometry() - cylinders, heads and sectors of a disk of that many sectors ([VHD], Appendix: CHS Calculation) */
void vhd_geometry(uint64_t sectors, struct vhd_footer *f);
/** vhd_footer_get() - false: no footer, for its mark or its checksum */
bool vhd_footer_get(const uint8_t p[VHD_FOOTER_SIZE], struct vhd_footer *f);
void vhd_footer_put(uint8_t p[VHD_FOOTER_SIZE], const struct vhd_footer *f);
bool vhd_header_get(const uint8_t p[VHD_HEADER_SIZE], struct vhd_header *h);
void vhd_header_put(uint8_t p[VHD_HEADER_SIZE], const struct vhd_header *h);

/* vhd_read.c */
/**
 * vhd_read() - read and check all tables of an image but bitmaps; waits
 * @l: vhd_read_end() it, also after an error
 */
int vhd_read(int fd, const char *path, struct vhd_layout *l, struct err *e);
void vhd_read_end(struct vhd_layout *l);
/** vhd_read_footer() - read and check the footer alone; there is nothing to end */
int vhd_read_footer(int fd, const char *path, struct vhd_layout *l, struct err *e);

/** vhd_bat_sectors() - of the table on the disk, as far as it is about blocks of this disk */
static inline uint32_t vhd_bat_sectors(const struct vhd_layout *l)
{
	return (uint32_t)((l->blocks * 4ull + VHD_SECTOR - 1) / VHD_SECTOR);
}

/* vhd_bat.c */
/** vhd_bat_check() - each block lies in the file, behind the tables, and in no other; also fills allocated and end */
int vhd_bat_check(struct vhd_layout *l, struct err *e);

/* vhd_fixed.c */
/** vhd_fixed_open() - struct block_format.open() of a fixed image; *@out is of raw where that can be */
int vhd_fixed_open(const struct block_open_args *a, const struct vhd_layout *l, struct block **out, struct err *e);

/* vhd_parent.c */
/** vhd_parent_open() - the image that @v differs from, checked to be the one */
int vhd_parent_open(struct vhd_image *v, const struct block_open_args *a, struct err *e);

/* vhd_bitmap.c; with the lock held */

int vhd_bitmaps_init(struct vhd_image *v);
void vhd_bitmaps_exit(struct vhd_image *v);
/**
 * vhd_bitmap_get() - the bitmap of @block, which has a place in the file, or is about to get one (@fresh)
 * Return: 0 and *@out, which may still be loading: then wait; -EAGAIN: no room, wait until some were written;
 * -errno: it cannot be read.
 */
int vhd_bitmap_get(struct vhd_image *v, uint32_t block, bool fresh, struct vhd_bitmap **out);
void vhd_bitmap_dirty(struct vhd_bitmap *m);
/** vhd_bitmap_run() - sectors from @first, at most @n, whose bits are alike; *@set: as what */
uint64_t vhd_bitmap_run(const struct vhd_bitmap *m, uint64_t first, uint64_t n, bool *set);
/** vhd_bitmap_fill() - set @n bits from @first; it is dirty then, unless they were set */
void vhd_bitmap_fill(struct vhd_bitmap *m, uint64_t first, uint64_t n);

/* vhd_map.c and vhd_flush.c: hooks of image_format */
int vhd_map(struct image *im, struct image_req *r, struct image_extent *x);
void vhd_mapped(struct image *im, struct image_req *r, int ret);
bool vhd_dirty(const struct image *im);
bool vhd_unsaved(const struct image *im);
void vhd_flush_begin(struct image *im);
bool vhd_flush_write(struct image *im, unsigned int phase, struct image_meta *out);
void vhd_flush_end(struct image *im, int ret);

#endif
