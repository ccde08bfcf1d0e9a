/* SPDX-License-Identifier: Apache-2.0 */
/* acpi_int - what the makers of ACPI tables share; see acpi.h. */
#ifndef DROVER_HV_FIRMWARE_ACPI_INT_H
#define DROVER_HV_FIRMWARE_ACPI_INT_H

#include "hv/firmware/acpi.h"
#include "hv/firmware/aml.h"

#include <stdbool.h>

/** acpi_dsdt() - the contents of the DSDT behind its header; @q35: of that flavour */
void acpi_dsdt(struct aml *a, bool q35);

#endif
