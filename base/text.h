/* SPDX-License-Identifier: Apache-2.0 */
/*
 * text - what others wrote, before it is shown.
 *
 * A path, a peer's reason, a host's name, a guest's word: on a terminal ESC and its C1 sisters are
 * obeyed, a newline forges a line of a log, and whoever writes JSON refuses what is not UTF-8, so
 * that a whole answer is missing because of one byte.  Also a text of our own stops being UTF-8
 * when it is cut inside a character.  One function makes all of them one harmless line.
 */
#ifndef DROVER_BASE_TEXT_H
#define DROVER_BASE_TEXT_H

#include <stddef.h>
#include <stdint.h>

#define TEXT_CUT_OFF 0u         /* bytes of a character that the text ends inside of */
#define TEXT_NO_CHAR UINT32_MAX /* of a byte that belongs to none */

/**
 * text_clean() - make @s one line of UTF-8 that no terminal obeys, in place
 *
 * '?' stands for each byte that is no UTF-8, and for each character that moves, hides or reorders
 * what is shown: C0, DEL, C1, line and paragraph separators, the marks of writing direction.  A
 * character that was cut off at the end goes.  The text never becomes longer; a clean one is left
 * as it is.  Return: its length.
 */
size_t text_clean(char *s);

/** text_copy() - at most @size - 1 bytes of @src, clean; @size at least 1 */
void text_copy(char *dst, size_t size, const char *src);

/**
 * text_char() - the character that @s, which is not empty, begins with
 * @c: its number, or TEXT_NO_CHAR
 * Return: its bytes, 1 to 4; 1 for a byte that belongs to no character; TEXT_CUT_OFF.
 */
unsigned int text_char(const char *s, uint32_t *c);

#endif
