/* SPDX-License-Identifier: Apache-2.0 */
/*
 * boot_bzimage - Linux by the 64-bit boot protocol (Documentation/x86/boot.rst).
 *
 * The file is: a boot sector and real-mode set-up code ((setup_sects + 1) * 512
 * bytes, of which only the header at 0x1f1 matters here), then the protected-mode
 * part, which is loaded at pref_address and entered 0x200 bytes in.  It unpacks
 * itself, and needs init_size bytes to do so.
 */
#include "hv/firmware/boot_int.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>

#define SECTOR 512
#define HEADER 0x1f1
#define MAGIC_AT 0x202
#define VERSION_64BIT 0x020c
#define XLF_KERNEL_64 0x0001
#define LOADFLAG_HIGH 0x01
#define LOADFLAG_CAN_USE_HEAP 0x80
#define ENTRY_64 0x200
#define E820_AT 0x2d0
#define E820_MAX 128
_Static_assert(BOOT_MAP_MAX <= E820_MAX, "a map fits into the zero page");

/* The header at 0x1f1, as far as we read or write it. */
struct setup_header {
	uint8_t setup_sects;
	uint16_t root_flags;
	uint32_t syssize;
	uint16_t ram_size, vid_mode, root_dev, boot_flag, jump;
	uint32_t header; /* "HdrS" */
	uint16_t version;
	uint32_t realmode_swtch;
	uint16_t start_sys_seg, kernel_version;
	uint8_t type_of_loader, loadflags;
	uint16_t setup_move_size;
	uint32_t code32_start, ramdisk_image, ramdisk_size, bootsect_kludge;
	uint16_t heap_end_ptr;
	uint8_t ext_loader_ver, ext_loader_type;
	uint32_t cmd_line_ptr, initrd_addr_max, kernel_alignment;
	uint8_t relocatable_kernel, min_alignment;
	uint16_t xloadflags;
	uint32_t cmdline_size, hardware_subarch;
	uint64_t hardware_subarch_data;
	uint32_t payload_offset, payload_length;
	uint64_t setup_data, pref_address;
	uint32_t init_size, handover_offset;
} __attribute__((packed));

_Static_assert(offsetof(struct setup_header, header) == MAGIC_AT - HEADER, "boot.rst: HdrS at 0x202");
_Static_assert(offsetof(struct setup_header, init_size) == 0x260 - HEADER, "boot.rst: init_size at 0x260");

struct e820_entry {
	uint64_t addr, size;
	uint32_t type;
} __attribute__((packed));

static bool is_bzimage(const struct boot_file *f)
{
	return f->len >= MAGIC_AT + 4 && memcmp(f->data + MAGIC_AT, "HdrS", 4) == 0;
}

static int check_header(const struct boot_file *f, struct setup_header *h, size_t *setup,
			struct err *e)
{
	if (f->len < HEADER + sizeof(*h))
		return err_set(e, -EINVAL, "%s: truncated: %zu bytes, the header ends at %zu", f->name,
			       f->len, HEADER + sizeof(*h));
	memcpy(h, f->data + HEADER, sizeof(*h));
	if (h->version < VERSION_64BIT || !(h->xloadflags & XLF_KERNEL_64))
		return err_set(e, -EINVAL,
			       "%s: boot protocol %u.%02u without a 64-bit entry, expected 2.12 or later",
			       f->name, h->version >> 8, h->version & 0xff);
	*setup = ((h->setup_sects ? h->setup_sects : 4) + 1u) * SECTOR;
	if (f->len <= *setup + ENTRY_64)
		return err_set(e, -EINVAL, "%s: truncated: %zu bytes, the kernel begins at %zu", f->name,
			       f->len, *setup);
	if (f->len - *setup < (uint64_t)h->syssize * 16)
		return err_set(e, -EINVAL, "%s: truncated: %zu bytes of kernel, its header says %llu",
			       f->name, f->len - *setup, (unsigned long long)h->syssize * 16);
	if (h->pref_address < BOOT_HIGH || h->pref_address > UINT32_MAX)
		return err_set(e, -EINVAL, "%s: wants to be loaded at 0x%llx, expected 1 MiB to 4 GiB",
			       f->name, (unsigned long long)h->pref_address);
	return 0;
}

static int put_zero_page(struct gmem *m, const struct boot_options *o, struct setup_header *h,
			 uint64_t initrd, struct err *e)
{
	struct boot_range map[BOOT_MAP_MAX];
	size_t n = boot_memory_map(m, map);
	uint8_t page[GMEM_PAGE] = { 0 };

	h->type_of_loader = 0xff;
	h->loadflags |= LOADFLAG_HIGH | LOADFLAG_CAN_USE_HEAP;
	h->heap_end_ptr = 0xfe00;
	h->cmd_line_ptr = BOOT_CMDLINE;
	h->ramdisk_image = (uint32_t)initrd;
	h->ramdisk_size = (uint32_t)o->initrd.len;
	h->setup_data = 0;
	memcpy(page + HEADER, h, sizeof(*h));
	memcpy(page + 0x70, &o->rsdp, sizeof(o->rsdp)); /* acpi_rsdp_addr, protocol 2.14 */
	assert(n <= E820_MAX);
	page[0x1e8] = (uint8_t)n; /* e820_entries */
	for (size_t i = 0; i < n; i++) {
		struct e820_entry entry = { map[i].addr, map[i].size, map[i].type };

		memcpy(page + E820_AT + i * sizeof(entry), &entry, sizeof(entry));
	}
	return boot_put(m, BOOT_ZERO_PAGE, page, sizeof(page), "zero page", o->kernel.name, e);
}

static int load(struct gmem *m, const struct boot_options *o, struct boot_entry *entry, struct err *e)
{
	const struct boot_file *f = &o->kernel;
	struct setup_header h;
	uint64_t end, initrd;
	size_t setup = 0;
	int ret;

	ret = check_header(f, &h, &setup, e);
	if (ret)
		return ret;
	end = h.pref_address + (h.init_size > f->len - setup ? h.init_size : f->len - setup);
	if (end > m->regions[0].size)
		return err_set(e, -ENOSPC, "%s: needs memory up to %llu MiB, the guest has %llu MiB",
			       f->name, (unsigned long long)((end + (1 << 20) - 1) >> 20),
			       (unsigned long long)(m->regions[0].size >> 20));
	ret = boot_put(m, h.pref_address, f->data + setup, f->len - setup, "kernel", f->name, e);
	if (ret)
		return ret;
	ret = boot_initrd(m, &o->initrd, end, (uint64_t)h.initrd_addr_max + 1, &initrd, e);
	if (ret)
		return ret;
	ret = boot_cmdline(m, o->cmdline, h.cmdline_size ? h.cmdline_size : 255, e);
	if (ret)
		return ret;
	ret = put_zero_page(m, o, &h, initrd, e);
	if (ret)
		return ret;
	*entry = (struct boot_entry){ .rip = h.pref_address + ENTRY_64, .arg = BOOT_ZERO_PAGE };
	return 0;
}

const struct boot_way boot_bzimage = { .name = "bzImage", .is = is_bzimage, .load = load, .registers = boot_regs_linux64 };
