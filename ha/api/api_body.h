/* SPDX-License-Identifier: Apache-2.0 */
/* api_body - what a request's body says, by what its route takes (api_call.c). */
#ifndef DROVER_HA_API_API_BODY_H
#define DROVER_HA_API_API_BODY_H

#include "ha/api/api_call.h"

#define API_WORDS_MAX 4

struct api_route;

/*
 * Fill @c with what @body says; texts may point into it.
 * Return: 0; -EINVAL with what was expected where; -ENOMEM.
 */
typedef int (*api_body_fn)(const struct api_route *r, const char *body, size_t len, struct api_call *c, struct err *e);

struct api_route {
	const char *method;
	const char *words[API_WORDS_MAX];
	enum api_what what;
	enum ha_op op;
	api_body_fn body;
	unsigned int takes; /* API_TAKES_...: keys of the body; anything else is refused, never ignored */
	bool on;            /* what the path says */
};

enum {
	API_TAKES_NODE = 1,
	API_TAKES_FORCE = 2,
	API_TAKES_ON = 4,
	API_TAKES_GROUP = 8,
	API_TAKES_MAX_RESTART = 16,
	API_TAKES_DRY_RUN = 32,
	API_TAKES_ASKED = 64,
	API_TAKES_TIMEOUT = 128
};

/** api_name_check() - can a domain, a host or a group have this name?  -EINVAL, with @what it is */
int api_name_check(const char *name, const char *what, struct err *e);
/** api_body_options() - an object with the keys that the route takes; an empty body is an empty object */
int api_body_options(const struct api_route *r, const char *body, size_t len, struct api_call *c, struct err *e);
/** api_body_conf() - a new domain's file (docs/domain.yaml.5) */
int api_body_conf(const struct api_route *r, const char *body, size_t len, struct api_call *c, struct err *e);
/** api_body_group() - {"hosts": [{"node": "n1", "priority": 10}, ...], "restricted": false} */
int api_body_group(const struct api_route *r, const char *body, size_t len, struct api_call *c, struct err *e);

#endif
