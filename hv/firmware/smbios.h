/* SPDX-License-Identifier: Apache-2.0 */
/*
 * smbios - what a guest may read of the machine it is (DMTF DSP0134, SMBIOS 2.8): who made it, its uuid, its
 * processors and memory.  Firmware puts it into memory and adds what it knows of itself (structure type 0).
 */
#ifndef DROVER_HV_FIRMWARE_SMBIOS_H
#define DROVER_HV_FIRMWARE_SMBIOS_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

#define SMBIOS_ANCHOR_SIZE 31 /* DSP0134 5.2.1 */
#define SMBIOS_TABLES_MAX 1024

struct smbios_what {
	const char *name; /* of the domain: the serial number, as people look for it there */
	const uint8_t *uuid;
	uint64_t memory; /* bytes */
	uint32_t vcpus;
};

struct smbios {
	uint8_t anchor[SMBIOS_ANCHOR_SIZE]; /* "_SM_"; where the tables are is 0: firmware fills that in, and the checksums again */
	uint8_t tables[SMBIOS_TABLES_MAX];
	size_t len; /* of the tables */
};

/** smbios_make() - make both; -ENOSPC when they do not fit */
int smbios_make(struct smbios *s, const struct smbios_what *w, struct err *e);

#endif
