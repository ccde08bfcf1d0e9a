/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cmap - what corosync.conf says, as corosync understood it: the hosts, their
 * votes, and the token from which every time in Drover is derived (rule T).
 */
#ifndef DROVER_HA_COROSYNC_CMAP_H
#define DROVER_HA_COROSYNC_CMAP_H

#include "base/err.h"

#include <qb/qbdefs.h>
#include <qb/qbloop.h>
#include <stdbool.h>
#include <stdint.h>

#define CMAPLINK_NODES_MAX 128
#define CMAPLINK_NAME_MAX 63

struct cmap_node {
	uint32_t id;
	uint32_t votes;
	char name[CMAPLINK_NAME_MAX + 1]; /* nodelist name, else "nodeID" */
	char address[256];                /* ring0_addr, also a name of DNS, empty when there is none */
};

struct cmap_cluster {
	uint32_t token_ms; /* runtime value, coefficient included */
	uint32_t n_nodes;
	struct cmap_node nodes[CMAPLINK_NODES_MAX];
};

struct cmaplink;

/** called from the qb loop when the node list or the token changed (corosync-cfgtool -R); read it again */
typedef void (*cmaplink_changed)(void *arg);

/** cmaplink_open() - Return: 0, -ECONNREFUSED; text in @e */
int cmaplink_open(qb_loop_t *loop, cmaplink_changed changed, void *arg, struct cmaplink **out,
		  struct err *e);
/** cmaplink_close() - NULL is fine */
void cmaplink_close(struct cmaplink *l);

/* What this host's corosync waited for in vain, since it started.  A host that leaves in order costs nothing of it. */
struct cmap_waits {
	uint64_t token;  /* of a working ring: it is how corosync notices that a host has crashed */
	uint64_t answer; /* while a ring was formed anew: for somebody's consensus, or for a token then */
};

/** cmaplink_waits() - Return: false when corosync does not tell */
bool cmaplink_waits(struct cmaplink *l, struct cmap_waits *out);

/** cmaplink_read() - read the whole of it; -EINVAL when corosync.conf lacks what Drover needs */
int cmaplink_read(struct cmaplink *l, struct cmap_cluster *out, struct err *e);

/**
 * cmap_find() - the host called @name
 * Return: its place in @c->nodes; -1 nobody has the name, -2 several have it, so it means nobody
 */
int cmap_find(const struct cmap_cluster *c, const char *name);

#endif
