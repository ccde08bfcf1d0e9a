/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cluster - what an operator wrote about the cluster (docs/cluster.yaml.5):
 * how each host is fenced, where migrations arrive, and where things lie.
 *
 * corosync.conf says who the hosts are; this file says what corosync does not
 * know.  It is the same on every host.  A missing file is a cluster without
 * fence devices, whose proof of death is waiting (rule F).
 */
#ifndef DROVER_CONF_CLUSTER_H
#define DROVER_CONF_CLUSTER_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

#define CLUSTER_HOSTS_MAX 128
#define CLUSTER_FENCE_MAX 8    /* devices of one host, all levels together */
#define CLUSTER_OPTIONS_MAX 32 /* options of one device */
#define CLUSTER_OPTION_LEN_MAX 255
#define CLUSTER_LEVEL_MAX 9

/* One line of a fence agent's input: "key=value". */
struct cluster_option {
	char *key;   /* letters, digits, '_' and '-' */
	char *value; /* no newline, may be empty */
};

/*
 * One way to cut a host's power.  All devices of a level must succeed; the
 * next level is tried when one of them fails.
 */
struct cluster_fence {
	uint32_t level;      /* 1..CLUSTER_LEVEL_MAX, default 1 */
	char *agent;         /* "fence_ipmilan" (found in the agents' directory) or a path */
	uint64_t timeout_ms; /* 100 ms .. 10 min, default 20 s: our deadline, then SIGKILL */
	struct cluster_option *options;
	size_t n_options;
};

struct cluster_host {
	char *name;                  /* as in corosync.conf nodelist, or uname -n there */
	char *address;               /* where migrations arrive; NULL: corosync's ring0_addr */
	struct cluster_fence *fence; /* ascending by level, then as written */
	size_t n_fence;
};

struct cluster_conf {
	struct cluster_host *hosts;
	size_t n_hosts;
	char *run_dir;       /* default /run/drover */
	char *state_dir;     /* default /var/lib/drover */
	char *drover_hv;     /* absolute path; NULL: beside droverd, then PATH */
	char *agents_dir;    /* default /usr/sbin */
	char *witness_path;  /* file or block device that all hosts reach; NULL: no witness */
	uint64_t witness_id; /* ... and what 'drover witness init' called it; not 0 */
};

/**
 * cluster_conf_load() - read and check a cluster file
 * @path: YAML file
 * Return: 0 and *@out (free with cluster_conf_free()), -ENOENT when there is
 * no such file, or -EINVAL with "file:line: field: what, what was expected".
 */
int cluster_conf_load(const char *path, struct cluster_conf **out, struct err *e);

/** cluster_conf_parse() - the same from memory; @name stands for the file in errors */
int cluster_conf_parse(const char *name, const char *text, size_t len,
		       struct cluster_conf **out, struct err *e);

/** cluster_conf_default() - what holds when there is no file; NULL without memory */
struct cluster_conf *cluster_conf_default(void);

/** cluster_conf_host() - the host named @name, or NULL */
const struct cluster_host *cluster_conf_host(const struct cluster_conf *c, const char *name);

/**
 * cluster_conf_print() - @c as YAML that loads to the same again
 * Return: a string to free(), or NULL without memory.  Passwords are in it.
 */
char *cluster_conf_print(const struct cluster_conf *c);

void cluster_conf_free(struct cluster_conf *c);

#endif
