/* SPDX-License-Identifier: Apache-2.0 */
/*
 * qcow2_int - what the files of the format qcow2 share; [QCOW2] is named in qcow2.h.
 *
 *     header                      cluster 0; behind it extensions, and the name of the backing file
 *     refcount table              8 bytes per refcount block: where it is, 0: nowhere, and all of its counts are 0
 *     refcount blocks             a cluster each: how often each cluster of the file is referred to
 *     L1 table                    8 bytes per L2 table: where it is
 *     L2 tables                   a cluster each: 8 bytes per cluster of the guest's: where it is
 *     clusters of the guest's     as they are, or compressed, some in one
 *
 * Everything but the header may lie anywhere.  Numbers are big-endian; tables are kept as they lie on the disk.
 * "Guest" and "host" are clusters by their numbers, of the disk and of the file.
 */
#ifndef DROVER_HV_DISK_QCOW2_INT_H
#define DROVER_HV_DISK_QCOW2_INT_H

#include "hv/disk/image.h"
#include "hv/disk/qcow2.h"

#include <endian.h>

#define QCOW2_MAGIC 0x514649fbu
#define QCOW2_HEADER_2 72u  /* bytes of version 2 */
#define QCOW2_HEADER_3 104u /* ... and, at least, of version 3 */
#define QCOW2_BITS_MIN 9u   /* [QCOW2], cluster_bits */
#define QCOW2_BITS_MAX 21u
#define QCOW2_ORDER_MAX 6u
/* incompatible_features */
#define QCOW2_DIRTY (1ull << 0)
#define QCOW2_CORRUPT (1ull << 1)
#define QCOW2_DATA_FILE (1ull << 2)
#define QCOW2_COMPRESSION (1ull << 3)
#define QCOW2_EXTENDED_L2 (1ull << 4)
#define QCOW2_LAZY (1ull << 0) /* compatible_features */
#define QCOW2_TABLE_AT 48u     /* of the header: where the refcount table is, and its clusters */
#define QCOW2_AUTOCLEAR_AT 88u
/* Header extensions */
#define QCOW2_EXT_END 0u
#define QCOW2_EXT_BACKING_FORMAT 0xe2792acau
#define QCOW2_EXT_BITMAPS 0x23852875u
#define QCOW2_EXT_DATA_FILE 0x44415441u
#define QCOW2_EXT_ENCRYPTION 0x0537be77u
/* Entries of L1 and L2 */
#define QCOW2_COPIED (1ull << 63)
#define QCOW2_ZIP (1ull << 62)
#define QCOW2_ZERO (1ull << 0)
#define QCOW2_PLACE 0x00fffffffffffe00ull
#define QCOW2_L1_RESERVED 0x7f000000000001ffull
#define QCOW2_PLACE_BITS 56u /* no cluster lies behind that */
/* QEMU's limits, and so those of images that are made. */
#define QCOW2_L1_BYTES (32u << 20)
#define QCOW2_TABLE_BYTES (8u << 20)
/* Ours. */
#define QCOW2_REFS_BYTES (512ull << 20) /* counts in memory: of 8 TiB in clusters of 64 KiB */
#define QCOW2_SNAPSHOTS_MAX 65536u
#define QCOW2_SNAPSHOTS_BYTES (64u << 20)
#define QCOW2_SLICE 4096u                /* bytes of a table that are read or written at once, where a cluster has as many */
#define QCOW2_L2_SLICES_BYTES (4u << 20) /* of L2 tables in memory */
#define QCOW2_REF_SLICES 256u            /* of refcount blocks, that wait to be written */
#define QCOW2_FREES_MAX 4096u            /* runs of clusters that are free with the next flush */
#define QCOW2_COPIES_BYTES (4u << 20)    /* clusters on their way to another place */
#define QCOW2_COPIES_MAX 32u
#define QCOW2_ZIPS_BYTES (1u << 20) /* decompressed clusters */
#define QCOW2_ZIPS_MAX 16u
#define QCOW2_HASH 256u

struct qcow2_header {
	uint32_t version, bits; /* bits: of a cluster */
	uint64_t size;
	uint64_t backing_at;
	uint32_t backing_len, crypt;
	uint32_t l1_size; /* entries */
	uint64_t l1_at, table_at, snapshots_at;
	uint32_t table_clusters, snapshots;
	uint64_t incompatible, compatible, autoclear;
	uint32_t order, length;
	uint8_t compression;
	char backing[QCOW2_NAME_MAX], backing_format[QCOW2_FORMAT_MAX];
	uint64_t bitmaps_at, bitmaps_size; /* the directory; 0: there is none */
};

