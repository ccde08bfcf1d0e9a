/* SPDX-License-Identifier: Apache-2.0 */
/* link - the two ordinary ways to reach the other side (migrate.h). */
#include "migrate/migrate.h"

static int link_connect(void *arg, int timeout_ms, struct stream **out, struct err *e)
{
	return stream_connect(arg, timeout_ms, out, e);
}

static int link_accept(void *arg, int timeout_ms, struct stream **out, struct err *e)
{
	return stream_accept(arg, timeout_ms, out, e);
}

struct migrate_link migrate_link_to(const char *address)
{
	return (struct migrate_link){ .open = link_connect, .arg = (void *)address };
}

struct migrate_link migrate_link_at(struct stream_listener *l)
{
	return (struct migrate_link){ .open = link_accept, .arg = l };
}
