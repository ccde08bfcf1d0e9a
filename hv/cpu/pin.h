/* SPDX-License-Identifier: Apache-2.0 */
/* pin - keep a vCPU's thread on some CPUs of the host. */
#ifndef DROVER_HV_CPU_PIN_H
#define DROVER_HV_CPU_PIN_H

#include "base/err.h"
#include "conf/cpu_list.h"

#include <pthread.h>

/**
 * pin_thread() - let @thread, of vCPU @vcpu, run on @cpus and nowhere else
 * The kernel takes those that there are and forgets the others; here that is an error, before the guest runs.
 * Return: 0; -EPERM with the CPUs that are not online, or that the cgroup of this process has not; -errno.
 */
int pin_thread(pthread_t thread, const struct cpu_list *cpus, uint32_t vcpu, struct err *e);

/** pin_read() - the CPUs of this host that @thread may run on; -errno */
int pin_read(pthread_t thread, struct cpu_list *out);

#endif
