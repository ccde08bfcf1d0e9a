/* SPDX-License-Identifier: Apache-2.0 */
/* place - which host: a function of the record alone, so that every replica chooses alike (place.c). */
#ifndef DROVER_HA_CORE_PLAN_PLACE_H
#define DROVER_HA_CORE_PLAN_PLACE_H

#include "ha/core/record/model.h"

/** ha_place() - a host for @d, but not @except (0: any); node id, or 0 when none fits */
uint32_t ha_place(const struct ha_record *r, const struct ha_domain *d, uint32_t except);

/** ha_place_why_not() - what keeps @d from @node: the rest of a sentence, or NULL when it may run there */
const char *ha_place_why_not(const struct ha_record *r, const struct ha_domain *d, uint32_t node);

#endif
