/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store_int - the layout of the record file, for store*.c and their tests.
 *
 *   octet 0        8        12       16
 *         +--------+--------+--------+
 *         | magic  | version| zero   |                    header
 *         +--------+--------+--------+---------------+
 *         | kind u32 | length u32 | crc32c u32 | payload ... |   record, repeated
 *         +----------+------------+------------+-------------+
 *
 * Little-endian; the checksum covers kind, length and payload.
 */
#ifndef DROVER_HA_STORE_INT_H
#define DROVER_HA_STORE_INT_H

#include <stdint.h>

#define STORE_MAGIC "DROVREC1"
#define STORE_VERSION 1u
#define STORE_HEADER_LEN 16
#define STORE_RECORD_HEAD 12

void store_put_header(uint8_t *out);
void store_put_record_head(uint8_t *out, uint32_t kind, const uint8_t *payload,
			   uint32_t len);

#endif
