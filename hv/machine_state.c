/* SPDX-License-Identifier: Apache-2.0 */
/*
 * machine_state - one string with the state of every device, and back.
 *
 *     0         4         6         8
 *     +---------+---------+---------+
 *     | "DRVS"  | version | records |
 *     +---------+---------+---------+
 *     per record:
 *     +------+-----------------+---------+--------+----------------------+
 *     | n u8 | instance, n     | ver u16 | u32 len| fields (hv/state.c)  |
 *     +------+-----------------+---------+--------+----------------------+
 *
 * Both sides build the same list of devices from the same domain file, so records
 * come in the order of that list, and a name out of place is refused (rule S).
 *
 * vCPUs are read and written by their own threads side by side; the records of
 * the vCPUs come first and are put into force before anything else is loaded:
 * interrupts that devices raise while loading must find their LAPIC.
 */
#include "hv/machine_int.h"

#include "base/bytes.h"
#include "base/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAGIC 0x53565244u /* "DRVS" */
#define VERSION 1

static void entry_add(struct machine *m, struct state_entry s)
{
	m->entries[m->n_entries++] = s;
}

void machine_entries_build(struct machine *m)
{
	struct state_entry own[VIRTIO_DEV_STATES_MAX];

	m->vm_state.kvm = &m->kvm;
	m->cpuid_state.vcpus = m->vcpus;
	entry_add(m, (struct state_entry){ &cpuid_state_desc, "cpuid", &m->cpuid_state });
	for (uint32_t i = 0; i < m->conf->vcpus; i++) {
		struct state_entry s = { .desc = &vcpu_state_desc, .dev = m->vcpus->v[i].state };

		snprintf(s.instance, sizeof(s.instance), "vcpu%u", i);
		entry_add(m, s);
	}
	entry_add(m, (struct state_entry){ &vm_state_desc, "vm", &m->vm_state });
	entry_add(m, serial_state_entry(m->serial));
	entry_add(m, rtc_state_entry(m->rtc));
	entry_add(m, power_state_entry(m->power));
	entry_add(m, pci_bus_state(m->pci));
	for (size_t i = 0; i < m->n_devices; i++) {
		size_t n = virtio_dev_state(m->devices[i], own);

		for (size_t j = 0; j < n; j++)
			entry_add(m, own[j]);
	}
}

/* An upper bound: name, version, length, and every field with its tag. */
static size_t entry_size(const struct state_entry *s)
{
	size_t n = 1 + STATE_NAME_MAX + 2 + 4;

	for (const struct state_field *f = s->desc->fields; f->name; f++)
		n += 4 + (size_t)f->size * f->count;
	return n;
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

int machine_save_locked(struct machine *m, uint8_t **buf, size_t *len, struct err *e)
{
	size_t size = 8;
	struct writer w;
	uint8_t *out;
	int ret;

	for (size_t i = 0; i < m->n_entries; i++)
		size += entry_size(&m->entries[i]);
	out = malloc(size);
	if (!out)
		return err_set(e, -ENOMEM, "machine state: out of memory");
	ret = vcpus_each(m->vcpus, vcpu_state_get, e);
	w = writer_make(out, size);
	writer_u32(&w, MAGIC);
	writer_u16(&w, VERSION);
	writer_u16(&w, (uint16_t)m->n_entries);
	for (size_t i = 0; i < m->n_entries && !ret; i++)
		ret = save_entry(&m->entries[i], &w, e);
	if (ret) {
		free(out);
		return ret;
	}
	*buf = out;
	*len = writer_len(&w);
	return 0;
}

static int load_entry(const struct state_entry *s, bool apply, struct reader *r, struct err *e)
{
	char name[STATE_NAME_MAX + 1] = "";
	uint16_t version;
	struct reader body;
	const uint8_t *p;
	uint32_t len;
	uint8_t n;

	n = reader_u8(r);
	if (n > STATE_NAME_MAX)
		return err_set(e, -EINVAL, "machine state: a name of %u bytes, expected at most %u", n,
			       STATE_NAME_MAX);
	reader_copy(r, name, n);
	version = reader_u16(r);
	len = reader_u32(r);
	p = reader_take(r, len);
	if (!p)
		return err_set(e, -EINVAL, "machine state: truncated in %s", s->instance);
	if (strcmp(name, s->instance) || strlen(name) != n)
		return err_set(e, -EINVAL, "machine state: device %.*s, expected %s", n, name,
			       s->instance);
	if (!apply)
		return 0;
	body = reader_make(p, len);
	return state_load_one(s, version, &body, e);
}

static int load_entries(struct machine *m, bool reset, struct reader *r, struct err *e)
{
	int ret;

	for (size_t i = 0; i < m->n_entries; i++) {
		/* cpuid and vCPUs have been read: now they count, before what interrupts them */
		if (i == 1 + m->conf->vcpus) {
			ret = vcpus_each(m->vcpus, vcpu_state_set, e);
			if (ret)
				return ret;
		}
		/* A reset leaves CPUID alone: a guest that came from elsewhere keeps what it has
		 * seen there, and KVM changes none under a vCPU that has run. */
		ret = load_entry(&m->entries[i], !reset || m->entries[i].desc != &cpuid_state_desc,
				 r, e);
		if (ret)
			return ret;
	}
	return 0;
}

int machine_load_locked(struct machine *m, const uint8_t *buf, size_t len, struct err *e)
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
	if (count != m->n_entries)
		return err_set(e, -EINVAL, "machine state: %u devices, expected %zu", count,
			       m->n_entries);
	/* One new routing table for all devices, not one for each vector. */
	irq_batch_begin(m->irq);
	ret = load_entries(m, buf == m->pristine, &r, e);
	irq_batch_end(m->irq);
	if (ret)
		return ret;
	if (r.bad || reader_left(&r))
		return err_set(e, -EINVAL, "machine state: %zu bytes too many", reader_left(&r));
	return 0;
}

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
		ret = machine_save_locked(m, buf, len, e);
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
		ret = machine_load_locked(m, buf, len, e);
	pthread_mutex_unlock(&m->lock);
	return ret;
}

json_t *machine_print(struct machine *m, const char *device)
{
	json_t *all = json_object();
	json_t *one;

	pthread_mutex_lock(&m->lock);
	if (vcpus_each(m->vcpus, vcpu_state_get, NULL))
		log_warn("state: the vCPUs cannot be read");
	for (size_t i = 0; i < m->n_entries; i++) {
		const struct state_entry *s = &m->entries[i];

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
