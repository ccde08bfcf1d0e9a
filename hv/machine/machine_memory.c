/* SPDX-License-Identifier: Apache-2.0 */
/*
 * machine_memory - regions of memory that come and go, and which pages of all of them are dirty.
 *
 * Where a region is, its place on the bus is taken as well: so no device is put there, and what
 * leaves KVM (a write into a rom or a flash) has somebody who hears of it.
 *
 *     add      host pages  ->  place on the bus  ->  KVM's slot: vCPUs reach it
 *     remove   KVM's slot  ->  place on the bus  ->  accesses that were under way are back  ->  host pages
 */
#include "hv/machine/machine_int.h"

#include <assert.h>
#include <errno.h>

static uint64_t nothing_read(void *dev, uint64_t offset, unsigned int len)
{
	(void)dev;
	(void)offset;
	(void)len;
	return ~0ull; /* only between the removal of a slot and that of its place on the bus */
}

static void write_vanishes(void *dev, uint64_t offset, unsigned int len, uint64_t value)
{
	(void)dev;
	(void)offset;
	(void)len;
	(void)value;
}

static const struct bus_ops nobody = { .read = nothing_read, .write = write_vanishes };

static int place_take(struct machine *m, struct gmem_region *r, const struct bus_ops *ops, void *dev, struct err *e)
{
	int ret = bus_add(m->mmio, r->gpa, r->size, ops ? ops : &nobody, ops ? dev : r);

	if (ret)
		return err_set(e, ret, "memory %s: 0x%llx: %s", r->name, (unsigned long long)r->gpa,
			       ret == -EEXIST ? "a device is there" : "too much is on the bus");
	m->region_devs[r->id] = ops ? dev : r;
	return 0;
}

static void place_leave(struct machine *m, const struct gmem_region *r)
{
	bus_remove(m->mmio, r->gpa, m->region_devs[r->id]);
	bus_wait(m->mmio);
	m->region_devs[r->id] = NULL;
}

static int region_add(struct machine *m, const struct gmem_piece *p, const struct bus_ops *ops, void *dev,
		      struct err *e)
{
	struct gmem_region *r;
	int ret = gmem_region_add(m->mem, p, &r, e);

	if (ret)
		return ret;
	assert(!ops || r->rules->stored);
	ret = place_take(m, r, ops, dev, e);
	if (!ret) {
		ret = kvm_slot_put(&m->kvm, r, false, e);
		if (ret)
			place_leave(m, r);
	}
	if (ret)
		gmem_region_remove(m->mem, r);
	return ret;
}

int machine_memory_add(struct machine *m, const struct gmem_piece *p, const struct bus_ops *ops, void *dev,
		       struct err *e)
{
	int ret;

	pthread_mutex_lock(&m->lock);
	if (gmem_rules_of(p->kind)->placed)
		ret = err_set(e, -EPERM, "memory %s: it comes and goes with its device", p->name);
	else if (machine_migrating(m))
		ret = err_set(e, -EBUSY, "memory %s: the domain is being migrated", p->name);
	else
		ret = region_add(m, p, ops, dev, e);
	pthread_mutex_unlock(&m->lock);
	return ret;
}

static int region_remove(struct machine *m, struct gmem_region *r, struct err *e)
{
	int ret = kvm_slot_remove(&m->kvm, r, e);

	if (ret)
		return ret;
	place_leave(m, r);
	gmem_region_remove(m->mem, r);
	return 0;
}

int machine_memory_remove(struct machine *m, const char *name, struct err *e)
{
	struct gmem_region *r;
	int ret;

	pthread_mutex_lock(&m->lock);
	r = gmem_region_find(m->mem, name);
	if (!r)
		ret = err_set(e, -ENOENT, "memory %s: there is no such region", name);
	else if (r->rules->placed)
		ret = err_set(e, -EPERM, "memory %s: it comes and goes with its device", name);
	else if (!r->rules->may_leave)
		ret = err_set(e, -EPERM, "memory %s: a machine cannot be without it", name);
	else if (machine_migrating(m))
		ret = err_set(e, -EBUSY, "memory %s: the domain is being migrated", name);
	else
		ret = region_remove(m, r, e);
	pthread_mutex_unlock(&m->lock);
	return ret;
}

struct gmem *machine_memory(struct machine *m)
{
	return m->mem;
}

int machine_memory_each(struct machine *m, int (*fn)(void *arg, const struct gmem_region *r, struct err *e),
			void *arg, struct err *e)
{
	struct gmem_region *r = NULL;
	int ret = 0;

	pthread_mutex_lock(&m->lock);
	while (!ret && (r = gmem_region_next(m->mem, r)))
		ret = fn(arg, r, e);
	pthread_mutex_unlock(&m->lock);
	return ret;
}

uint64_t machine_changes(struct machine *m)
{
	uint64_t changes;

	pthread_mutex_lock(&m->lock);
	changes = m->mem->changes + m->device_changes;
	pthread_mutex_unlock(&m->lock);
	return changes;
}

/* --- dirty pages --- */

int machine_dirty_start(struct machine *m, struct err *e)
{
	int ret;

	pthread_mutex_lock(&m->lock);
	ret = kvm_dirty_start(&m->kvm, e);
	pthread_mutex_unlock(&m->lock);
	return ret;
}

void machine_dirty_stop(struct machine *m)
{
	pthread_mutex_lock(&m->lock);
	kvm_dirty_stop(&m->kvm);
	pthread_mutex_unlock(&m->lock);
}

int machine_dirty_fetch(struct machine *m, uint32_t id, uint64_t *bitmap, struct err *e)
{
	return kvm_dirty_fetch(&m->kvm, id, bitmap, e);
}

int machine_dirty_clear(struct machine *m, uint32_t id, uint64_t first, uint64_t count,
			const uint64_t *bitmap, struct err *e)
{
	return kvm_dirty_clear(&m->kvm, id, first, count, bitmap, e);
}
