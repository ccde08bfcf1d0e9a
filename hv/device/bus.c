/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bus - who answers at which port or address (bus.h).
 *
 * A sorted array and binary search.  To look up takes the lock of one seat, to change takes
 * those of all seats.  Each thread has a seat, so that vCPUs look up without a cache line in
 * common (more threads than seats share some).
 *
 * A handler runs without any of these locks, as it may change the bus itself (a guest moves a
 * BAR).  It is counted instead, in its seat, in the column of the turn in which it was found:
 *
 *     bus_wait():   turn 0 ──> turn 1     then until column 0 is empty in each seat
 *
 * Nobody enters column 0 any more, so that ends however busy the bus is; and column 1 had been
 * empty, as the wait before this one ended with that.
 */
#include "hv/device/bus.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define BUS_SEATS 16
#define CACHE_LINE 64

struct bus_range {
	uint64_t base, len;
	const struct bus_ops *ops;
	void *dev;
};

struct bus_seat {
	alignas(CACHE_LINE) pthread_mutex_t lock;
	_Atomic unsigned int inside[2]; /* accesses whose handler may run, by turn */
};

struct bus {
	struct bus_seat seats[BUS_SEATS];
	/* With the locks of all seats to change, of any one to read. */
	struct bus_range ranges[BUS_RANGES_MAX]; /* by base */
	size_t n;
	unsigned int turn; /* 0 or 1: the column in which accesses are counted now */

	pthread_mutex_t wait_lock;
	pthread_cond_t wait_changed;
	_Atomic bool waiting; /* somebody is in bus_wait(): tell him of those that leave */
};

static _Atomic unsigned int seats_given;
static _Thread_local unsigned int handlers; /* of this thread that have not come back: a handler may use a bus */

static struct bus_seat *my_seat(struct bus *b)
{
	static _Thread_local unsigned int seat; /* 0: none yet */

	if (!seat)
		seat = 1 + atomic_fetch_add(&seats_given, 1) % BUS_SEATS;
	return &b->seats[seat - 1];
}

static void lock_all(struct bus *b)
{
	for (size_t i = 0; i < BUS_SEATS; i++)
		pthread_mutex_lock(&b->seats[i].lock);
}

static void unlock_all(struct bus *b)
{
	for (size_t i = BUS_SEATS; i--;)
		pthread_mutex_unlock(&b->seats[i].lock);
}

int bus_create(struct bus **out)
{
	struct bus *b = aligned_alloc(CACHE_LINE, sizeof(*b));

	if (!b)
		return -ENOMEM;
	memset(b, 0, sizeof(*b));
	for (size_t i = 0; i < BUS_SEATS; i++)
		pthread_mutex_init(&b->seats[i].lock, NULL);
	pthread_mutex_init(&b->wait_lock, NULL);
	pthread_cond_init(&b->wait_changed, NULL);
	*out = b;
	return 0;
}

void bus_destroy(struct bus *b)
{
	if (!b)
		return;
	for (size_t i = 0; i < BUS_SEATS; i++)
		assert(!b->seats[i].inside[0] && !b->seats[i].inside[1]);
	pthread_cond_destroy(&b->wait_changed);
	pthread_mutex_destroy(&b->wait_lock);
	for (size_t i = 0; i < BUS_SEATS; i++)
		pthread_mutex_destroy(&b->seats[i].lock);
	free(b);
}

/* --- the table --- */

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

int bus_add(struct bus *b, uint64_t base, uint64_t len, const struct bus_ops *ops, void *dev)
{
	int ret = 0;
	size_t at;

	if (!len || base + (len - 1) < base)
		return -EINVAL;
	lock_all(b);
	at = bus_above(b, base);
	if (b->n == BUS_RANGES_MAX) {
		ret = -ENOSPC;
	} else if ((at && base - b->ranges[at - 1].base < b->ranges[at - 1].len) ||
		   (at < b->n && b->ranges[at].base - base < len)) {
		ret = -EEXIST;
	} else {
		memmove(&b->ranges[at + 1], &b->ranges[at], (b->n - at) * sizeof(b->ranges[0]));
		b->ranges[at] = (struct bus_range){ base, len, ops, dev };
		b->n++;
	}
	unlock_all(b);
	return ret;
}

void bus_remove(struct bus *b, uint64_t base, const void *dev)
{
	size_t at;

	lock_all(b);
	at = bus_above(b, base);
	if (at && b->ranges[at - 1].base == base && b->ranges[at - 1].dev == dev) {
		memmove(&b->ranges[at - 1], &b->ranges[at], (b->n - at) * sizeof(b->ranges[0]));
		b->n--;
	}
	unlock_all(b);
}

/* --- accesses --- */

struct bus_access {
	struct bus_range range;       /* ops is NULL when nobody claims it */
	_Atomic unsigned int *inside; /* where it is counted */
};

/* Find the range that holds all of [@addr, @addr + @len). */
static struct bus_access bus_enter(struct bus *b, uint64_t addr, unsigned int len)
{
	struct bus_seat *seat = my_seat(b);
	struct bus_access a = { 0 };
	size_t at;

	pthread_mutex_lock(&seat->lock);
	at = bus_above(b, addr);
	if (at) {
		const struct bus_range *c = &b->ranges[at - 1];
		uint64_t offset = addr - c->base;

		if (offset < c->len && len <= c->len - offset) {
			a.range = *c;
			a.inside = &seat->inside[b->turn];
			atomic_fetch_add(a.inside, 1);
			handlers++;
		}
	}
	pthread_mutex_unlock(&seat->lock);
	return a;
}

static void bus_leave(struct bus *b, const struct bus_access *a)
{
	handlers--;
	/* Either the one who waits sees the count that this leaves, or this sees that he waits. */
	atomic_fetch_sub(a->inside, 1);
	if (!atomic_load(&b->waiting))
		return;
	pthread_mutex_lock(&b->wait_lock);
	pthread_cond_broadcast(&b->wait_changed);
	pthread_mutex_unlock(&b->wait_lock);
}

uint64_t bus_read(struct bus *b, uint64_t addr, unsigned int len)
{
	struct bus_access a = bus_enter(b, addr, len);
	uint64_t value;

	if (!a.range.ops)
		return ~0ull;
	value = a.range.ops->read(a.range.dev, addr - a.range.base, len);
	bus_leave(b, &a);
	return value;
}

void bus_write(struct bus *b, uint64_t addr, unsigned int len, uint64_t value)
{
	struct bus_access a = bus_enter(b, addr, len);

	if (!a.range.ops)
		return;
	a.range.ops->write(a.range.dev, addr - a.range.base, len, value);
	bus_leave(b, &a);
}

void bus_wait(struct bus *b)
{
	unsigned int before;

	assert(!handlers); /* it would wait for itself */
	pthread_mutex_lock(&b->wait_lock);
	while (atomic_load(&b->waiting)) /* one at a time: there are two turns only */
		pthread_cond_wait(&b->wait_changed, &b->wait_lock);
	atomic_store(&b->waiting, true);
	lock_all(b);
	before = b->turn;
	b->turn = !before;
	for (size_t i = 0; i < BUS_SEATS; i++)
		assert(!atomic_load(&b->seats[i].inside[b->turn]));
	unlock_all(b);
	for (size_t i = 0; i < BUS_SEATS; i++)
		while (atomic_load(&b->seats[i].inside[before]))
			pthread_cond_wait(&b->wait_changed, &b->wait_lock);
	atomic_store(&b->waiting, false);
	pthread_cond_broadcast(&b->wait_changed);
	pthread_mutex_unlock(&b->wait_lock);
}
