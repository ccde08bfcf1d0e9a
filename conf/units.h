/* SPDX-License-Identifier: Apache-2.0 */
/*
 * units - sizes and times as people write them: 4G, 512M, 250ms, 3s.
 *
 * A unit is always required.  "memory: 4096" is either 4 KiB or somebody who
 * thinks in MiB; refusing it is kinder than guessing.
 */
#ifndef DROVER_CONF_UNITS_H
#define DROVER_CONF_UNITS_H

#include <stddef.h>
#include <stdint.h>

#define UNITS_TEXT_MAX 32

/**
 * units_parse_size() - "512M", "4G", "4GiB" to bytes
 *
 * Units are powers of two: K, M, G, T, each also with "iB" behind; B is one
 * byte.  Whole numbers only.
 * Return: 0, -EINVAL (not a size) or -ERANGE (more than 64 bits).
 */
int units_parse_size(const char *text, uint64_t *bytes);

/**
 * units_parse_ms() - "250ms", "3s", "2m", "1h" to milliseconds
 * Return: 0, -EINVAL or -ERANGE.
 */
int units_parse_ms(const char *text, uint64_t *ms);

/** units_print_size() - in the largest unit that leaves no remainder; returns @buf */
const char *units_print_size(uint64_t bytes, char buf[UNITS_TEXT_MAX]);

/** units_print_ms() - in the largest unit that leaves no remainder; returns @buf */
const char *units_print_ms(uint64_t ms, char buf[UNITS_TEXT_MAX]);

#endif
