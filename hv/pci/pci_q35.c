/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pci_q35 - the host bridge that firmware for PCs knows: 8086:29c0 (Intel 3 Series Express Chipset Family, data
 * sheet 316966, chapter 5), as QEMU's machine q35 shows it.
 *
 * Of its registers those are here that firmware looks at, and they say how things are:
 *
 *   PCIEXBAR   ECAM is at PCI_ECAM_BASE, 256 buses, and on: read-only
 *   PAM0..6    kept for who reads them back.  From 0xc0000 to 1 MiB is RAM, readable and writable whatever they say;
 *              boot puts a copy of the firmware's end there (hv/firmware/boot_firmware.c)
 *   SMRAM      there is no system management mode: read-only
 */
#include "hv/pci/pci_int.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PCIEXBAR 0x60
#define PCIEXBAR_ENABLE 1u
#define PAM0 0x90
#define PAM_LAST 0x96
#define PAM0_BITS 0x30 /* 0xf0000: the high half only */
#define PAM_BITS 0x33  /* read and write enable of two pieces of 16 KiB */
#define SMRAM 0x9d
#define SMRAM_RESET 0x02
/* By these firmware knows QEMU, and that it may ask fw_cfg (QEMU, docs/specs/pci-ids.rst). */
#define SUBSYSTEM_VENDOR 0x1af4
#define SUBSYSTEM 0x1100

struct pci_q35 {
	struct pci_dev *bridge;
	uint8_t config[PCI_CONFIG_SIZE]; /* saved */
};

void pci_bus_be_q35(struct pci_bus *b)
{
	struct pci_dev *d = &b->bridge;

	put_u16(d->config + PCI_DEVICE, 0x29c0);
	put_u16(d->config + PCI_SUBSYSTEM_VENDOR, SUBSYSTEM_VENDOR);
	put_u16(d->config + PCI_SUBSYSTEM, SUBSYSTEM);
	put_u32(d->config + PCIEXBAR, (uint32_t)PCI_ECAM_BASE | PCIEXBAR_ENABLE);
	d->config[SMRAM] = SMRAM_RESET;
	d->writable[PAM0] = PAM0_BITS;
	memset(d->writable + PAM0 + 1, PAM_BITS, PAM_LAST - PAM0);
	b->mmio_end = PCI_Q35_MMIO_END;
}

static int q35_pre_save(void *dev, struct err *e)
{
	struct pci_q35 *q = dev;
	struct pci_saved s;

	(void)e;
	pci_dev_save(q->bridge, &s);
	memcpy(q->config, s.config, sizeof(q->config));
	return 0;
}

/* What the guest cannot change must be as it is here: pci_dev_load() looks. */
static int q35_post_load(void *dev, struct err *e)
{
	struct pci_q35 *q = dev;
	struct pci_saved s = { 0 };

	memcpy(s.config, q->config, sizeof(s.config));
	return pci_dev_load(q->bridge, &s, e);
}

static const struct state_field q35_fields[] = {
	STATE_ARRAY(struct pci_q35, config, sizeof(uint8_t)),
	STATE_END,
};

static const struct state_desc q35_state = {
	.name = "bridge",
	.version = 1,
	.min_version = 1,
	.fields = q35_fields,
	.pre_save = q35_pre_save,
	.post_load = q35_post_load,
};

/* --- the row: the state of a bridge that the row of the bus has made --- */

static int device_create(struct device_env *env, const struct domain_conf *conf, unsigned int index,
			 void **dev, struct err *e)
{
	struct pci_q35 *q = calloc(1, sizeof(*q));

	(void)conf;
	(void)index;
	if (!q)
		return err_set(e, -ENOMEM, "bridge: out of memory");
	q->bridge = &env->pci->bridge;
	*dev = q;
	return 0;
}

static int device_plug(void *dev, struct err *e)
{
	(void)dev;
	(void)e;
	return 0;
}

static void device_destroy(void *dev)
{
	free(dev);
}

static size_t device_state(void *dev, struct state_entry *out)
{
	out[0] = (struct state_entry){ .desc = &q35_state, .instance = "bridge", .dev = dev };
	return 1;
}

const struct device_kind pci_q35_device = {
	.name = "bridge", .create = device_create, .plug = device_plug, .destroy = device_destroy, .state = device_state, DEVICE_FIRMWARE
};
