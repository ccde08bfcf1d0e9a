/* SPDX-License-Identifier: Apache-2.0 */
/* Kernel loaders and ACPI tables: what a good image leads to, and that a bad one is refused by name. */
#include "hv/cpu/vcpu_state.h"
#include "hv/firmware/acpi.h"
#include "hv/firmware/boot.h"
#include "hv/pci/pci.h"
#include "hv/platform/acpi_pm.h"

#include "tests/unit/hv/guest_code.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>

#define MIB (1ull << 20)

static struct gmem *mem;

static int setup(void **state)
{
	return gmem_create(&mem, 64 * MIB, BACKING_MEMFD, NULL);
}

static int teardown(void **state)
{
	gmem_destroy(mem);
	return 0;
}

static uint64_t peek(uint64_t gpa, size_t len)
{
	uint64_t v = 0;

	assert_int_equal(gmem_read(mem, gpa, &v, len), 0);
	return v;
}

static int load(const void *image, size_t len, size_t initrd, const char *cmdline,
		struct boot_entry *entry, struct err *e)
{
	uint8_t *module = calloc(1, initrd + 1);
	struct boot_options o = {
		.kernel = { image, len, "k" },
		.initrd = { module, initrd, "i" },
		.cmdline = cmdline,
		.rsdp = 0xe0000,
	};
	int ret;

	memset(module, 'I', initrd);
	ret = boot_load(mem, &o, entry, e);
	free(module);
	return ret;
}

/* --- PVH --- */

static const uint8_t code[] = { 0xf4 };

static void test_pvh_image_is_loaded_and_described(void **state)
{
	struct boot_entry entry;
	struct pvh_file f;

	pvh_build(&f, code, sizeof(code));
	assert_int_equal(load(&f, sizeof(f), 5000, "hello", &entry, NULL), 0);
	assert_ptr_equal(entry.way, &boot_pvh);
	assert_int_equal(entry.rip, GUEST_CODE);
	assert_int_equal(peek(GUEST_CODE, 1), 0xf4);
	assert_int_equal(peek(entry.arg, 4), 0x336ec578);
	assert_int_equal(peek(entry.arg + 12, 4), 1); /* one module */
	assert_int_equal(peek(peek(entry.arg + 16, 8), 8), 64 * MIB - 8192);
	assert_int_equal(peek(64 * MIB - 8192, 1), 'I');
	assert_int_equal(peek(peek(entry.arg + 24, 8), 5), 0x6f6c6c6568); /* "hello" */
	assert_int_equal(peek(entry.arg + 32, 8), 0xe0000);
	assert_int_equal(peek(peek(entry.arg + 40, 8) + 8, 8), BOOT_LOW_END);
}

static void test_every_cut_of_an_elf_file_is_refused(void **state)
{
	struct boot_entry entry;
	struct pvh_file f;
	struct err e;

	pvh_build(&f, code, sizeof(code));
	for (size_t len = 0; len < offsetof(struct pvh_file, code) + sizeof(f.code); len++)
		assert_int_not_equal(load(&f, len, 0, "", &entry, &e), 0);
	assert_non_null(strstr(e.text, "k: truncated"));
}

static void test_elf_without_pvh_note_is_refused(void **state)
{
	struct boot_entry entry;
	struct pvh_file f;
	struct err e;

	pvh_build(&f, code, sizeof(code));
	f.note.head.n_type = 17;
	assert_int_equal(load(&f, sizeof(f), 0, "", &entry, &e), -EINVAL);
	assert_non_null(strstr(e.text, "PVH"));
}

static void test_segment_outside_of_memory_is_refused(void **state)
{
	static const uint64_t places[] = { 64 * MIB, 64 * MIB - 8, 0, 0x9000, UINT64_MAX - 100 };
	struct boot_entry entry;
	struct pvh_file f;

	for (size_t i = 0; i < 5; i++) {
		pvh_build(&f, code, sizeof(code));
		f.phdr[1].p_paddr = places[i];
		assert_int_not_equal(load(&f, sizeof(f), 0, "", &entry, NULL), 0);
	}
	pvh_build(&f, code, sizeof(code));
	f.phdr[1].p_memsz = UINT64_MAX;
	assert_int_not_equal(load(&f, sizeof(f), 0, "", &entry, NULL), 0);
	f.phdr[1].p_memsz = 1;
	assert_int_equal(load(&f, sizeof(f), 0, "", &entry, NULL), -EINVAL);
}

