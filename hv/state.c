/* SPDX-License-Identifier: Apache-2.0 */
/*
 * state - see state.h: one table saves, loads and prints a device.
 *
 * A field on the wire:
 *
 *     0       2       4
 *     +-------+-------+------------------------------+
 *     |  tag  | size  | size bytes, little-endian    |
 *     +-------+-------+------------------------------+
 *
 * tag is the field's place in the table, size is that of the whole field (all
 * elements of an array).  Elements of 2, 4 and 8 bytes are numbers and cross
 * in little-endian order; anything else is bytes.
 *
 * An array crosses without the zeros at its end, so its size on the wire is that of
 * what is in use and not of what a program was compiled for: one that has room for
 * more reads it, and one that has room for less reads it as long as no more is in use.
 */
#include "hv/state.h"

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

/* Bytes that cross: all of a single value, an array up to its last element that is not zero. */
static uint32_t bytes_in_use(const struct state_entry *s, const struct state_field *f)
{
	const uint8_t *p = field_at(s, f, 0);
	uint32_t n = (uint32_t)f->size * f->count;

	if (f->count == 1)
		return n;
	while (n && !p[n - 1])
		n--;
	return (n + f->size - 1) / f->size * f->size;
}

static int load_field(const struct state_entry *s, const struct state_field *f, struct reader *r,
		      uint16_t size, struct err *e)
{
	uint32_t room = (uint32_t)f->size * f->count, n = size < room ? size : room;
	uint8_t *to = (uint8_t *)s->dev + f->offset;
	const uint8_t *from;

	if (f->count == 1 ? size != room : size % f->size)
		return err_set(e, -EINVAL, "%s: %s: %u bytes, expected %s%u", s->instance, f->name, size,
			       f->count == 1 ? "" : "a multiple of ", f->size);
	from = reader_take(r, size);
	if (!from)
		return 0; /* truncated: r->bad says so */
	for (uint32_t i = n; i < size; i++)
		if (from[i])
			return err_set(e, -EINVAL, "%s: %s: %u elements in use there, room for %u here", s->instance,
				       f->name, size / f->size, f->count);
	memcpy(to, from, n);
	memset(to + n, 0, room - n);
	return 0;
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
		uint32_t bytes = bytes_in_use(s, f);

		if (bytes > UINT16_MAX)
			return err_set(e, -EMSGSIZE, "%s: %s: %u bytes do not fit a field", s->instance,
				       f->name, bytes);
		writer_u16(w, (uint16_t)(f - s->desc->fields));
		writer_u16(w, (uint16_t)bytes);
		writer_bytes(w, field_at(s, f, 0), bytes);
	}
	if (w->bad)
		return err_set(e, -ENOSPC, "%s: device state does not fit the buffer", s->instance);
	return 0;
}

int state_load_one(const struct state_entry *s, uint16_t version, struct reader *r, struct err *e)
{
	const struct state_field *f;
	uint16_t n_fields = 0, tag, size;
	int ret;

	if (version < s->desc->min_version || version > s->desc->version)
		return err_set(e, -EINVAL, "%s: state version %u, this program reads %u to %u",
			       s->instance, version, s->desc->min_version, s->desc->version);
	for (f = s->desc->fields; f->name; f++)
		n_fields++;
	while (reader_left(r) && !r->bad) {
		tag = reader_u16(r);
		size = reader_u16(r);
		if (r->bad)
			break;
		if (tag >= n_fields)
			return err_set(e, -EINVAL, "%s: unknown field %u, this program knows %u",
				       s->instance, tag, n_fields);
		ret = load_field(s, &s->desc->fields[tag], r, size, e);
		if (ret)
			return ret;
	}
	if (r->bad || reader_left(r))
		return err_set(e, -EINVAL, "%s: state is truncated", s->instance);
	ret = s->desc->post_load(s->dev, e);
	if (ret)
		err_prefix(e, "%s", s->instance);
	return ret;
}

static json_t *print_hex(const uint8_t *p, size_t len)
{
	static const char digits[] = "0123456789abcdef";
	char *text = malloc(2 * len + 1);
	json_t *j;

	if (!text)
		return json_null();
	for (size_t i = 0; i < len; i++) {
		text[2 * i] = digits[p[i] >> 4];
		text[2 * i + 1] = digits[p[i] & 15];
	}
	text[2 * len] = '\0';
	j = json_string(text);
	free(text);
	return j;
}

static json_t *print_field(const struct state_entry *s, const struct state_field *f)
{
	json_t *list;

	if (!field_is_number(f) || (f->size == 1 && f->count > 1))
		return print_hex(field_at(s, f, 0), (size_t)f->size * f->count);
	if (f->count == 1)
		return json_integer((json_int_t)element_get(field_at(s, f, 0), f->size));
	list = json_array();
	for (size_t i = 0; i < f->count; i++)
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
