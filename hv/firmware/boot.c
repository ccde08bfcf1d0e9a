/* SPDX-License-Identifier: Apache-2.0 */
/* boot - see boot.h and boot_int.h: what all loaders share. */
#include "hv/firmware/boot_int.h"

#include "hv/pci/pci.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

size_t boot_memory_map(const struct gmem *m, struct boot_range out[BOOT_MAP_MAX])
{
	size_t n = 0;

	out[n++] = (struct boot_range){ 0, BOOT_LOW_END, BOOT_MAP_RAM };
	out[n++] = (struct boot_range){ BOOT_LOW_END, BOOT_HIGH - BOOT_LOW_END, BOOT_MAP_RESERVED };
	for (size_t i = 0; i < m->n_ram; i++) {
		const struct gmem_region *r = &m->regions[i];
		uint64_t skip = r->gpa == 0 ? BOOT_HIGH : 0;

		if (r->size > skip)
			out[n++] = (struct boot_range){ r->gpa + skip, r->size - skip, BOOT_MAP_RAM };
	}
	/* Linux uses ECAM only where the memory map says that nothing else is there. */
	out[n++] = (struct boot_range){ PCI_ECAM_BASE, PCI_ECAM_SIZE, BOOT_MAP_RESERVED };
	assert(n <= BOOT_MAP_MAX);
	return n;
}

int boot_put(struct gmem *m, uint64_t gpa, const void *buf, size_t len, const char *what,
	     const char *file, struct err *e)
{
	if (len && gmem_write(m, gpa, buf, len))
		return err_set(e, -ENOSPC, "%s: %s (%zu bytes at 0x%llx) does not fit the guest's memory",
			       file, what, len, (unsigned long long)gpa);
	return 0;
}

int boot_zero(struct gmem *m, uint64_t gpa, size_t len, const char *what, const char *file,
	      struct err *e)
{
	struct iovec iov;

	if (!len)
		return 0;
	if (gmem_iov(m, gpa, len, GMEM_WRITE, &iov))
		return err_set(e, -ENOSPC, "%s: %s (%zu bytes at 0x%llx) does not fit the guest's memory",
			       file, what, len, (unsigned long long)gpa);
	memset(iov.iov_base, 0, len);
	gmem_dirty(m, gpa, len);
	return 0;
}

int boot_initrd(struct gmem *m, const struct boot_file *f, uint64_t kernel_end, uint64_t limit,
		uint64_t *gpa, struct err *e)
{
	uint64_t top = m->regions[0].size;

	*gpa = 0;
	if (!f->len)
		return 0;
	if (top > limit)
		top = limit;
	if (f->len > top || ((top - f->len) & ~(uint64_t)(GMEM_PAGE - 1)) < kernel_end)
		return err_set(e, -ENOSPC,
			       "%s: %zu KiB of initrd do not fit between the kernel's end at %llu MiB "
			       "and %llu MiB",
			       f->name, f->len >> 10,
			       (unsigned long long)(kernel_end >> 20), (unsigned long long)(top >> 20));
	*gpa = (top - f->len) & ~(uint64_t)(GMEM_PAGE - 1);
	return boot_put(m, *gpa, f->data, f->len, "initrd", f->name, e);
}

int boot_cmdline(struct gmem *m, const char *cmdline, size_t max, struct err *e)
{
	size_t len = strlen(cmdline);

	if (max > BOOT_CMDLINE_MAX - 1)
		max = BOOT_CMDLINE_MAX - 1;
	if (len > max)
		return err_set(e, -EINVAL, "cmdline: %zu bytes, this kernel takes at most %zu", len, max);
	return boot_put(m, BOOT_CMDLINE, cmdline, len + 1, "command line", "cmdline", e);
}
