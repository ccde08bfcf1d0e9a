/* SPDX-License-Identifier: Apache-2.0 */
/*
 * api_view - what the API shows: the core's and the shell's state as JSON.
 * Every function returns a new object, or NULL without memory or (where a name
 * is given) when there is no such thing.
 */
#ifndef DROVER_HA_API_API_VIEW_H
#define DROVER_HA_API_API_VIEW_H

#include "ha/api/api_call.h"
#include "ha/shell/shell.h"

#include <jansson.h>

/** api_view() - what @call asks for */
json_t *api_view(struct shell *s, const struct api_call *call);

/** api_view_status() - the cluster from here: quorum, epoch, lease, counts, problems */
json_t *api_view_status(struct shell *s);
/** api_view_nodes() - all hosts, a row each */
json_t *api_view_nodes(struct shell *s);
/** api_view_node() - one of them; NULL: no such host */
json_t *api_view_node(struct shell *s, const char *name);
/** api_view_cpus() - the processor of each host that told of it */
json_t *api_view_cpus(struct shell *s);
/** api_view_domains() - all domains, a row each */
json_t *api_view_domains(struct shell *s);
/** api_view_domain() - one of them, with its VMM's numbers where it runs here; NULL: no such domain */
json_t *api_view_domain(struct shell *s, const char *name);
/** api_view_conf() - its file as it was taken in */
json_t *api_view_conf(struct shell *s, const char *name);
/** api_view_groups() - HA groups with their hosts */
json_t *api_view_groups(struct shell *s);
/** api_view_timings() - all times that follow from the token, ms */
json_t *api_view_timings(struct shell *s);
/** api_view_history() - what happened, oldest first, behind number @after */
json_t *api_view_history(struct shell *s, uint64_t after);

#endif
