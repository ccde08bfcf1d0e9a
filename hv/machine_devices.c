/* SPDX-License-Identifier: Apache-2.0 */
/*
 * machine_devices - the virtio devices of a machine, its description and its figures.
 *
 * Slots on the PCI bus follow the domain file: disks, then NICs, then the entropy
 * device; both ends of a migration build the same.
 */
#include "hv/machine_int.h"

#include "base/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define DESCRIBE_VERSION 1

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

static void device_add(struct machine *m, struct virtio_dev *v)
{
	m->devices[m->n_devices++] = v;
}

static int disk_create(struct machine *m, size_t i, struct err *e)
{
	const struct domain_disk *d = &m->conf->disks[i];
	struct virtio_blk_conf c = { .path = d->path, .readonly = d->readonly, .direct = d->direct,
				     .format_raw = d->format_raw, .report_errors = d->report_errors };
	int ret;

	ret = virtio_blk_create(&m->env, (unsigned int)i, &c, &m->disks[i], e);
	if (!ret)
		device_add(m, m->disks[i]);
	return ret;
}

int machine_devices_create(struct machine *m, struct err *e)
{
	struct virtio_dev *rng;
	int ret = 0;

	m->env = (struct virtio_env){ .mem = m->mem, .irq = m->irq, .pci = m->pci,
				      .may_submit = may_submit, .leased = m->opt.leased, .disk_held = m->opt.disk_held ? disk_held : NULL,
				      .arg = m };
	for (size_t i = 0; i < m->conf->n_disks && !ret; i++)
		ret = disk_create(m, i, e);
	for (size_t i = 0; i < m->conf->n_nics && !ret; i++)
		ret = machine_nic_create(m, i, e);
	if (!ret && m->conf->rng) {
		ret = virtio_rng_create(&m->env, 0, &rng, e);
		if (!ret)
			device_add(m, rng);
	}
	return ret;
}

void machine_devices_destroy(struct machine *m)
{
	while (m->n_devices)
		virtio_dev_destroy(m->devices[--m->n_devices]);
}

void machine_devices_quiesce_begin(struct machine *m)
{
	for (size_t i = 0; i < m->n_devices; i++)
		virtio_dev_quiesce_begin(m->devices[i]);
}

int machine_devices_quiesce(struct machine *m, struct err *e)
{
	int ret = 0, one;

	machine_devices_quiesce_begin(m);
	for (size_t i = 0; i < m->n_devices; i++) {
		one = virtio_dev_quiesce(m->devices[i], MACHINE_QUIESCE_MS, ret ? NULL : e);
		if (!ret)
			ret = one;
	}
	return ret;
}

int machine_devices_start(struct machine *m, struct err *e)
{
	int ret;

	for (size_t i = 0; i < m->n_devices; i++) {
		ret = virtio_dev_start(m->devices[i], e);
		if (ret) {
			machine_devices_quiesce(m, NULL);
			return ret;
		}
	}
	return 0;
}

/* --- description: what two ends of a migration must have in common --- */

static json_t *cpuid_hex(const struct cpuid_table *t)
{
	size_t len = t->count * sizeof(t->entries[0]);
	const uint8_t *p = (const uint8_t *)t->entries;
	char *text = malloc(2 * len + 1);
	json_t *j;

	if (!text)
		return json_null();
	for (size_t i = 0; i < len; i++)
		snprintf(text + 2 * i, 3, "%02x", p[i]);
	j = json_stringn(text, 2 * len);
	free(text);
	return j;
}

