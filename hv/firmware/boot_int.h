/* SPDX-License-Identifier: Apache-2.0 */
/* boot_int - what the boot loaders share; see boot.h. */
#ifndef DROVER_HV_FIRMWARE_BOOT_INT_H
#define DROVER_HV_FIRMWARE_BOOT_INT_H

#include "hv/firmware/boot.h"

#include <stdbool.h>

#define BOOT_MAP_MAX 16
#define BOOT_MAP_RAM 1
#define BOOT_MAP_RESERVED 2

struct boot_range {
	uint64_t addr, size;
	uint32_t type;
};

/** boot_memory_map() - the ranges a kernel is told of (E820 types); returns how many */
size_t boot_memory_map(const struct gmem *m, struct boot_range out[BOOT_MAP_MAX]);

/** boot_put() - copy into guest memory; -ENOSPC saying @what of which @file did not fit; 0 bytes fit anywhere */
int boot_put(struct gmem *m, uint64_t gpa, const void *buf, size_t len, const char *what,
	     const char *file, struct err *e);
/** boot_zero() - the same with zeros: what a file leaves out */
int boot_zero(struct gmem *m, uint64_t gpa, size_t len, const char *what, const char *file,
	      struct err *e);

/** boot_initrd() - put it as high as possible below @limit; *@gpa = 0 when there is none */
int boot_initrd(struct gmem *m, const struct boot_file *f, uint64_t kernel_end, uint64_t limit,
		uint64_t *gpa, struct err *e);
/**
 * boot_cmdline() - put @cmdline and its final zero at BOOT_CMDLINE
 * @max: what the kernel takes, in bytes without the zero; BOOT_CMDLINE_MAX - 1 at most, whatever it says
 * Return: 0; -EINVAL when it is longer; -ENOSPC.
 */
int boot_cmdline(struct gmem *m, const char *cmdline, size_t max, struct err *e);

/** boot_way_of() - which way @kernel boots, by its first bytes; -EINVAL naming it when there is none */
int boot_way_of(const struct boot_file *kernel, const struct boot_way **way, struct err *e);

/* boot_regs.c */
/** boot_regs_linux64() - struct boot_way.registers of a bzImage: long mode, with page tables, RSI is entry->arg */
int boot_regs_linux64(struct gmem *m, const struct boot_entry *entry, struct vcpu_state *s);
/** boot_regs_pvh() - ... and of PVH: 32-bit protected mode without paging, EBX is entry->arg */
int boot_regs_pvh(struct gmem *m, const struct boot_entry *entry, struct vcpu_state *s);

#endif
