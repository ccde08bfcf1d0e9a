/* SPDX-License-Identifier: Apache-2.0 */
/*
 * boot_pvh - a 64-bit ELF file with a PVH note (Xen, docs/misc/pvh.pandoc).
 *
 * PT_LOAD segments go to their physical addresses; the note "Xen" of type 18
 * (PHYS32_ENTRY) holds the 32-bit entry point.  Linux has it (CONFIG_PVH), and so
 * has our own payload.
 */
#include "hv/firmware/boot_int.h"

#include <elf.h>
#include <errno.h>
#include <string.h>

#define NOTE_PHYS32_ENTRY 18
#define START_MAGIC 0x336ec578u
#define PHDRS_MAX 128
#define CMDLINE_MAX 4096

struct start_info {
	uint32_t magic, version, flags, nr_modules;
	uint64_t modlist_paddr, cmdline_paddr, rsdp_paddr, memmap_paddr;
	uint32_t memmap_entries, reserved;
};

struct modlist_entry {
	uint64_t paddr, size, cmdline_paddr, reserved;
};

struct memmap_entry {
	uint64_t addr, size;
	uint32_t type, reserved;
};

static bool is_elf(const struct boot_file *f)
{
	return f->len >= sizeof(Elf64_Ehdr) && memcmp(f->data, ELFMAG, SELFMAG) == 0;
}

static bool inside(const struct boot_file *f, uint64_t offset, uint64_t len)
{
	return offset <= f->len && len <= f->len - offset;
}

static int get_header(const struct boot_file *f, Elf64_Ehdr *h, struct err *e)
{
	memcpy(h, f->data, sizeof(*h));
	if (h->e_ident[EI_CLASS] != ELFCLASS64 || h->e_ident[EI_DATA] != ELFDATA2LSB ||
	    h->e_machine != EM_X86_64)
		return err_set(e, -EINVAL, "%s: ELF file is not for x86-64", f->name);
	if (h->e_phentsize != sizeof(Elf64_Phdr) || h->e_phnum == 0 || h->e_phnum > PHDRS_MAX)
		return err_set(e, -EINVAL, "%s: %u program headers of %u bytes, expected 1 to %u of %zu",
			       f->name, h->e_phnum, h->e_phentsize, PHDRS_MAX, sizeof(Elf64_Phdr));
	if (!inside(f, h->e_phoff, (uint64_t)h->e_phnum * sizeof(Elf64_Phdr)))
		return err_set(e, -EINVAL, "%s: truncated: program headers lie outside of the file",
			       f->name);
	return 0;
}

static void get_phdr(const struct boot_file *f, const Elf64_Ehdr *h, unsigned int i, Elf64_Phdr *p)
{
	memcpy(p, f->data + h->e_phoff + i * sizeof(*p), sizeof(*p));
}

/* Notes: {namesz, descsz, type, name padded to 4, desc padded to 4} until the segment ends. */
static bool find_entry(const struct boot_file *f, const Elf64_Phdr *p, uint64_t *entry)
{
	uint64_t at = p->p_offset, end = p->p_offset + p->p_filesz;
	Elf64_Nhdr n;

	while (end - at >= sizeof(n)) {
		uint64_t name, desc, next;

		memcpy(&n, f->data + at, sizeof(n));
		name = at + sizeof(n);
		desc = name + (((uint64_t)n.n_namesz + 3) & ~3ull);
		next = desc + (((uint64_t)n.n_descsz + 3) & ~3ull);
		if (desc + n.n_descsz > end)
			return false;
		if (n.n_type == NOTE_PHYS32_ENTRY && n.n_namesz == 4 &&
		    memcmp(f->data + name, "Xen", 4) == 0 && n.n_descsz >= 4) {
			*entry = 0;
			memcpy(entry, f->data + desc, n.n_descsz >= 8 ? 8 : 4);
			return true;
		}
		if (next >= end)
			return false;
		at = next;
	}
	return false;
}

static int load_segment(struct gmem *m, const struct boot_file *f, const Elf64_Phdr *p,
			struct err *e)
{
	int ret;