static void test_initrd_too_large_is_refused(void **state)
{
	struct boot_entry entry;
	struct pvh_file f;
	struct err e;

	pvh_build(&f, code, sizeof(code));
	assert_int_equal(load(&f, sizeof(f), 64 * MIB, "", &entry, &e), -ENOSPC);
	assert_non_null(strstr(e.text, "initrd"));
}

/* --- bzImage --- */

struct bzimage {
	uint8_t setup[1024]; /* setup_sects = 1 */
	uint8_t kernel[8192];
};

static void put(uint8_t *p, uint64_t v, size_t len)
{
	memcpy(p, &v, len);
}

static void bzimage_build(struct bzimage *b)
{
	memset(b, 0, sizeof(*b));
	b->setup[0x1f1] = 1;
	put(b->setup + 0x1f4, sizeof(b->kernel) / 16, 4);
	memcpy(b->setup + 0x202, "HdrS", 4);
	put(b->setup + 0x206, 0x20f, 2);
	put(b->setup + 0x22c, 0x7fffffff, 4);
	put(b->setup + 0x236, 1, 2);
	put(b->setup + 0x238, 2047, 4);
	put(b->setup + 0x258, 16 * MIB, 8);
	put(b->setup + 0x260, 1 * MIB, 4);
	memset(b->kernel, 'K', sizeof(b->kernel));
}

static void test_bzimage_is_loaded_and_told_of_memory(void **state)
{
	struct boot_entry entry;
	struct bzimage b;

	bzimage_build(&b);
	assert_int_equal(load(&b, sizeof(b), 4096, "root=/dev/vda", &entry, NULL), 0);
	assert_ptr_equal(entry.way, &boot_bzimage);
	assert_int_equal(entry.rip, 16 * MIB + 0x200);
	assert_int_equal(peek(16 * MIB, 1), 'K');
	assert_int_equal(peek(entry.arg + 0x70, 8), 0xe0000);          /* RSDP */
	assert_int_equal(peek(entry.arg + 0x210, 1), 0xff);            /* type_of_loader */
	assert_int_equal(peek(entry.arg + 0x218, 4), 64 * MIB - 4096); /* initrd */
	assert_int_equal(peek(entry.arg + 0x21c, 4), 4096);
	assert_int_equal(peek(peek(entry.arg + 0x228, 4), 5), 0x746f6f72 | (uint64_t)'=' << 32);
	assert_int_equal(peek(entry.arg + 0x1e8, 1), 4); /* E820: low, hole, high, ECAM */
	assert_int_equal(peek(entry.arg + 0x2d0 + 2 * 20 + 8, 8), 63 * MIB);
	assert_int_equal(peek(entry.arg + 0x2d0 + 3 * 20, 8), PCI_ECAM_BASE);
}

static void test_bad_bzimages_are_refused(void **state)
{
	struct boot_entry entry;
	struct bzimage b;
	struct err e;

	bzimage_build(&b);
	for (size_t len = 0; len < sizeof(b); len += 7)
		assert_int_not_equal(load(&b, len, 0, "", &entry, NULL), 0);
	put(b.setup + 0x236, 0, 2);
	assert_int_equal(load(&b, sizeof(b), 0, "", &entry, &e), -EINVAL);
	assert_non_null(strstr(e.text, "64-bit entry"));
	bzimage_build(&b);
	put(b.setup + 0x258, 0x1000, 8);
	assert_int_equal(load(&b, sizeof(b), 0, "", &entry, &e), -EINVAL);
	put(b.setup + 0x258, 60 * MIB, 8);
	put(b.setup + 0x260, 8 * MIB, 4);
	assert_int_equal(load(&b, sizeof(b), 0, "", &entry, &e), -ENOSPC);
	assert_non_null(strstr(e.text, "68 MiB"));
}

