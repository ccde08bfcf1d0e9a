/* SPDX-License-Identifier: Apache-2.0 */
/*
 * number - the one way a whole number is read from text that a person or a
 * peer wrote.  strtoul() takes spaces, signs, wraps a minus around and stops
 * where it likes; none of that is what "--incarnation -1" meant.
 */
#ifndef DROVER_BASE_NUMBER_H
#define DROVER_BASE_NUMBER_H

#include <stdbool.h>
#include <stdint.h>

/**
 * number_digits() - the decimal digits at the start of @text, which then points behind them
 * Return: 0, -EINVAL when there is no digit, -ERANGE above UINT64_MAX; @text and @out are untouched then
 */
int number_digits(const char **text, uint64_t *out);

/**
 * number_parse() - decimal digits, at least one, and nothing else
 * @min, @max: what is accepted, both included
 * @out: untouched unless true is returned
 * The caller says what was expected: only it knows whose number this is.
 */
bool number_parse(const char *text, uint64_t min, uint64_t max, uint64_t *out);

/** NUMBER_TEXT() - the number that the macro @name stands for, as a string literal */
#define NUMBER_TEXT(name) NUMBER_TEXT_(name)
#define NUMBER_TEXT_(number) #number

#endif
