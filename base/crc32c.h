/* SPDX-License-Identifier: Apache-2.0 */
/*
 * crc32c - the Castagnoli checksum (RFC 3720 B.4) of every payload that
 * crosses a wire or rests on a disk.
 */
#ifndef DROVER_BASE_CRC32C_H
#define DROVER_BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/**
 * crc32c() - checksum of @len bytes, continuing from @crc
 * @crc: 0 to begin, else the result so far
 *
 * Uses the CPU's CRC32 instruction where there is one, picked at run time.
 * crc32c(0, "123456789", 9) == 0xe3069283.
 */
uint32_t crc32c(uint32_t crc, const void *buf, size_t len);

#endif
