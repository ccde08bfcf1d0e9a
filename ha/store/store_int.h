/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store_int - the record file, for store*.c and their tests.
 *
 *   byte  0        8        12       16       24     28     32
 *         +--------+--------+--------+--------+------+------+
 *         | magic  | version| origin | sealed | zero | crc  |      header
 *         +--------+--------+--------+--------+------+------+------------+
 *         | kind u32 | length u32 | at u64 | synced u64 | crc | head crc | payload ...   record, repeated
 *         +----------+------------+--------+------------+-----+----------+
 *         | zeros, as many as were allocated ahead                        |
 *
 * Little-endian.  `at` is the record's own offset: nothing in a payload passes for a record.
 * `sealed` and `synced` say which bytes of the file were on disk for certain when the header
 * or the record was written; what is bad below the largest of them had been acknowledged.
 * `origin` names the very file (its inode and birth): a file that says another one is a copy, from
 * a backup or of another host, and may be older than what this host has promised; 0 = not known.
 */
#ifndef DROVER_HA_STORE_STORE_INT_H
#define DROVER_HA_STORE_STORE_INT_H

#include "ha/store/store.h"

#include <stdint.h>

#define STORE_MAGIC "DROVREC1"
#define STORE_VERSION 2u
#define STORE_HEADER_LEN 32
#define STORE_RECORD_HEAD 32
#define STORE_AHEAD (2u << 20) /* bytes allocated ahead: what the core appends between two snapshots, and more */

struct store_rec {
	struct store_rec *next;
	enum store_kind kind;
	uint32_t len;
	uint8_t bytes[];
};

/* `record`, and beside it the file that takes its place next. */
struct store_file {
	const char *dir;
	int dirfd, lockfd;
	int fd, spare; /* -1: none yet */
	uint64_t end;  /* where the next record goes */
	uint64_t synced;
	bool copied; /* loaded from a copy, and nobody gave us the record since: the next file says so */
};

#define STORE_ORIGIN_COPY 1u /* of no file: what it holds came from a copy */

/** store_put_header() - @sealed: the length of what is synced before the file takes its name */
void store_put_header(uint8_t *out, uint32_t origin, uint64_t sealed);

/** store_origin() - as the header of a file tells it; 0 when it is none of ours */
uint32_t store_origin(const uint8_t *buf, size_t len);

/** store_put_record_head() - the head of the record that is written at offset @at */
void store_put_record_head(uint8_t *out, enum store_kind kind, const uint8_t *payload, uint32_t len,
			   uint64_t at, uint64_t synced);

/** store_file_open() - directory and lock; -EBUSY when another droverd has it; text in @e */
int store_file_open(struct store_file *f, const char *dir, struct err *e);

/** store_file_load() - what `record` holds; a damaged one is set aside as `record.bad`; text in @e */
int store_file_load(struct store_file *f, struct store_image *image, struct err *e);

/** store_file_append() - @list behind the rest, and synced; after an error only rewrite helps */
int store_file_append(struct store_file *f, const struct store_rec *list);

/**
 * store_file_rewrite() - a file that holds @list and nothing else takes the place of `record`
 * Depends on nothing that was written before, so it also mends what a failed sync left behind.
 */
int store_file_rewrite(struct store_file *f, const struct store_rec *list);

/** store_file_close() - without writing anything */
void store_file_close(struct store_file *f);

#endif
