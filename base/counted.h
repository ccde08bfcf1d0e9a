/* SPDX-License-Identifier: Apache-2.0 */
/*
 * counted - an array in a byte string: how many elements there are, then so many of them.
 *
 *     0       2               6
 *     +-------+---------------+---------------------------------+
 *     | size  | count         | count elements of size bytes    |
 *     +-------+---------------+---------------------------------+
 *
 * What a program was compiled with room for is not in it.  How much room there is, the reader says
 * when it meets a count; a reader with more room takes the same bytes.
 */
#ifndef DROVER_BASE_COUNTED_H
#define DROVER_BASE_COUNTED_H

#include "base/bytes.h"
#include "base/err.h"

#define COUNTED_HEAD 6u /* bytes in front of the elements */

/** counted_put() - the head of @count elements of @size bytes each, which the caller writes next */
void counted_put(struct writer *w, uint16_t size, uint32_t count);

/**
 * counted_get() - the head, checked, and the elements
 * @what: the array's name, for the error
 * @size: bytes of one element; an array of others is refused
 * @room: how many this reader can keep
 * @elements: receives a reader of exactly *@count elements, inside @r's bytes
 * Return: 0; -EINVAL with the name and both numbers: elements of another size, more of them than
 * there is room for, or than there are bytes.  Nothing is allocated on a count's word.
 */
int counted_get(struct reader *r, const char *what, uint16_t size, uint32_t room, uint32_t *count,
		struct reader *elements, struct err *e);

#endif
