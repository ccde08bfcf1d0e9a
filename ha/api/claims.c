/* SPDX-License-Identifier: Apache-2.0 */
/* claims - see claims.h. */
#include "ha/api/claims.h"

#include "conf/check.h"
#include "ha/core/record/codec.h"

#include <string.h>

_Static_assert(1 + DOMAIN_NICS_MAX + DOMAIN_DISKS_MAX + DOMAIN_PARENTS_MAX <= HA_CLAIMS_MAX, "a domain's claims fit");

static struct ha_claim uuid_claim(const uint8_t uuid[16])
{
	return (struct ha_claim){ HA_CLAIM_UUID, false, ha_hash(0, uuid, 16) };
}

static struct ha_claim path_claim(enum ha_claim_kind kind, const char *name, bool shared)
{
	char path[CHECK_PATH_MAX + 1];

	path_plain(name, path);
	return (struct ha_claim){ kind, shared, ha_hash(0, path, strlen(path)) };
}

uint32_t claims_of(const struct domain_conf *conf, struct ha_claim out[HA_CLAIMS_MAX])
{
	uint32_t n = 0;
	size_t i, k;

	out[n++] = uuid_claim(conf->uuid);
	for (i = 0; i < conf->n_nics; i++)
		out[n++] = (struct ha_claim){ HA_CLAIM_MAC, false, ha_hash(0, conf->nics[i].mac, 6) };
	for (i = 0; i < conf->n_disks; i++) {
		out[n++] = path_claim(HA_CLAIM_DISK, conf->disks[i].path, conf->disks[i].readonly);
		for (k = 0; k < conf->disks[i].n_parents; k++)
			out[n++] = path_claim(HA_CLAIM_PARENT, conf->disks[i].parents[k], true);
	}
	return n;
}

int claims_named(const struct ha_record *r, const char *word)
{
	int i = ha_record_find(r, word);
	struct ha_claim claim;
	uint8_t uuid[16];
	uint32_t which;

	if (i >= 0 || !uuid_parse(word, uuid))
		return i;
	claim = uuid_claim(uuid);
	return ha_record_claimed(r, &claim, 1, &which);
}

static bool clash(const struct ha_claim *a, const struct ha_claim *b)
{
	return ha_claim_space(a->kind) == ha_claim_space(b->kind) && a->key == b->key && !(a->shared && b->shared);
}

static bool has(const struct ha_domain *d, const struct ha_claim *claim)
{
	for (uint32_t i = 0; i < d->n_claims; i++)
		if (clash(&d->claims[i], claim))
			return true;
	return false;
}

int claims_others(const struct ha_record *r, int self, const struct ha_claim *claims, uint32_t n, uint32_t *which)
{
	uint64_t bits = 0;

	for (uint32_t k = 0; k < n; k++)
		bits |= ha_index_claim(&claims[k]);
	for (uint32_t i = 0; i < r->n_domains; i++)
		for (*which = 0; (int)i != self && (r->index.seat[i].claims & bits) && *which < n; ++*which)
			if (has(&r->domains[i], &claims[*which]))
				return (int)i;
	return -1;
}
