/* SPDX-License-Identifier: Apache-2.0 */
/* fw_items - see fw_items.h. */
#include "hv/firmware/fw_items.h"

#include "hv/firmware/fw_tables.h"
#include "hv/firmware/smbios.h"
#include "hv/pci/pci.h"
#include "hv/platform/serial.h"

#include "base/bytes.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define E820_RAM 1
#define BOOTORDER_LINE 48

/* One more than the highest APIC id: some firmware counts by ids (QEMU, docs/specs/fw_cfg.rst). */
static uint32_t apic_ids(const struct domain_conf *conf)
{
	return cpu_topology_apic_id(&conf->cpu.topology, conf->vcpus - 1) + 1;
}

static int add_numbers(struct fw_cfg *f, const struct domain_conf *conf, struct err *e)
{
	int ret = fw_cfg_add(f, FW_CFG_UUID, conf->uuid, sizeof(conf->uuid), e);

	if (!ret)
		ret = fw_cfg_add_number(f, FW_CFG_RAM_SIZE, conf->memory, 8, e);
	if (!ret)
		ret = fw_cfg_add_number(f, FW_CFG_CPUS, conf->vcpus, 2, e);
	if (!ret)
		ret = fw_cfg_add_number(f, FW_CFG_CPUS_MAX, apic_ids(conf), 2, e);
	return ret ? ret : fw_cfg_add_number(f, FW_CFG_BOOT_MENU, 0, 2, e);
}

/* Per range: address, length, type (ACPI 6.4, 15.1). */
static int add_e820(struct fw_cfg *f, const struct gmem *mem, struct err *e)
{
	uint8_t map[GMEM_RAM_MAX * 20];
	struct writer w = writer_make(map, sizeof(map));

	for (size_t i = 0; i < mem->n_ram; i++) {
		writer_u64(&w, mem->regions[i].gpa);
		writer_u64(&w, mem->regions[i].size);
		writer_u32(&w, E820_RAM);
	}
	return fw_cfg_add_file(f, "etc/e820", map, writer_len(&w), e);
}

/* OpenFirmware paths, a line for each disk (SeaBIOS, docs/Runtime_config.md), newlines between them, zero at the end. */
static int add_bootorder(struct fw_cfg *f, struct pci_bus *pci, size_t n_disks, struct err *e)
{
	char text[DOMAIN_DISKS_MAX * BOOTORDER_LINE + 1], name[16];
	size_t len = 0;

	text[0] = '\0';
	for (unsigned int i = 0; i < n_disks; i++) {
		unsigned int slot;

		snprintf(name, sizeof(name), "blk%u", i);
		slot = pci_bus_slot_of(pci, name);
		if (slot)
			len += (size_t)snprintf(text + len, sizeof(text) - len, "%s/pci@i0cf8/scsi@%x/disk@0,0", len ? "\n" : "", slot);
	}
	return fw_cfg_add_file(f, "bootorder", text, len + 1, e);
}

static int add_smbios(struct fw_cfg *f, const struct domain_conf *conf, struct err *e)
{
	struct smbios_what what = { .name = conf->name, .uuid = conf->uuid, .memory = conf->memory, .vcpus = conf->vcpus };
	struct smbios s;
	int ret = smbios_make(&s, &what, e);

	if (!ret)
		ret = fw_cfg_add_file(f, "etc/smbios/smbios-anchor", s.anchor, sizeof(s.anchor), e);
	return ret ? ret : fw_cfg_add_file(f, "etc/smbios/smbios-tables", s.tables, s.len, e);
}

static int add_file_number(struct fw_cfg *f, const char *name, uint32_t value, struct err *e)
{
	uint32_t le = htole32(value);

	return fw_cfg_add_file(f, name, &le, sizeof(le), e);
}

int fw_items_add(struct fw_cfg *f, const struct device_env *env, const struct domain_conf *conf, struct err *e)
{
	int ret = add_numbers(f, conf, e);

	if (!ret)
		ret = add_e820(f, env->mem, e);
	if (!ret)
		ret = fw_tables_add(f, &conf->cpu.topology, e);
	if (!ret)
		ret = add_smbios(f, conf, e);
	if (!ret)
		ret = add_bootorder(f, env->pci, conf->n_disks, e);
	if (!ret)
		ret = add_file_number(f, "etc/boot-fail-wait", FW_BOOT_FAIL_WAIT_MS, e);
	return ret ? ret : add_file_number(f, "etc/sercon-port", SERIAL_PORT, e);
}

/* --- the row --- */

static int device_create(struct device_env *env, const struct domain_conf *conf, unsigned int index,
			 void **dev, struct err *e)
{
	struct fw_cfg *f;
	int ret = fw_cfg_create(&f, env->pio, env->mem, e);

	(void)index;
	if (ret)
		return ret;
	ret = fw_items_add(f, env, conf, e);
	if (ret)
		fw_cfg_destroy(f);
	else
		*dev = f;
	return ret;
}

static int device_plug(void *dev, struct err *e)
{
	return fw_cfg_plug(dev, e);
}

static void device_destroy(void *dev)
{
	fw_cfg_destroy(dev);
}

static size_t device_state(void *dev, struct state_entry *out)
{
	out[0] = fw_cfg_state_entry(dev);
	return 1;
}

const struct device_kind fw_cfg_device = {
	.name = "fw_cfg", .create = device_create, .plug = device_plug, .destroy = device_destroy, .state = device_state, DEVICE_FIRMWARE
};
