/* SPDX-License-Identifier: Apache-2.0 */
/*
 * machine_state - one string with the state of every device, and back.
 *
 *     0         4         6         8
 *     +---------+---------+---------+
 *     | "DRVS"  | version | records |
 *     +---------+---------+---------+
 *     per record:
 *     +------+-----------------+---------+--------+----------------------------+
 *     | n u8 | instance, n     | ver u16 | u32 len| fields (hv/device/state.c) |
 *     +------+-----------------+---------+--------+----------------------------+
 *
 * First the machine's own records (CPUID, vCPUs, the VM), then those of its devices.  Both sides
 * build the same list of devices from the same domain file, so records come in the order of that
 * list, and a name out of place is refused (rule S).  All of the string is checked (names,
 * versions, tags, sizes, counts) before any of it is loaded.
 *
 * A reset loads what each device, and the machine itself, was when it was new.
 *
 * vCPUs are read and written by their own threads side by side; the records of
 * the vCPUs come first and are put into force before anything else is loaded:
 * interrupts that devices raise while loading must find their LAPIC.
 */
#include "hv/machine/machine_int.h"

#include "base/bytes.h"
#include "base/log.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAGIC 0x53565244u /* "DRVS" */
#define VERSION 1
#define HEAD 8

/* --- the records --- */

const struct state_entry *machine_entry_next(struct machine *m, struct machine_device **d,
					     const struct state_entry *s)
{
	struct machine_part *p = *d ? &(*d)->part : &m->own;

	if (!s)
		return m->own.entries;
	if (++s < p->entries + p->n_entries)
		return s;
	*d = machine_device_next(m, NULL, *d);
	return *d ? (*d)->part.entries : NULL;
}

static size_t count_entries(struct machine *m)
{
	const struct state_entry *s = NULL;
	struct machine_device *d = NULL;
	size_t n = 0;

	while ((s = machine_entry_next(m, &d, s)))
		n++;
	return n;
}

int machine_own_build(struct machine *m, struct err *e)
{
	struct state_entry *s = calloc(m->conf->vcpus + 2, sizeof(*s));

	if (!s)
		return err_set(e, -ENOMEM, "machine: out of memory");
	m->own.entries = s;
	m->own.n_entries = m->conf->vcpus + 2;
	m->vm_state.kvm = &m->kvm;
	m->cpuid_state.vcpus = m->vcpus;
	*s++ = (struct state_entry){ &cpuid_state_desc, "cpuid", &m->cpuid_state };
	for (uint32_t i = 0; i < m->conf->vcpus; i++, s++) {
		*s = (struct state_entry){ .desc = &vcpu_state_desc, .dev = m->vcpus->v[i].state };
		snprintf(s->instance, sizeof(s->instance), "vcpu%u", i);
	}
	*s = (struct state_entry){ &vm_state_desc, "vm", &m->vm_state };
	return 0;
}

/* --- save --- */

/* An upper bound: name, version, length, and every field with its tag. */
static size_t entry_size(const struct state_entry *s)
{
	return 1 + STATE_NAME_MAX + 2 + 4 + state_size_max(s->desc);
}

static int save_entry(const struct state_entry *s, struct writer *w, struct err *e)
{
	size_t name = strlen(s->instance);
	struct writer body;
	uint8_t *len_at;
	uint32_t le;
	int ret;

	writer_u8(w, (uint8_t)name);
	writer_bytes(w, s->instance, name);
	writer_u16(w, s->desc->version);
	len_at = writer_room(w, 4);
	if (!len_at)
		return err_set(e, -ENOSPC, "%s: device state does not fit the buffer", s->instance);
	body = writer_make(w->p, (size_t)(w->end - w->p));
	ret = state_save_one(s, &body, e);
	if (ret)
		return ret;
	le = htole32((uint32_t)writer_len(&body));
	memcpy(len_at, &le, sizeof(le));
	writer_room(w, writer_len(&body));
	return 0;
}

static int save_part(const struct machine_part *p, struct writer *w, struct err *e)
{
	int ret = 0;

	for (size_t i = 0; i < p->n_entries && !ret; i++)
		ret = save_entry(&p->entries[i], w, e);
	return ret;
}

