/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fw_tables - ACPI tables as files for firmware, and what it is to do with them (QEMU's "table loader", as SeaBIOS
 * and OVMF read it: src/fw/romfile_loader.h, OvmfPkg/AcpiPlatformDxe/QemuLoader.h).
 *
 *   etc/acpi/tables   the tables, their pointers counted from the file's beginning
 *   etc/acpi/rsdp     the RSDP
 *   etc/table-loader  commands of 128 bytes: give a file memory; add to a pointer where a file has come to lie; make
 *                     a checksum
 *
 * So firmware chooses where tables lie, and keeps that memory from whatever it boots.
 */
#ifndef DROVER_HV_FIRMWARE_FW_TABLES_H
#define DROVER_HV_FIRMWARE_FW_TABLES_H

#include "base/err.h"
#include "conf/cpu_topology.h"
#include "hv/platform/fw_cfg.h"

#include <stdint.h>

#define FW_TABLES_FILE "etc/acpi/tables"
#define FW_RSDP_FILE "etc/acpi/rsdp"
#define FW_LOADER_FILE "etc/table-loader"
#define FW_LOADER_NAME 56
#define FW_LOADER_ALLOCATE 1u
#define FW_LOADER_ADD_POINTER 2u
#define FW_LOADER_ADD_CHECKSUM 3u
#define FW_LOADER_HIGH 1u /* zones: anywhere below 4 GiB; */
#define FW_LOADER_FSEG 2u /* from 0xf0000 to 1 MiB, where an RSDP is looked for */

/* A command, little-endian. */
struct fw_loader_command {
	uint32_t command;
	union {
		struct {
			char file[FW_LOADER_NAME];
			uint32_t align;
			uint8_t zone;
		} __attribute__((packed)) allocate;
		struct {
			char dest[FW_LOADER_NAME], src[FW_LOADER_NAME]; /* the `size` bytes at `at` of dest point into src */
			uint32_t at;
			uint8_t size;
		} __attribute__((packed)) pointer;
		struct {
			char file[FW_LOADER_NAME];
			uint32_t at, start, length; /* the byte at `at` makes the sum of these zero */
		} __attribute__((packed)) checksum;
		uint8_t room[124];
	};
} __attribute__((packed));

_Static_assert(sizeof(struct fw_loader_command) == 128, "romfile_loader.h");

/** fw_tables_add() - put the three files into @f, for a machine with the host bridge of pci_bus_be_q35() */
int fw_tables_add(struct fw_cfg *f, const struct cpu_topology *topology, struct err *e);

#endif
