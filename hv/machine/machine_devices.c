/* SPDX-License-Identifier: Apache-2.0 */
/*
 * machine_devices - the devices of a machine: a list of those that are there, made from the table
 * (device_table.c) and the configuration.
 *
 * What the guest can do with a device while it comes or goes is the device's own business
 * (hv/device/device.h).  m->lock is held meanwhile, so a hold, a save or a reset finds it whole, or
 * not at all; who walks the list with m->devices_lock only keeps it from being destroyed.
 */
#include "hv/machine/device_table.h"
#include "hv/machine/machine_int.h"

#include "base/clock.h"
#include "base/log.h"
#include "hv/disk/rings.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* --- the list --- */

static size_t row_of(const struct device_kind *kind)
{
	size_t row = 0;

	while (device_table[row] != kind)
		row++;
	return row;
}

static bool comes_before(const struct machine_device *a, const struct machine_device *b)
{
	return a->kind == b->kind ? a->index < b->index : row_of(a->kind) < row_of(b->kind);
}

static void list_add(struct machine *m, struct machine_device *d)
{
	struct machine_device **at = &m->devices;

	pthread_rwlock_wrlock(&m->devices_lock);
	while (*at && comes_before(*at, d))
		at = &(*at)->next;
	assert(!*at || comes_before(d, *at)); /* there is no second one of it */
	d->next = *at;
	*at = d;
	m->device_changes++;
	pthread_rwlock_unlock(&m->devices_lock);
}

static void list_remove(struct machine *m, const struct machine_device *d)
{
	struct machine_device **at = &m->devices;

	pthread_rwlock_wrlock(&m->devices_lock);
	while (*at != d)
		at = &(*at)->next;
	*at = d->next;
	m->device_changes++;
	pthread_rwlock_unlock(&m->devices_lock);
}

struct machine_device *machine_device_next(struct machine *m, const struct device_kind *kind,
					   struct machine_device *d)
{
	d = d ? d->next : m->devices;
	while (d && kind && d->kind != kind)
		d = d->next;
	return d;
}

void *machine_device_only(struct machine *m, const struct device_kind *kind)
{
	struct machine_device *d;

	pthread_rwlock_rdlock(&m->devices_lock);
	d = machine_device_next(m, kind, NULL);
	pthread_rwlock_unlock(&m->devices_lock);
	return d ? d->dev : NULL;
}

static struct machine_device *device_find(struct machine *m, const struct device_kind *kind,
					  unsigned int index)
{
	struct machine_device *d = NULL;

	while ((d = machine_device_next(m, kind, d)))
		if (d->index == index)
			break;
	return d;
}

/* --- come and go --- */

static void device_free(struct machine_device *d)
{
	d->kind->destroy(d->dev);
	free(d->part.pristine);
	free(d);
}

/* It is quiet, and the guest cannot reach it yet: what is saved now is what a reset goes back to. */
static int device_make(struct machine *m, const struct device_kind *kind, unsigned int index,
		       const struct domain_conf *conf, struct machine_device **out, struct err *e)
{
	struct machine_device *d = calloc(1, sizeof(*d));
	int ret;

	if (!d)
		return err_set(e, -ENOMEM, "%s%u: no memory", kind->name, index);
	d->kind = kind;
	d->index = index;
	ret = kind->create(&m->env, conf, index, &d->dev, e);
	if (ret) {
		free(d);
		return ret;
	}
	d->part.entries = d->entries;
	d->part.n_entries = kind->state(d->dev, d->entries);
	ret = machine_part_keep(&d->part, e);
	if (ret)
		device_free(d);
	else
		*out = d;
	return ret;
}

static int device_add(struct machine *m, const struct device_kind *kind, unsigned int index,
		      const struct domain_conf *conf, struct err *e)
{
	struct machine_device *d = NULL;
	int ret = device_make(m, kind, index, conf, &d, e);

	if (ret)
		return ret;
	if (kind == &virtio_blk_device)
		ret = machine_disk_join(m, d->dev, e);
	if (!ret && !machine_holders(m))
		ret = kind->start(d->dev, e);
	list_add(m, d);
	if (!ret)
		ret = kind->plug(d->dev, e);
	if (ret) {
		list_remove(m, d);
		device_free(d);
	}
	return ret;
}

static const struct device_kind *kind_find(const char *name, struct err *e)
{
	for (const struct device_kind *const *k = device_table; *k; k++)
		if (!strcmp((*k)->name, name))
			return *k;
	err_set(e, -EINVAL, "there is no kind of devices called %.31s", name);
	return NULL;
}

bool machine_migrating(struct machine *m)
{
	return atomic_load(&m->mem->tracking) || (machine_holders(m) & HOLD_MIGRATION);
}

