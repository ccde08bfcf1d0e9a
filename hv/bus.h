/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bus - who answers at which port or guest-physical address.
 *
 * Ranges never overlap.  vCPU threads look up and call; ranges may be added
 * and removed at run time (a guest moves a BAR), so look-up takes a read lock
 * and the handler runs outside of it, under the device's own lock.  Reads that
 * nobody claims return all ones, writes vanish: what a PC does.
 */
#ifndef DROVER_HV_BUS_H
#define DROVER_HV_BUS_H

#include "base/err.h"

#include <stdint.h>

#define BUS_RANGES_MAX 256

struct bus_ops {
	/* @offset from the range's base; @len is 1, 2, 4 or 8; the range holds all of it. */
	uint64_t (*read)(void *dev, uint64_t offset, unsigned int len);
	void (*write)(void *dev, uint64_t offset, unsigned int len, uint64_t value);
};

struct bus;

int bus_create(struct bus **out);
void bus_destroy(struct bus *b);

/** bus_add() - -EEXIST when the range overlaps another, -ENOSPC when the table is full */
int bus_add(struct bus *b, uint64_t base, uint64_t len, const struct bus_ops *ops, void *dev,
	    const char *name);
void bus_remove(struct bus *b, uint64_t base);

uint64_t bus_read(struct bus *b, uint64_t addr, unsigned int len);
void bus_write(struct bus *b, uint64_t addr, unsigned int len, uint64_t value);

#endif
