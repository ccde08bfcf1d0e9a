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
 * package may grow to 1 MiB.  What does not fit sets `bad`, and from then on nothing is
 * written: who is done looks at it once.
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

/** aml_byte() - one byte as it is: an opcode or operand that has no function here */
void aml_byte(struct aml *a, uint8_t v);
/** aml_bytes() - @len bytes as they are: all or, when they do not fit, none */
void aml_bytes(struct aml *a, const void *p, size_t len);
/** aml_seg() - a NameSeg (20.2.2): the first four letters of @name; a shorter one ends in '_' */
void aml_seg(struct aml *a, const char *name);
/** aml_int() - an integer: ZeroOp, OneOp, or the shortest constant of 8, 16, 32 or 64 bits that holds it (20.2.3) */
void aml_int(struct aml *a, uint64_t v);
/** aml_string() - @s and its final zero (20.2.3); it is not checked that it is ASCII */
void aml_string(struct aml *a, const char *s);
/** aml_eisaid() - "PNP0501", three capitals and four hex digits, as the 32-bit constant of macro EISAID (19.3.4) */
void aml_eisaid(struct aml *a, const char *id);
/** aml_name() - Name (@name, ...): the object follows (20.2.5.1) */
void aml_name(struct aml *a, const char *name);

/* What has a length.  Return: where it begins, for aml_close(). */

/** aml_scope() - Scope (20.2.5.1); @path: "\\" for the root, or one name, as in "\\_SB" */
size_t aml_scope(struct aml *a, const char *path);
/** aml_device() - Device (20.2.5.2); its objects follow */
size_t aml_device(struct aml *a, const char *name);
/** aml_method() - Method (20.2.5.2) of @args (0 to 7) arguments; its statements follow; sync level 0 */
size_t aml_method(struct aml *a, const char *name, unsigned int args, bool serialized);
/** aml_package() - Package (20.2.5.4) of @elements objects, which follow */
size_t aml_package(struct aml *a, uint8_t elements);
/** aml_if() - If (20.2.5.3): the condition follows, then what is done when it is true */
size_t aml_if(struct aml *a);
/**
 * aml_field() - Field (20.2.5.2) of the operation region @region
 * @flags: FieldFlags: access size, lock and update rule
 * Per field follow its name and its length in bits, coded as in 20.2.4: for up to 63 bits, one byte.
 */
size_t aml_field(struct aml *a, const char *region, uint8_t flags);
/** aml_close() - what was opened at @at ends here; `bad` when that is 1 MiB or more */
void aml_close(struct aml *a, size_t at);

/* Resource templates (6.4): between open and close only aml_res_*(). */

/** aml_resources() - Buffer (20.2.5.4) of a template; returns where it begins, for aml_resources_close() */
size_t aml_resources(struct aml *a);
/** aml_resources_close() - its end tag, without checksum (6.4.2.9), and lengths; up to 65535 bytes, not checked */
void aml_resources_close(struct aml *a, size_t at);
/** aml_res_io() - ports @base to @base + @len - 1, there and nowhere else; 16 bits are decoded (6.4.2.5) */
void aml_res_io(struct aml *a, uint16_t base, uint8_t len);
/** aml_res_irq() - ISA interrupt @irq (0 to 15): edge, active high (6.4.2.1) */
void aml_res_irq(struct aml *a, uint8_t irq);
/** aml_res_interrupt() - GSI @gsi: edge, active high, exclusive (6.4.3.6) */
void aml_res_interrupt(struct aml *a, uint32_t gsi);
/** aml_res_bus() - the bus numbers @first to @last, which a bridge hands on (6.4.3.5.3) */
void aml_res_bus(struct aml *a, uint16_t first, uint16_t last);
/** aml_res_memory32() - the addresses @base to @last, which a bridge hands on: writable, not cacheable (6.4.3.5.2) */
void aml_res_memory32(struct aml *a, uint32_t base, uint32_t last);

#endif