/* An image's file as its header says. */
struct qcow2_layout {
	const char *path; /* for errors */
	uint64_t file_size;
	struct qcow2_header h;
	uint32_t cluster;    /* bytes */
	uint32_t l2_entries; /* of an L2 table */
	uint32_t l1_used;    /* entries of L1 that are about this disk */
	uint64_t guest_clusters;
	uint8_t *head; /* the first sectors, as they are written again */
};

/* A table of 8 bytes an entry that is in memory as a whole: L1, and that of refcount blocks. */
struct qcow2_table {
	uint64_t *now, *going; /* as on the disk; going: as it is being written */
	uint8_t *sectors;      /* QCOW2_IS_... of each */
	uint32_t entries, n_sectors, next;
	bool dirty; /* some sector is */
};

#define QCOW2_IS_DIRTY 1u
#define QCOW2_IS_GOING 2u

/* --- refcounts --- */

struct qcow2_block {
	uint8_t *counts; /* a cluster, as on the disk; NULL: all are 0 */
	uint8_t *meta;   /* bit per cluster: a table lies there */
};

/* A part of a refcount block that differs from the disk. */
struct qcow2_ref_slice {
	uint32_t block, slice;
	bool used, dirty, going;
	uint8_t *data; /* as it is being written */
};

struct qcow2_refs {
	const struct qcow2_layout *l;
	uint32_t per_block, slice, slices; /* clusters of a block; bytes of a slice, slices of a block */
	uint64_t at;                       /* of the table */
	struct qcow2_table table;
	bool moved;                 /* the header on the disk does not know where the table is */
	struct qcow2_block *blocks; /* one for each entry */
	uint64_t bytes;             /* of memory that the blocks take */
	uint64_t end;               /* no cluster from here on was ever written */
	uint64_t hint;              /* none before it is free */
	struct qcow2_ref_slice dirty[QCOW2_REF_SLICES];
	unsigned int n_dirty, last; /* slices in use; the one found last */
	void *room;
};

/* --- L2 tables --- */

/* A part of an L2 table in memory. */
struct qcow2_l2 {
	struct image_io io; /* first */
	struct iovec iov;
	struct qcow2_image *q;
	uint64_t number; /* guest cluster of its first entry, by entries of a slice */
	uint64_t file;   /* where it lies */
	uint64_t *entries, *going;
	unsigned int users; /* places that will change it */
	bool used, loading, dirty, is_going;
	int failed;
	uint64_t mark, last;
	struct qcow2_l2 *next; /* of those with the same hash */
};

/* --- writes --- */

/*
 * Clusters that are being written, and will then be the guest's.  Nobody else may change these guest clusters until then.
 */
struct qcow2_place {
	struct qcow2_l2 *l2; /* held */
	uint64_t guest, host;
	uint32_t n;
	unsigned int users; /* pieces in flight */
	bool shared;        /* nothing but zeroes was there and is here: any number may write to parts of it */
	bool done;          /* L2 has it */
	struct qcow2_place *next;
};

/* A cluster on its way to another place of the file. */
struct qcow2_copy {
	struct image_io io; /* first */
	struct iovec iov;
	struct qcow2_image *q;
	struct qcow2_place *place; /* NULL: an L2 table */
	uint32_t l1;               /* ... this one */
	uint64_t host;             /* where it goes */
	uint64_t mark;             /* since when it is read */
	bool used;
	uint8_t *buf;
};

/* A compressed cluster. */
struct qcow2_zip {
	struct image_io io; /* first */
	struct iovec iov;
	struct qcow2_image *q;
	uint64_t entry;
	uint8_t *in, *out;
	bool used, loading, stale, unread; /* stale: its place is free now; unread: whoever asked for it has not seen it */
	int failed;
	uint64_t mark, last;
};

struct qcow2_free {
	uint64_t host, n;
	uint64_t stamp; /* what began before it may still be reading, or writing, there */
};

struct qcow2_image {
	struct image image; /* first */
	struct qcow2_layout l;
	struct qcow2_table l1;
	struct qcow2_refs refs;
	struct qcow2_l2 *slices, *hash[QCOW2_HASH];
	unsigned int n_slices, n_dirty;
	uint32_t per_slice; /* entries */
	void *l2_room;
	struct qcow2_place *places, *free_places, *active; /* active: with guest clusters that are theirs */
	struct qcow2_copy *copies;
	unsigned int n_copies;
	int failed;         /* a copy has, and those who wait for it are being told */
	uint64_t failed_at; /* ... of which guest cluster, or L2 table */
	struct qcow2_zip *zips;
	unsigned int n_zips;
	struct qcow2_free *frees;
	unsigned int n_frees;
	uint64_t clock;     /* of marks and stamps */
	uint64_t use_clock; /* of who was used last */
	bool head_dirty;    /* autoclear bits are set on the disk, and somebody wants to write */
	bool told;          /* of a table that lies */
	bool readonly;      /* then counts are not read */
	/* A flush under way. */
	bool going, head_goes, head_written, move_goes, freed;
	uint64_t batch; /* frees up to this stamp are those of the tables that are written */
	unsigned int next_slice, next_ref;
};

