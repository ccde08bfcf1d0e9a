/* SPDX-License-Identifier: Apache-2.0 */
/* domain_nics - the network cards of a domain file. */
#include "conf/domain_int.h"

#include "conf/check.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int check_vid(struct domain_build *b, const struct tree_node *n, uint32_t vid)
{
	if (vid >= 1 && vid <= DOMAIN_VLAN_MAX)
		return 0;
	return tree_fail(b->t, n, b->e, "got %u, expected a VLAN from 1 to %d", vid, DOMAIN_VLAN_MAX);
}

static int build_vlans(struct domain_build *b, const struct domain_raw_nic *raw, const struct tree_node *n,
		       struct domain_nic *nic)
{
	const struct tree_node *vlan = tree_get(n, "vlan"), *vlans = tree_get(n, "vlans");

	/* Only a bridge keeps them apart. */
	if ((vlan || vlans) && !raw->bridge)
		return tree_fail(b->t, vlan ? vlan : vlans, b->e, "expected a bridge beside it, which filters VLANs");
	if (vlan && check_vid(b, vlan, raw->vlan))
		return -EINVAL;
	nic->vlan = vlan ? (uint16_t)raw->vlan : 0;
	if (vlans && !raw->vlans_count)
		return tree_fail(b->t, vlans, b->e, "is empty, expected VLANs such as [10, 20], or the key left out");
	for (size_t i = 0; i < raw->vlans_count; i++) {
		uint32_t vid = raw->vlans[i];

		if (check_vid(b, tree_at(vlans, i), vid))
			return -EINVAL;
		for (size_t k = 0; k < i; k++)
			if (nic->vlans[k] == vid)
				return tree_fail(b->t, tree_at(vlans, i), b->e, "%u is vlans[%zu] already", vid, k);
		if (vid == nic->vlan)
			return tree_fail(b->t, tree_at(vlans, i), b->e, "%u is the vlan of frames without a tag", vid);
		nic->vlans[nic->n_vlans++] = (uint16_t)vid;
	}
	return 0;
}

static int build_filter(struct domain_build *b, const struct domain_raw_nic *raw, const struct tree_node *n,
			struct domain_nic *nic)
{
	const struct tree_node *addresses = tree_get(n, "addresses"), *filter = tree_get(n, "filter");

	nic->filter = filter ? raw->filter : FILTER_NONE;
	if (addresses && nic->filter != FILTER_ADDRESSES)
		return tree_fail(b->t, addresses, b->e, "expected 'filter: addresses' beside it");
	if (!addresses && nic->filter == FILTER_ADDRESSES)
		return tree_fail(b->t, filter, b->e, "expected 'addresses' beside it, such as [10.0.0.5, 2001:db8::5]");
	if (addresses && !raw->addresses_count)
		return tree_fail(b->t, addresses, b->e, "is empty, expected addresses such as [10.0.0.5, 2001:db8::5]");
	for (size_t i = 0; i < raw->addresses_count; i++) {
		struct domain_address *a = &nic->addresses[i];

		if (check_ip(b->t, tree_at(addresses, i), &a->v6, a->bytes, b->e))
			return -EINVAL;
		for (size_t k = 0; k < i; k++)
			if (nic->addresses[k].v6 == a->v6 && !memcmp(nic->addresses[k].bytes, a->bytes, sizeof(a->bytes)))
				return tree_fail(b->t, tree_at(addresses, i), b->e, "is addresses[%zu] already", k);
		nic->n_addresses = i + 1;
	}
	return 0;
}

static int build_mtu(struct domain_build *b, const struct domain_raw_nic *raw, const struct tree_node *n,
		     struct domain_nic *nic)
{
	if (!n)
		return 0;
	if (raw->mtu < DOMAIN_MTU_MIN || raw->mtu > DOMAIN_MTU_MAX)
		return tree_fail(b->t, n, b->e, "got %u, expected %d to %d bytes", raw->mtu, DOMAIN_MTU_MIN,
				 DOMAIN_MTU_MAX);
	nic->mtu = (uint16_t)raw->mtu;
	return 0;
}

static int build_queues(struct domain_build *b, const struct domain_raw_nic *raw, const struct tree_node *n,
			struct domain_nic *nic)
{
	nic->queues = n ? raw->queues : 1;
	if (nic->queues < 1 || nic->queues > DOMAIN_QUEUES_MAX)
		return tree_fail(b->t, n, b->e, "got %u, expected 1 to %d", nic->queues, DOMAIN_QUEUES_MAX);
	return 0;
}

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
	if (build_vlans(b, raw, n, nic) || build_filter(b, raw, n, nic) ||
	    build_mtu(b, raw, tree_get(n, "mtu"), nic) || build_queues(b, raw, tree_get(n, "queues"), nic))
		return -EINVAL;
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
