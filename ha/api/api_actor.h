/* SPDX-License-Identifier: Apache-2.0 */
/* api_actor - who is behind a connection to the API. */
#ifndef DROVER_HA_API_API_ACTOR_H
#define DROVER_HA_API_API_ACTOR_H

#include "ha/core/core.h"

#include <microhttpd.h>

/** api_actor() - for the history: "root", "uid 1000"; @actor is filled and returned */
const char *api_actor(struct MHD_Connection *c, char actor[HA_ACTOR_MAX + 1]);

#endif
