/* SPDX-License-Identifier: Apache-2.0 */
/*
 * api_validate - see api_validate.h.
 *
 * Judged by this host's record, as ha/core/apply/operator.c does by everybody's; whoever takes the file in later is judged
 * there again.
 */
#include "ha/api/api_validate.h"

#include "ha/api/claims.h"

#include <stdio.h>
#include <string.h>

static enum ha_code judge_name(const struct ha_record *r, int self, const struct ha_command *cmd, char *text)
{
	const struct ha_domain *d;
	bool same;

	if (self < 0)
		return HA_OK;
	d = &r->domains[self];
	same = d->conf_len == cmd->conf_len && !memcmp(ha_text(r, (uint32_t)self), cmd->conf, cmd->conf_len);
	snprintf(text, HA_REASON_MAX + 1, "%s is already defined, with %s text", d->name, same ? "this very" : "another");
	return HA_REFUSED;
}

static enum ha_code judge_limits(const struct ha_record *r, const struct ha_command *cmd, char *text)
{
	if (cmd->group && ha_record_find_group(r, cmd->group) < 0) {
		snprintf(text, HA_REASON_MAX + 1, "no group called %s", cmd->group);
		return HA_NOT_FOUND;
	}
	if (r->index.used >= HA_DOMAINS_MAX)
		snprintf(text, HA_REASON_MAX + 1, "the cluster holds at most %u domains", HA_DOMAINS_MAX);
	else if (!ha_text_fits(r, (uint32_t)cmd->conf_len))
		snprintf(text, HA_REASON_MAX + 1, "the cluster holds at most %u MiB of domain texts", HA_CONFS_MAX >> 20);
	else
		return HA_OK;
	return HA_REFUSED;
}

enum ha_code api_validate(const struct ha_record *r, const struct api_call *c, char *text)
{
	int self = ha_record_find(r, c->domain), other;
	enum ha_code code;
	char where[32];
	uint32_t which;

	other = claims_others(r, self, c->claims, (uint32_t)c->cmd.n_claims, &which);
	if (other >= 0) {
		ha_claim_print(c->claims, which, where, sizeof(where));
		snprintf(text, HA_REASON_MAX + 1, "its %s is that of %s", where, r->domains[other].name);
		return HA_REFUSED;
	}
	code = judge_name(r, self, &c->cmd, text);
	if (!code)
		code = judge_limits(r, &c->cmd, text);
	if (!code)
		snprintf(text, HA_REASON_MAX + 1, "%s could be defined", c->domain);
	return code;
}
