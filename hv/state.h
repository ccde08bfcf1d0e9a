/* SPDX-License-Identifier: Apache-2.0 */
/*
 * state - one table per device describes what a migration must carry; the same
 * table saves, loads and prints it, so the three cannot drift.
 *
 *   static const struct state_field serial_fields[] = {
 *           STATE_U8(struct serial, ier),
 *           STATE_ARRAY(struct serial, fifo, sizeof(uint8_t)),
 *           STATE_END
 *   };
 *   const struct state_desc serial_state = {
 *           .name = "serial", .version = 1, .min_version = 1, .fields = serial_fields,
 *           .pre_save = ..., .post_load = ... };
 *
 * Encoded (docs/stream.md, DEV_STATE): the device's instance name and version,
 * then per field {u16 tag, u16 size, bytes}.  Tags are the position in the table
 * unless given: a field is never renumbered, a new one goes at the end.  A field
 * absent from a stream keeps its reset value; an unknown tag or a wrong size is
 * refused with its number (rule S).  An array's size is that of the elements in use
 * (state.c), so a larger maximum changes no stream.
 */
#ifndef DROVER_HV_STATE_H
#define DROVER_HV_STATE_H

#include "base/bytes.h"
#include "base/err.h"

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#define STATE_NAME_MAX 31

struct state_field {
	const char *name;       /* NULL ends the table */
	uint32_t offset;
	uint16_t size;          /* of one element: 1, 2, 4, 8, or any number for bytes */
	uint16_t count;         /* 1, or the length of an array */
};

#define STATE_FIELD_(type, f, n) \
	{ .name = #f, .offset = offsetof(type, f), .size = sizeof(((type *)0)->f) / (n), .count = (n) }
#define STATE_U8(type, f) STATE_FIELD_(type, f, 1)
#define STATE_U16(type, f) STATE_FIELD_(type, f, 1)
#define STATE_U32(type, f) STATE_FIELD_(type, f, 1)
#define STATE_U64(type, f) STATE_FIELD_(type, f, 1)
#define STATE_ARRAY(type, f, elem) STATE_FIELD_(type, f, (sizeof(((type *)0)->f) / (elem)))
/* A struct with a fixed layout (KVM's ABI): crosses as it lies in memory. */
#define STATE_BYTES(type, f) STATE_FIELD_(type, f, 1)
#define STATE_END { .name = NULL }

struct state_desc {
	const char *name;       /* kind of device, <= STATE_NAME_MAX */
	uint16_t version, min_version;
	const struct state_field *fields;
	/* Bring the struct up to date before its fields are read (vCPUs stopped,
	 * device quiet).  Implement it even if there is nothing to do. */
	int (*pre_save)(void *dev, struct err *e);
	/* Check and put into force what was loaded; values are hostile (rule S).
	 * -EINVAL with the field's name refuses the migration. */
	int (*post_load)(void *dev, struct err *e);
};

/** A device in the list that a machine saves, in the order of registration. */
struct state_entry {
	const struct state_desc *desc;
	char instance[STATE_NAME_MAX + 1]; /* "serial0", "blk0": unique in the machine */
	void *dev;
};

/** state_save_one(), state_load_one() - the payload of one DEV_STATE record, without name and version */
int state_save_one(const struct state_entry *s, struct writer *w, struct err *e);
int state_load_one(const struct state_entry *s, uint16_t version, struct reader *r, struct err *e);

/** state_print() - {"field": value, ...} for `drover info` and tests; caller owns the object */
json_t *state_print(const struct state_entry *s);

#endif
