/* SPDX-License-Identifier: Apache-2.0 */
/*
 * limits - how large a cluster may be.  Replicas must agree on them, so they are no setting;
 * tests/perf builds the core with larger ones to see what it would cost.
 */
#ifndef DROVER_HA_CORE_LIMITS_H
#define DROVER_HA_CORE_LIMITS_H

#define HA_NODES_MAX 64
#ifndef HA_DOMAINS_MAX
#define HA_DOMAINS_MAX 256
#endif
#define HA_GROUPS_MAX 32
#define HA_NAME_MAX 63         /* bytes, without the final 0 */
#define HA_ADDR_MAX 127        /* "tcp:10.0.0.1:49152" */
#define HA_TEXT_MAX 159        /* reasons */
#define HA_CONF_MAX 8192       /* a domain's text (YAML) */
#define HA_CLAIMS_MAX 32       /* what one domain has for itself: uuid, MACs, disks */

#endif
