/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bus - who answers at which port or guest-physical address.
 *
 * Ranges never overlap.  vCPU threads look up and call; ranges may be added and removed
 * at run time (a guest moves a BAR, a device comes or goes).  A handler runs outside of
 * the bus's locks, under the device's own.  Reads that nobody claims return all ones,
 * writes vanish: what a PC does.
 *
 * How a device leaves while the guest runs:
 *
 *     bus_remove()   no access that begins from now on finds it
 *     bus_wait()     those that had found it before have come back
 *     free()
 *
 * What a handler reaches in turn (the slots behind a PCI bus) leaves in the same way: out of
 * reach first, then bus_wait().
 */
#ifndef DROVER_HV_DEVICE_BUS_H
#define DROVER_HV_DEVICE_BUS_H

#include "base/err.h"

#include <stdint.h>

#define BUS_RANGES_MAX 256

struct bus_ops {
	/* @offset from the range's base; @len is 1, 2, 4 or 8; the range holds all of it.  Must not
	 * wait for long: bus_wait() waits for it. */
	uint64_t (*read)(void *dev, uint64_t offset, unsigned int len);
	void (*write)(void *dev, uint64_t offset, unsigned int len, uint64_t value);
};

struct bus;

/** bus_create() - one on which nobody answers; 0 or -ENOMEM */
int bus_create(struct bus **out);
/** bus_destroy() - free @b, on which no access runs or begins any more; NULL is nothing */
void bus_destroy(struct bus *b);

/**
 * bus_add() - let @dev answer at [@base, @base + @len); any thread, also from a handler
 * Return: 0; -EINVAL for no range; -EEXIST when it overlaps another; -ENOSPC when the table is full.
 */
int bus_add(struct bus *b, uint64_t base, uint64_t len, const struct bus_ops *ops, void *dev);
/**
 * bus_remove() - @dev answers at @base no more; nothing when it did not; any thread, also from a handler
 * A handler that was found before may still run: bus_wait().
 */
void bus_remove(struct bus *b, uint64_t base, const void *dev);
/**
 * bus_wait() - return when every access that had begun before has come back from its handler
 * Not from a handler, nor with a lock that a handler takes.
 */
void bus_wait(struct bus *b);

/**
 * bus_read() - one access of @len (1, 2, 4 or 8) bytes; any thread
 * Return: what the handler said, of which the low @len bytes count; all ones when no range holds all of it.
 */
uint64_t bus_read(struct bus *b, uint64_t addr, unsigned int len);
/** bus_write() - the same for a write, which vanishes when no range holds all of it */
void bus_write(struct bus *b, uint64_t addr, unsigned int len, uint64_t value);

#endif
