/* SPDX-License-Identifier: Apache-2.0 */
/*
 * api_call - one request to the API, understood: which view, or which command.
 *
 * api_call_parse() is a pure function of method, path, query and body, so that
 * tests and the fuzzer need no socket.  docs/openapi.yaml describes what it takes.
 */
#ifndef DROVER_HA_API_API_CALL_H
#define DROVER_HA_API_API_CALL_H

#include "base/err.h"
#include "ha/core/core.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define API_BODY_MAX (72u << 10)
#define API_PATH_MAX 256

enum api_what {
	API_STATUS,
	API_NODES,
	API_NODE,
	API_CPUS,
	API_DOMAINS,
	API_DOMAIN,
	API_DOMAIN_CONF,
	API_GROUPS,
	API_TIMINGS,
	API_HISTORY,
	API_COMMAND,
	API_ORDER,
	API_VALIDATE,
};

struct api_call {
	enum api_what what;
	char name[HA_NAME_MAX + 1]; /* domain, host or group that the path names */
	bool of_domain;             /* ... a domain, perhaps by its uuid */
	uint64_t after;             /* API_HISTORY: lines numbered higher */

	/* API_ORDER: the path's last word, and what the body says; 0: nothing */
	const char *order;
	uint32_t timeout_ms;

	/* API_COMMAND: strings point into this struct or the body; cmd.node and cmd.hosts are
	 * filled by api_call_resolve(). */
	struct ha_command cmd;
	char node[HA_NAME_MAX + 1]; /* host that the body names, "" = none */
	bool node_from_path;        /* the path names the host: it must be known */
	char domain[HA_NAME_MAX + 1];
	char group[HA_NAME_MAX + 1];
	bool protect, limited; /* a new domain, by the query: protect it; cmd.max_restart was named */
	size_t n_hosts;
	char hosts[HA_NODES_MAX][HA_NAME_MAX + 1];
	struct ha_group_host group_hosts[HA_NODES_MAX];
	struct ha_claim claims[HA_CLAIMS_MAX];
};

/**
 * api_call_parse() - understand a request
 * @query: what follows '?', or NULL
 * @body: must outlive @out (domain text)
 * Return: 0; -EINVAL, -ENOENT (no such path) or -EOPNOTSUPP (no such method here),
 * text in @e.
 */
int api_call_parse(const char *method, const char *path, const char *query, const char *body,
		   size_t body_len, struct api_call *out, struct err *e);

/**
 * api_call_domain() - a uuid in the path becomes the name of its domain in @r
 * What is neither a domain's name nor its uuid stays: whoever looks for it finds nothing.
 */
void api_call_domain(struct api_call *c, const struct ha_record *r);

/** @name -> node id, 0 when unknown */
typedef uint32_t (*api_node_id)(void *arg, const char *name);

/** api_call_resolve() - names of hosts to node ids; -ENOENT with text when one is unknown */
int api_call_resolve(struct api_call *c, api_node_id id, void *arg, struct err *e);

#endif
