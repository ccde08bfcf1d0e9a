/* SPDX-License-Identifier: Apache-2.0 */
/*
 * boot - put a kernel into memory and say where the first vCPU begins.
 *
 * Three ways in:
 *   bzImage   64-bit entry (Documentation/x86/boot.rst): long mode, RSI = zero page
 *   PVH ELF   note "Xen" type 18 (xen/include/public/arch-x86/hvm/start_info.h):
 *             32-bit protected mode, EBX = hvm_start_info
 *
 * Memory below 1 MiB while booting:
 *
 *     0x500    GDT              0x7000   zero page or PVH memory map
 *     0x6000   hvm_start_info   0x9000   page tables (bzImage): PML4, PDPT, 4 PDs
 *     0x20000  command line     0x9fc00  end of RAM; 0xe0000 ACPI tables
 *     0xffff0  reset vector (boot.c)
 *
 * Files are the operator's, but still read with every length checked (rule S):
 * an image on a share may be cut short.
 */
#ifndef DROVER_HV_BOOT_H
#define DROVER_HV_BOOT_H

#include "base/err.h"
#include "hv/memory.h"

#include <stddef.h>
#include <stdint.h>

#define BOOT_GDT 0x500
#define BOOT_START_INFO 0x6000
#define BOOT_MODLIST 0x6040
#define BOOT_ZERO_PAGE 0x7000
#define BOOT_PAGE_TABLES 0x9000
#define BOOT_STACK 0x8ff0
#define BOOT_CMDLINE 0x20000
#define BOOT_CMDLINE_MAX 65536
#define BOOT_LOW_END 0x9fc00
#define BOOT_ACPI 0xe0000
#define BOOT_ACPI_END 0xf0000
#define BOOT_RESET_VECTOR 0xffff0   /* f000:fff0, where an 8086 began */
#define BOOT_HIGH 0x100000

enum boot_mode { BOOT_LINUX64, BOOT_PVH };

/* An image, as bytes: a file that was read, or a fuzzer's buffer. */
struct boot_file {
	const uint8_t *data;
	size_t len;
	const char *name;    /* for errors */
};

struct boot_options {
	struct boot_file kernel;
	struct boot_file initrd;     /* len 0: none */
	const char *cmdline;
	uint64_t rsdp;               /* guest address of the ACPI RSDP */
};

struct boot_entry {
	enum boot_mode mode;
	uint64_t rip;
	uint64_t arg;                /* RSI or EBX */
};

/**
 * boot_load() - load kernel, initrd, command line and memory map
 * Return: 0 and *@entry, or -EINVAL naming the file and what is wrong with it, -ENOSPC
 * when the guest's memory is too small.
 */
int boot_load(struct gmem *m, const struct boot_options *o, struct boot_entry *entry, struct err *e);

/**
 * boot_file_open(), boot_file_close() - read a file into memory
 * @memory: the guest's, in bytes; nothing is read that could not be for it
 * Return: 0; -ENOENT, -EINVAL if empty or no file, -EFBIG.
 */
int boot_file_open(struct boot_file *f, const char *path, uint64_t memory, struct err *e);
void boot_file_close(struct boot_file *f);

struct vcpu_state;
/** boot_registers() - make @s the state of a vCPU at @entry; writes GDT and page tables to @m */
int boot_registers(struct gmem *m, const struct boot_entry *entry, struct vcpu_state *s,
		   struct err *e);

#endif
