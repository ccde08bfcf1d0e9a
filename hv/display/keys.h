/* SPDX-License-Identifier: Apache-2.0 */
/*
 * keys - which key somebody means: by its name, by the character on it, by what a viewer calls it.
 *
 * Codes are Linux's (linux/input-event-codes.h); 0 (KEY_RESERVED) is no key.  Characters are those of a US keyboard:
 * a guest is told which key was pressed, and makes a character of it by a layout of its own.
 */
#ifndef DROVER_HV_DISPLAY_KEYS_H
#define DROVER_HV_DISPLAY_KEYS_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KEYS_AT_ONCE 8

/** key_by_name() - "a", "KEY_A", "ctrl", "f5": in either case; @len bytes; 0: there is none of this name */
uint16_t key_by_name(const char *name, size_t len);

/** keys_by_names() - "ctrl-alt-delete" into @keys; how many, or -EINVAL with the name that is none */
int keys_by_names(const char *names, uint16_t keys[KEYS_AT_ONCE], struct err *e);

/** key_by_char() - the key with @c (newline: enter) on it, and whether shift goes with it; 0: there is none */
uint16_t key_by_char(char c, bool *shift);

/** key_by_keysym() - of the X Window System's keysyms, which RFB sends (RFC 6143 7.5.4); 0: none of ours */
uint16_t key_by_keysym(uint32_t keysym);

#endif