	if (p->p_filesz > p->p_memsz)
		return err_set(e, -EINVAL, "%s: a segment has %llu bytes in the file, %llu in memory",
			       f->name, (unsigned long long)p->p_filesz,
			       (unsigned long long)p->p_memsz);
	if (p->p_memsz && p->p_paddr < BOOT_HIGH)
		return err_set(e, -EINVAL, "%s: a segment wants address 0x%llx, below 1 MiB", f->name,
			       (unsigned long long)p->p_paddr);
	if (p->p_memsz > UINT64_MAX - p->p_paddr)
		return err_set(e, -EINVAL, "%s: a segment wraps around at 0x%llx", f->name,
			       (unsigned long long)p->p_paddr);
	ret = boot_put(m, p->p_paddr, f->data + p->p_offset, p->p_filesz, "segment", f->name, e);
	if (ret)
		return ret;
	return boot_zero(m, p->p_paddr + p->p_filesz, p->p_memsz - p->p_filesz, "segment", f->name, e);
}

static int load_segments(struct gmem *m, const struct boot_file *f, uint64_t *entry, uint64_t *end,
			 struct err *e)
{
	bool found = false;
	Elf64_Ehdr h;
	Elf64_Phdr p;
	int ret;

	ret = get_header(f, &h, e);
	if (ret)
		return ret;
	*end = BOOT_HIGH;
	for (unsigned int i = 0; i < h.e_phnum; i++) {
		get_phdr(f, &h, i, &p);
		if ((p.p_type == PT_LOAD || p.p_type == PT_NOTE) && !inside(f, p.p_offset, p.p_filesz))
			return err_set(e, -EINVAL, "%s: truncated: a segment lies outside of the file",
				       f->name);
		if (p.p_type == PT_NOTE && !found)
			found = find_entry(f, &p, entry);
		if (p.p_type != PT_LOAD)
			continue;
		ret = load_segment(m, f, &p, e);
		if (ret)
			return ret;
		if (p.p_paddr + p.p_memsz > *end)
			*end = p.p_paddr + p.p_memsz;
	}
	if (!found)
		return err_set(e, -EINVAL, "%s: ELF file without a PVH entry (note \"Xen\", type 18)",
			       f->name);
	if (*entry > UINT32_MAX)
		return err_set(e, -EINVAL, "%s: PVH entry 0x%llx is not a 32-bit address", f->name,
			       (unsigned long long)*entry);
	return 0;
}

static int put_start_info(struct gmem *m, const struct boot_options *o, uint64_t initrd,
			  struct err *e)
{
	struct modlist_entry module = { .paddr = initrd, .size = o->initrd.len };
	struct memmap_entry entries[BOOT_MAP_MAX] = { 0 };
	struct boot_range map[BOOT_MAP_MAX];
	size_t n = boot_memory_map(m, map);
	struct start_info info = {
		.magic = START_MAGIC,
		.version = 1,
		.nr_modules = initrd ? 1 : 0,
		.modlist_paddr = initrd ? BOOT_MODLIST : 0,
		.cmdline_paddr = BOOT_CMDLINE,
		.rsdp_paddr = o->rsdp,
		.memmap_paddr = BOOT_ZERO_PAGE,
		.memmap_entries = (uint32_t)n,
	};
	int ret;

	for (size_t i = 0; i < n; i++)
		entries[i] = (struct memmap_entry){ map[i].addr, map[i].size, map[i].type, 0 };
	ret = boot_put(m, BOOT_ZERO_PAGE, entries, n * sizeof(entries[0]), "memory map",
		       o->kernel.name, e);
	if (!ret)
		ret = boot_put(m, BOOT_MODLIST, &module, sizeof(module), "module list",
			       o->kernel.name, e);
	if (!ret)
		ret = boot_put(m, BOOT_START_INFO, &info, sizeof(info), "start info",
			       o->kernel.name, e);
	return ret;
}

static int load(struct gmem *m, const struct boot_options *o, struct boot_entry *entry, struct err *e)
{
	uint64_t rip = 0, end, initrd;
	int ret;

	ret = load_segments(m, &o->kernel, &rip, &end, e);
	if (ret)
		return ret;
	ret = boot_initrd(m, &o->initrd, end, UINT32_MAX, &initrd, e);
	if (ret)
		return ret;
	ret = boot_cmdline(m, o->cmdline, CMDLINE_MAX, e);
	if (ret)
		return ret;
	ret = put_start_info(m, o, initrd, e);
	if (ret)
		return ret;
	*entry = (struct boot_entry){ .rip = rip, .arg = BOOT_START_INFO };
	return 0;
}

const struct boot_way boot_pvh = { .name = "PVH", .is = is_elf, .load = load, .registers = boot_regs_pvh };
