/* SPDX-License-Identifier: Apache-2.0 */
/*
 * limits - how large a cluster may be.  Replicas must agree on them, so they are no setting.
 *
 * A record is one block of memory with room for all of this and no pointers.  What is not used of
 * it is never touched, so it is address space and no memory; tests/perf/plan prints what is used.
 */
#ifndef DROVER_HA_CORE_RECORD_LIMITS_H
#define DROVER_HA_CORE_RECORD_LIMITS_H

#define HA_NODES_MAX 128
#define HA_DOMAINS_MAX 16384u
#define HA_GROUPS_MAX 32
#define HA_VOTES_MAX 255         /* of one host: votes change one by one, so a slip of the pen must end some time */
#define HA_NAME_MAX 63           /* bytes, without the final 0 */
#define HA_ADDR_MAX 127          /* "tcp:10.0.0.1:49152" */
#define HA_ACTOR_MAX 63          /* "root" */
#define HA_TEXT_MAX 159          /* reasons */
#define HA_CONF_MAX (64u << 10)  /* a domain's text (YAML) */
#define HA_CONFS_MAX (64u << 20) /* all texts together: 4 KiB for each domain of a full cluster */
#define HA_CLAIMS_MAX 64         /* what one domain has for itself: uuid, MACs, disks, what they lie on */
/* VMMs that one REPORT names.  The simulator is built with fewer as well, so that reports come in parts. */
#ifndef HA_REPORT_ITEMS
#define HA_REPORT_ITEMS 256
#endif

/* Epochs, entries and incarnations are counted one by one: who says more than this counted nothing, and none goes round. */
#define COUNT_MAX (UINT64_MAX / 2)

#endif
