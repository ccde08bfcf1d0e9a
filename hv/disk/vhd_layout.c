/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vhd_layout - footer and header as bytes; the names of fields are those of [VHD] (vhd.h).
 *
 * What decides how large a disk is: vhd.h.
 */
#include "hv/disk/vhd_int.h"

#include <endian.h>
#include <string.h>

#define VERSION 0x00010000u           /* File Format Version, Header Version */
#define FEATURE_RESERVED 2u           /* must always be set */
#define NOTHING UINT64_MAX            /* Data Offset: no structure follows */
#define CHS_MAX (65535ull * 16 * 255) /* sectors that a geometry can have */
#define CREATOR_VERSION VERSION

enum footer_at {
	F_COOKIE = 0,
	F_FEATURES = 8,
	F_VERSION = 12,
	F_DATA_OFFSET = 16,
	F_TIME = 24,
	F_CREATOR = 28,
	F_CREATOR_VERSION = 32,
	F_CREATOR_OS = 36,
	F_ORIGINAL_SIZE = 40,
	F_CURRENT_SIZE = 48,
	F_CYLINDERS = 56,
	F_HEADS = 58,
	F_SECTORS = 59,
	F_TYPE = 60,
	F_CHECKSUM = 64,
	F_ID = 68
};

enum header_at {
	H_COOKIE = 0,
	H_DATA_OFFSET = 8,
	H_TABLE_OFFSET = 16,
	H_VERSION = 24,
	H_ENTRIES = 28,
	H_BLOCK_SIZE = 32,
	H_CHECKSUM = 36,
	H_PARENT_ID = 40,
	H_PARENT_TIME = 56,
	H_PARENT_NAME = 64,
	H_LOCATORS = 576,
	LOCATOR_SIZE = 24
};

static uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static uint32_t get32(const uint8_t *p)
{
	return (uint32_t)get16(p) << 16 | get16(p + 2);
}

static uint64_t get64(const uint8_t *p)
{
	return (uint64_t)get32(p) << 32 | get32(p + 4);
}

static void put16(uint8_t *p, uint16_t v)
{
	v = htobe16(v);
	memcpy(p, &v, sizeof(v));
}

static void put32(uint8_t *p, uint32_t v)
{
	v = htobe32(v);
	memcpy(p, &v, sizeof(v));
}

static void put64(uint8_t *p, uint64_t v)
{
	v = htobe64(v);
	memcpy(p, &v, sizeof(v));
}

uint32_t vhd_checksum(const uint8_t *p, size_t len, size_t skip)
{
	uint32_t sum = 0;

	for (size_t i = 0; i < len; i++)
		if (i < skip || i >= skip + 4)
			sum += p[i];
	return ~sum;
}

/* --- sizes --- */

void vhd_geometry(uint64_t sectors, struct vhd_footer *f)
{
	uint64_t tracks;

	if (sectors > CHS_MAX)
		sectors = CHS_MAX;
	f->heads = 16;
	if (sectors >= 65535ull * 16 * 63) {
		f->sectors = 255;
		f->cylinders = (uint16_t)(sectors / 255 / 16);
		return;
	}
	f->sectors = 17;
	tracks = sectors / 17;
	f->heads = tracks <= 4096 ? 4 : tracks > 16 * 1024 ? 17 :
							     (uint8_t)((tracks + 1023) / 1024);
	if (tracks >= f->heads * 1024ull || f->heads > 16) {
		f->sectors = 31;
		f->heads = 16;
		tracks = sectors / 31;
	}
	if (tracks >= f->heads * 1024ull) {
		f->sectors = 63;
		f->heads = 16;
		tracks = sectors / 63;
	}
	f->cylinders = (uint16_t)(tracks / f->heads);
}

/* Those whose guests never saw more than the geometry. */
static bool means_geometry(const char creator[4])
{
	static const char who[][5] = { "vpc ", "vs  ", "qemu" };

	for (size_t i = 0; i < sizeof(who) / sizeof(who[0]); i++)
		if (!memcmp(creator, who[i], 4))
			return true;
	return false;
}

static uint64_t visible_size(const struct vhd_footer *f)
{
	uint64_t sectors = (uint64_t)f->cylinders * f->heads * f->sectors;

	/* A geometry of nothing says nothing, and one that is more than the disk is no one's. */
	if (!means_geometry(f->creator) || sectors == CHS_MAX || !sectors || sectors > f->current_size / VHD_SECTOR)
		return f->current_size;
	return sectors * VHD_SECTOR;
}

/* --- footer --- */

