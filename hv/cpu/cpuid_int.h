/* SPDX-License-Identifier: Apache-2.0 */
/* cpuid_int - what cpuid.c and cpuid_rules.c share. */
#ifndef DROVER_HV_CPU_CPUID_INT_H
#define DROVER_HV_CPU_CPUID_INT_H

#include "hv/cpu/cpuid.h"

#include <stdbool.h>

/** cpuid_allow() - take from @c what no guest is shown; false: all of it */
bool cpuid_allow(struct kvm_cpuid_entry2 *c);

#endif
