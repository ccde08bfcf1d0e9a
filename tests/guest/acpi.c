/* SPDX-License-Identifier: Apache-2.0 */
/*
 * acpi.c - power off and reset through the registers that the FADT names
 * (ACPI 6.4, 4.8.3.6, 4.8.3.7 and 5.2.9), and the power button of a Generic Event
 * Device (5.6.9), as drover-hv and QEMU's microvm have it.
 */
#include "payload.h"

#define FADT_DSDT 40
#define FADT_PM1A_CONTROL 64
#define FADT_FLAGS 112
#define FADT_RESET_REG 116
#define FADT_RESET_VALUE 128
#define FADT_X_DSDT 140
#define FADT_SLEEP_CONTROL 244

#define EVENT_BUTTON 2 /* in the selector of the Generic Event Device */
#define FLAG_RESET_SUPPORTED (1u << 10)
#define FLAG_HW_REDUCED (1u << 20)

static uint32_t get32(const uint8_t *p)
{
	return p[0] | p[1] << 8 | p[2] << 16 | (uint32_t)p[3] << 24;
}

static uint64_t get64(const uint8_t *p)
{
	return get32(p) | (uint64_t)get32(p + 4) << 32;
}

/* A table that lies where memory is mapped from the start. */
static const uint8_t *table_at(uint64_t pa)
{
	return pa && pa < 0x100000000ull ? (const uint8_t *)pa : NULL;
}

static const uint8_t *find_fadt(void)
{
	const uint8_t *rsdp = table_at(rsdp_pa), *root;
	uint32_t step = 4, len;

	if (!rsdp)
		return NULL;
	root = table_at(get32(rsdp + 16));
	if (rsdp[15] >= 2 && get64(rsdp + 24)) {
		root = table_at(get64(rsdp + 24));
		step = 8;
	}
	if (!root)
		return NULL;
	len = get32(root + 4);
	for (uint32_t at = 36; at + step <= len && at < 4096; at += step) {
		const uint8_t *t = table_at(step == 8 ? get64(root + at) : get32(root + at));

		if (t && get32(t) == 0x50434146) /* "FACP" */
			return t;
	}
	return NULL;
}

/* Write to a register given as a Generic Address Structure. */
static bool gas_write(const uint8_t *gas, uint8_t value)
{
	uint64_t at = get64(gas + 4);

	if (!at)
		return false;
	if (gas[0] == 1 && at < TSS_IO_PORTS)
		out8(at, value);
	else if (gas[0] == 0 && at < 0x100000000ull)
		mmio_w8(at, value);
	else
		return false;
	return true;
}

static const uint8_t *find_dsdt(const uint8_t *fadt, uint32_t *len)
{
	uint64_t pa = get32(fadt + 4) >= FADT_X_DSDT + 8 ? get64(fadt + FADT_X_DSDT) : 0;
	const uint8_t *dsdt = table_at(pa ? pa : get32(fadt + FADT_DSDT));

	*len = dsdt ? get32(dsdt + 4) : 0;
	return dsdt;
}

/* \_S5 is Name (_S5, Package () { SLP_TYPa, ... }): read its first number out of the AML. */
static int sleep_type(const uint8_t *fadt)
{
	uint32_t len;
	const uint8_t *dsdt = find_dsdt(fadt, &len);

	for (uint32_t i = 36; i + 12 < len; i++) {
		const uint8_t *p = dsdt + i;

		if (get32(p) != 0x5f35535f || p[4] != 0x12) /* "_S5_", PackageOp */
			continue;
		p += 5;
		p += 1 + (*p >> 6);            /* package length */
		p++;                           /* number of elements */
		return *p == 0x0a ? p[1] : *p; /* BytePrefix, or Zero and One */
	}
	return 5;
}

/* OperationRegion (EREG, SystemMemory, selector, 4), 0 when there is none. */
static uint32_t find_selector(void)
{
	const uint8_t *fadt = find_fadt(), *dsdt;
	uint32_t len = 0;

	dsdt = fadt ? find_dsdt(fadt, &len) : NULL;
	for (uint32_t i = 36; i + 12 < len; i++) {
		const uint8_t *p = dsdt + i;

		if (p[0] == 0x5b && p[1] == 0x80 && get32(p + 2) == 0x47455245 && p[6] == 0 && p[7] == 0x0c)
			return get32(p + 8);
	}
	return 0;
}

bool acpi_button(void)
{
	static uint32_t selector;
	static bool looked;

	if (!looked)
		selector = find_selector();
	looked = true;
	return selector && mmio_r32(selector) & EVENT_BUTTON; /* reading clears it */
}

void acpi_poweroff(void)
{
	const uint8_t *fadt = find_fadt();
	int type;

	put_str("D: power off\n");
	serial_flush();
	if (!fadt) {
		put_str("D: no FADT found\n");
		return;
	}
	type = sleep_type(fadt) & 7;
	if (get32(fadt + FADT_FLAGS) & FLAG_HW_REDUCED) {
		gas_write(fadt + FADT_SLEEP_CONTROL, type << 2 | 1 << 5);
		return;
	}
	if (get32(fadt + FADT_PM1A_CONTROL) - 1 < TSS_IO_PORTS - 2)
		out16(get32(fadt + FADT_PM1A_CONTROL), type << 10 | 1 << 13);
}

void acpi_reset(void)
{
	const uint8_t *fadt = find_fadt();

	put_str("D: reset\n");
	serial_flush();
	if (fadt && get32(fadt + FADT_FLAGS) & FLAG_RESET_SUPPORTED)
		gas_write(fadt + FADT_RESET_REG, fadt[FADT_RESET_VALUE]);
	cpu_reset();
}
