/* SPDX-License-Identifier: Apache-2.0 */
/*
 * boot_firmware - a PC's firmware, at the reset vector (boot.h).
 *
 *     ROM            0xfffc0000   4 GiB      the image; its last 16 bytes are where a processor begins
 *     copy   0xe0000   1 MiB                 the end of the image, in RAM: what real mode can reach
 *
 * On a PC the second is the same chip as the first until firmware has copied itself into RAM; here it is RAM from the
 * beginning, filled anew at each boot.  The image itself is guest memory of kind rom: it moves with the guest, so a
 * guest is reset into the firmware that it was started with, wherever it is.
 */
#include "hv/cpu/vcpu_state.h"
#include "hv/firmware/boot_int.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SHADOW (128u << 10)
#define TOP (1ull << 32)
#define CR0_AFTER_RESET 0x60000010ull /* Intel SDM 3A, table 10-1: caches off, ET */
#define CS_SELECTOR 0xf000
#define CS_BASE 0xffff0000ull
#define RIP_AFTER_RESET 0xfff0
#define TYPE_CODE 11 /* execute, read, accessed */

static bool is_firmware(const struct boot_file *f)
{
	return f->len >= BOOT_FIRMWARE_MIN && f->len <= BOOT_FIRMWARE_MAX && f->len % GMEM_PAGE == 0;
}

static int load(struct gmem *m, const struct boot_options *o, struct boot_entry *entry, struct err *e)
{
	const struct boot_file *f = &o->kernel;
	size_t len = f->len < SHADOW ? f->len : SHADOW;

	*entry = (struct boot_entry){ .rip = RIP_AFTER_RESET };
	return boot_put(m, BOOT_HIGH - len, f->data + f->len - len, len, "the end of the firmware", f->name, e);
}

/* As the processor is when it was reset: KVM's new vCPU is, but for who begins. */
static int registers(struct gmem *m, const struct boot_entry *entry, struct vcpu_state *s)
{
	(void)m;
	s->regs.rip = entry->rip;
	s->regs.rflags = 2;
	s->sregs.cr0 = CR0_AFTER_RESET;
	s->sregs.cs = (struct kvm_segment){
		.base = CS_BASE, .limit = 0xffff, .selector = CS_SELECTOR, .type = TYPE_CODE, .present = 1, .s = 1
	};
	s->mp_state.mp_state = KVM_MP_STATE_RUNNABLE;
	return 0;
}

const struct boot_way boot_firmware = { .name = "firmware", .is = is_firmware, .load = load, .registers = registers };

/* --- the image --- */

static int read_image(int fd, const char *path, uint8_t *buf, size_t len, struct err *e)
{
	for (size_t done = 0; done < len;) {
		ssize_t n = pread(fd, buf + done, len - done, (off_t)done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_errno(e, "firmware: %s", path);
		if (!n)
			return err_set(e, -EIO, "firmware: %s: ends after %zu of %zu bytes", path, done, len);
		done += (size_t)n;
	}
	return 0;
}

static int check_size(int fd, const char *path, size_t *len, struct err *e)
{
	struct boot_file f = { .name = path };
	struct stat st;

	if (fstat(fd, &st))
		return err_errno(e, "firmware: %s", path);
	f.len = S_ISREG(st.st_mode) ? (size_t)st.st_size : 0;
	if (!is_firmware(&f))
		return err_set(e, -EINVAL, "firmware: %s: %zu bytes, expected a file of %u to %u KiB in whole pages", path,
			       f.len, BOOT_FIRMWARE_MIN >> 10, BOOT_FIRMWARE_MAX >> 10);
	*len = f.len;
	return 0;
}

/* O_NONBLOCK: a FIFO would wait for a writer. */
int boot_firmware_read(const char *path, struct boot_file *image, struct err *e)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY), ret;
	uint8_t *buf = NULL;
	size_t len = 0;

	if (fd < 0)
		return err_errno(e, "firmware: %s", path);
	ret = check_size(fd, path, &len, e);
	if (!ret) {
		buf = malloc(len);
		ret = buf ? read_image(fd, path, buf, len, e) : err_set(e, -ENOMEM, "firmware: out of memory");
	}
	close(fd);
	if (ret)
		free(buf);
	else
		*image = (struct boot_file){ .data = buf, .len = len, .name = path };
	return ret;
}

struct gmem_piece boot_firmware_rom(const struct boot_file *image)
{
	return (struct gmem_piece){
		.name = BOOT_FIRMWARE_REGION,
		.kind = GMEM_ROM,
		.gpa = TOP - image->len,
		.size = image->len,
		.image = image->data,
		.image_len = image->len,
	};
}

int boot_enter_firmware(struct gmem *m, struct vcpu_state *first, struct err *e)
{
	const struct gmem_region *rom = gmem_region_find(m, BOOT_FIRMWARE_REGION);
	struct boot_options o = { .cmdline = "" };
	struct boot_entry entry;
	int ret;

	if (!rom)
		return err_set(e, -ENOENT, "boot: the guest's firmware is gone");
	o.kernel = (struct boot_file){ .data = rom->host, .len = rom->size, .name = "firmware" };
	ret = load(m, &o, &entry, e);
	entry.way = &boot_firmware;
	return ret ? ret : boot_registers(m, &entry, first, e);
}
