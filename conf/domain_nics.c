/* SPDX-License-Identifier: Apache-2.0 */
/* domain_nics - the network cards of a domain file. */
#include "conf/domain_int.h"

#include "conf/check.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int build_nic(struct domain_build *b, size_t i, const struct tree_node *n)
{
	const struct domain_raw_nic *raw = &b->raw->nics[i];
	struct domain_nic *nic = &b->c->nics[i];
	const struct tree_node *mac = tree_get(n, "mac"), *bridge = tree_get(n, "bridge");
	const struct tree_node *tap = tree_get(n, "tap");

	if ((mac && check_mac(b->t, mac, nic->mac, b->e)) ||
	    (bridge && check_ifname(b->t, bridge, b->e)) ||
	    (tap && check_ifname(b->t, tap, b->e)))
		return -EINVAL;
	if (!mac)
		domain_make_mac(b->c->uuid, i, nic->mac);
	for (size_t k = 0; k < i; k++) {
		const struct domain_nic *o = &b->c->nics[k];

		if (!memcmp(o->mac, nic->mac, 6))
			return tree_fail(b->t, mac ? mac : n, b->e, "nics[%zu] has this MAC already",
					 k);
		if (tap && o->tap && !strcmp(o->tap, tap->value))
			return tree_fail(b->t, tap, b->e, "nics[%zu] has this tap already", k);
	}
	nic->bridge = raw->bridge ? strdup(raw->bridge) : NULL;
	nic->tap = raw->tap ? strdup(raw->tap) : NULL;
	b->c->n_nics = i + 1;
	if ((raw->bridge && !nic->bridge) || (raw->tap && !nic->tap))
		return tree_nomem(b->t->file, b->e);
	return 0;
}

int domain_build_nics(struct domain_build *b)
{
	const struct tree_node *nics = tree_get(b->t->root, "nics");

	for (size_t i = 0; i < b->raw->nics_count; i++) {
		int rc = build_nic(b, i, tree_at(nics, i));

		if (rc)
			return rc;
	}
	return 0;
}
