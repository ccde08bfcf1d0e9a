/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cpu_topology - how the vCPUs of a domain lie in sockets, cores and threads, and which APIC id each has.
 *
 * An APIC id is three numbers side by side, each in as many bits as the largest of its kind needs (Intel SDM 3A 9.9.1, AMD
 * APM 3 E.4.7), so ids have holes where a number is no power of two:
 *
 *     | socket | core  | thread |      2 sockets of 3 cores of 2 threads: 0-5, 8-13
 */
#ifndef DROVER_CONF_CPU_TOPOLOGY_H
#define DROVER_CONF_CPU_TOPOLOGY_H

#include <stdint.h>

/* Each at least 1; their product is the number of vCPUs. */
struct cpu_topology {
	uint32_t sockets, cores /* of a socket */, threads /* of a core */;
};

/** cpu_topology_thread_bits() - of an APIC id, that number the threads of a core */
uint32_t cpu_topology_thread_bits(const struct cpu_topology *t);
/** cpu_topology_socket_shift() - bits below the number of the socket */
uint32_t cpu_topology_socket_shift(const struct cpu_topology *t);
/** cpu_topology_apic_id() - of vCPU @i: threads of a core are neighbours, then cores of a socket */
uint32_t cpu_topology_apic_id(const struct cpu_topology *t, uint32_t i);

#endif
