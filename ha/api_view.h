/* SPDX-License-Identifier: Apache-2.0 */
/*
 * api_view - what the API shows: the core's and the shell's state as JSON.
 * Every function returns a new object, or NULL without memory or (where a name
 * is given) when there is no such thing.
 */
#ifndef DROVER_HA_API_VIEW_H
#define DROVER_HA_API_VIEW_H

#include "ha/shell.h"

#include <jansson.h>

json_t *api_view_status(struct shell *s);
json_t *api_view_nodes(struct shell *s);
json_t *api_view_node(struct shell *s, const char *name);
json_t *api_view_domains(struct shell *s);
json_t *api_view_domain(struct shell *s, const char *name);
json_t *api_view_conf(struct shell *s, const char *name);
json_t *api_view_groups(struct shell *s);
json_t *api_view_timings(struct shell *s);
json_t *api_view_history(struct shell *s, uint64_t after);

#endif
