/* SPDX-License-Identifier: Apache-2.0 */
/* boot_load - the ways to boot, and the choice between them (boot.h). */
#include "hv/firmware/boot_int.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

static const struct boot_way *const ways[] = { &boot_bzimage, &boot_pvh };

int boot_way_of(const struct boot_file *kernel, const struct boot_way **way, struct err *e)
{
	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		if (!ways[i]->is(kernel))
			continue;
		if (way)
			*way = ways[i];
		return 0;
	}
	return err_set(e, -EINVAL, "%s: not a kernel: neither a bzImage nor an ELF file", kernel->name);
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
	const struct boot_way *way;
	int ret = boot_way_of(&o->kernel, &way, e);

	if (!ret)
		ret = put_reset_vector(m, e);
	if (!ret)
		ret = way->load(m, o, entry, e);
	if (!ret)
		entry->way = way;
	return ret;
}

int boot_registers(struct gmem *m, const struct boot_entry *entry, struct vcpu_state *s, struct err *e)
{
	int ret = entry->way->registers(m, entry, s);

	if (ret)
		return err_set(e, ret, "boot: the guest has no memory for the tables of a %s's entry", entry->way->name);
	return 0;
}
