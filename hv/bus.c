/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bus - who answers at which port or address (bus.h).
 *
 * A sorted array and binary search under a read-write lock.  The handler runs
 * outside of the lock: devices live as long as the machine, only their
 * addresses change, so a handler that was just removed may at worst answer one
 * access late, as on a real bus.
 */
#include "hv/bus.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct bus_range {
	uint64_t base, len;
	const struct bus_ops *ops;
	void *dev;
	const char *name;
};

struct bus {
	pthread_rwlock_t lock;
	struct bus_range ranges[BUS_RANGES_MAX]; /* by base */
	size_t n;
};

int bus_create(struct bus **out)
{
	struct bus *b = calloc(1, sizeof(*b));

	if (!b)
		return -ENOMEM;
	pthread_rwlock_init(&b->lock, NULL);
	*out = b;
	return 0;
}

void bus_destroy(struct bus *b)
{
	if (!b)
		return;
	pthread_rwlock_destroy(&b->lock);
	free(b);
}

/* Index of the first range that starts above @addr. */
static size_t bus_above(const struct bus *b, uint64_t addr)
{
	size_t lo = 0, hi = b->n;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (b->ranges[mid].base > addr)
			hi = mid;
		else
			lo = mid + 1;
	}
	return lo;
}

int bus_add(struct bus *b, uint64_t base, uint64_t len, const struct bus_ops *ops, void *dev,
	    const char *name)
{
	int ret = 0;
	size_t at;

	if (!len || base + (len - 1) < base)
		return -EINVAL;
	pthread_rwlock_wrlock(&b->lock);
	at = bus_above(b, base);
	if (b->n == BUS_RANGES_MAX) {
		ret = -ENOSPC;
	} else if ((at && base - b->ranges[at - 1].base < b->ranges[at - 1].len) ||
		   (at < b->n && b->ranges[at].base - base < len)) {
		ret = -EEXIST;
	} else {
		memmove(&b->ranges[at + 1], &b->ranges[at], (b->n - at) * sizeof(b->ranges[0]));
		b->ranges[at] = (struct bus_range){ base, len, ops, dev, name };
		b->n++;
	}
	pthread_rwlock_unlock(&b->lock);
	return ret;
}

void bus_remove(struct bus *b, uint64_t base)
{
	size_t at;

	pthread_rwlock_wrlock(&b->lock);
	at = bus_above(b, base);
	if (at && b->ranges[at - 1].base == base) {
		memmove(&b->ranges[at - 1], &b->ranges[at], (b->n - at) * sizeof(b->ranges[0]));
		b->n--;
	}
	pthread_rwlock_unlock(&b->lock);
}

/* The range that holds all of [@addr, @addr + @len); ops is NULL when nobody claims it. */
static struct bus_range bus_find(struct bus *b, uint64_t addr, unsigned int len)
{
	struct bus_range r = { 0 };
	size_t at;

	pthread_rwlock_rdlock(&b->lock);
	at = bus_above(b, addr);
	if (at) {
		const struct bus_range *c = &b->ranges[at - 1];
		uint64_t offset = addr - c->base;

		if (offset < c->len && len <= c->len - offset)
			r = *c;
	}
	pthread_rwlock_unlock(&b->lock);
	return r;
}

uint64_t bus_read(struct bus *b, uint64_t addr, unsigned int len)
{
	struct bus_range r = bus_find(b, addr, len);

	if (!r.ops)
		return ~0ull;
	return r.ops->read(r.dev, addr - r.base, len);
}

void bus_write(struct bus *b, uint64_t addr, unsigned int len, uint64_t value)
{
	struct bus_range r = bus_find(b, addr, len);

	if (r.ops)
		r.ops->write(r.dev, addr - r.base, len, value);
}
