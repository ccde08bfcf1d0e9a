/* SPDX-License-Identifier: Apache-2.0 */
/* machine_stats - the figures of a machine: its vCPUs, its memory, and a list for each kind of device that has any. */
#include "hv/machine/device_table.h"
#include "hv/machine/machine_int.h"

#include "hv/cpu/pin.h"

#include <time.h>

static json_int_t thread_cpu_ms(const struct vcpu *v)
{
	struct timespec t;
	clockid_t clock;

	if (pthread_getcpuclockid(v->thread, &clock) || clock_gettime(clock, &t))
		return 0;
	return (json_int_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* What the kernel has it on, not what the file asked for: a cgroup may have changed since. */
static json_t *cpus_of(const struct vcpu *v)
{
	char text[CPU_LIST_TEXT];
	struct cpu_list l;

	return pin_read(v->thread, &l) ? json_null() : json_string(cpu_list_print(&l, text, sizeof(text)));
}

static json_t *vcpu_stats(struct machine *m)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i < m->conf->vcpus; i++) {
		struct vcpu *v = &m->vcpus->v[i];

		json_array_append_new(
			list, json_pack("{s:I, s:o, s:I, s:I, s:I, s:I}", "id", (json_int_t)v->id, "cpus", cpus_of(v), "cpu_ms",
					thread_cpu_ms(v), "exits_io",
					(json_int_t)atomic_load(&v->exits_io), "exits_mmio",
					(json_int_t)atomic_load(&v->exits_mmio), "exits_other",
					(json_int_t)atomic_load(&v->exits_other)));
	}
	return list;
}

static json_t *device_stats(struct machine *m, const struct device_kind *kind)
{
	struct machine_device *d = NULL;
	json_t *list = json_array();

	pthread_rwlock_rdlock(&m->devices_lock);
	while ((d = machine_device_next(m, kind, d)))
		json_array_append_new(list, kind->stats(d->dev));
	pthread_rwlock_unlock(&m->devices_lock);
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
	json_t *memory = json_pack("{s:I, s:s, s:I}", "size", (json_int_t)m->mem->ram.size, "backing",
				   backing_name(m->mem->ram.kind), "page_size",
				   (json_int_t)m->mem->ram.page_size);
	json_t *all = json_pack("{s:o, s:o}", "vcpus", vcpu_stats(m), "memory", memory);

	for (const struct device_kind *const *k = device_table; *k; k++)
		if ((*k)->figures)
			json_object_set_new(all, (*k)->figures, device_stats(m, *k));
	return all;
}
