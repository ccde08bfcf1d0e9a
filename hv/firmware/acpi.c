/* SPDX-License-Identifier: Apache-2.0 */
/*
 * acpi - see acpi.h.
 *
 *     [FACS |] DSDT | FADT | MADT | MCFG | XSDT      each at a multiple of 16
 *
 * Section numbers are those of ACPI 6.4.  Plain, power control (acpi_pm.h) uses the
 * registers that hardware-reduced ACPI defines, and the power button is a control
 * method device behind a Generic Event Device (acpi_dsdt.c).  Of q35 both are fixed
 * hardware (pm_block.h).
 */
#include "hv/firmware/acpi_int.h"

#include "hv/firmware/boot.h"
#include "hv/kvm/irq.h"
#include "hv/pci/pci.h"
#include "hv/platform/acpi_pm.h"
#include "hv/platform/pm_block.h"
#include "hv/platform/rtc.h"

#include "base/bytes.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define RSDP_ROOM 48 /* rounded to 16 */
#define HEADER 36
#define LAPIC_BASE 0xfee00000u
#define IOAPIC_BASE 0xfec00000u
#define FADT_LENGTH 268
#define FADT_RESET_REG_SUP (1u << 10)
#define FADT_HW_REDUCED (1u << 20)
#define FADT_WBINVD (1u << 0)
#define FADT_PROC_C1 (1u << 2)
#define FADT_NO_SLEEP_BUTTON (1u << 5) /* none of fixed hardware */
#define FADT_NO_C_STATE 0xfff
#define FADT_LEGACY_DEVICES 1u /* IAPC_BOOT_ARCH, 5.2.9.3 */
#define FADT_NO_VGA 4u
#define FACS_LENGTH 64
#define GAS_SYSTEM_MEMORY 0
#define GAS_SYSTEM_IO 1
#define LEVEL_HIGH 0x0d /* 5.2.12.5: flags of an interrupt */
#define MADT_PCAT_COMPAT 1

_Static_assert(ACPI_TABLES_SIZE == BOOT_ACPI_END - BOOT_ACPI - RSDP_ROOM, "tables and RSDP fill their place");

static uint64_t here(const struct acpi_tables *t)
{
	return t->base + t->len;
}

/* A table refers to another by its address: where that stands, and at what it points. */
static void point(struct acpi_tables *t, size_t at, uint64_t to)
{
	assert(t->n_pointers < ACPI_POINTERS_MAX);
	t->pointers[t->n_pointers++] = (struct acpi_pointer){ (uint32_t)at, (uint32_t)(to - t->base) };
}

static uint8_t checksum(const uint8_t *p, size_t len)
{
	uint8_t sum = 0;

	while (len--)
		sum = (uint8_t)(sum + *p++);
	return (uint8_t)-sum;
}

/* 5.2.6: every table but the RSDP begins with these 36 bytes. */
static void put_header(struct writer *w, const char *signature, uint8_t revision)
{
	writer_bytes(w, signature, 4);
	writer_u32(w, 0); /* length and checksum: table_end() */
	writer_u8(w, revision);
	writer_u8(w, 0);
	writer_bytes(w, "DROVER", 6);
	writer_bytes(w, "DROVERHV", 8);
	writer_u32(w, 1);
	writer_bytes(w, "DRVR", 4);
	writer_u32(w, 1);
}

static struct writer table_begin(struct acpi_tables *t, const char *signature, uint8_t revision)
{
	struct writer w = writer_make(t->area + t->len, sizeof(t->area) - t->len);

	assert(t->len <= sizeof(t->area) && t->len % 16 == 0);
	put_header(&w, signature, revision);
	return w;
}

static int table_end(struct acpi_tables *t, struct writer *w, struct err *e)
{
	uint32_t len = (uint32_t)writer_len(w), le = htole32(len);

	if (w->bad)
		return err_set(e, -ENOSPC, "ACPI tables do not fit %zu bytes", sizeof(t->area));
	assert(len >= HEADER);
	memcpy(w->start + 4, &le, sizeof(le));
	w->start[9] = checksum(w->start, len);
	assert(!checksum(w->start, len));
	assert(t->n_tables < ACPI_TABLES_MAX);
	t->tables[t->n_tables++] = (struct acpi_table){ (uint32_t)t->len, len };
	t->len = (t->len + len + 15) & ~(size_t)15;
	return 0;
}

static void put_gas(struct writer *w, uint8_t space, uint64_t address)
{
	writer_u8(w, space);
	writer_u8(w, 8); /* bits */
	writer_u8(w, 0);
	writer_u8(w, 1); /* byte access */
	writer_u64(w, address);
}

static void put_zeros(struct writer *w, size_t until)
{
	while (writer_len(w) < until && !w->bad)
		writer_u8(w, 0);
}

