/* SPDX-License-Identifier: Apache-2.0 */
/*
 * smbios - see smbios.h.  Section numbers are those of DSP0134 2.8.
 *
 *     per structure: type, length of the formatted part, handle | formatted part | its strings, each ending in a zero | zero
 *
 * A string is referred to by its number, from 1 on.
 */
#include "hv/firmware/smbios.h"

#include "base/bytes.h"

#include <errno.h>
#include <string.h>

#define MAKER "Drover"
#define HANDLE(type) ((uint16_t)((type) << 8))
#define UNKNOWN 2
#define SAFE 3
#define END_OF_TABLE 127

struct tables {
	struct writer w;
	uint8_t *start; /* of the structure that is being written */
	size_t longest; /* structure */
	uint16_t n;
};

static void begin(struct tables *t, uint8_t type)
{
	t->start = t->w.p;
	writer_u8(&t->w, type);
	writer_u8(&t->w, 0); /* length: end() */
	writer_u16(&t->w, HANDLE(type));
}

static void string(struct tables *t, const char *s)
{
	writer_bytes(&t->w, s, strlen(s) + 1);
}

/* The formatted part is complete; @n strings follow. */
static void end(struct tables *t, const char *const *strings, size_t n)
{
	if (!t->w.bad)
		t->start[1] = (uint8_t)(t->w.p - t->start);
	for (size_t i = 0; i < n; i++)
		string(t, strings[i]);
	if (!n)
		writer_u8(&t->w, 0);
	writer_u8(&t->w, 0);
	if ((size_t)(t->w.p - t->start) > t->longest)
		t->longest = (size_t)(t->w.p - t->start);
	t->n++;
}

/* 7.2: uuid in the order in which Linux, dmidecode and Windows print it: the first three fields are little-endian */
static void put_uuid(struct writer *w, const uint8_t *u)
{
	static const uint8_t order[16] = { 3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15 };

	for (size_t i = 0; i < 16; i++)
		writer_u8(w, u[order[i]]);
}

static void put_system(struct tables *t, const struct smbios_what *what)
{
	const char *const strings[] = { MAKER, "Drover domain", what->name };

	begin(t, 1);
	writer_u8(&t->w, 1); /* manufacturer */
	writer_u8(&t->w, 2); /* product */
	writer_u8(&t->w, 0); /* version */
	writer_u8(&t->w, 3); /* serial number */
	put_uuid(&t->w, what->uuid);
	writer_u8(&t->w, 6); /* woken by the power switch */
	writer_u8(&t->w, 0); /* SKU */
	writer_u8(&t->w, 0); /* family */
	end(t, strings, 3);
}

/* 7.4 */
static void put_chassis(struct tables *t)
{
	static const char *const strings[] = { MAKER };

	begin(t, 3);
	writer_u8(&t->w, 1); /* manufacturer */
	writer_u8(&t->w, 1); /* other */
	writer_u8(&t->w, 0);
	writer_u8(&t->w, 0);
	writer_u8(&t->w, 0);
	writer_u8(&t->w, SAFE);    /* boot, */
	writer_u8(&t->w, SAFE);    /* power supply, */
	writer_u8(&t->w, SAFE);    /* temperature */
	writer_u8(&t->w, UNKNOWN); /* security */
	writer_u32(&t->w, 0);
	writer_u8(&t->w, 0); /* height */
	writer_u8(&t->w, 0); /* power cords */
	writer_u8(&t->w, 0); /* contained elements: none, */
	writer_u8(&t->w, 0); /* of no size */
	writer_u8(&t->w, 0); /* SKU */
	end(t, strings, 1);
}

/* 7.5: one socket with all vCPUs */
static void put_processor(struct tables *t, uint32_t vcpus)
{
	static const char *const strings[] = { "CPU 0", MAKER };
	uint8_t few = (uint8_t)(vcpus < 0xff ? vcpus : 0xff);

	begin(t, 4);
	writer_u8(&t->w, 1);  /* socket */
	writer_u8(&t->w, 3);  /* central processor */
	writer_u8(&t->w, 1);  /* family: other */
	writer_u8(&t->w, 2);  /* manufacturer */
	writer_u64(&t->w, 0); /* id: CPUID tells it */
	writer_u8(&t->w, 0);
	writer_u8(&t->w, 0);  /* voltage */
	writer_u16(&t->w, 0); /* clocks: unknown */
	writer_u16(&t->w, 0);
	writer_u16(&t->w, 0);
	writer_u8(&t->w, 0x41);    /* populated, enabled */
	writer_u8(&t->w, 1);       /* upgrade: other */
	writer_u16(&t->w, 0xffff); /* caches: not told */
	writer_u16(&t->w, 0xffff);
	writer_u16(&t->w, 0xffff);
	writer_u8(&t->w, 0);
	writer_u8(&t->w, 0);
	writer_u8(&t->w, 0);
	writer_u8(&t->w, few);   /* cores, */
	writer_u8(&t->w, few);   /* of them enabled, */
	writer_u8(&t->w, few);   /* threads */
	writer_u16(&t->w, 0x04); /* 64-bit */
	writer_u16(&t->w, 1);
	end(t, strings, 2);
}