static void test_command_line_too_long_is_refused(void **state)
{
	struct boot_entry entry;
	struct bzimage b;
	char line[2100];
	struct err e;

	bzimage_build(&b);
	memset(line, 'x', sizeof(line));
	line[2048] = '\0';
	assert_int_equal(load(&b, sizeof(b), 0, line, &entry, &e), -EINVAL);
	assert_string_equal(e.text, "cmdline: 2048 bytes, this kernel takes at most 2047");
	line[2047] = '\0';
	assert_int_equal(load(&b, sizeof(b), 0, line, &entry, &e), 0);
}

static void test_something_else_is_no_kernel(void **state)
{
	struct boot_entry entry;
	struct err e;

	assert_int_equal(load("#!/bin/sh\n", 10, 0, "", &entry, &e), -EINVAL);
	assert_non_null(strstr(e.text, "k: not a kernel"));
}

static void test_registers_follow_the_protocols(void **state)
{
	struct boot_entry linux64 = { &boot_bzimage, 0x1000200, BOOT_ZERO_PAGE };
	struct boot_entry pvh = { &boot_pvh, 0x100000, BOOT_START_INFO };
	struct vcpu_state s = { 0 };

	assert_int_equal(boot_registers(mem, &linux64, &s, NULL), 0);
	assert_int_equal(s.regs.rsi, BOOT_ZERO_PAGE);
	assert_int_equal(s.sregs.cs.l, 1);
	assert_int_equal(s.sregs.cs.selector, 0x10);
	assert_int_equal(s.sregs.efer, 0x500);
	/* the last 2 MiB below 4 GiB are mapped to themselves */
	assert_int_equal(peek(BOOT_PAGE_TABLES + 5 * 4096 + 511 * 8, 8) & ~0xfffull, 0xffe00000);
	assert_int_equal(boot_registers(mem, &pvh, &s, NULL), 0);
	assert_int_equal(s.regs.rbx, BOOT_START_INFO);
	assert_int_equal(s.regs.rsi, 0);
	assert_int_equal(s.sregs.cr0 & 0x80000001, 1);
	assert_int_equal(s.sregs.cs.db, 1);
}

/* --- ACPI --- */

static uint8_t sum(uint64_t gpa, size_t len)
{
	uint8_t s = 0;

	for (size_t i = 0; i < len; i++)
		s = (uint8_t)(s + peek(gpa + i, 1));
	return s;
}

/* The table @signature, found as an operating system finds it, checksum verified. */
static uint64_t table(uint64_t rsdp, const char *signature, uint32_t *len)
{
	uint64_t xsdt = peek(rsdp + 24, 8);
	size_t n = (peek(xsdt + 4, 4) - 36) / 8;

	assert_int_equal(sum(rsdp, 20), 0);
	assert_int_equal(sum(rsdp, 36), 0);
	assert_int_equal(sum(xsdt, peek(xsdt + 4, 4)), 0);
	for (size_t i = 0; i < n; i++) {
		uint64_t t = peek(xsdt + 36 + i * 8, 8);
		uint32_t want;

		memcpy(&want, signature, 4);
		*len = (uint32_t)peek(t + 4, 4);
		assert_int_equal(sum(t, *len), 0);
		if (peek(t, 4) == want)
			return t;
	}
	return 0;
}

static void test_madt_lists_every_vcpu(void **state)
{
	static const uint32_t counts[] = { 1, 2, 32, 255 };

	for (size_t c = 0; c < 4; c++) {
		uint32_t len, found = 0, overrides = 0;
		uint64_t rsdp, madt;

		assert_int_equal(acpi_build(mem, &(struct cpu_topology){ 1, counts[c], 1 }, &rsdp, NULL), 0);
		madt = table(rsdp, "APIC", &len);
		assert_int_not_equal(madt, 0);
		for (uint64_t at = madt + 44; at < madt + len; at += peek(at + 1, 1)) {
			if (peek(at, 1) == 2 && peek(at + 3, 1) == 0) { /* IRQ 0, as hv/kvm/irq.c routes it */
				assert_int_equal(peek(at + 4, 4), 2);
				overrides++;
			}
			if (peek(at, 1) != 0)
				continue;
			assert_int_equal(peek(at + 3, 1), found); /* APIC id */
			found++;
		}
		assert_int_equal(found, counts[c]);
		assert_int_equal(overrides, 1);
	}
}

