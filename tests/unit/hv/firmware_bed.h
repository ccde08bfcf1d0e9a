/* SPDX-License-Identifier: Apache-2.0 */
/* firmware_bed - buses, memory and a PCI bus without KVM, for what firmware looks for. */
#ifndef DROVER_TESTS_FIRMWARE_BED_H
#define DROVER_TESTS_FIRMWARE_BED_H

#include "hv/kvm/irq.h"
#include "hv/memory/memory.h"
#include "hv/pci/pci.h"

#include "base/bytes.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>

#include <cmocka.h>

#define BED_RAM (16ull << 20)

struct pc {
	struct gmem *mem;
	struct bus *pio, *mmio;
	struct irq *irq;
	struct pci_bus *pci;
};

/* @q35: with the host bridge that firmware knows. */
static inline struct pc pc_make(bool q35)
{
	struct pc p = { 0 };

	assert_int_equal(gmem_create(&p.mem, BED_RAM, BACKING_ANON, NULL), 0);
	assert_int_equal(bus_create(&p.pio), 0);
	assert_int_equal(bus_create(&p.mmio), 0);
	assert_int_equal(irq_create(&p.irq, -1, NULL), 0);
	assert_int_equal(pci_bus_create(&p.pci, p.pio, p.mmio, p.irq, NULL), 0);
	if (q35)
		pci_bus_be_q35(p.pci);
	assert_int_equal(pci_bus_plug(p.pci, NULL), 0);
	return p;
}

static inline void pc_end(struct pc *p)
{
	pci_bus_destroy(p->pci);
	irq_destroy(p->irq);
	bus_destroy(p->mmio);
	bus_destroy(p->pio);
	gmem_destroy(p->mem);
}

static inline uint32_t pc_config(struct pc *p, unsigned int slot, unsigned int offset, unsigned int len)
{
	return (uint32_t)bus_read(p->mmio, PCI_ECAM_BASE + ((uint64_t)slot << 15) + offset, len);
}

static inline void pc_config_set(struct pc *p, unsigned int slot, unsigned int offset, unsigned int len, uint32_t v)
{
	bus_write(p->mmio, PCI_ECAM_BASE + ((uint64_t)slot << 15) + offset, len, v);
}

/* The record of @s, saved; bytes in @buf. */
static inline size_t state_take(const struct state_entry *s, uint8_t *buf, size_t size)
{
	struct writer w = writer_make(buf, size);

	assert_int_equal(s->desc->pre_save(s->dev, NULL), 0);
	assert_int_equal(state_save_one(s, &w, NULL), 0);
	assert_false(w.bad);
	return writer_len(&w);
}

static inline int state_give(const struct state_entry *s, const uint8_t *buf, size_t len, struct err *e)
{
	struct reader r = reader_make(buf, len);

	return state_load_one(s, s->desc->version, &r, e);
}

#endif
