/* SPDX-License-Identifier: Apache-2.0 */
/* aml - see aml.h.  Section numbers are those of ACPI 6.4. */
#include "hv/firmware/aml.h"

#include "base/hex.h"

#include <assert.h>
#include <string.h>

#define OP_ZERO 0x00
#define OP_NAME 0x08
#define OP_BYTE 0x0a
#define OP_WORD 0x0b
#define OP_DWORD 0x0c
#define OP_STRING 0x0d
#define OP_QWORD 0x0e
#define OP_SCOPE 0x10
#define OP_BUFFER 0x11
#define OP_PACKAGE 0x12
#define OP_METHOD 0x14
#define OP_EXT 0x5b
#define OP_EXT_FIELD 0x81
#define OP_EXT_DEVICE 0x82
#define OP_IF 0xa0
#define LENGTH_BYTES 3

void aml_bytes(struct aml *a, const void *p, size_t len)
{
	assert(a->len <= a->size);
	if (a->bad || len > a->size - a->len) {
		a->bad = true;
		return;
	}
	memcpy(a->buf + a->len, p, len);
	a->len += len;
}

void aml_byte(struct aml *a, uint8_t v)
{
	aml_bytes(a, &v, 1);
}

static void put_le(struct aml *a, uint64_t v, size_t len)
{
	for (; len; len--, v >>= 8)
		aml_byte(a, (uint8_t)v);
}

void aml_seg(struct aml *a, const char *name)
{
	char seg[4];

	for (size_t i = 0; i < 4; i++)
		seg[i] = *name ? *name++ : '_';
	aml_bytes(a, seg, 4);
}

void aml_int(struct aml *a, uint64_t v)
{
	if (v <= 1) {
		aml_byte(a, (uint8_t)(OP_ZERO + v));
	} else if (v <= 0xff) {
		aml_byte(a, OP_BYTE);
		put_le(a, v, 1);
	} else if (v <= 0xffff) {
		aml_byte(a, OP_WORD);
		put_le(a, v, 2);
	} else if (v <= 0xffffffff) {
		aml_byte(a, OP_DWORD);
		put_le(a, v, 4);
	} else {
		aml_byte(a, OP_QWORD);
		put_le(a, v, 8);
	}
}

void aml_string(struct aml *a, const char *s)
{
	aml_byte(a, OP_STRING);
	aml_bytes(a, s, strlen(s) + 1);
}

/* 19.6.38: three letters of five bits, four hex digits, big-endian. */
void aml_eisaid(struct aml *a, const char *id)
{
	unsigned int v = (unsigned int)(id[0] - 0x40) << 10 | (unsigned int)(id[1] - 0x40) << 5 |
			 (unsigned int)(id[2] - 0x40);

	assert(strlen(id) == 7);
	aml_byte(a, OP_DWORD);
	aml_byte(a, (uint8_t)(v >> 8));
	aml_byte(a, (uint8_t)v);
	aml_byte(a, (uint8_t)hex_byte(id + 3));
	aml_byte(a, (uint8_t)hex_byte(id + 5));
}

void aml_name(struct aml *a, const char *name)
{
	aml_byte(a, OP_NAME);
	aml_seg(a, name);
}

static size_t open_length(struct aml *a)
{
	size_t at = a->len;

	put_le(a, 0, LENGTH_BYTES);
	return at;
}

/* 20.2.4: bits 7:6 of the first byte say how many follow; its low nibble is the length's lowest. */
void aml_close(struct aml *a, size_t at)
{
	size_t len = a->len - at;

	assert(a->bad || (at < a->len && len >= LENGTH_BYTES)); /* opened, and nothing was taken back */
	if (a->bad || len >= 1u << 20) {
		a->bad = true;
		return;
	}
	a->buf[at] = (uint8_t)((LENGTH_BYTES - 1) << 6 | (len & 15));
	a->buf[at + 1] = (uint8_t)(len >> 4);
	a->buf[at + 2] = (uint8_t)(len >> 12);
}

