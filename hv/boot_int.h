/* SPDX-License-Identifier: Apache-2.0 */
/* boot_int - what the boot loaders share; see boot.h. */
#ifndef DROVER_HV_BOOT_INT_H
#define DROVER_HV_BOOT_INT_H

#include "hv/boot.h"

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

/** boot_put() - copy into guest memory, saying what of which file did not fit */
int boot_put(struct gmem *m, uint64_t gpa, const void *buf, size_t len, const char *what,
	     const char *file, struct err *e);
int boot_zero(struct gmem *m, uint64_t gpa, size_t len, const char *what, const char *file,
	      struct err *e);

/** boot_initrd() - put it as high as possible below @limit; *@gpa = 0 when there is none */
int boot_initrd(struct gmem *m, const struct boot_file *f, uint64_t kernel_end, uint64_t limit,
		uint64_t *gpa, struct err *e);
int boot_cmdline(struct gmem *m, const char *cmdline, size_t max, struct err *e);

bool boot_is_bzimage(const struct boot_file *f);
bool boot_is_elf(const struct boot_file *f);
int boot_load_bzimage(struct gmem *m, const struct boot_options *o, struct boot_entry *entry,
		      struct err *e);
int boot_load_pvh(struct gmem *m, const struct boot_options *o, struct boot_entry *entry,
		  struct err *e);

#endif
