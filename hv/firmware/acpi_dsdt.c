/* SPDX-License-Identifier: Apache-2.0 */
/* acpi_dsdt - the devices that a guest is told of, as AML (acpi.h).  Section numbers are those of ACPI 6.4. */
#include "hv/firmware/acpi_int.h"

#include "hv/pci/pci.h"
#include "hv/platform/acpi_pm.h"
#include "hv/platform/pm_block.h"
#include "hv/platform/rtc.h"
#include "hv/platform/serial.h"

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

static void dsdt_pci(struct aml *a, bool q35)
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
	if (q35) { /* around the registers of acpi_pm.h */
		aml_res_memory32(a, (uint32_t)PCI_MMIO_BASE, (uint32_t)(ACPI_PM_BASE - 1));
		aml_res_memory32(a, (uint32_t)(ACPI_PM_BASE + ACPI_PM_SIZE), (uint32_t)(PCI_Q35_MMIO_END - 1));
	} else {
		aml_res_memory32(a, (uint32_t)PCI_MMIO_BASE, (uint32_t)(PCI_MMIO_END - 1));
	}
	aml_resources_close(a, r);
	aml_close(a, d);
}

void acpi_dsdt(struct aml *a, bool q35)
{
	size_t scope = aml_scope(a, "\\_SB"), p;

	dsdt_serial(a);
	dsdt_rtc(a);
	if (!q35)
		dsdt_power(a);
	dsdt_pci(a, q35);
	aml_close(a, scope);
	scope = aml_scope(a, "\\");
	aml_name(a, "_S5");
	p = aml_package(a, 4);
	aml_int(a, q35 ? PM_BLOCK_SLEEP_TYPE_S5 : ACPI_PM_SLEEP_TYPE_S5);
	aml_int(a, 0);
	aml_int(a, 0);
	aml_int(a, 0);
	aml_close(a, p);
	aml_close(a, scope);
}
