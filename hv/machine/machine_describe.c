/* SPDX-License-Identifier: Apache-2.0 */
/* machine_describe - what two ends of a migration must have in common: told by one, compared by the other. */
#include "hv/machine/machine_int.h"

#include "base/hex.h"

#include <errno.h>
#include <string.h>

#define DESCRIBE_VERSION 1

static int cpuid_unhex(const char *text, struct cpuid_table *t, struct err *e)
{
	size_t len = text ? strlen(text) / 2 : 0, n = len / sizeof(t->entries[0]);

	memset(t, 0, sizeof(*t));
	if (n > KVM_CPUID_MAX)
		return err_set(e, -EINVAL, "cpuid: %zu elements there, room for %d here", n, KVM_CPUID_MAX);
	if (!len || len % sizeof(t->entries[0]) || !hex_read(text, (uint8_t *)t->entries, len))
		return err_set(e, -EINVAL, "cpuid: not a table");
	t->count = (uint32_t)n;
	return 0;
}

/*
 * One vCPU says the version of all, which are counted already.  A device that came later may be in another
 * slot than one of the same file.
 */
static json_t *describe_devices(struct machine *m)
{
	const struct state_entry *s = NULL;
	struct machine_device *d = NULL;
	json_t *list = json_array(), *one;
	bool vcpu = false;
	unsigned int slot;

	pthread_rwlock_rdlock(&m->devices_lock);
	while ((s = machine_entry_next(m, &d, s))) {
		if (s->desc == &vcpu_state_desc && vcpu)
			continue;
		vcpu = vcpu || s->desc == &vcpu_state_desc;
		one = json_pack("{s:s, s:i}", "name", s->instance, "version", (int)s->desc->version);
		slot = d ? d->kind->slot(d->dev) : 0;
		if (slot)
			json_object_set_new(one, "slot", json_integer(slot));
		json_array_append_new(list, one);
	}
	pthread_rwlock_unlock(&m->devices_lock);
	return list;
}

/* RAM follows from the memory that the domain has. */
static int describe_region(void *arg, const struct gmem_region *r, struct err *e)
{
	(void)e;
	if (r->rules->may_leave)
		json_array_append_new(arg, json_pack("{s:s, s:s}", "name", r->name, "kind", r->rules->name));
	return 0;
}

static json_t *describe_memory(struct machine *m)
{
	json_t *list = json_array();

	machine_memory_each(m, describe_region, list, NULL);
	return list;
}

/* By it the vCPUs have their APIC ids; who does not say has one socket of single threads. */
static json_t *describe_topology(const struct cpu_topology *t)
{
	return json_sprintf("%u sockets of %u cores of %u threads", t->sockets, t->cores, t->threads);
}

static int match_topology(const json_t *theirs, const json_t *ours, struct err *e)
{
	struct cpu_topology plain = { 1, (uint32_t)json_integer_value(json_object_get(ours, "vcpus")), 1 };
	json_t *there = json_object_get(theirs, "topology"), *here = json_object_get(ours, "topology");
	int ret = 0;

	there = there ? json_incref(there) : describe_topology(&plain);
	if (!json_equal(there, here))
		ret = err_set(e, -EINVAL, "cpu.topology: %.64s there, %s here", json_is_string(there) ? json_string_value(there) : "?",
			      json_string_value(here));
	json_decref(there);
	return ret;
}

/* What may be wrong with a network is to be known before a guest is sent, not when its state is loaded. */
static json_t *describe_nics(struct machine *m)
{
	struct machine_device *d = NULL;
	json_t *list = json_array();
	struct virtio_net_link l;

	pthread_rwlock_rdlock(&m->devices_lock);
	while ((d = machine_device_next(m, &virtio_net_device, d))) {
		virtio_net_link(d->dev, &l);
		json_array_append_new(list, json_pack("{s:i, s:i, s:i}", "told", l.told, "carries", l.carries, "pairs",
						      (int)l.pairs));
	}
	pthread_rwlock_unlock(&m->devices_lock);
	return list;
}