/* 7.17: one array with one device */
static void put_array(struct tables *t, uint64_t memory)
{
	uint64_t kib = memory >> 10;

	begin(t, 16);
	writer_u8(&t->w, 1); /* other */
	writer_u8(&t->w, 3); /* system memory */
	writer_u8(&t->w, 6); /* multi-bit ECC: the host's business */
	writer_u32(&t->w, kib < 0x80000000u ? (uint32_t)kib : 0x80000000u);
	writer_u16(&t->w, 0xfffe); /* no error information */
	writer_u16(&t->w, 1);
	writer_u64(&t->w, kib < 0x80000000u ? 0 : memory);
	end(t, NULL, 0);
}

/* 7.18 */
static void put_memory(struct tables *t, uint64_t memory)
{
	static const char *const strings[] = { "DIMM 0", MAKER };
	uint64_t mib = memory >> 20;

	begin(t, 17);
	writer_u16(&t->w, HANDLE(16));
	writer_u16(&t->w, 0xfffe);
	writer_u16(&t->w, 0xffff); /* widths: unknown */
	writer_u16(&t->w, 0xffff);
	writer_u16(&t->w, mib < 0x7fff ? (uint16_t)mib : 0x7fff);
	writer_u8(&t->w, 9); /* DIMM */
	writer_u8(&t->w, 0);
	writer_u8(&t->w, 1); /* its place */
	writer_u8(&t->w, 0);
	writer_u8(&t->w, 7);  /* RAM */
	writer_u16(&t->w, 2); /* other */
	writer_u16(&t->w, 0); /* speed */
	writer_u8(&t->w, 2);
	writer_u8(&t->w, 0);
	writer_u8(&t->w, 0);
	writer_u8(&t->w, 0);
	writer_u8(&t->w, 0); /* rank */
	writer_u32(&t->w, mib < 0x7fff ? 0 : (uint32_t)mib);
	writer_u16(&t->w, 0);
	writer_u16(&t->w, 0); /* voltages */
	writer_u16(&t->w, 0);
	writer_u16(&t->w, 0);
	end(t, strings, 2);
}

/* 7.33 */
static void put_boot(struct tables *t)
{
	begin(t, 32);
	for (int i = 0; i < 6; i++)
		writer_u8(&t->w, 0);
	writer_u8(&t->w, 0); /* no errors */
	end(t, NULL, 0);
}

static uint8_t checksum(const uint8_t *p, size_t len)
{
	uint8_t sum = 0;

	while (len--)
		sum = (uint8_t)(sum + *p++);
	return (uint8_t)-sum;
}

/* 5.2.1 */
static void put_anchor(struct smbios *s, const struct tables *t)
{
	struct writer w = writer_make(s->anchor, sizeof(s->anchor));

	writer_bytes(&w, "_SM_", 4);
	writer_u8(&w, 0);
	writer_u8(&w, SMBIOS_ANCHOR_SIZE);
	writer_u8(&w, 2);
	writer_u8(&w, 8);
	writer_u16(&w, (uint16_t)t->longest);
	writer_u8(&w, 0);
	writer_bytes(&w, "\0\0\0\0\0", 5);
	writer_bytes(&w, "_DMI_", 5);
	writer_u8(&w, 0);
	writer_u16(&w, (uint16_t)s->len);
	writer_u32(&w, 0);
	writer_u16(&w, t->n);
	writer_u8(&w, 0x28);
	assert(writer_len(&w) == SMBIOS_ANCHOR_SIZE);
	s->anchor[21] = checksum(s->anchor + 16, 15);
	s->anchor[4] = checksum(s->anchor, SMBIOS_ANCHOR_SIZE);
}

int smbios_make(struct smbios *s, const struct smbios_what *w, struct err *e)
{
	struct tables t = { .w = writer_make(s->tables, sizeof(s->tables)) };

	put_system(&t, w);
	put_chassis(&t);
	put_processor(&t, w->vcpus);
	put_array(&t, w->memory);
	put_memory(&t, w->memory);
	put_boot(&t);
	begin(&t, END_OF_TABLE);
	end(&t, NULL, 0);
	if (t.w.bad)
		return err_set(e, -ENOSPC, "SMBIOS tables do not fit %zu bytes", sizeof(s->tables));
	s->len = writer_len(&t.w);
	put_anchor(s, &t);
	return 0;
}