static size_t part_size(const struct machine_part *p)
{
	size_t size = 0;

	for (size_t i = 0; i < p->n_entries; i++)
		size += entry_size(&p->entries[i]);
	return size;
}

int machine_part_keep(struct machine_part *p, struct err *e)
{
	size_t size = part_size(p);
	uint8_t *buf = malloc(size);
	struct writer w;
	int ret;

	if (!buf)
		return err_set(e, -ENOMEM, "machine state: out of memory");
	w = writer_make(buf, size);
	ret = save_part(p, &w, e);
	if (ret) {
		free(buf);
		return ret;
	}
	p->pristine = buf;
	p->pristine_len = writer_len(&w);
	return 0;
}

static int save_locked(struct machine *m, uint8_t **buf, size_t *len, struct err *e)
{
	struct machine_device *d = NULL;
	size_t size = HEAD + part_size(&m->own);
	struct writer w;
	uint8_t *out;
	int ret;

	while ((d = machine_device_next(m, NULL, d)))
		size += part_size(&d->part);
	out = malloc(size);
	if (!out)
		return err_set(e, -ENOMEM, "machine state: out of memory");
	w = writer_make(out, size);
	writer_u32(&w, MAGIC);
	writer_u16(&w, VERSION);
	writer_u16(&w, (uint16_t)count_entries(m));
	ret = vcpus_each(m->vcpus, vcpu_state_get, e);
	if (!ret)
		ret = save_part(&m->own, &w, e);
	while (!ret && (d = machine_device_next(m, NULL, d)))
		ret = save_part(&d->part, &w, e);
	if (ret) {
		free(out);
		return ret;
	}
	*buf = out;
	*len = writer_len(&w);
	return 0;
}

/* --- load --- */

/* The record that must be @s's: what of it state.c reads is @body. */
static int take_entry(const struct state_entry *s, struct reader *r, uint16_t *version, struct reader *body,
		      struct err *e)
{
	char name[STATE_NAME_MAX + 1] = "";
	const uint8_t *p;
	uint32_t len;
	uint8_t n;

	n = reader_u8(r);
	if (n > STATE_NAME_MAX)
		return err_set(e, -EINVAL, "machine state: a name of %u bytes, expected at most %u", n,
			       STATE_NAME_MAX);
	reader_copy(r, name, n);
	*version = reader_u16(r);
	len = reader_u32(r);
	p = reader_take(r, len);
	if (!p)
		return err_set(e, -EINVAL, "machine state: truncated in %s", s->instance);
	if (strcmp(name, s->instance) || strlen(name) != n)
		return err_set(e, -EINVAL, "machine state: device %.*s, expected %s", n, name,
			       s->instance);
	*body = reader_make(p, len);
	return 0;
}

static int load_entry(const struct state_entry *s, bool apply, struct reader *r, struct err *e)
{
	struct reader body;
	uint16_t version;
	int ret = take_entry(s, r, &version, &body, e);

	return ret || !apply ? ret : state_load_one(s, version, &body, e);
}

/* All records are looked at before one of them changes anything here. */
static int check_all(struct machine *m, struct reader r, struct err *e)
{
	const struct state_entry *s = NULL;
	struct machine_device *d = NULL;
	struct reader body;
	uint16_t version;
	int ret = 0;

	while (!ret && (s = machine_entry_next(m, &d, s))) {
		ret = take_entry(s, &r, &version, &body, e);
		if (!ret)
			ret = state_check_one(s, version, &body, e);
	}
	if (!ret && reader_left(&r))
		ret = err_set(e, -EINVAL, "machine state: %zu bytes too many", reader_left(&r));
	return ret;
}

static int load_part(const struct machine_part *p, struct reader *r, struct err *e)
{
	int ret = 0;

	for (size_t i = 0; i < p->n_entries && !ret; i++)
		ret = load_entry(&p->entries[i], true, r, e);
	return ret;
}

/*
 * @reset: CPUID is left alone: a guest that came from elsewhere keeps what it has seen there, and
 * KVM changes none under a vCPU that has run.
 */