static void test_fadt_says_how_to_power_off(void **state)
{
	uint32_t len;
	uint64_t rsdp, fadt, dsdt;

	assert_int_equal(acpi_build(mem, &(struct cpu_topology){ 1, 1, 1 }, &rsdp, NULL), 0);
	fadt = table(rsdp, "FACP", &len);
	assert_int_equal(len, 268);
	assert_int_equal(peek(fadt + 112, 4), 0x100400);
	assert_int_equal(peek(fadt + 116 + 4, 8), ACPI_PM_RESET);
	assert_int_equal(peek(fadt + 128, 1), ACPI_PM_RESET_VALUE);
	assert_int_equal(peek(fadt + 244 + 4, 8), ACPI_PM_SLEEP_CONTROL);
	assert_int_equal(peek(fadt + 256 + 4, 8), ACPI_PM_SLEEP_STATUS);
	dsdt = peek(fadt + 140, 8);
	assert_int_equal(peek(dsdt, 4), 0x54445344);
	assert_int_equal(sum(dsdt, peek(dsdt + 4, 4)), 0);
}

static void test_mcfg_points_at_ecam(void **state)
{
	uint32_t len;
	uint64_t rsdp, mcfg;

	assert_int_equal(acpi_build(mem, &(struct cpu_topology){ 1, 1, 1 }, &rsdp, NULL), 0);
	mcfg = table(rsdp, "MCFG", &len);
	assert_int_equal(peek(mcfg + 44, 8), PCI_ECAM_BASE);
}

/* --- files that are kept --- */

/* A new file with @image in it; @path is a template for mkstemp(). */
static int file_make(char *path, const void *image, size_t len)
{
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, image, len), len);
	return fd;
}

static void test_a_fifo_as_kernel_is_refused_at_once(void **state)
{
	char path[] = "/tmp/drover-boot-XXXXXX";
	struct boot *b;
	struct err e;

	assert_non_null(mkdtemp(path));
	assert_int_equal(rmdir(path), 0);
	assert_int_equal(mkfifo(path, 0600), 0);
	alarm(5);
	assert_int_equal(boot_open(&b, path, NULL, 64 * MIB, &e), -EINVAL);
	alarm(0);
	assert_non_null(strstr(e.text, "not a file with something in it"));
	unlink(path);
}

/* Its size is looked at first: a sparse file of terabytes costs its owner nothing, and the host its memory. */
static void test_a_file_that_can_never_fit_is_not_read(void **state)
{
	char path[] = "/tmp/drover-boot-XXXXXX";
	int fd = mkstemp(path);
	struct boot *b;
	struct err e;

	assert_int_equal(ftruncate(fd, 3ll << 30), 0);
	assert_int_equal(boot_open(&b, path, NULL, 64 * MIB, &e), -EFBIG);
	assert_non_null(strstr(e.text, "3221225472 bytes do not fit the 67108864 of the domain's memory"));
	close(fd);
	unlink(path);
}

static void test_what_is_missing_or_no_kernel_is_refused_when_opened(void **state)
{
	char kernel[] = "/tmp/drover-boot-XXXXXX", script[] = "/tmp/drover-boot-XXXXXX";
	struct pvh_file f;
	struct boot *b;
	struct err e;

	pvh_build(&f, "\xf4", 1);
	close(file_make(kernel, &f, sizeof(f)));
	close(file_make(script, "#!/bin/sh\n", 10));
	assert_int_equal(boot_open(&b, "/nowhere/k", NULL, 64 * MIB, &e), -ENOENT);
	assert_string_equal(e.text, "kernel: /nowhere/k: No such file or directory");
	assert_int_equal(boot_open(&b, script, NULL, 64 * MIB, &e), -EINVAL);
	assert_non_null(strstr(e.text, "not a kernel: neither a bzImage nor an ELF file"));
	assert_int_equal(boot_open(&b, kernel, "/nowhere/i", 64 * MIB, &e), -ENOENT);
	assert_string_equal(e.text, "initrd: /nowhere/i: No such file or directory");
	unlink(kernel);
	unlink(script);
}