size_t aml_scope(struct aml *a, const char *path)
{
	size_t at;

	aml_byte(a, OP_SCOPE);
	at = open_length(a);
	if (*path == '\\') {
		aml_byte(a, '\\');
		path++;
	}
	if (*path)
		aml_seg(a, path);
	else
		aml_byte(a, 0); /* NullName: the root itself */
	return at;
}

size_t aml_device(struct aml *a, const char *name)
{
	size_t at;

	aml_byte(a, OP_EXT);
	aml_byte(a, OP_EXT_DEVICE);
	at = open_length(a);
	aml_seg(a, name);
	return at;
}

size_t aml_method(struct aml *a, const char *name, unsigned int args, bool serialized)
{
	size_t at;

	aml_byte(a, OP_METHOD);
	at = open_length(a);
	aml_seg(a, name);
	aml_byte(a, (uint8_t)(args | (serialized ? 8u : 0)));
	return at;
}

size_t aml_package(struct aml *a, uint8_t elements)
{
	size_t at;

	aml_byte(a, OP_PACKAGE);
	at = open_length(a);
	aml_byte(a, elements);
	return at;
}

size_t aml_if(struct aml *a)
{
	aml_byte(a, OP_IF);
	return open_length(a);
}

size_t aml_field(struct aml *a, const char *region, uint8_t flags)
{
	size_t at;

	aml_byte(a, OP_EXT);
	aml_byte(a, OP_EXT_FIELD);
	at = open_length(a);
	aml_seg(a, region);
	aml_byte(a, flags);
	return at;
}

/* Buffer (size) { descriptors, end tag }; the size is patched when it is closed. */
size_t aml_resources(struct aml *a)
{
	size_t at;

	aml_byte(a, OP_BUFFER);
	at = open_length(a);
	aml_byte(a, OP_WORD);
	put_le(a, 0, 2);
	return at;
}

void aml_resources_close(struct aml *a, size_t at)
{
	size_t first = at + LENGTH_BYTES + 3, len;

	aml_byte(a, 0x79); /* 6.4.2.9 end tag, checksum 0 = not computed */
	aml_byte(a, 0);
	if (a->bad)
		return;
	assert(first <= a->len);
	len = a->len - first;
	a->buf[first - 2] = (uint8_t)len;
	a->buf[first - 1] = (uint8_t)(len >> 8);
	aml_close(a, at);
}

void aml_res_io(struct aml *a, uint16_t base, uint8_t len)
{
	aml_byte(a, 0x47); /* 6.4.2.5 */
	aml_byte(a, 1);    /* decodes 16 bits */
	put_le(a, base, 2);
	put_le(a, base, 2);
	aml_byte(a, 1);
	aml_byte(a, len);
}

void aml_res_irq(struct aml *a, uint8_t irq)
{
	aml_byte(a, 0x22); /* 6.4.2.1, without flags: edge, active high */
	put_le(a, 1u << irq, 2);
}

void aml_res_interrupt(struct aml *a, uint32_t gsi)
{
	aml_byte(a, 0x89); /* 6.4.3.6 */
	put_le(a, 6, 2);
	aml_byte(a, 0x03); /* consumer, edge */
	aml_byte(a, 1);
	put_le(a, gsi, 4);
}

void aml_res_bus(struct aml *a, uint16_t first, uint16_t last)
{
	aml_byte(a, 0x88); /* 6.4.3.5.3 */
	put_le(a, 13, 2);
	aml_byte(a, 2);    /* bus numbers */
	aml_byte(a, 0x0c); /* first and last are fixed */
	aml_byte(a, 0);
	put_le(a, 0, 2);
	put_le(a, first, 2);
	put_le(a, last, 2);
	put_le(a, 0, 2);
	put_le(a, last - first + 1u, 2);
}

void aml_res_memory32(struct aml *a, uint32_t base, uint32_t last)
{
	aml_byte(a, 0x87); /* 6.4.3.5.2 */
	put_le(a, 23, 2);
	aml_byte(a, 0); /* memory */
	aml_byte(a, 0x0c);
	aml_byte(a, 1); /* read and write, not cacheable */
	put_le(a, 0, 4);
	put_le(a, base, 4);
	put_le(a, last, 4);
	put_le(a, 0, 4);
	put_le(a, last - base + 1u, 4);
}