json_t *machine_describe(struct machine *m)
{
	const struct cpuid_table *cpuid = &m->vcpus->cpuid;
	char uuid[DOMAIN_UUID_TEXT];

	domain_uuid_print(m->conf->uuid, uuid);
	return json_pack("{s:i, s:s, s:s, s:I, s:o, s:I, s:o, s:o, s:o, s:o}", "version", DESCRIBE_VERSION, "name",
			 m->conf->name, "uuid", uuid, "vcpus", (json_int_t)m->conf->vcpus, "topology", describe_topology(&m->conf->cpu.topology), "memory",
			 (json_int_t)m->conf->memory, "regions", describe_memory(m), "devices",
			 describe_devices(m), "nics", describe_nics(m), "cpuid",
			 state_hex(cpuid->entries, cpuid->count * sizeof(cpuid->entries[0])));
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

/* Who does not say where a device is has none that came later. */
static int match_slot(const char *name, const json_t *theirs, const json_t *ours, struct err *e)
{
	json_int_t there = json_integer_value(theirs), here = json_integer_value(ours);

	if (!theirs || there == here)
		return 0;
	return err_set(e, -EINVAL, "devices: %.31s is in slot %lld of the PCI bus there, in %lld here", name,
		       (long long)there, (long long)here);
}

static int match_device(const json_t *theirs, const json_t *ours, struct err *e)
{
	const char *there = json_string_value(json_object_get(theirs, "name"));
	const char *here = json_string_value(json_object_get(ours, "name"));

	if (!there || !here || strcmp(there, here))
		return err_set(e, -EINVAL, "devices: %.31s there, %.31s here", there ? there : "nothing",
			       here ? here : "nothing");
	if (json_integer_value(json_object_get(theirs, "version")) >
	    json_integer_value(json_object_get(ours, "version")))
		return err_set(e, -EINVAL, "devices: %.31s has a newer version there", there);
	return match_slot(there, json_object_get(theirs, "slot"), json_object_get(ours, "slot"), e);
}

/* Where they are and how large is compared with the map of the stream, by the engine. */
static int match_region(const json_t *theirs, const json_t *ours, struct err *e)
{
	static const char *const keys[] = { "name", "kind" };

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		const char *there = json_string_value(json_object_get(theirs, keys[i]));
		const char *here = json_string_value(json_object_get(ours, keys[i]));

		if (!there || !here || strcmp(there, here))
			return err_set(e, -EINVAL, "regions of memory: %.15s there, %.15s here",
				       there ? there : "nothing", here ? here : "nothing");
	}
	return 0;
}

/* A source that says nothing of its cards is older than this; its state is checked when it comes. */
static int match_nics(const json_t *theirs, const json_t *ours, struct err *e)
{
	for (size_t i = 0; i < json_array_size(theirs) && i < json_array_size(ours); i++) {
		const json_t *there = json_array_get(theirs, i), *here = json_array_get(ours, i);
		json_int_t told = json_integer_value(json_object_get(there, "told"));
		json_int_t carries = json_integer_value(json_object_get(here, "carries"));
		json_int_t pairs = json_integer_value(json_object_get(there, "pairs"));

		if (told > carries)
			return err_set(e, -EINVAL, "nics[%zu]: the guest sends packets of up to %lld bytes, the link here carries %lld",
				       i, (long long)told, (long long)carries);
		if (pairs != json_integer_value(json_object_get(here, "pairs")))
			return err_set(e, -EINVAL, "nics[%zu].queues: %lld there, %lld here", i, (long long)pairs,
				       (long long)json_integer_value(json_object_get(here, "pairs")));
	}
	return 0;
}

/* Two lists that must be alike, one by one; who does not say has none. */
static int match_lists(const json_t *theirs, const json_t *ours,
		       int (*match)(const json_t *theirs, const json_t *ours, struct err *e), struct err *e)
{
	size_t n = json_array_size(theirs) > json_array_size(ours) ? json_array_size(theirs) : json_array_size(ours);
	int ret = 0;

	for (size_t i = 0; i < n && !ret; i++)
		ret = match(json_array_get(theirs, i), json_array_get(ours, i), e);
	return ret;
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
		ret = match_topology(theirs, ours, e);
	if (!ret)
		ret = match_number(theirs, ours, "memory", e);
	if (!ret)
		ret = match_lists(json_object_get(theirs, "regions"), json_object_get(ours, "regions"),
				  match_region, e);
	if (!ret)
		ret = match_lists(json_object_get(theirs, "devices"), json_object_get(ours, "devices"),
				  match_device, e);
	if (!ret)
		ret = match_nics(json_object_get(theirs, "nics"), json_object_get(ours, "nics"), e);
	if (!ret)
		ret = cpuid_unhex(json_string_value(json_object_get(theirs, "cpuid")), &cpuid, e);
	if (!ret)
		ret = cpuid_check(&m->vcpus->host_cpuid, &cpuid, e);
	json_decref(ours);
	return ret;
}
