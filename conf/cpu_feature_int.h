/* SPDX-License-Identifier: Apache-2.0 */
/* cpu_feature_int - the table of features (cpu_feature.h), for cpu_feature.c. */
#ifndef DROVER_CONF_CPU_FEATURE_INT_H
#define DROVER_CONF_CPU_FEATURE_INT_H

#include "conf/cpu_feature.h"

extern const struct cpu_feature cpu_feature_table[];
extern const unsigned int cpu_feature_table_rows;

#endif