static int hex_nibble(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static int cpuid_unhex(const char *text, struct cpuid_table *t)
{
	size_t len = text ? strlen(text) / 2 : 0;
	uint8_t *p = (uint8_t *)t->entries;

	memset(t, 0, sizeof(*t));
	if (!len || len % sizeof(t->entries[0]) || len > sizeof(t->entries))
		return -EINVAL;
	for (size_t i = 0; i < len; i++) {
		int high = hex_nibble(text[2 * i]), low = hex_nibble(text[2 * i + 1]);

		if (high < 0 || low < 0)
			return -EINVAL;
		p[i] = (uint8_t)(high << 4 | low);
	}
	t->count = (uint32_t)(len / sizeof(t->entries[0]));
	return 0;
}

json_t *machine_describe(struct machine *m)
{
	char uuid[DOMAIN_UUID_TEXT];
	json_t *devices = json_array();

	domain_uuid_print(m->conf->uuid, uuid);
	for (size_t i = 0; i < m->n_entries; i++) {
		const struct state_entry *s = &m->entries[i];

		if (s->desc != &vcpu_state_desc)
			json_array_append_new(devices, json_pack("{s:s, s:i}", "name", s->instance,
								 "version", (int)s->desc->version));
	}
	return json_pack("{s:i, s:s, s:s, s:I, s:I, s:o, s:o}", "version", DESCRIBE_VERSION, "name",
			 m->conf->name, "uuid", uuid, "vcpus", (json_int_t)m->conf->vcpus, "memory",
			 (json_int_t)m->conf->memory, "devices", devices, "cpuid",
			 cpuid_hex(&m->vcpus->cpuid));
}

static int match_string(const json_t *theirs, const json_t *ours, const char *key, struct err *e)
{
	const char *there = json_string_value(json_object_get(theirs, key));
	const char *here = json_string_value(json_object_get(ours, key));

	if (there && strcmp(there, here) == 0)
		return 0;
	return err_set(e, -EINVAL, "%s: %.64s there, %s here", key, there ? there : "nothing", here);
}

static int match_number(const json_t *theirs, const json_t *ours, const char *key, struct err *e)
{
	json_int_t there = json_integer_value(json_object_get(theirs, key));
	json_int_t here = json_integer_value(json_object_get(ours, key));

	if (there == here)
		return 0;
	return err_set(e, -EINVAL, "%s: %lld there, %lld here", key, (long long)there,
		       (long long)here);
}

static int match_devices(const json_t *theirs, const json_t *ours, struct err *e)
{
	size_t n = json_array_size(theirs) > json_array_size(ours) ? json_array_size(theirs)
								   : json_array_size(ours);

	for (size_t i = 0; i < n; i++) {
		const json_t *t = json_array_get(theirs, i), *o = json_array_get(ours, i);
		const char *there = json_string_value(json_object_get(t, "name"));
		const char *here = json_string_value(json_object_get(o, "name"));

		if (!there || !here || strcmp(there, here))
			return err_set(e, -EINVAL, "devices: %.31s there, %.31s here",
				       there ? there : "nothing", here ? here : "nothing");
		if (json_integer_value(json_object_get(t, "version")) >
		    json_integer_value(json_object_get(o, "version")))
			return err_set(e, -EINVAL, "devices: %.31s has a newer version there", there);
	}
	return 0;
}

int machine_match(struct machine *m, const json_t *theirs, struct err *e)
{
	struct cpuid_table cpuid;
	json_t *ours = machine_describe(m);
	int ret;

	ret = match_number(theirs, ours, "version", e);
	if (!ret)
		ret = match_string(theirs, ours, "name", e);
	if (!ret)
		ret = match_string(theirs, ours, "uuid", e);
	if (!ret)
		ret = match_number(theirs, ours, "vcpus", e);
	if (!ret)
		ret = match_number(theirs, ours, "memory", e);
	if (!ret)
		ret = match_devices(json_object_get(theirs, "devices"),
				    json_object_get(ours, "devices"), e);
	if (!ret && cpuid_unhex(json_string_value(json_object_get(theirs, "cpuid")), &cpuid))
		ret = err_set(e, -EINVAL, "cpuid: not a table");
	if (!ret)
		ret = cpuid_check(&m->vcpus->host_cpuid, &cpuid, e);
	json_decref(ours);
	return ret;
}

/* --- figures --- */

static json_int_t thread_cpu_ms(const struct vcpu *v)
{
	struct timespec t;
	clockid_t clock;

	if (pthread_getcpuclockid(v->thread, &clock) || clock_gettime(clock, &t))
		return 0;
	return (json_int_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static json_t *vcpu_stats(struct machine *m)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i < m->conf->vcpus; i++) {
		struct vcpu *v = &m->vcpus->v[i];

		json_array_append_new(
			list, json_pack("{s:I, s:I, s:I, s:I, s:I}", "id", (json_int_t)v->id, "cpu_ms",
					thread_cpu_ms(v), "exits_io",
					(json_int_t)atomic_load(&v->exits_io), "exits_mmio",
					(json_int_t)atomic_load(&v->exits_mmio), "exits_other",
					(json_int_t)atomic_load(&v->exits_other)));
	}
	return list;
}

static json_t *device_stats(struct virtio_dev *const *v, size_t n)
{
	json_t *list = json_array();

	for (size_t i = 0; i < n; i++)
		json_array_append_new(list, virtio_dev_stats(v[i]));
	return list;
}

static const char *backing_name(enum domain_backing b)
{
	switch (b) {
	case BACKING_AUTO:
		return "auto";
	case BACKING_MEMFD:
		return "memfd";
	case BACKING_HUGETLB:
		return "hugetlb";
	case BACKING_ANON:
		return "anon";
	}
	return "?";
}

json_t *machine_stats(struct machine *m)
{
	json_t *memory = json_pack("{s:I, s:s, s:I}", "size", (json_int_t)m->mem->size, "backing",
				   backing_name(m->mem->backing), "page_size",
				   (json_int_t)m->mem->page_size);

	return json_pack("{s:o, s:o, s:o, s:o}", "vcpus", vcpu_stats(m), "disks",
			 device_stats(m->disks, m->conf->n_disks), "nics",
			 device_stats(m->nics, m->conf->n_nics), "memory", memory);
}
