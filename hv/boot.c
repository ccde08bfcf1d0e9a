/* SPDX-License-Identifier: Apache-2.0 */
/* boot - see boot.h: what all loaders share, and the choice between them. */
#include "hv/boot_int.h"

#include "hv/pci.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define UNLOADED_MAX (1ull << 30) /* debugging information of a kernel, which never gets into the guest */

/* All @len bytes, or an error: a file that shrinks meanwhile must not be half a kernel. */
static int read_whole(int fd, const char *path, uint8_t *buf, size_t len, struct err *e)
{
	for (size_t done = 0; done < len;) {
		ssize_t n = read(fd, buf + done, len - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_errno(e, "%s", path);
		if (!n)
			return err_set(e, -EIO, "%s: ends after %zu of %zu bytes", path, done, len);
		done += (size_t)n;
	}
	return 0;
}

/* Read, not mapped: a mapped file that somebody truncates is a SIGBUS.  O_NONBLOCK: a FIFO would wait for a writer. */
int boot_file_open(struct boot_file *f, const char *path, uint64_t memory, struct err *e)
{
	struct stat st;
	uint8_t *p;
	int fd, ret = 0;

	memset(f, 0, sizeof(*f));
	f->name = path;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return err_errno(e, "%s", path);
	if (fstat(fd, &st)) {
		ret = err_errno(e, "%s", path);
		goto out;
	}
	if (!S_ISREG(st.st_mode) || st.st_size <= 0) {
		ret = err_set(e, -EINVAL, "%s: not a file with something in it", path);
		goto out;
	}
	if ((uint64_t)st.st_size > memory && (uint64_t)st.st_size - memory > UNLOADED_MAX) {
		ret = err_set(e, -EFBIG, "%s: %lld bytes do not fit the %llu of the domain's memory", path,
			      (long long)st.st_size, (unsigned long long)memory);
		goto out;
	}
	p = malloc((size_t)st.st_size);
	if (!p) {
		ret = err_set(e, -ENOMEM, "%s: no memory for %lld bytes", path, (long long)st.st_size);
		goto out;
	}
	ret = read_whole(fd, path, p, (size_t)st.st_size, e);
	if (ret) {
		free(p);
		goto out;
	}
	f->data = p;
	f->len = (size_t)st.st_size;
out:
	close(fd);
	return ret;
}

void boot_file_close(struct boot_file *f)
{
	free((void *)f->data);
	memset(f, 0, sizeof(*f));
}

size_t boot_memory_map(const struct gmem *m, struct boot_range out[BOOT_MAP_MAX])
{
	size_t n = 0;

	out[n++] = (struct boot_range){ 0, BOOT_LOW_END, BOOT_MAP_RAM };
	out[n++] = (struct boot_range){ BOOT_LOW_END, BOOT_HIGH - BOOT_LOW_END, BOOT_MAP_RESERVED };
	for (size_t i = 0; i < m->n_regions; i++) {
		const struct gmem_region *r = &m->regions[i];
		uint64_t skip = r->gpa == 0 ? BOOT_HIGH : 0;

		if (r->size > skip)
			out[n++] = (struct boot_range){ r->gpa + skip, r->size - skip, BOOT_MAP_RAM };
	}
	/* Linux uses ECAM only where the memory map says that nothing else is there. */
	out[n++] = (struct boot_range){ PCI_ECAM_BASE, PCI_ECAM_SIZE, BOOT_MAP_RESERVED };
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
			       "and %llu MiB", f->name, f->len >> 10,
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

/*
 * All the firmware there is: "mov $0xfe, %al; out %al, $0x64; hlt; jmp .-1", the
 * reset line of the keyboard controller.  Linux on hardware-reduced ACPI resets
 * through EFI, and without EFI by a jump to f000:fff0 in real mode (its
 * reboot.c: efi_reboot_required(), machine_real_restart()), never by the ACPI
 * reset register.
 */
static int put_reset_vector(struct gmem *m, struct err *e)
{
	static const uint8_t code[] = { 0xb0, 0xfe, 0xe6, 0x64, 0xf4, 0xeb, 0xfd };

	return boot_put(m, BOOT_RESET_VECTOR, code, sizeof(code), "reset vector", "boot", e);
}

int boot_load(struct gmem *m, const struct boot_options *o, struct boot_entry *entry, struct err *e)
{
	int ret = put_reset_vector(m, e);

	if (ret)
		return ret;
	if (boot_is_bzimage(&o->kernel))
		return boot_load_bzimage(m, o, entry, e);
	if (boot_is_elf(&o->kernel))
		return boot_load_pvh(m, o, entry, e);
	return err_set(e, -EINVAL, "%s: not a kernel: neither a bzImage nor an ELF file",
		       o->kernel.name);
}