static int load_own(struct machine *m, bool reset, struct reader *r, struct err *e)
{
	const struct state_entry *s = m->own.entries, *vm = s + 1 + m->conf->vcpus;
	int ret = load_entry(s++, !reset, r, e);

	while (!ret && s < vm)
		ret = load_entry(s++, true, r, e);
	/* CPUID and vCPUs have been read: now they count, before what interrupts them. */
	if (!ret)
		ret = vcpus_each(m->vcpus, vcpu_state_set, e);
	return ret ? ret : load_entry(vm, true, r, e);
}

static int load_all(struct machine *m, struct reader *r, struct err *e)
{
	struct machine_device *d = NULL;
	int ret = load_own(m, false, r, e);

	while (!ret && (d = machine_device_next(m, NULL, d)))
		ret = load_part(&d->part, r, e);
	return ret;
}

int machine_pristine_load(struct machine *m, struct err *e)
{
	struct reader r = reader_make(m->own.pristine, m->own.pristine_len);
	struct machine_device *d = NULL;
	int ret;

	irq_batch_begin(m->irq);
	ret = load_own(m, true, &r, e);
	while (!ret && (d = machine_device_next(m, NULL, d))) {
		r = reader_make(d->part.pristine, d->part.pristine_len);
		ret = load_part(&d->part, &r, e);
	}
	irq_batch_end(m->irq);
	return ret;
}

static int load_locked(struct machine *m, const uint8_t *buf, size_t len, struct err *e)
{
	struct reader r = reader_make(buf, len);
	uint16_t version, count;
	int ret;

	if (len > MACHINE_STATE_MAX)
		return err_set(e, -EINVAL, "machine state: %zu bytes, expected at most %u", len,
			       MACHINE_STATE_MAX);
	if (reader_u32(&r) != MAGIC)
		return err_set(e, -EINVAL, "machine state: no such thing (wrong magic)");
	version = reader_u16(&r);
	count = reader_u16(&r);
	if (version != VERSION)
		return err_set(e, -EINVAL, "machine state: version %u, this program reads %u", version,
			       VERSION);
	if (count != count_entries(m))
		return err_set(e, -EINVAL, "machine state: %u devices, expected %zu", count,
			       count_entries(m));
	ret = check_all(m, r, e);
	if (ret)
		return ret;
	/* One new routing table for all devices, not one for each vector. */
	irq_batch_begin(m->irq);
	ret = load_all(m, &r, e);
	irq_batch_end(m->irq);
	assert(ret || !reader_left(&r)); /* as checked */
	return ret;
}

/* --- for the outside --- */

int machine_save(struct machine *m, uint8_t **buf, size_t *len, struct err *e)
{
	unsigned int holders;
	int ret;

	pthread_mutex_lock(&m->lock);
	holders = machine_holders(m);
	if (!holders)
		ret = err_set(e, -EINVAL, "machine state: the domain runs");
	else if (holders & HOLD_EVENT) /* the wish to reset or power off is not part of the state */
		ret = err_set(e, -EBUSY, "machine state: the guest is being reset or powered off");
	else
		ret = save_locked(m, buf, len, e);
	pthread_mutex_unlock(&m->lock);
	return ret;
}

int machine_load(struct machine *m, const uint8_t *buf, size_t len, struct err *e)
{
	int ret;

	pthread_mutex_lock(&m->lock);
	if (!machine_holders(m))
		ret = err_set(e, -EINVAL, "machine state: the domain runs");
	else
		ret = load_locked(m, buf, len, e);
	pthread_mutex_unlock(&m->lock);
	return ret;
}

json_t *machine_print(struct machine *m, const char *device)
{
	const struct state_entry *s = NULL;
	struct machine_device *d = NULL;
	json_t *all = json_object();
	json_t *one;

	pthread_mutex_lock(&m->lock);
	if (vcpus_each(m->vcpus, vcpu_state_get, NULL))
		log_warn("state: the vCPUs cannot be read");
	while ((s = machine_entry_next(m, &d, s))) {
		if (device && strcmp(device, s->instance))
			continue;
		if (s->desc->pre_save(s->dev, NULL) == 0)
			json_object_set_new(all, s->instance, state_print(s));
	}
	pthread_mutex_unlock(&m->lock);
	one = device ? json_object_get(all, device) : all;
	if (device) {
		json_incref(one);
		json_decref(all);
	}
	return one;
}