bool vhd_footer_get(const uint8_t p[VHD_FOOTER_SIZE], struct vhd_footer *f)
{
	if (memcmp(p + F_COOKIE, "conectix", 8) || get32(p + F_CHECKSUM) != vhd_checksum(p, VHD_FOOTER_SIZE, F_CHECKSUM))
		return false;
	*f = (struct vhd_footer){
		.kind = get32(p + F_TYPE),
		.features = get32(p + F_FEATURES),
		.header_at = get64(p + F_DATA_OFFSET),
		.time = get32(p + F_TIME),
		.original_size = get64(p + F_ORIGINAL_SIZE),
		.current_size = get64(p + F_CURRENT_SIZE),
		.cylinders = get16(p + F_CYLINDERS),
		.heads = p[F_HEADS],
		.sectors = p[F_SECTORS],
	};
	memcpy(f->id, p + F_ID, sizeof(f->id));
	memcpy(f->creator, p + F_CREATOR, 4);
	f->size = visible_size(f);
	return get32(p + F_VERSION) >> 16 == VERSION >> 16;
}

void vhd_footer_put(uint8_t p[VHD_FOOTER_SIZE], const struct vhd_footer *f)
{
	memset(p, 0, VHD_FOOTER_SIZE);
	memcpy(p + F_COOKIE, "conectix", 8);
	put32(p + F_FEATURES, f->features | FEATURE_RESERVED);
	put32(p + F_VERSION, VERSION);
	put64(p + F_DATA_OFFSET, f->kind == VHD_FIXED ? NOTHING : f->header_at);
	put32(p + F_TIME, f->time);
	memcpy(p + F_CREATOR, f->creator, 4);
	put32(p + F_CREATOR_VERSION, CREATOR_VERSION);
	memcpy(p + F_CREATOR_OS, "Wi2k", 4); /* there is no name for ours, and some programs insist on this one */
	put64(p + F_ORIGINAL_SIZE, f->original_size);
	put64(p + F_CURRENT_SIZE, f->current_size);
	put16(p + F_CYLINDERS, f->cylinders);
	p[F_HEADS] = f->heads;
	p[F_SECTORS] = f->sectors;
	put32(p + F_TYPE, f->kind);
	memcpy(p + F_ID, f->id, sizeof(f->id));
	put32(p + F_CHECKSUM, vhd_checksum(p, VHD_FOOTER_SIZE, F_CHECKSUM));
}

/* --- header --- */

bool vhd_header_get(const uint8_t p[VHD_HEADER_SIZE], struct vhd_header *h)
{
	if (memcmp(p + H_COOKIE, "cxsparse", 8) || get32(p + H_CHECKSUM) != vhd_checksum(p, VHD_HEADER_SIZE, H_CHECKSUM))
		return false;
	h->table_at = get64(p + H_TABLE_OFFSET);
	h->entries = get32(p + H_ENTRIES);
	h->block_size = get32(p + H_BLOCK_SIZE);
	h->parent_time = get32(p + H_PARENT_TIME);
	memcpy(h->parent_id, p + H_PARENT_ID, sizeof(h->parent_id));
	memcpy(h->parent_name, p + H_PARENT_NAME, sizeof(h->parent_name));
	for (unsigned int i = 0; i < VHD_LOCATORS; i++) {
		const uint8_t *q = p + H_LOCATORS + i * LOCATOR_SIZE;

		h->locators[i] = (struct vhd_locator){ get32(q), get32(q + 4), get32(q + 8), get64(q + 16) };
	}
	return get32(p + H_VERSION) >> 16 == VERSION >> 16;
}

void vhd_header_put(uint8_t p[VHD_HEADER_SIZE], const struct vhd_header *h)
{
	memset(p, 0, VHD_HEADER_SIZE);
	memcpy(p + H_COOKIE, "cxsparse", 8);
	put64(p + H_DATA_OFFSET, NOTHING);
	put64(p + H_TABLE_OFFSET, h->table_at);
	put32(p + H_VERSION, VERSION);
	put32(p + H_ENTRIES, h->entries);
	put32(p + H_BLOCK_SIZE, h->block_size);
	put32(p + H_PARENT_TIME, h->parent_time);
	memcpy(p + H_PARENT_ID, h->parent_id, sizeof(h->parent_id));
	memcpy(p + H_PARENT_NAME, h->parent_name, sizeof(h->parent_name));
	for (unsigned int i = 0; i < VHD_LOCATORS; i++) {
		uint8_t *q = p + H_LOCATORS + i * LOCATOR_SIZE;

		put32(q, h->locators[i].code);
		put32(q + 4, h->locators[i].space);
		put32(q + 8, h->locators[i].len);
		put64(q + 16, h->locators[i].at);
	}
	put32(p + H_CHECKSUM, vhd_checksum(p, VHD_HEADER_SIZE, H_CHECKSUM));
}
