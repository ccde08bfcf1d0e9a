/* SPDX-License-Identifier: Apache-2.0 */
/*
 * state - see state.h: one table saves, loads and prints a device.
 *
 * A field on the wire (base/counted.h):
 *
 *     0       2       4               8
 *     +-------+-------+---------------+---------------------------------+
 *     |  tag  | size  | count         | count elements of size bytes    |
 *     +-------+-------+---------------+---------------------------------+
 *
 * tag is the field's place in the table; tags rise.  Elements of 1, 2, 4 and 8 bytes are
 * numbers and cross in little-endian order; anything else is bytes.  A count is what is in
 * use, not what a program was compiled for.
 *
 * All of a device is checked before any of it is loaded, so loading itself cannot fail.
 */
#include "hv/device/state.h"

#include "base/counted.h"
#include "base/hex.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static const uint8_t *field_at(const struct state_entry *s, const struct state_field *f, size_t i)
{
	return (const uint8_t *)s->dev + f->offset + i * f->size;
}

static uint64_t element_get(const uint8_t *p, uint16_t size)
{
	uint64_t v = 0;

	/* x86-64 only: host order is little-endian, so the low bytes are the value */
	memcpy(&v, p, size);
	return v;
}

static bool field_is_number(const struct state_field *f)
{
	return f->size == 1 || f->size == 2 || f->size == 4 || f->size == 8;
}

/* Elements in use. */
static uint32_t used_get(const struct state_entry *s, const struct state_field *f)
{
	if (!f->used_size)
		return f->count;
	return (uint32_t)element_get((const uint8_t *)s->dev + f->used_at, f->used_size);
}

/* --- save --- */

size_t state_size_max(const struct state_desc *d)
{
	size_t n = 0;

	for (const struct state_field *f = d->fields; f->name; f++)
		n += 2 + COUNTED_HEAD + (size_t)f->size * f->count;
	return n;
}

int state_save_one(const struct state_entry *s, struct writer *w, struct err *e)
{
	const struct state_field *f;
	int ret;

	ret = s->desc->pre_save(s->dev, e);
	if (ret) {
		err_prefix(e, "%s", s->instance);
		return ret;
	}
	for (f = s->desc->fields; f->name; f++) {
		uint32_t n = used_get(s, f);

		assert(n <= f->count); /* pre_save() answers for it, and state_check_one() */
		writer_u16(w, (uint16_t)(f - s->desc->fields));
		counted_put(w, f->size, n);
		writer_bytes(w, field_at(s, f, 0), (size_t)n * f->size);
	}
	if (w->bad)
		return err_set(e, -ENOSPC, "%s: device state does not fit the buffer", s->instance);
	return 0;
}

/* --- load --- */

/* A field as it came. */
struct loaded {
	const struct state_field *f;
	uint32_t n;
	struct reader elements;
};

static uint16_t count_fields(const struct state_desc *d)
{
	uint16_t n = 0;

	while (d->fields[n].name)
		n++;
	return n;
}

/* The next field of @r; @last: the one before it, or zero. */
static int next_field(const struct state_desc *d, struct reader *r, const struct loaded *last,
		      struct loaded *out, struct err *e)
{
	uint16_t n_fields = count_fields(d), tag = reader_u16(r);
	const struct state_field *f;
	int ret;

	if (r->bad)
		return err_set(e, -EINVAL, "state is truncated");
	if (tag >= n_fields)
		return err_set(e, -EINVAL, "unknown field %u, this program knows %u", tag, n_fields);
	f = &d->fields[tag];
	if (last->f && f <= last->f)
		return err_set(e, -EINVAL, "%s comes after %s", f->name, last->f->name);
	ret = counted_get(r, f->name, f->size, f->count, &out->n, &out->elements, e);
	if (ret)
		return ret;
	if (!f->array && out->n != 1)
		return err_set(e, -EINVAL, "%s: %u elements, expected 1", f->name, out->n);
	if (last->f && f->used_size && last->f->used_size && f->used_at == last->f->used_at && out->n != last->n)
		return err_set(e, -EINVAL, "%s: %u elements, but %s has %u", f->name, out->n, last->f->name, last->n);
	out->f = f;
	return 0;
}

int state_check_one(const struct state_entry *s, uint16_t version, struct reader *r, struct err *e)
{
	struct loaded last = { 0 }, now = { 0 };
	int ret = 0;

	if (version < s->desc->min_version || version > s->desc->version)
		return err_set(e, -EINVAL, "%s: state version %u, this program reads %u to %u",
			       s->instance, version, s->desc->min_version, s->desc->version);
	while (!ret && reader_left(r)) {
		ret = next_field(s->desc, r, &last, &now, e);
		last = now;
	}
	if (ret)
		err_prefix(e, "%s", s->instance);
	return ret;
}

/* What does not come is zero: nothing of what the struct held before counts as loaded. */
static void load_field(const struct state_entry *s, const struct loaded *l)
{
	size_t bytes = (size_t)l->n * l->f->size, room = (size_t)l->f->count * l->f->size;
	uint8_t *to = (uint8_t *)s->dev + l->f->offset;

	assert(bytes <= room && reader_left(&l->elements) == bytes);
	memcpy(to, l->elements.p, bytes);
	memset(to + bytes, 0, room - bytes);
	memcpy((uint8_t *)s->dev + l->f->used_at, &l->n, l->f->used_size); /* little-endian host */
}

int state_load_one(const struct state_entry *s, uint16_t version, struct reader *r, struct err *e)
{
	struct loaded last = { 0 }, now = { 0 };
	struct reader check = *r;
	int ret;

	ret = state_check_one(s, version, &check, e);
	if (ret)
		return ret;
	while (reader_left(r)) {
		ret = next_field(s->desc, r, &last, &now, e);
		assert(!ret); /* as checked */
		load_field(s, &now);
		last = now;
	}
	ret = s->desc->post_load(s->dev, e);
	if (ret)
		err_prefix(e, "%s", s->instance);
	return ret;
}

/* --- print --- */

json_t *state_hex(const void *bytes, size_t len)
{
	char *text = malloc(2 * len + 1);
	json_t *j;

	if (!text)
		return json_null();
	hex_print(bytes, len, text);
	j = json_stringn(text, 2 * len);
	free(text);
	return j;
}

static json_t *print_field(const struct state_entry *s, const struct state_field *f)
{
	uint32_t n = used_get(s, f);
	json_t *list;

	if (n > f->count)
		n = f->count;
	if (!field_is_number(f) || (f->size == 1 && f->array))
		return state_hex(field_at(s, f, 0), (size_t)f->size * n);
	if (!f->array)
		return json_integer((json_int_t)element_get(field_at(s, f, 0), f->size));
	list = json_array();
	for (size_t i = 0; i < n; i++)
		json_array_append_new(
			list, json_integer((json_int_t)element_get(field_at(s, f, i), f->size)));
	return list;
}

json_t *state_print(const struct state_entry *s)
{
	json_t *o = json_object();

	for (const struct state_field *f = s->desc->fields; f->name; f++)
		json_object_set_new(o, f->name, print_field(s, f));
	return o;
}
