/* SPDX-License-Identifier: Apache-2.0 */
/* cpu_topology - see cpu_topology.h. */
#include "conf/cpu_topology.h"

/* Bits needed to number @n things. */
static uint32_t bits_for(uint32_t n)
{
	uint32_t bits = 0;

	while ((1u << bits) < n)
		bits++;
	return bits;
}

uint32_t cpu_topology_thread_bits(const struct cpu_topology *t)
{
	return bits_for(t->threads);
}

uint32_t cpu_topology_socket_shift(const struct cpu_topology *t)
{
	return bits_for(t->threads) + bits_for(t->cores);
}

uint32_t cpu_topology_apic_id(const struct cpu_topology *t, uint32_t i)
{
	uint32_t thread = i % t->threads, core = i / t->threads % t->cores, socket = i / t->threads / t->cores;

	return socket << cpu_topology_socket_shift(t) | core << cpu_topology_thread_bits(t) | thread;
}
