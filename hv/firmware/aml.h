/* SPDX-License-Identifier: Apache-2.0 */
/*
 * aml - write ACPI Machine Language (ACPI 6.4, chapter 20): the dozen opcodes our DSDT needs.
 *
 * Everything with a length is opened and closed:
 *
 *     size_t d = aml_device(a, "COM1");
 *     aml_name(a, "_UID"); aml_int(a, 1);
 *     aml_close(a, d);
 *
 * Lengths take three bytes always (20.2.4 allows more bytes than are needed), so a
 * package may grow to 1 MiB.  What does not fit sets `bad`.
 */
#ifndef DROVER_HV_FIRMWARE_AML_H
#define DROVER_HV_FIRMWARE_AML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct aml {
	uint8_t *buf;
	size_t len, size;
	bool bad;
};

void aml_byte(struct aml *a, uint8_t v);
void aml_bytes(struct aml *a, const void *p, size_t len);
void aml_seg(struct aml *a, const char *name); /* a name of four letters */
void aml_int(struct aml *a, uint64_t v);
void aml_string(struct aml *a, const char *s);
void aml_eisaid(struct aml *a, const char *id); /* "PNP0501" */
void aml_name(struct aml *a, const char *name); /* Name (name, ...): the object follows */

size_t aml_scope(struct aml *a, const char *path);
size_t aml_device(struct aml *a, const char *name);
size_t aml_method(struct aml *a, const char *name, unsigned int args, bool serialized);
size_t aml_package(struct aml *a, uint8_t elements);
size_t aml_if(struct aml *a);
size_t aml_field(struct aml *a, const char *region, uint8_t flags);
void aml_close(struct aml *a, size_t at);

/* Resource templates (6.4): between open and close only aml_res_*(). */
size_t aml_resources(struct aml *a);
void aml_resources_close(struct aml *a, size_t at);
void aml_res_io(struct aml *a, uint16_t base, uint8_t len);
void aml_res_irq(struct aml *a, uint8_t irq);        /* ISA, edge */
void aml_res_interrupt(struct aml *a, uint32_t gsi); /* edge, active high, exclusive */
void aml_res_bus(struct aml *a, uint16_t first, uint16_t last);
void aml_res_memory32(struct aml *a, uint32_t base, uint32_t last);

#endif