/* 5.2.9, of reduced hardware */
static int put_fadt(struct acpi_tables *t, uint64_t dsdt, struct err *e)
{
	struct writer w = table_begin(t, "FACP", 5);

	put_zeros(&w, 112);
	writer_u32(&w, FADT_HW_REDUCED | FADT_RESET_REG_SUP);
	put_gas(&w, GAS_SYSTEM_MEMORY, ACPI_PM_RESET); /* 116 */
	writer_u8(&w, ACPI_PM_RESET_VALUE);
	put_zeros(&w, 140);
	point(t, t->len + 140, dsdt);
	writer_u64(&w, dsdt); /* 140: X_DSDT */
	put_zeros(&w, 244);
	put_gas(&w, GAS_SYSTEM_MEMORY, ACPI_PM_SLEEP_CONTROL);
	put_gas(&w, GAS_SYSTEM_MEMORY, ACPI_PM_SLEEP_STATUS);
	assert(writer_len(&w) == FADT_LENGTH || w.bad); /* 5.2.9: the two registers end it */
	return table_end(t, &w, e);
}

/* 5.2.9, of fixed hardware: the numbers are offsets */
static int put_fadt_q35(struct acpi_tables *t, uint64_t dsdt, uint64_t facs, struct err *e)
{
	struct writer w = table_begin(t, "FACP", 5);

	put_zeros(&w, 46);
	writer_u16(&w, PM_BLOCK_GSI); /* 46: SCI; 48: no SMI_CMD, so ACPI is always on */
	put_zeros(&w, 56);
	writer_u32(&w, PM_BLOCK_PORT); /* 56: PM1a_EVT_BLK */
	put_zeros(&w, 64);
	writer_u32(&w, PM_BLOCK_CONTROL); /* 64: PM1a_CNT_BLK */
	put_zeros(&w, 76);
	writer_u32(&w, PM_BLOCK_TIMER); /* 76: PM_TMR_BLK */
	put_zeros(&w, 88);
	writer_u8(&w, 4); /* 88: bytes of the first, */
	writer_u8(&w, 2); /* of the second, */
	writer_u8(&w, 0);
	writer_u8(&w, 4); /* and of the timer */
	put_zeros(&w, 96);
	writer_u16(&w, FADT_NO_C_STATE); /* 96: C2 */
	writer_u16(&w, FADT_NO_C_STATE); /* 98: C3 */
	put_zeros(&w, 108);
	writer_u8(&w, RTC_CENTURY);                        /* 108 */
	writer_u16(&w, FADT_LEGACY_DEVICES | FADT_NO_VGA); /* 109 */
	put_zeros(&w, 112);
	writer_u32(&w, FADT_WBINVD | FADT_PROC_C1 | FADT_NO_SLEEP_BUTTON | FADT_RESET_REG_SUP);
	put_gas(&w, GAS_SYSTEM_IO, PCI_PORT_RESET); /* 116 */
	writer_u8(&w, PCI_RESET_VALUE);
	put_zeros(&w, 132);
	point(t, t->len + 132, facs);
	writer_u64(&w, facs); /* 132: X_FIRMWARE_CTRL */
	point(t, t->len + 140, dsdt);
	writer_u64(&w, dsdt); /* 140: X_DSDT */
	put_zeros(&w, FADT_LENGTH);
	return table_end(t, &w, e);
}

/* 5.2.10: it has no checksum, and its address is a multiple of 64 */
static void put_facs(struct acpi_tables *t)
{
	uint32_t length = htole32(FACS_LENGTH);

	assert(!t->len);
	memcpy(t->area, "FACS", 4);
	memcpy(t->area + 4, &length, sizeof(length));
	t->area[32] = 2; /* version */
	t->len = FACS_LENGTH;
}

static void put_override(struct writer *w, uint8_t irq, uint32_t gsi, uint16_t flags)
{
	writer_u8(w, 2); /* interrupt source override (5.2.12.5) */
	writer_u8(w, 10);
	writer_u8(w, 0); /* ISA */
	writer_u8(w, irq);
	writer_u32(w, gsi);
	writer_u16(w, flags);
}

