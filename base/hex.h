/* SPDX-License-Identifier: Apache-2.0 */
/* hex - bytes as pairs of hexadecimal digits; written in lower case, read in both. */
#ifndef DROVER_BASE_HEX_H
#define DROVER_BASE_HEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** hex_digit() - value of a hexadecimal digit, -1 when it is none */
int hex_digit(char c);

/** hex_byte() - value of the two digits at the start of @text, -1 when they are none; ends at a NUL */
int hex_byte(const char *text);

/** hex_read() - @n bytes from @text, which must be 2 * @n digits and nothing else; else false, and @bytes is half written */
bool hex_read(const char *text, uint8_t *bytes, size_t n);

/** hex_print() - @n bytes into @text, 2 * @n digits and a NUL */
void hex_print(const uint8_t *bytes, size_t n, char *text);

#endif
