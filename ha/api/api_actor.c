/* SPDX-License-Identifier: Apache-2.0 */
/* api_actor - see api_actor.h. Whoever may open the socket (0660, root's) may do everything; who it is stands in the history. */
#include "ha/api/api_actor.h"

#include <stdio.h>
#include <sys/socket.h>

const char *api_actor(struct MHD_Connection *c, char actor[HA_ACTOR_MAX + 1])
{
	const union MHD_ConnectionInfo *i = MHD_get_connection_info(c, MHD_CONNECTION_INFO_CONNECTION_FD);
	struct ucred who;
	socklen_t len = sizeof(who);

	if (!i || getsockopt(i->connect_fd, SOL_SOCKET, SO_PEERCRED, &who, &len))
		snprintf(actor, HA_ACTOR_MAX + 1, "somebody");
	else if (who.uid)
		snprintf(actor, HA_ACTOR_MAX + 1, "uid %u", (unsigned int)who.uid); /* its name may take a network to know */
	else
		snprintf(actor, HA_ACTOR_MAX + 1, "root");
	return actor;
}