static inline struct qcow2_image *qcow2_of(struct image *im)
{
	return (struct qcow2_image *)im;
}

static inline bool qcow2_bit(const uint8_t *bits, uint64_t n)
{
	return bits[n / 8] >> n % 8 & 1;
}

static inline void qcow2_bit_set(uint8_t *bits, uint64_t n)
{
	bits[n / 8] |= (uint8_t)(1u << n % 8);
}

static inline void qcow2_bit_clear(uint8_t *bits, uint64_t n)
{
	bits[n / 8] &= (uint8_t) ~(1u << n % 8);
}

/* qcow2_header.c */

/** qcow2_wrong() - -EINVAL, and "disk PATH: qcow2: " in front of the text */
int qcow2_wrong(const struct qcow2_layout *l, struct err *e, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/** qcow2_layout_read() - read and check the header alone, extensions and names too; waits; qcow2_layout_end() it, also after an error */
int qcow2_layout_read(int fd, const char *path, struct qcow2_layout *l, struct err *e);
void qcow2_layout_end(struct qcow2_layout *l);
/** qcow2_read_at() - read all of @len bytes of its @what; waits */
int qcow2_read_at(const struct qcow2_layout *l, int fd, void *buf, size_t len, uint64_t at, const char *what, struct err *e);
/** qcow2_format_name() - ours for what an image calls the format of its backing file; NULL: none that we know */
const char *qcow2_format_name(const char *word);

/* qcow2_table.c */

/** qcow2_table_init() - nothing but 0; -ENOMEM; qcow2_table_exit() it in either case */
int qcow2_table_init(struct qcow2_table *t, uint32_t entries);
void qcow2_table_exit(struct qcow2_table *t);
/** qcow2_table_grow() - more entries, all 0, and all are dirty; none may be going; -ENOMEM: nothing is changed */
int qcow2_table_grow(struct qcow2_table *t, uint32_t entries);
static inline uint64_t qcow2_table_get(const struct qcow2_table *t, uint32_t i)
{
	return be64toh(t->now[i]);
}
void qcow2_table_set(struct qcow2_table *t, uint32_t i, uint64_t entry);
/** qcow2_table_begin() - what is dirty now is what will be written */
void qcow2_table_begin(struct qcow2_table *t);
/** qcow2_table_next() - a sector that is going, for a table that lies at byte @at; false: no more */
bool qcow2_table_next(struct qcow2_table *t, uint64_t at, struct image_meta *out);
void qcow2_table_end(struct qcow2_table *t, int ret);

/* qcow2_refs.c: counts in memory.  qcow2_refs_load.c: read at first. */

/** qcow2_refs_init() - a table of @entries with nothing in it */
int qcow2_refs_init(struct qcow2_refs *r, const struct qcow2_layout *l, uint32_t entries);
int qcow2_refs_load(struct qcow2_refs *r, const struct qcow2_layout *l, int fd, struct err *e);
void qcow2_refs_exit(struct qcow2_refs *r);
/** qcow2_refs_claim() - a table lies there; false: another one does already, or it is not in the file */
bool qcow2_refs_claim(struct qcow2_refs *r, uint64_t host, uint64_t n);
bool qcow2_refs_meta(const struct qcow2_refs *r, uint64_t host);
uint64_t qcow2_refs_get(const struct qcow2_refs *r, uint64_t host);
/** qcow2_refs_count() - of counts in a block, as it lies on the disk; @order as in the header */
uint64_t qcow2_refs_count(const uint8_t *block, uint32_t i, uint32_t order);
void qcow2_refs_put(uint8_t *block, uint32_t i, uint32_t order, uint64_t count);
/** qcow2_refs_take() - one refers to each of @n clusters that were free, and have blocks; there is room */
void qcow2_refs_take(struct qcow2_refs *r, uint64_t host, uint64_t n);
/** qcow2_refs_drop() - one less; false: no room, nothing is done */
bool qcow2_refs_drop(struct qcow2_refs *r, uint64_t host);
/** qcow2_refs_room() - may @n slices become dirty? */
bool qcow2_refs_room(const struct qcow2_refs *r, unsigned int n);
/** qcow2_refs_block_new() - memory for block @i; -ENOMEM, -EFBIG */
int qcow2_refs_block_new(struct qcow2_refs *r, uint32_t i);
void qcow2_refs_block_end(struct qcow2_refs *r, uint32_t i);
void qcow2_refs_begin(struct qcow2_refs *r);
bool qcow2_refs_next(struct qcow2_refs *r, unsigned int *next, struct image_meta *out);
void qcow2_refs_end(struct qcow2_refs *r, int ret);

/* qcow2_alloc.c: clusters found.  -EAGAIN: wait for a flush; -EFBIG, -ENOMEM, as all of these. */

/** qcow2_alloc() - up to *@n clusters in a row, at least one: where there are free ones, else at the end */
int qcow2_alloc(struct qcow2_image *q, uint64_t *host, uint32_t *n);
/** qcow2_alloc_fresh() - @n clusters in a row that were never written, and so read as zeroes; @meta: for a table */
int qcow2_alloc_fresh(struct qcow2_image *q, uint32_t n, bool meta, uint64_t *host);
/** qcow2_alloc_reuses() - is there a free one that was written to? */
bool qcow2_alloc_reuses(struct qcow2_image *q);
/** qcow2_alloc_back() - @n clusters that nothing has referred to yet are free again */
void qcow2_alloc_back(struct qcow2_image *q, uint64_t host, uint64_t n);
/** qcow2_free() - what an entry of L2 referred to, or a table: free when the tables that say so are on the disk */
void qcow2_free(struct qcow2_image *q, uint64_t host, uint64_t n);
void qcow2_free_entry(struct qcow2_image *q, uint64_t entry);
/** qcow2_frees_apply() - those up to @batch, as far as nobody is there any more and there is room; false: there were none */
bool qcow2_frees_apply(struct qcow2_image *q, uint64_t batch);
/** qcow2_mark() - now, for what begins to read or write clusters of the guest's */
static inline uint64_t qcow2_mark(struct qcow2_image *q)
{
	return ++q->clock;
}

/* qcow2_l2.c */

int qcow2_l2_init(struct qcow2_image *q);
void qcow2_l2_exit(struct qcow2_image *q);
/** qcow2_l1_entry() - of L1 for a guest cluster, host byte order */
static inline uint64_t qcow2_l1_entry(const struct qcow2_image *q, uint64_t guest)
{
	return qcow2_table_get(&q->l1, (uint32_t)(guest / q->l.l2_entries));
}
/**
 * qcow2_l2_slice() - the part of L2 that has @guest, of a table that is there
 * Return: 0 and *@out, which may still be loading: then wait; -EAGAIN: no room, wait until some were written; -errno: it cannot be read.
 */
int qcow2_l2_slice(struct qcow2_image *q, uint64_t guest, struct qcow2_l2 **out);
/** qcow2_l2_new() - the same of a table that is not: it is made, and all of it is 0 */
int qcow2_l2_new(struct qcow2_image *q, uint64_t guest, struct qcow2_l2 **out);
static inline uint64_t qcow2_l2_entry(const struct qcow2_image *q, const struct qcow2_l2 *s, uint64_t guest)
{
	return be64toh(s->entries[guest % q->per_slice]);
}
/** qcow2_l2_place() - where a slice lies in the file, whose table is there */
uint64_t qcow2_l2_place(const struct qcow2_image *q, const struct qcow2_l2 *s);
/** qcow2_l2_set() - what was referred to is freed; the slice is dirty then */
void qcow2_l2_set(struct qcow2_image *q, struct qcow2_l2 *s, uint64_t guest, uint64_t entry);

/* qcow2_entry.c: what an entry of L2 says */

enum qcow2_kind {
	QCOW2_NOTHING, /* look below */
	QCOW2_ZEROES,
	QCOW2_DATA,
	QCOW2_ZIPPED,
	QCOW2_LIE,
};
enum qcow2_kind qcow2_entry_kind(struct qcow2_image *q, uint64_t guest, uint64_t entry);
/** qcow2_entry_own() - data that nothing else refers to, so that it may be written in place; -EIO: its count is 0 */
int qcow2_entry_own(struct qcow2_image *q, uint64_t entry, bool *own);
/** qcow2_zip_span() - the bytes of the file that a compressed cluster has, in whole sectors; false: more than can be */
bool qcow2_zip_span(const struct qcow2_layout *l, uint64_t entry, uint64_t *at, uint32_t *len, uint32_t *skip);

/* qcow2_zip.c */

int qcow2_zips_init(struct qcow2_image *q);
void qcow2_zips_exit(struct qcow2_image *q);
/** qcow2_zip_get() - contents of a compressed cluster; NULL: wait; they stay until the next call */
int qcow2_zip_get(struct qcow2_image *q, uint64_t entry, const uint8_t **out);
/** qcow2_zip_forget() - nothing refers to it any more */
void qcow2_zip_forget(struct qcow2_image *q, uint64_t entry);

/* qcow2_copy.c */

int qcow2_copies_init(struct qcow2_image *q);
void qcow2_copies_exit(struct qcow2_image *q);
/**
 * qcow2_copy_cluster() - give a guest cluster a place of its own with the contents that it has; then all is woken
 * @s: its slice; @zero: zeroes instead
 * Return: 0: it is under way, or waits for room: wait; -EAGAIN: wait for a flush; -errno.
 */
int qcow2_copy_cluster(struct qcow2_image *q, struct qcow2_l2 *s, uint64_t guest, bool zero);
/** qcow2_copy_l2() - give an L2 table a place of its own; as qcow2_copy_cluster() */
int qcow2_copy_l2(struct qcow2_image *q, uint32_t l1);

/* qcow2_find.c */

/**
 * qcow2_l2_get() - the part of L2 that has @guest
 * @change: it will be changed; a table that is missing is made, and one that others refer to is copied first
 * Return: 0 and *@out; NULL: there is none (reading), or, IMAGE_WAIT in @x, it has to be waited for; -errno.
 */
int qcow2_l2_get(struct qcow2_image *q, struct image_req *r, struct image_extent *x, uint64_t guest, bool change, struct qcow2_l2 **out);

/* qcow2_place.c */

int qcow2_places_init(struct qcow2_image *q, unsigned int n);
void qcow2_places_exit(struct qcow2_image *q);
/** qcow2_place_find() - who has @guest now; NULL: nobody */
struct qcow2_place *qcow2_place_find(const struct qcow2_image *q, uint64_t guest);
/** qcow2_place_new() - NULL: none is left, wait */
struct qcow2_place *qcow2_place_new(struct qcow2_image *q, struct qcow2_l2 *s, uint64_t guest, uint64_t host, uint32_t n);
/** qcow2_place_end() - one who wrote there has ended: if all is well it is the guest's now */
void qcow2_place_end(struct qcow2_image *q, struct qcow2_place *p, int ret);

/* qcow2_parent.c */
/** qcow2_parent_open() - what the image lies on; 0 also where that is nothing */
int qcow2_parent_open(struct qcow2_image *q, const struct block_open_args *a, struct err *e);
/** qcow2_below() - does a cluster show something of the parent's where it has nothing itself? */
static inline bool qcow2_below(const struct qcow2_image *q, uint64_t guest)
{
	return q->image.parent && guest << q->l.h.bits < block_size(q->image.parent);
}

/* qcow2_piece.c */

/** qcow2_map_data() - @n clusters from @host lie in the file, from @guest on */
void qcow2_map_data(struct qcow2_image *q, struct image_req *r, struct image_extent *x, uint64_t guest, uint64_t host, uint64_t n);
/** qcow2_map_clip() - @x ends with cluster @guest + @n - 1 at the latest */
void qcow2_map_clip(const struct qcow2_image *q, struct image_extent *x, uint64_t guest, uint64_t n);
/** qcow2_map_more() - clusters behind @guest of which @x has something, and slice @s too; at least 1 */
uint64_t qcow2_map_more(const struct qcow2_image *q, const struct image_extent *x, uint64_t guest);
/** qcow2_map_wait() - what qcow2_copy_cluster() and the like have answered */
int qcow2_map_wait(struct qcow2_image *q, struct image_req *r, struct image_extent *x, int ret);

/* qcow2_map.c, qcow2_write.c and qcow2_flush.c: hooks of image_format */
int qcow2_map(struct image *im, struct image_req *r, struct image_extent *x);
int qcow2_map_write(struct qcow2_image *q, struct image_req *r, struct image_extent *x);
int qcow2_map_zero(struct qcow2_image *q, struct image_req *r, struct image_extent *x);
void qcow2_mapped(struct image *im, struct image_req *r, int ret);
bool qcow2_dirty(const struct image *im);
bool qcow2_unsaved(const struct image *im);
void qcow2_flush_begin(struct image *im);
bool qcow2_flush_write(struct image *im, unsigned int phase, struct image_meta *out);
void qcow2_flush_end(struct image *im, int ret);

#endif
