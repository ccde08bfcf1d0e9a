/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kernel images: whatever the file holds, loading it ends with an error or with an
 * entry inside the guest's memory map, and writes nothing outside of guest memory.
 *
 * Random bytes would hardly get past the magic numbers, so the input is a list of
 * changes {offset u16, byte} to a good image: first byte even an ELF, odd a bzImage;
 * the second cuts the file short.
 */
#include "hv/firmware/boot.h"

#include "tests/unit/hv/guest_code.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define BZIMAGE_SIZE 4096

static void bzimage_build(uint8_t *b)
{
	static const struct {
		uint16_t at;
		uint32_t value;
	} fields[] = {
		{ 0x1f1, 1 },
		{ 0x202, 0x53726448 },
		{ 0x206, 0x020f },
		{ 0x22c, 0x7fffffff },
		{ 0x236, 1 },
		{ 0x238, 2047 },
		{ 0x258, 0x100000 },
		{ 0x260, 0x100000 },
	};

	memset(b, 0x90, BZIMAGE_SIZE);
	memset(b + 0x1f1, 0, 0x7f);
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
		memcpy(b + fields[i].at, &fields[i].value, 4);
	b[0x1f4] = 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct gmem *mem;
	union {
		struct pvh_file elf;
		uint8_t bytes[BZIMAGE_SIZE];
	} image;
	struct boot_options o = { .cmdline = "fuzz", .rsdp = 0xe0000 };
	struct boot_entry entry;
	uint8_t *kernel;
	struct err e;
	size_t len;

	if (!mem && gmem_create(&mem, 8u << 20, BACKING_MEMFD, NULL))
		return 0;
	if (size < 2)
		return 0;
	memset(&image, 0, sizeof(image));
	if (data[0] % 2)
		bzimage_build(image.bytes);
	else
		pvh_build(&image.elf, "\xf4", 1);
	len = data[0] % 2 ? BZIMAGE_SIZE : sizeof(image.elf);
	len -= data[1] < 64 ? len * data[1] / 64 : 0;
	for (size_t i = 2; i + 3 <= size; i += 3) {
		size_t at = data[i] | (size_t)data[i + 1] << 8;

		image.bytes[at % sizeof(image.bytes)] = data[i + 2];
	}
	/* an exact copy, so that a sanitizer sees the first byte read behind it */
	kernel = malloc(len + !len);
	assert(kernel);
	memcpy(kernel, image.bytes, len);
	o.kernel = (struct boot_file){ kernel, len, "fuzz" };
	o.initrd = (struct boot_file){ data, size, "initrd" };
	if (boot_load(mem, &o, &entry, &e) == 0)
		assert(entry.rip < UINT32_MAX + 1ull && entry.arg < BOOT_HIGH);
	free(kernel);
	return 0;
}
