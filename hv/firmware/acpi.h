/* SPDX-License-Identifier: Apache-2.0 */
/*
 * acpi - the tables from which a guest learns what it runs on (ACPI 6.4).
 *
 * Hardware-reduced ACPI: RSDP, XSDT, FADT, MADT (one entry per vCPU), MCFG, DSDT.
 * Laid out from BOOT_ACPI up, RSDP first.
 */
#ifndef DROVER_HV_FIRMWARE_ACPI_H
#define DROVER_HV_FIRMWARE_ACPI_H

#include "base/err.h"
#include "hv/memory/memory.h"

#include <stdint.h>

/** acpi_build() - write all tables for @n_vcpus; *@rsdp is where to look for them */
int acpi_build(struct gmem *m, uint32_t n_vcpus, uint64_t *rsdp, struct err *e);

#endif
