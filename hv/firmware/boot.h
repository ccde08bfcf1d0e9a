/* SPDX-License-Identifier: Apache-2.0 */
/*
 * boot - what is done once when a guest begins, at power-on and after each reset: tables and image
 * into memory, registers into the first vCPU.  Devices and vCPUs are new by then; to make them so is
 * not boot's business (hv/machine/machine_boot.c).
 *
 * A way to boot is a row (struct boot_way); the image itself says which one it is:
 *
 *   bzImage   64-bit entry (Documentation/x86/boot.rst): long mode, RSI = zero page
 *   PVH       ELF with note "Xen" type 18 (xen/include/public/arch-x86/hvm/start_info.h):
 *             32-bit protected mode, EBX = hvm_start_info
 *   firmware  a PC's BIOS, which the domain's file asks for: real mode, at the reset vector (boot_firmware.c)
 *
 * Images are opened once, by boot_open(), and read again for each boot from the descriptors that it
 * keeps.  So a guest is reset into the files that its VMM was started with: one that has been put in
 * their place (rename, package upgrade) or their removal is seen by the next VMM only.  What is written
 * into the same file is seen at the next reset.
 *
 * Memory below 1 MiB while booting:
 *
 *     0x500    GDT              0x7000   zero page or PVH memory map
 *     0x6000   hvm_start_info   0x9000   page tables (bzImage): PML4, PDPT, 4 PDs
 *     0x20000  command line     0x9fc00  end of RAM; 0xe0000 ACPI tables
 *     0xffff0  reset vector (boot_load.c)
 *
 * Files are the operator's, but still read with every length checked (rule S):
 * an image on a share may be cut short.
 */
#ifndef DROVER_HV_FIRMWARE_BOOT_H
#define DROVER_HV_FIRMWARE_BOOT_H

#include "base/err.h"
#include "hv/memory/memory.h"

#include <stdbool.h>
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
#define BOOT_RESET_VECTOR 0xffff0 /* f000:fff0, where an 8086 began */
#define BOOT_HIGH 0x100000
#define BOOT_HEAD 4096 /* bytes that tell what an image is */
#define BOOT_FIRMWARE_MIN (64u << 10)
#define BOOT_FIRMWARE_MAX (256u << 10) /* below it are pages of KVM's own (hv/kvm/kvm.c) */
#define BOOT_FIRMWARE_REGION "firmware"

/* An image, as bytes: a file that was read, or a fuzzer's buffer. */
struct boot_file {
	const uint8_t *data;
	size_t len;
	const char *name; /* for errors */
};

struct boot_options {
	struct boot_file kernel;
	struct boot_file initrd; /* len 0: none */
	const char *cmdline;
	uint64_t rsdp; /* guest address of the ACPI RSDP */
};

struct boot_way;

struct boot_entry {
	const struct boot_way *way;
	uint64_t rip;
	uint64_t arg; /* RSI or EBX */
};

struct vcpu_state;

struct boot_way {
	const char *name;
	/** is() - does @f begin like such an image?  Its first BOOT_HEAD bytes will do */
	bool (*is)(const struct boot_file *f);
	/** load() - put it where it belongs, with what it wants to be told; see boot_load() */
	int (*load)(struct gmem *m, const struct boot_options *o, struct boot_entry *entry, struct err *e);
	/** registers() - make @s, new, the state of a vCPU at @entry; 0 or -EFAULT: its tables are not in memory */
	int (*registers)(struct gmem *m, const struct boot_entry *entry, struct vcpu_state *s);
};

extern const struct boot_way boot_bzimage, boot_pvh, boot_firmware;

/**
 * boot_load() - load kernel, initrd, command line and memory map
 * Return: 0 and *@entry, or -EINVAL naming the file and what is wrong with it, -ENOSPC
 * when the guest's memory is too small.
 */
int boot_load(struct gmem *m, const struct boot_options *o, struct boot_entry *entry, struct err *e);

/** boot_registers() - make @s the state of a vCPU at @entry; writes GDT and page tables to @m */
int boot_registers(struct gmem *m, const struct boot_entry *entry, struct vcpu_state *s,
		   struct err *e);

/* What a domain boots from: its images, open. */
struct boot;

/**
 * boot_open() - open the images of a domain; the one moment at which their paths matter
 * @kernel, @initrd: paths; @initrd NULL: none
 * @memory: the guest's, in bytes; nothing is taken that could not be for it
 * Return: 0 and *@out, boot_close() it; -ENOENT; -EINVAL if one is empty or no file, or @kernel no
 * image of any way; -EFBIG; -errno.  Errors begin with "kernel: " or "initrd: ".
 */
int boot_open(struct boot **out, const char *kernel, const char *initrd, uint64_t memory, struct err *e);
/** boot_close() - NULL is nothing */
void boot_close(struct boot *b);

/**
 * boot_enter() - everything that a guest finds when it begins; opens nothing
 * @vcpus: those that it is told of
 * @first: the first vCPU's state, as it is when new; to be put into force by the caller
 * Return: 0; -EIO when an image has become shorter while it was read; or what boot_load() says.
 */
int boot_enter(const struct boot *b, struct gmem *m, const char *cmdline, const struct cpu_topology *vcpus, struct vcpu_state *first,
	       struct err *e);

/* Firmware, which is opened once, by boot_firmware_read(), and then is guest memory. */

/**
 * boot_firmware_read() - read an image of firmware
 * Return: 0 and *@image, of which the caller frees `data`; -ENOENT; -EINVAL when it is no file of such a size; -errno.
 */
int boot_firmware_read(const char *path, struct boot_file *image, struct err *e);
/** boot_firmware_rom() - the region of guest memory that @image, which must outlive it, is to be */
struct gmem_piece boot_firmware_rom(const struct boot_file *image);
/** boot_enter_firmware() - as boot_enter(), into the firmware that is in @m; -ENOENT when there is none */
int boot_enter_firmware(struct gmem *m, struct vcpu_state *first, struct err *e);

#endif