int machine_device_add(struct machine *m, const char *name, unsigned int index,
		       const struct domain_conf *conf, struct err *e)
{
	const struct device_kind *kind = kind_find(name, e);
	int ret;

	if (!kind)
		return -EINVAL;
	if (index >= kind->wanted(conf))
		return err_set(e, -EINVAL, "%s%u: the domain's file has %u", name, index, kind->wanted(conf));
	pthread_mutex_lock(&m->lock);
	if (device_find(m, kind, index))
		ret = err_set(e, -EEXIST, "%s%u: it is there already", name, index);
	else if (machine_migrating(m))
		ret = err_set(e, -EBUSY, "%s%u: the domain is being migrated", name, index);
	else if (m->disks_moving)
		ret = err_set(e, -EBUSY, "%s%u: the domain's disks are being let go of or taken again (the lease)", name, index);
	else
		ret = device_add(m, kind, index, conf, e);
	pthread_mutex_unlock(&m->lock);
	return ret;
}

/*
 * What it has taken on comes to its end first: the guest has been told nothing else.  A device that
 * could not be saved now (a write has failed and waits) cannot be let go either.
 */
static int device_drain(struct machine *m, struct machine_device *d, struct err *e)
{
	int ret = d->kind->quiesce(d->dev, MACHINE_QUIESCE_MS, e);

	for (size_t i = 0; i < d->part.n_entries && !ret; i++)
		ret = d->entries[i].desc->pre_save(d->entries[i].dev, e);
	if (!ret && d->kind == &virtio_blk_device)
		ret = virtio_blk_flush(d->dev, e);
	if (ret && !machine_holders(m))
		d->kind->start(d->dev, NULL);
	return ret;
}

int machine_device_remove(struct machine *m, const char *name, unsigned int index, struct err *e)
{
	const struct device_kind *kind = kind_find(name, e);
	struct machine_device *d;
	int ret;

	if (!kind)
		return -EINVAL;
	if (!kind->may_leave)
		return err_set(e, -EPERM, "%s%u: a machine cannot be without it", name, index);
	pthread_mutex_lock(&m->lock);
	d = device_find(m, kind, index);
	if (!d)
		ret = err_set(e, -ENOENT, "%s%u: there is no such device", name, index);
	else if (machine_migrating(m))
		ret = err_set(e, -EBUSY, "%s%u: the domain is being migrated", name, index);
	else if (m->disks_moving)
		ret = err_set(e, -EBUSY, "%s%u: the domain's disks are being let go of or taken again (the lease)", name, index);
	else
		ret = device_drain(m, d, e);
	if (!ret) {
		list_remove(m, d);
		device_free(d);
	}
	pthread_mutex_unlock(&m->lock);
	return ret;
}

/* --- all of them --- */

static bool may_submit(void *arg)
{
	struct machine *m = arg;

	return !m->opt.may_submit || m->opt.may_submit(m->opt.arg);
}

static void disk_held(void *arg, bool held, const char *why)
{
	struct machine *m = arg;

	m->opt.disk_held(m->opt.arg, held, why);
}

static void memory_place(void *arg, struct gmem_region *r, uint64_t gpa)
{
	struct machine *m = arg;
	struct err e;

	if (kvm_slot_place(&m->kvm, r, gpa, &e))
		log_warn("memory %s: the guest does not find it: %s", r->name, e.text);
}

static void env_fill(struct machine *m)
{
	struct device_env *env = &m->env;

	env->mem = m->mem;
	env->pio = m->pio;
	env->mmio = m->mmio;
	env->irq = m->irq;
	env->seat = m->seat;
	env->may_submit = may_submit;
	env->disk_held = m->opt.disk_held ? disk_held : NULL;
	env->leased = m->opt.leased;
	env->disks = m->opt.disks;
	env->ports = m->opt.ports;
	env->memory_place = memory_place;
	env->off = machine_on_off;
	env->reset = machine_on_reset;
	env->arg = m;
}

int machine_devices_create(struct machine *m, struct err *e)
{
	int ret = rings_create(&m->env.rings, e);

	env_fill(m);
	for (const struct device_kind *const *k = device_table; *k && !ret; k++)
		for (unsigned int i = 0; i < (*k)->wanted(m->conf) && !ret; i++)
			ret = device_add(m, *k, i, m->conf, e);
	return ret;
}

/* The last first: those behind the PCI bus before the bus. */
void machine_devices_destroy(struct machine *m)
{
	while (m->devices) {
		struct machine_device *last = m->devices;

		while (last->next)
			last = last->next;
		list_remove(m, last);
		device_free(last);
	}
}

int machine_devices_quiesce(struct machine *m, unsigned int wait_ms, struct err *e)
{
	uint64_t end = clock_ms() + wait_ms, now;
	struct machine_device *d = NULL;
	int ret = 0, one;

	while ((d = machine_device_next(m, NULL, d)))
		d->kind->quiesce_begin(d->dev);
	while ((d = machine_device_next(m, NULL, d))) {
		now = clock_ms();
		one = d->kind->quiesce(d->dev, now < end ? (unsigned int)(end - now) : 0, ret ? NULL : e);
		if (!ret)
			ret = one;
	}
	return ret;
}

int machine_devices_start(struct machine *m, struct err *e)
{
	struct machine_device *d = NULL;
	int ret;

	while ((d = machine_device_next(m, NULL, d))) {
		ret = d->kind->start(d->dev, e);
		if (ret) {
			machine_devices_quiesce(m, MACHINE_QUIESCE_MS, NULL);
			return ret;
		}
	}
	return 0;
}
