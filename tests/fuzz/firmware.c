/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzz what firmware looks for: fw_cfg with its DMA, the bridges, power management, debugcon.  The input is a list of
 * accesses of 8 bytes:
 *
 *   byte 0    bits 0-1 log2 of the width (at most 4 bytes), bit 2 write, bits 3-7 where: a device's ports, or the
 *             configuration space of a bridge; 31: a descriptor for fw_cfg, and begin
 *   byte 1-3  offset; of a descriptor: its control word's low byte, and the key
 *   byte 4-7  value; of a descriptor: its length, and with byte 3 where to
 *
 * A second half of each input is loaded as the state of one of the devices (rule S).  Whatever the guest has done,
 * another host takes it.
 */
#include "virtio_bed.h"

#include "hv/firmware/fw_tables.h"
#include "hv/platform/debugcon.h"
#include "hv/platform/fw_cfg.h"
#include "hv/platform/lpc.h"
#include "hv/platform/pm_block.h"

#define ACCESS 8
#define DEVICES 5
#define DESCRIPTOR 0x1000u

struct platform {
	struct gmem *mem;
	struct bus *pio, *mmio;
	struct irq *irq;
	struct pci_bus *pci;
	struct state_entry s[DEVICES];
	uint8_t fresh[DEVICES][1024];
	size_t fresh_len[DEVICES];
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void guest_off(void *arg)
{
}

static void guest_reset(void *arg, const char *how)
{
}

static struct platform *platform(void)
{
	static struct platform *p;
	struct device_env env = { .off = guest_off, .reset = guest_reset };
	struct debugcon *con;
	struct pm_block *pm;
	struct fw_cfg *fw;
	struct lpc *lpc;
	struct err e;
	static const struct cpu_topology three = { .sockets = 3, .cores = 1, .threads = 1 };
	void *q35 = NULL;

	if (p)
		return p;
	log_init("fuzz", LOG_LEVEL_ERROR);
	p = calloc(1, sizeof(*p));
	fuzz_must(gmem_create(&p->mem, 16u << 20, BACKING_ANON, &e) || bus_create(&p->pio) || bus_create(&p->mmio) ||
			  irq_create(&p->irq, -1, &e) || pci_bus_create(&p->pci, p->pio, p->mmio, p->irq, &e),
		  "platform");
	p->mem->tracking = true;
	pci_bus_be_q35(p->pci);
	env.pci = p->pci;
	fuzz_must(pci_bus_plug(p->pci, &e) || pci_q35_device.create(&env, NULL, 0, &q35, &e), "bridge");
	fuzz_must(lpc_create(&lpc, p->pci, p->pio, guest_reset, NULL, &e) || lpc_plug(lpc, &e), "lpc");
	fuzz_must(pm_block_create(&pm, p->pio, p->irq, NULL, guest_off, NULL, &e) || pm_block_plug(pm, &e), "pm");
	fuzz_must(debugcon_create(&con, p->pio, &e) || debugcon_plug(con, &e), "debugcon");
	fuzz_must(fw_cfg_create(&fw, p->pio, p->mem, &e) || fw_tables_add(fw, &three, &e) || fw_cfg_plug(fw, &e), "fw_cfg");
	fuzz_must(pci_q35_device.state(q35, p->s) != 1, "state");
	p->s[1] = lpc_state_entry(lpc);
	p->s[2] = pm_block_state_entry(pm);
	p->s[3] = debugcon_state_entry(con);
	p->s[4] = fw_cfg_state_entry(fw);
	for (int i = 0; i < DEVICES; i++) {
		struct writer w = writer_make(p->fresh[i], sizeof(p->fresh[i]));

		fuzz_must(p->s[i].desc->pre_save(p->s[i].dev, &e) || state_save_one(&p->s[i], &w, &e), "keep");
		p->fresh_len[i] = writer_len(&w);
	}
	return p;
}

static void descriptor(struct platform *p, const uint8_t *a)
{
	struct {
		uint32_t control, length;
		uint64_t address;
	} d = { .control = htobe32(a[1] | (uint32_t)a[2] << 16) };
	uint32_t v;

	memcpy(&v, a + 4, 4);
	d.length = htobe32(a[3] & 1 ? v : v & 0xffff);
	d.address = htobe64(a[3] & 2 ? (uint64_t)v << 32 | v : v & 0xffffff);
	gmem_write(p->mem, DESCRIPTOR, &d, sizeof(d));
	bus_write(p->pio, FW_CFG_PORT + 4, 4, htobe32(a[3] & 4 ? v : 0));
	bus_write(p->pio, FW_CFG_PORT + 8, 4, htobe32(a[3] & 8 ? v : DESCRIPTOR));
}

static void one(struct platform *p, const uint8_t *a)
{
	static const struct {
		uint16_t port, count;
	} ports[] = { { FW_CFG_PORT, 12 }, { LPC_PORT_A, 1 }, { PM_BLOCK_PORT, PM_BLOCK_SIZE }, { DEBUGCON_PORT, 1 }, { PCI_PORT_ADDRESS, 8 } };
	unsigned int where = a[0] >> 3, len = 1u << (a[0] & 3);
	uint32_t offset = a[1] | (uint32_t)a[2] << 8, v;
	struct bus *b = p->pio;
	uint64_t at;

	if (where == 31) {
		descriptor(p, a);
		return;
	}
	memcpy(&v, a + 4, 4);
	len = len > 4 ? 4 : len;
	if (where >= 16) {
		b = p->mmio;
		at = PCI_ECAM_BASE + (where & 1 ? (uint64_t)PCI_Q35_LPC_SLOT << 15 : 0) + offset % 4096;
	} else {
		at = ports[where % 5].port + offset % ports[where % 5].count;
	}
	if (a[0] & 4)
		bus_write(b, at, len, v);
	else
		bus_read(b, at, len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct platform *p = platform();
	size_t half = size / 2 / ACCESS * ACCESS;
	struct reader r;
	struct err e = { 0 };

	for (size_t at = 0; at < half; at += ACCESS)
		one(p, data + at);
	for (int i = 0; i < DEVICES; i++)
		fuzz_moves(&p->s[i]);
	if (size > half) {
		r = reader_make(data + half + 1, size - half - 1);
		if (!state_load_one(&p->s[data[half] % DEVICES], 1, &r, &e))
			for (size_t at = 0; at < half; at += ACCESS)
				one(p, data + at);
	}
	for (int i = 0; i < DEVICES; i++) {
		r = reader_make(p->fresh[i], p->fresh_len[i]);
		fuzz_must(state_load_one(&p->s[i], p->s[i].desc->version, &r, &e), e.text);
	}
	return 0;
}
