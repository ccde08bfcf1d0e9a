/* SPDX-License-Identifier: Apache-2.0 */
/* link - the ordinary way to be reached by the other side (migrate.h); to reach it is the business of whoever may. */
#include "migrate/migrate.h"

static int link_accept(void *arg, int timeout_ms, struct stream **out, struct err *e)
{
	return stream_accept(arg, timeout_ms, out, e);
}

struct migrate_link migrate_link_at(struct stream_listener *l)
{
	return (struct migrate_link){ .open = link_accept, .arg = l };
}
