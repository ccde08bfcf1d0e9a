/* SPDX-License-Identifier: Apache-2.0 */
/*
 * info.c - what the loader left: hvm_start_info (Xen public/arch-x86/hvm/start_info.h),
 * the memory map; and the page tables above 4 GiB.
 */
#include "payload.h"

struct start_info {
	uint32_t magic, version, flags, nr_modules;
	uint64_t modlist, cmdline, rsdp;
	uint64_t memmap; /* from version 1 on */
	uint32_t memmap_entries, reserved;
};

struct memmap_entry {
	uint64_t addr, size;
	uint32_t type, reserved;
};

#define START_MAGIC 0x336ec578
#define MEMMAP_RAM 1
#define PD_POOL 128 /* GiB that can be mapped above the first four */

extern uint64_t start_info_pa, pdpt[512];
extern uint8_t image_end[];

struct range ram[RANGES_MAX];
size_t n_ram;
uint64_t rsdp_pa;

void map_add(uint64_t pa, uint64_t size, bool device)
{
	static uint64_t pool[PD_POOL][512] __attribute__((aligned(4096)));
	static size_t used;
	uint64_t end = pa + size;

	for (pa &= -(2ul << 20); pa < end; pa += 2ul << 20) {
		uint64_t gib = pa >> 30, *pd;

		if (gib < 4)
			continue;
		if (gib > 511)
			return;
		if (!pdpt[gib]) {
			if (used == PD_POOL)
				return;
			pdpt[gib] = (uintptr_t)pool[used++] | 7;
		}
		pd = (uint64_t *)(pdpt[gib] & -PAGE_SIZE);
		pd[pa >> 21 & 511] = pa | (device ? 0x9f : 0x87);
	}
}

static bool ram_add(uint64_t start, uint64_t end)
{
	const uint64_t top = (4ul + PD_POOL - 8) << 30;

	/* Whole 2 MiB pages above the image: below lie the loader's own tables. */
	if (start < (uintptr_t)image_end)
		start = (uintptr_t)image_end;
	start = (start + (2ul << 20) - 1) & -(2ul << 20);
	if (end > top)
		end = top;
	end &= -PAGE_SIZE;
	if (start >= end || n_ram == RANGES_MAX)
		return false;
	map_add(start, end - start, false);
	ram[n_ram].start = start;
	ram[n_ram++].size = end - start;
	return true;
}

void info_read(void)
{
	const struct start_info *si = (const struct start_info *)start_info_pa;
	const struct memmap_entry *m;

	if (si->magic != START_MAGIC)
		return;
	rsdp_pa = si->rsdp;
	if (si->cmdline)
		options_read((const char *)si->cmdline);
	if (si->version < 1)
		return;
	m = (const struct memmap_entry *)si->memmap;
	for (uint32_t i = 0; i < si->memmap_entries && i < 256; i++)
		if (m[i].type == MEMMAP_RAM)
			ram_add(m[i].addr, m[i].addr + m[i].size);
}