static int enter(const struct boot *b, struct vcpu_state *s, struct err *e)
{
	return boot_enter(b, mem, "quiet", &(struct cpu_topology){ 1, 1, 1 }, s, e);
}

/* What counts is what was there when it was opened, whatever bears its name by now. */
static void test_a_kernel_that_was_replaced_or_removed_boots_on(void **state)
{
	char old[] = "/tmp/drover-boot-XXXXXX", new[] = "/tmp/drover-boot-XXXXXX", initrd[] = "/tmp/drover-boot-XXXXXX";
	struct vcpu_state s = { 0 };
	struct pvh_file f;
	struct boot *b;

	pvh_build(&f, "old", 3);
	close(file_make(old, &f, sizeof(f)));
	pvh_build(&f, "new", 3);
	close(file_make(new, &f, sizeof(f)));
	close(file_make(initrd, "initrd", 6));
	assert_int_equal(boot_open(&b, old, initrd, 64 * MIB, NULL), 0);
	for (int i = 0; i < 3; i++) {
		if (i == 1) {
			assert_int_equal(rename(new, old), 0);
			assert_int_equal(unlink(initrd), 0);
		} else if (i == 2) {
			assert_int_equal(unlink(old), 0);
		}
		gmem_write(mem, GUEST_CODE, "gone", 4);
		assert_int_equal(enter(b, &s, NULL), 0);
		assert_int_equal(s.regs.rip, GUEST_CODE);
		assert_int_equal(peek(GUEST_CODE, 3), 'o' | 'l' << 8 | 'd' << 16);
		assert_int_equal(peek(peek(BOOT_MODLIST, 8), 6), 0x647274696e69); /* "initrd" */
	}
	boot_close(b);
}

/* The same file, cut short: no SIGBUS, and no half of a kernel. */
static void test_a_kernel_cut_short_is_refused_at_the_next_boot(void **state)
{
	char path[] = "/tmp/drover-boot-XXXXXX";
	struct vcpu_state s = { 0 };
	struct pvh_file f;
	struct boot *b;
	struct err e;
	int fd;

	pvh_build(&f, "\xf4", 1);
	fd = file_make(path, &f, sizeof(f));
	assert_int_equal(boot_open(&b, path, NULL, 64 * MIB, NULL), 0);
	assert_int_equal(ftruncate(fd, (off_t)offsetof(struct pvh_file, code) + 1), 0);
	assert_int_equal(enter(b, &s, &e), -EINVAL);
	assert_non_null(strstr(e.text, "truncated"));
	assert_int_equal(ftruncate(fd, 0), 0);
	assert_int_equal(enter(b, &s, &e), -EINVAL);
	assert_non_null(strstr(e.text, "kernel: "));
	assert_non_null(strstr(e.text, "not a file with something in it"));
	boot_close(b);
	close(fd);
	unlink(path);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_a_fifo_as_kernel_is_refused_at_once),
		TEST(test_a_file_that_can_never_fit_is_not_read),
		TEST(test_what_is_missing_or_no_kernel_is_refused_when_opened),
		TEST(test_a_kernel_that_was_replaced_or_removed_boots_on),
		TEST(test_a_kernel_cut_short_is_refused_at_the_next_boot),
		TEST(test_pvh_image_is_loaded_and_described),
		TEST(test_every_cut_of_an_elf_file_is_refused),
		TEST(test_elf_without_pvh_note_is_refused),
		TEST(test_segment_outside_of_memory_is_refused),
		TEST(test_initrd_too_large_is_refused),
		TEST(test_bzimage_is_loaded_and_told_of_memory),
		TEST(test_bad_bzimages_are_refused),
		TEST(test_command_line_too_long_is_refused),
		TEST(test_something_else_is_no_kernel),
		TEST(test_registers_follow_the_protocols),
		TEST(test_madt_lists_every_vcpu),
		TEST(test_fadt_says_how_to_power_off),
		TEST(test_mcfg_points_at_ecam),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
