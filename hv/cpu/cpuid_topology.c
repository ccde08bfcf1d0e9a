/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cpuid_topology - how vCPUs are laid out in sockets, cores and threads (conf/cpu_topology.h), as CPUID tells it.
 *
 *     1           logical processors of a socket; the APIC id         SDM 2A 3.3 CPUID
 *     4           who shares a cache; cores of a socket               the same
 *     0xb, 0x1f   bits below the core, below the socket               SDM 3A 9.9.4
 *     0x80000008  threads of a socket, bits below the socket          APM 3 E.4.7
 *     0x8000001d  who shares a cache                                  APM 3 E.4.15
 *     0x8000001e  ids; threads of a core; the node, one per socket    APM 3 E.4.16
 *
 * Threads share the caches of their core, a socket the larger ones.  Numbers that have no room are the largest that do.
 */
#include "hv/cpu/cpuid_int.h"

#define BIT(n) (1u << (n))
#define SHARED_LEVEL 3 /* caches from this level on are the socket's */

static uint32_t at_most(uint32_t n, uint32_t max)
{
	return n < max ? n : max;
}

/* Ids that a socket takes up: as many as its vCPUs and the holes between them. */
static uint32_t socket_ids(const struct cpu_topology *t)
{
	return 1u << cpu_topology_socket_shift(t);
}

/* Leaf 1 says it by a number that, rounded up to a power of two, is that of the socket's ids. */
static uint32_t logical_processors(const struct cpu_topology *t)
{
	uint32_t n = t->cores * t->threads;

	return at_most(2 * n > socket_ids(t) || n == 1 ? n : socket_ids(t), 255);
}

bool cpuid_is_amd(const struct cpuid_table *t)
{
	const struct kvm_cpuid_entry2 *c = cpuid_find(t, 0, 0);

	/* "AuthenticAMD" and "HygonGenuine" */
	return c && (c->ebx == 0x68747541 || c->ebx == 0x6f677948);
}

static void set_cache(struct kvm_cpuid_entry2 *c, const struct cpu_topology *t)
{
	uint32_t level = c->eax >> 5 & 7, ids = 1u << cpu_topology_thread_bits(t);

	if (level >= SHARED_LEVEL)
		ids = socket_ids(t);
	c->eax &= 0x3fffu;
	c->eax |= at_most(ids - 1, 0xfff) << 14;
	if (c->function == 4)
		c->eax |= at_most((socket_ids(t) >> cpu_topology_thread_bits(t)) - 1, 0x3f) << 26;
}

static void set_levels(struct kvm_cpuid_entry2 *c, const struct cpu_topology *t)
{
	c->eax = c->ebx = 0;
	c->ecx = c->index;
	if (c->index == 0) { /* threads of a core */
		c->eax = cpu_topology_thread_bits(t);
		c->ebx = t->threads;
		c->ecx |= 1u << 8;
	} else if (c->index == 1) { /* cores of the socket */
		c->eax = cpu_topology_socket_shift(t);
		c->ebx = t->cores * t->threads;
		c->ecx |= 2u << 8;
	}
}

static void set_leaf(struct kvm_cpuid_entry2 *c, const struct cpu_topology *t, bool amd)
{
	uint32_t n = t->cores * t->threads;

	switch (c->function) {
	case 1:
		c->ebx &= 0x0000ff00u; /* CLFLUSH size stays */
		c->edx &= ~BIT(28);
		if (n > 1) {
			c->edx |= BIT(28); /* HTT: more than one logical processor */
			c->ebx |= logical_processors(t) << 16;
		}
		break;
	case 4:
	case 0x8000001d:
		set_cache(c, t);
		break;
	case 0xb:
	case 0x1f:
		set_levels(c, t);
		break;
	case 0x80000001:
		c->ecx &= ~BIT(1); /* CmpLegacy: read the numbers of HTT as those of cores */
		if (n > 1 && (amd || t->threads == 1))
			c->ecx |= BIT(1);
		break;
	case 0x80000008:
		if (c->ecx || n > 1)
			c->ecx = cpu_topology_socket_shift(t) << 12 | at_most(n - 1, 0xff);
		break;
	}
}

/* Guests of AMD look for threads there and nowhere else, whatever the model has. */
static void set_topoext(struct cpuid_table *t, const struct cpu_topology *topology)
{
	struct kvm_cpuid_entry2 *c = cpuid_edit(t, 0x80000001, 0), *highest = cpuid_edit(t, 0x80000000, 0);

	if (!c || !cpuid_is_amd(t))
		return;
	if (topology->threads > 1)
		c->ecx |= CPUID_TOPOEXT;
	if (!(c->ecx & CPUID_TOPOEXT))
		return;
	cpuid_put(t, 0x8000001e, 0);
	if (highest && highest->eax < 0x8000001e)
		highest->eax = 0x8000001e;
}

void cpuid_topology(struct cpuid_table *t, const struct cpu_topology *topology)
{
	set_topoext(t, topology);
	/* KVM offers subleaves 0..n of the topology leaves; we need 0 and 1 whatever the host has. */
	if (cpuid_find(t, 0xb, 0))
		cpuid_put(t, 0xb, 1);
	if (cpuid_find(t, 0x1f, 0))
		cpuid_put(t, 0x1f, 1);
	for (uint32_t i = 0; i < t->count; i++)
		set_leaf(&t->entries[i], topology, cpuid_is_amd(t));
}

void cpuid_for_vcpu(const struct cpuid_table *t, uint32_t i, const struct cpu_topology *topology, struct cpuid_table *out)
{
	uint32_t id = cpu_topology_apic_id(topology, i), in_socket = id & (socket_ids(topology) - 1);
	bool amd = cpuid_is_amd(t);

	*out = *t;
	for (uint32_t k = 0; k < out->count; k++) {
		struct kvm_cpuid_entry2 *c = &out->entries[k];

		if (c->function == 1)
			c->ebx = (c->ebx & 0x00ffffffu) | id << 24;
		else if (c->function == 0xb || c->function == 0x1f)
			c->edx = id;
		else if (c->function == 0x8000001e && amd) {
			c->eax = id;
			c->ebx = (topology->threads - 1) << 8 | (in_socket >> cpu_topology_thread_bits(topology) & 0xff);
			c->ecx = id >> cpu_topology_socket_shift(topology) & 0xff; /* one node per socket */
		}
	}
}
