/* SPDX-License-Identifier: Apache-2.0 */
/*
 * acpi - see acpi.h.
 *
 *     BOOT_ACPI: RSDP | XSDT | FADT | MADT | MCFG | DSDT
 *
 * Section numbers are those of ACPI 6.4.  Power control (power.h) uses the
 * registers that hardware-reduced ACPI defines, the power button is a control
 * method device behind a Generic Event Device.
 */
#include "hv/firmware/acpi.h"

#include "hv/firmware/aml.h"
#include "hv/firmware/boot.h"
#include "hv/kvm/irq.h"
#include "hv/pci/pci.h"
#include "hv/platform/acpi_pm.h"
#include "hv/platform/rtc.h"
#include "hv/platform/serial.h"

#include "base/bytes.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define AREA (BOOT_ACPI_END - BOOT_ACPI)
#define HEADER 36
#define LAPIC_BASE 0xfee00000u
#define IOAPIC_BASE 0xfec00000u
#define FADT_LENGTH 268
#define FADT_RESET_REG_SUP (1u << 10)
#define FADT_HW_REDUCED (1u << 20)
#define GAS_SYSTEM_MEMORY 0
#define MADT_PCAT_COMPAT 1

struct tables {
	uint8_t *area;
	size_t len;
};

static uint64_t here(const struct tables *t)
{
	return BOOT_ACPI + t->len;
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

static struct writer table_begin(struct tables *t, const char *signature, uint8_t revision)
{
	struct writer w = writer_make(t->area + t->len, AREA - t->len);

	assert(t->len <= AREA && t->len % 16 == 0);
	put_header(&w, signature, revision);
	return w;
}

static int table_end(struct tables *t, struct writer *w, struct err *e)
{
	uint32_t len = (uint32_t)writer_len(w), le = htole32(len);

	if (w->bad)
		return err_set(e, -ENOSPC, "ACPI tables do not fit %u KiB", AREA >> 10);
	assert(len >= HEADER);
	memcpy(w->start + 4, &le, sizeof(le));
	w->start[9] = checksum(w->start, len);
	assert(!checksum(w->start, len));
	t->len = (t->len + len + 15) & ~(size_t)15;
	return 0;
}

static void put_gas(struct writer *w, uint64_t address)
{
	writer_u8(w, GAS_SYSTEM_MEMORY);
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

/* 5.2.9 */
static int put_fadt(struct tables *t, uint64_t dsdt, struct err *e)
{
	struct writer w = table_begin(t, "FACP", 5);

	put_zeros(&w, 112);
	writer_u32(&w, FADT_HW_REDUCED | FADT_RESET_REG_SUP);
	put_gas(&w, ACPI_PM_RESET); /* 116 */
	writer_u8(&w, ACPI_PM_RESET_VALUE);
	put_zeros(&w, 140);
	writer_u64(&w, dsdt); /* 140: X_DSDT */
	put_zeros(&w, 244);
	put_gas(&w, ACPI_PM_SLEEP_CONTROL);
	put_gas(&w, ACPI_PM_SLEEP_STATUS);
	assert(writer_len(&w) == FADT_LENGTH || w.bad); /* 5.2.9: the two registers end it */
	return table_end(t, &w, e);
}

/* 5.2.12 */
static int put_madt(struct tables *t, uint32_t n_vcpus, struct err *e)
{
	struct writer w = table_begin(t, "APIC", 3);

	writer_u32(&w, LAPIC_BASE);
	writer_u32(&w, MADT_PCAT_COMPAT);
	for (uint32_t i = 0; i < n_vcpus; i++) {
		writer_u8(&w, 0); /* processor local APIC */
		writer_u8(&w, 8);
		writer_u8(&w, (uint8_t)i);
		writer_u8(&w, (uint8_t)i);
		writer_u32(&w, 1); /* enabled */
	}
	writer_u8(&w, 1); /* I/O APIC */
	writer_u8(&w, 12);
	writer_u8(&w, 0);
	writer_u8(&w, 0);
	writer_u32(&w, IOAPIC_BASE);
	writer_u32(&w, 0); /* first GSI */
	writer_u8(&w, 2);  /* interrupt source override: the timer is where a PC has it (hv/kvm/irq.c) */
	writer_u8(&w, 10);
	writer_u8(&w, 0); /* ISA */
	writer_u8(&w, 0); /* IRQ 0 */
	writer_u32(&w, IRQ_TIMER_PIN);
	writer_u16(&w, 0); /* as its bus has it: edge, high */
	writer_u8(&w, 4);  /* local APIC NMI: LINT1 of all */
	writer_u8(&w, 6);
	writer_u8(&w, 0xff);
	writer_u16(&w, 0);
	writer_u8(&w, 1);
	return table_end(t, &w, e);
}

/* PCI Firmware 3.0, 4.1.2 */
static int put_mcfg(struct tables *t, struct err *e)
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

static void dsdt_serial(struct aml *a)
{
	size_t d = aml_device(a, "COM1"), r;

	aml_name(a, "_HID");
	aml_eisaid(a, "PNP0501");
	aml_name(a, "_UID");
	aml_int(a, 1);
	aml_name(a, "_STA");
	aml_int(a, 0xf);
	aml_name(a, "_CRS");
	r = aml_resources(a);
	aml_res_io(a, SERIAL_PORT, 8);
	aml_res_irq(a, SERIAL_GSI);
	aml_resources_close(a, r);
	aml_close(a, d);
}

static void dsdt_rtc(struct aml *a)
{
	size_t d = aml_device(a, "RTC"), r;

	aml_name(a, "_HID");
	aml_eisaid(a, "PNP0B00");
	aml_name(a, "_CRS");
	r = aml_resources(a);
	aml_res_io(a, RTC_PORT, 2);
	aml_resources_close(a, r);
	aml_close(a, d);
}

/* Method (_EVT, 1) { Local0 = ESEL; If ((Local0 & 2) == 2) { Notify (PWRB, 0x80) } } */
static void dsdt_event_method(struct aml *a)
{
	static const uint8_t condition[] = {
		0x93, /* LEqual */
		0x7b,
		0x60,
		0x0a,
		ACPI_PM_SELECT_BUTTON,
		0x00, /* And (Local0, 2) */
		0x0a,
		ACPI_PM_SELECT_BUTTON,
	};
	size_t m = aml_method(a, "_EVT", 1, true), i;

	aml_byte(a, 0x70); /* Store (ESEL, Local0) */
	aml_seg(a, "ESEL");
	aml_byte(a, 0x60);
	i = aml_if(a);
	aml_bytes(a, condition, sizeof(condition));
	aml_byte(a, 0x86); /* Notify (PWRB, 0x80) */
	aml_seg(a, "PWRB");
	aml_int(a, 0x80);
	aml_close(a, i);
	aml_close(a, m);
}

static void dsdt_power(struct aml *a)
{
	size_t d = aml_device(a, "GED"), r, f;

	aml_name(a, "_HID");
	aml_string(a, "ACPI0013");
	aml_name(a, "_UID");
	aml_string(a, "GED");
	aml_name(a, "_CRS");
	r = aml_resources(a);
	aml_res_interrupt(a, ACPI_PM_GSI);
	aml_resources_close(a, r);
	aml_byte(a, 0x5b); /* OperationRegion (EREG, SystemMemory, ...) */
	aml_byte(a, 0x80);
	aml_seg(a, "EREG");
	aml_byte(a, 0);
	aml_int(a, ACPI_PM_BASE);
	aml_int(a, 4);
	f = aml_field(a, "EREG", 0x43); /* DWordAcc, NoLock, WriteAsZeros */
	aml_seg(a, "ESEL");
	aml_byte(a, 32); /* bits */
	aml_close(a, f);
	dsdt_event_method(a);
	aml_close(a, d);
	d = aml_device(a, "PWRB");
	aml_name(a, "_HID");
	aml_eisaid(a, "PNP0C0C");
	aml_name(a, "_UID");
	aml_int(a, 0);
	aml_close(a, d);
}

static void dsdt_pci(struct aml *a)
{
	size_t d = aml_device(a, "PCI0"), r;

	aml_name(a, "_HID");
	aml_eisaid(a, "PNP0A08");
	aml_name(a, "_CID");
	aml_eisaid(a, "PNP0A03");
	aml_name(a, "_SEG");
	aml_int(a, 0);
	aml_name(a, "_BBN");
	aml_int(a, 0);
	aml_name(a, "_UID");
	aml_int(a, 0);
	aml_name(a, "_CCA");
	aml_int(a, 1);
	aml_name(a, "_CRS");
	r = aml_resources(a);
	aml_res_bus(a, 0, PCI_BUSES - 1);
	aml_res_io(a, PCI_PORT_ADDRESS, 8);
	aml_res_memory32(a, (uint32_t)PCI_MMIO_BASE, (uint32_t)(PCI_MMIO_END - 1));
	aml_resources_close(a, r);
	aml_close(a, d);
}

static int put_dsdt(struct tables *t, struct err *e)
{
	struct writer w = table_begin(t, "DSDT", 2);
	struct aml a = { .buf = w.p, .size = (size_t)(w.end - w.p) };
	size_t scope, p;

	scope = aml_scope(&a, "\\_SB");
	dsdt_serial(&a);
	dsdt_rtc(&a);
	dsdt_power(&a);
	dsdt_pci(&a);
	aml_close(&a, scope);
	scope = aml_scope(&a, "\\");
	aml_name(&a, "_S5");
	p = aml_package(&a, 4);
	aml_int(&a, ACPI_PM_SLEEP_TYPE_S5);
	aml_int(&a, 0);
	aml_int(&a, 0);
	aml_int(&a, 0);
	aml_close(&a, p);
	aml_close(&a, scope);
	if (a.bad || !writer_room(&w, a.len))
		w.bad = true;
	return table_end(t, &w, e);
}

static int put_xsdt(struct tables *t, const uint64_t *tables, size_t n, struct err *e)
{
	struct writer w = table_begin(t, "XSDT", 1);

	for (size_t i = 0; i < n; i++)
		writer_u64(&w, tables[i]);
	return table_end(t, &w, e);
}

struct rsdp {
	char signature[8];
	uint8_t checksum;
	char oem[6];
	uint8_t revision;
	uint32_t rsdt, length;
	uint64_t xsdt;
	uint8_t checksum_all, reserved[3];
} __attribute__((packed));

_Static_assert(sizeof(struct rsdp) == HEADER, "ACPI 6.4, 5.2.5.3");

/* 5.2.5.3: two checksums, over the first 20 and over all 36 bytes */
static void put_rsdp(struct tables *t, uint64_t xsdt)
{
	struct rsdp r = { .revision = 2, .length = htole32(HEADER), .xsdt = htole64(xsdt) };

	memcpy(r.signature, "RSD PTR ", sizeof(r.signature));
	memcpy(r.oem, "DROVER", sizeof(r.oem));
	r.checksum = checksum((uint8_t *)&r, 20);
	r.checksum_all = checksum((uint8_t *)&r, sizeof(r));
	assert(!checksum((uint8_t *)&r, 20) && !checksum((uint8_t *)&r, sizeof(r)));
	memcpy(t->area, &r, sizeof(r));
}

int acpi_build(struct gmem *m, uint32_t n_vcpus, uint64_t *rsdp, struct err *e)
{
	struct tables t = { .area = calloc(1, AREA), .len = 48 }; /* RSDP, rounded to 16 */
	uint64_t list[3], dsdt, xsdt;
	int ret;

	if (!t.area)
		return err_set(e, -ENOMEM, "ACPI: out of memory");
	dsdt = here(&t);
	ret = put_dsdt(&t, e);
	list[0] = here(&t);
	if (!ret)
		ret = put_fadt(&t, dsdt, e);
	list[1] = here(&t);
	if (!ret)
		ret = put_madt(&t, n_vcpus, e);
	list[2] = here(&t);
	if (!ret)
		ret = put_mcfg(&t, e);
	xsdt = here(&t);
	if (!ret)
		ret = put_xsdt(&t, list, 3, e);
	if (!ret) {
		put_rsdp(&t, xsdt);
		*rsdp = BOOT_ACPI;
		ret = gmem_write(m, BOOT_ACPI, t.area, t.len);
		if (ret)
			err_set(e, ret, "ACPI: the guest has no memory at 0x%x", BOOT_ACPI);
	}
	free(t.area);
	return ret;
}
