/* SPDX-License-Identifier: Apache-2.0 */
/*
 * state - one table per device describes what a migration must carry; the same
 * table saves, loads and prints it, so the three cannot drift.
 *
 *   static const struct state_field serial_fields[] = {
 *           STATE_U8(struct serial, ier),
 *           STATE_COUNTED(struct serial, in, sizeof(uint8_t), in_count),
 *           STATE_END
 *   };
 *   const struct state_desc serial_state = {
 *           .name = "serial", .version = 1, .min_version = 1, .fields = serial_fields,
 *           .pre_save = ..., .post_load = ... };
 *
 * Encoded (docs/stream.md, DEV_STATE): the device's instance name and version,
 * then per field its tag and a counted array (base/counted.h); a single value is an
 * array of one.  Tags are the position in the table: a field is never renumbered, a
 * new one goes at the end.  A field absent from a stream keeps its reset value; an
 * unknown tag, elements of a wrong size and more of them than this program has room
 * for are refused by name, before any field is loaded (rule S).  Fewer are fine: the
 * rest is zero.  So room for more changes no stream.
 */
#ifndef DROVER_HV_DEVICE_STATE_H
#define DROVER_HV_DEVICE_STATE_H

#include "base/bytes.h"
#include "base/err.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STATE_NAME_MAX 31

struct state_field {
	const char *name; /* NULL ends the table */
	uint32_t offset;
	uint16_t size;     /* of one element: 1, 2, 4, 8, or any number for bytes */
	uint16_t count;    /* 1, or how many elements of an array there is room for */
	bool array;        /* any number up to `count` may come, not `count` itself */
	uint8_t used_size; /* of the number below: 1, 2 or 4; 0: all elements are always in use */
	uint32_t used_at;  /* where the struct says how many elements are in use */
};

#define STATE_FIELD_(type, f, n)                                                                            \
	{                                                                                                   \
		.name = #f, .offset = offsetof(type, f), .size = sizeof(((type *)0)->f) / (n), .count = (n) \
	}
#define STATE_U8(type, f) STATE_FIELD_(type, f, 1)
#define STATE_U16(type, f) STATE_FIELD_(type, f, 1)
#define STATE_U32(type, f) STATE_FIELD_(type, f, 1)
#define STATE_U64(type, f) STATE_FIELD_(type, f, 1)
/* An array of which all elements are in use (registers, pins). */
#define STATE_ARRAY(type, f, elem)                                       \
	{                                                                \
		.name = #f, .offset = offsetof(type, f), .size = (elem), \
		.count = sizeof(((type *)0)->f) / (elem), .array = true  \
	}
/*
 * An array of which member @n says how many elements are in use; it crosses as the count and in no
 * other way.  Arrays that share one @n stand side by side in the table; loading them with different
 * counts is refused.
 */
#define STATE_COUNTED(type, f, elem, n)                                           \
	{                                                                         \
		.name = #f, .offset = offsetof(type, f), .size = (elem),          \
		.count = sizeof(((type *)0)->f) / (elem), .array = true,          \
		.used_size = sizeof(((type *)0)->n), .used_at = offsetof(type, n) \
	}
/* A struct with a fixed layout (KVM's ABI): crosses as it lies in memory. */
#define STATE_BYTES(type, f) STATE_FIELD_(type, f, 1)
#define STATE_END            \
	{                    \
		.name = NULL \
	}

struct state_desc {
	const char *name; /* kind of device, <= STATE_NAME_MAX */
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

/** state_size_max() - bytes that state_save_one() writes at most */
size_t state_size_max(const struct state_desc *d);
/** state_save_one(), state_load_one() - the payload of one device's record, without name and version */
int state_save_one(const struct state_entry *s, struct writer *w, struct err *e);
/** state_check_one() - could state_load_one() read this? Looks at tags, sizes and counts; changes nothing */
int state_check_one(const struct state_entry *s, uint16_t version, struct reader *r, struct err *e);
/** state_load_one() - check all, then load all, then post_load */
int state_load_one(const struct state_entry *s, uint16_t version, struct reader *r, struct err *e);

/** state_hex() - bytes as one string of hexadecimal digits; null when there is no memory */
json_t *state_hex(const void *bytes, size_t len);
/** state_print() - {"field": value, ...} for the control socket and tests; caller owns the object */
json_t *state_print(const struct state_entry *s);

#endif