/* 5.2.12 */
static int put_madt(struct acpi_tables *t, const struct cpu_topology *topology, bool q35, struct err *e)
{
	struct writer w = table_begin(t, "APIC", 3);

	writer_u32(&w, LAPIC_BASE);
	writer_u32(&w, MADT_PCAT_COMPAT);
	for (uint32_t i = 0; i < topology->sockets * topology->cores * topology->threads; i++) {
		writer_u8(&w, 0); /* processor local APIC */
		writer_u8(&w, 8);
		writer_u8(&w, (uint8_t)i);
		writer_u8(&w, (uint8_t)cpu_topology_apic_id(topology, i));
		writer_u32(&w, 1); /* enabled */
	}
	writer_u8(&w, 1); /* I/O APIC */
	writer_u8(&w, 12);
	writer_u8(&w, 0);
	writer_u8(&w, 0);
	writer_u32(&w, IOAPIC_BASE);
	writer_u32(&w, 0);                     /* first GSI */
	put_override(&w, 0, IRQ_TIMER_PIN, 0); /* the timer is where a PC has it (hv/kvm/irq.c): edge, high, as its bus has it */
	if (q35)
		put_override(&w, PM_BLOCK_GSI, PM_BLOCK_GSI, LEVEL_HIGH);
	writer_u8(&w, 4); /* local APIC NMI: LINT1 of all */
	writer_u8(&w, 6);
	writer_u8(&w, 0xff);
	writer_u16(&w, 0);
	writer_u8(&w, 1);
	return table_end(t, &w, e);
}

/* PCI Firmware 3.0, 4.1.2 */
static int put_mcfg(struct acpi_tables *t, struct err *e)
{
	struct writer w = table_begin(t, "MCFG", 1);

	writer_u64(&w, 0);
	writer_u64(&w, PCI_ECAM_BASE);
	writer_u16(&w, 0); /* segment */
	writer_u8(&w, 0);
	writer_u8(&w, PCI_BUSES - 1);
	writer_u32(&w, 0);
	return table_end(t, &w, e);
}

static int put_dsdt(struct acpi_tables *t, bool q35, struct err *e)
{
	struct writer w = table_begin(t, "DSDT", 2);
	struct aml a = { .buf = w.p, .size = (size_t)(w.end - w.p) };

	acpi_dsdt(&a, q35);
	if (a.bad || !writer_room(&w, a.len))
		w.bad = true;
	return table_end(t, &w, e);
}

static int put_xsdt(struct acpi_tables *t, const uint64_t *tables, size_t n, struct err *e)
{
	struct writer w = table_begin(t, "XSDT", 1);

	for (size_t i = 0; i < n; i++) {
		point(t, t->len + writer_len(&w), tables[i]);
		writer_u64(&w, tables[i]);
	}
	return table_end(t, &w, e);
}

/* 5.2.5.3: two checksums, over the first 20 and over all 36 bytes */
struct acpi_rsdp acpi_rsdp(uint64_t xsdt)
{
	struct acpi_rsdp r = { .revision = 2, .length = htole32(HEADER), .xsdt = htole64(xsdt) };

	memcpy(r.signature, "RSD PTR ", sizeof(r.signature));
	memcpy(r.oem, "DROVER", sizeof(r.oem));
	r.checksum = checksum((uint8_t *)&r, ACPI_RSDP_FIRST);
	r.checksum_all = checksum((uint8_t *)&r, sizeof(r));
	assert(!checksum((uint8_t *)&r, ACPI_RSDP_FIRST) && !checksum((uint8_t *)&r, sizeof(r)));
	return r;
}

int acpi_make(struct acpi_tables *t, uint64_t base, const struct cpu_topology *topology, bool q35, struct err *e)
{
	uint64_t list[3], dsdt, facs;
	int ret;

	memset(t, 0, sizeof(*t));
	t->base = base;
	facs = here(t);
	if (q35)
		put_facs(t);
	dsdt = here(t);
	ret = put_dsdt(t, q35, e);
	list[0] = here(t);
	if (!ret)
		ret = q35 ? put_fadt_q35(t, dsdt, facs, e) : put_fadt(t, dsdt, e);
	list[1] = here(t);
	if (!ret)
		ret = put_madt(t, topology, q35, e);
	list[2] = here(t);
	if (!ret)
		ret = put_mcfg(t, e);
	t->xsdt = here(t);
	return ret ? ret : put_xsdt(t, list, 3, e);
}

int acpi_build(struct gmem *m, const struct cpu_topology *topology, uint64_t *rsdp, struct err *e)
{
	struct acpi_tables *t = malloc(sizeof(*t));
	struct acpi_rsdp r;
	int ret;

	if (!t)
		return err_set(e, -ENOMEM, "ACPI: out of memory");
	ret = acpi_make(t, BOOT_ACPI + RSDP_ROOM, topology, false, e);
	if (!ret) {
		r = acpi_rsdp(t->xsdt);
		*rsdp = BOOT_ACPI;
		ret = gmem_write(m, BOOT_ACPI, &r, sizeof(r));
		if (!ret)
			ret = gmem_write(m, t->base, t->area, t->len);
		if (ret)
			err_set(e, ret, "ACPI: the guest has no memory at 0x%x", BOOT_ACPI);
	}
	free(t);
	return ret;
}
