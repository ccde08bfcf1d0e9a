/* SPDX-License-Identifier: Apache-2.0 */
/*
 * acpi - the tables from which a guest learns what it runs on (ACPI 6.4).
 *
 * RSDP, XSDT, FADT, MADT (one entry per vCPU), MCFG, DSDT, in two flavours:
 *
 *   plain   hardware-reduced ACPI, for a kernel that we load; it finds them from BOOT_ACPI up, RSDP first
 *   q35     a PC with fixed hardware (pm_block.h) and a FACS, for firmware: that has used PIC and timer, and a system
 *           that is told of reduced hardware would leave both as it finds them and be interrupted by them.  Firmware is
 *           given these as files, and puts them where it likes (fw_tables.h)
 */
#ifndef DROVER_HV_FIRMWARE_ACPI_H
#define DROVER_HV_FIRMWARE_ACPI_H

#include "base/err.h"
#include "conf/cpu_topology.h"
#include "hv/memory/memory.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ACPI_TABLES_SIZE 0xffd0 /* what is left behind the RSDP up to BOOT_ACPI_END */
#define ACPI_POINTERS_MAX 8
#define ACPI_TABLES_MAX 8
#define ACPI_CHECKSUM_AT 9 /* in each table (5.2.6) */
#define ACPI_RSDP_FIRST 20 /* bytes of an RSDP that its first checksum is over (5.2.5.3) */

/* 5.2.5.3 */
struct acpi_rsdp {
	char signature[8];
	uint8_t checksum;
	char oem[6];
	uint8_t revision;
	uint32_t rsdt, length;
	uint64_t xsdt;
	uint8_t checksum_all, reserved[3];
} __attribute__((packed));

_Static_assert(sizeof(struct acpi_rsdp) == 36, "ACPI 6.4, 5.2.5.3");

/* The 8 bytes at `at` of the area are the address of what lies at `to` of it. */
struct acpi_pointer {
	uint32_t at, to;
};

/* One that has a checksum. */
struct acpi_table {
	uint32_t at, len;
};

/* All tables but the RSDP, complete for an area at `base`; and what changes when it lies elsewhere. */
struct acpi_tables {
	uint64_t base, xsdt; /* addresses */
	size_t len, n_pointers, n_tables;
	struct acpi_pointer pointers[ACPI_POINTERS_MAX];
	struct acpi_table tables[ACPI_TABLES_MAX];
	uint8_t area[ACPI_TABLES_SIZE];
};

/**
 * acpi_make() - make the tables as they are at guest address @base
 * @q35: of a machine with the host bridge that firmware knows (pci_bus_be_q35()); then @base is a multiple of 64
 * Return: 0, or -ENOSPC when they do not fit.
 */
int acpi_make(struct acpi_tables *t, uint64_t base, const struct cpu_topology *topology, bool q35, struct err *e);
/** acpi_rsdp() - that of an XSDT at guest address @xsdt */
struct acpi_rsdp acpi_rsdp(uint64_t xsdt);

/** acpi_build() - write all tables for the vCPUs of @topology; *@rsdp is where to look for them */
int acpi_build(struct gmem *m, const struct cpu_topology *topology, uint64_t *rsdp, struct err *e);

#endif
