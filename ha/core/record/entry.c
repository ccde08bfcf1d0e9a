/* SPDX-License-Identifier: Apache-2.0 */
/*
 * entry - encode and decode log entries.
 *
 * One function walks the fields of a kind in both directions, so that writing
 * and reading cannot drift apart (as the state tables of devices do).
 */
#include "ha/core/record/entry.h"
#include "ha/core/record/codec.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

/* Either w or r is set. */
struct walk {
	struct ha_writer *w;
	struct ha_reader *r;
};

static void f_u8(struct walk *k, uint8_t *v)
{
	if (k->w)
		ha_put_u8(k->w, *v);
	else
		*v = ha_get_u8(k->r);
}

static void f_u32(struct walk *k, uint32_t *v)
{
	if (k->w)
		ha_put_u32(k->w, *v);
	else
		*v = ha_get_u32(k->r);
}

static void f_u64(struct walk *k, uint64_t *v)
{
	if (k->w)
		ha_put_u64(k->w, *v);
	else
		*v = ha_get_u64(k->r);
}

static void f_end(struct walk *k, enum ha_end *v)
{
	uint8_t n = (uint8_t)*v;

	if (k->w) {
		ha_put_u8(k->w, n);
		return;
	}
	n = ha_get_u8(k->r);
	if (n >= HA_ENDS)
		k->r->bad = true;
	*v = n < HA_ENDS ? (enum ha_end)n : HA_END_FAILED;
}

static void f_bool(struct walk *k, bool *v)
{
	if (k->w)
		ha_put_u8(k->w, *v);
	else
		*v = ha_get_bool(k->r);
}

static void f_str(struct walk *k, char *s, size_t size)
{
	if (k->w)
		ha_put_str(k->w, s);
	else
		ha_get_str(k->r, s, size);
}

/* A count of at most @max; a reader that finds more is bad and gets 0. */
static void f_count(struct walk *k, uint32_t *n, uint32_t max)
{
	f_u32(k, n);
	if (*n <= max)
		return;
	if (k->w)
		k->w->bad = true;
	else
		k->r->bad = true;
	*n = 0;
}

static void f_domain(struct walk *k, struct ha_entry *e)
{
	f_str(k, e->domain, sizeof(e->domain));
	f_u64(k, &e->incarnation);
	if (k->r && !ha_name_valid(e->domain))
		k->r->bad = true;
}

static void f_ids(struct walk *k, struct ha_ids *ids)
{
	f_count(k, &ids->n, HA_NODES_MAX);
	for (uint32_t i = 0; i < ids->n; i++) {
		f_u32(k, &ids->id[i]);
		f_u64(k, &ids->epoch[i]);
	}
}

void ha_size_put(struct ha_writer *w, const struct ha_size *s)
{
	ha_put_u64(w, s->memory);
	ha_put_u32(w, s->cpus);
}

void ha_size_get(struct ha_reader *r, struct ha_size *s)
{
	s->memory = ha_get_u64(r);
	s->cpus = ha_get_u32(r);
}

static void f_size(struct walk *k, struct ha_size *s)
{
	if (k->w)
		ha_size_put(k->w, s);
	else
		ha_size_get(k->r, s);
}

static void f_voters(struct walk *k, struct ha_voters *l)
{
	if (k->w)
		ha_voters_put(k->w, l);
	else
		ha_voters_get(k->r, l);
}

static void walk_epoch(struct walk *k, struct ha_entry *e)
{
	f_u64(k, &e->epoch);
	f_u64(k, &e->cluster);
	f_count(k, &e->n_members, HA_NODES_MAX);
	/* Epochs are counted from 1, and 0 is no host: the record would take either for "none". */
	if (k->r && !e->epoch)
		k->r->bad = true;
	for (uint32_t i = 0; i < e->n_members; i++) {
		f_u32(k, &e->members[i]);
		if (k->r && !e->members[i])
			k->r->bad = true;
		f_bool(k, &e->fresh[i]);
		f_u32(k, &e->tokens[i]);
		f_u8(k, &e->levels[i]);
		f_size(k, &e->sizes[i]);
	}
	f_ids(k, &e->left);
	f_ids(k, &e->unsure);
	f_voters(k, &e->voters);
	f_bool(k, &e->leans);
}

static void walk_report(struct walk *k, struct ha_entry *e)
{
	f_u32(k, &e->from);
	f_u32(k, &e->to);
	f_count(k, &e->n_items, HA_REPORT_ITEMS);
	/* Each part brings it on. */
	if (k->r && e->to <= e->from)
		k->r->bad = true;
	for (uint32_t i = 0; i < e->n_items; i++) {
		f_str(k, e->items[i].name, sizeof(e->items[i].name));
		f_u64(k, &e->items[i].incarnation);
	}
}

void ha_claim_put(struct ha_writer *w, const struct ha_claim *a)
{
	ha_put_u8(w, (uint8_t)a->kind);
	ha_put_u8(w, a->shared);
	ha_put_u64(w, a->key);
}

void ha_claim_get(struct ha_reader *r, struct ha_claim *a)
{
	uint8_t kind = ha_get_u8(r);

	if (kind >= HA_CLAIM_KINDS) {
		r->bad = true;
		kind = 0;
	}
	a->kind = (enum ha_claim_kind)kind;
	a->shared = ha_get_bool(r);
	a->key = ha_get_u64(r);
}

static void walk_claims(struct walk *k, struct ha_entry *e)
{
	f_count(k, &e->n_claims, HA_CLAIMS_MAX);
	for (uint32_t i = 0; i < e->n_claims; i++) {
		if (k->w)
			ha_claim_put(k->w, &e->claims[i]);
		else
			ha_claim_get(k->r, &e->claims[i]);
	}
}

static void walk_op(struct walk *k, struct ha_entry *e)
{
	uint32_t op = e->op, access = e->access, prio;

	f_u32(k, &op);
	if (k->r && op >= HA_OPS) {
		k->r->bad = true;
		op = 0;
	}
	e->op = (enum ha_op)op;
	f_str(k, e->actor, sizeof(e->actor));
	f_u32(k, &access);
	if (k->r && (access >= HA_ACCESSES || !e->actor[0])) {
		k->r->bad = true;
		access = HA_ACCESS_VIEWER;
	}
	e->access = (enum ha_access)access;
	f_str(k, e->domain, sizeof(e->domain));
	f_str(k, e->group, sizeof(e->group));
	f_u32(k, &e->node);
	f_u64(k, &e->debt);
	f_bool(k, &e->ha);
	f_bool(k, &e->started);
	f_bool(k, &e->force);
	f_bool(k, &e->restricted);
	f_bool(k, &e->on);
	f_u32(k, &e->max_restart);
	if (k->w)
		ha_put_bytes(k->w, e->conf, e->conf_len);
	else
		e->conf = ha_get_bytes(k->r, HA_CONF_MAX, &e->conf_len);
	f_size(k, &e->size);
	f_count(k, &e->n_hosts, HA_NODES_MAX);
	for (uint32_t i = 0; i < e->n_hosts; i++) {
		f_u32(k, &e->hosts[i].node);
		prio = (uint32_t)e->hosts[i].priority;
		f_u32(k, &prio);
		e->hosts[i].priority = (int32_t)prio;
	}
	walk_claims(k, e);
	if (k->r && ((e->domain[0] && !ha_name_valid(e->domain)) ||
		     (e->group[0] && !ha_name_valid(e->group))))
		k->r->bad = true;
}

/* It is in force before anybody applies it, and so whatever the record says: it needs no level. */
static void walk_votes(struct walk *k, struct ha_entry *e)
{
	f_u64(k, &e->version);
	f_u32(k, &e->node);
	f_u64(k, &e->witness);
	f_bool(k, &e->more);
	if (k->r && (!e->node == !e->witness || e->level))
		k->r->bad = true;
}

static void walk(struct walk *k, struct ha_entry *e)
{
	uint32_t rc;

	switch (e->kind) {
	case HA_E_NEW_EPOCH:
		walk_epoch(k, e);
		break;
	case HA_E_REPORT:
		walk_report(k, e);
		break;
	case HA_E_RUNNING:
	case HA_E_STABLE:
	case HA_E_RETRY:
	case HA_E_COMMIT:
		f_domain(k, e);
		break;
	case HA_E_EXITED:
		f_end(k, &e->end);
		/* fall through */
	case HA_E_READY:
	case HA_E_ABORT:
		f_domain(k, e);
		rc = (uint32_t)e->rc;
		f_u32(k, &rc);
		e->rc = (int32_t)rc;
		f_str(k, e->text, sizeof(e->text));
		break;
	case HA_E_PASSED:
		f_u64(k, &e->version);
		/* fall through */
	case HA_E_FENCING:
	case HA_E_FENCED:
	case HA_E_FENCE_FAILED:
		f_u32(k, &e->node);
		f_u64(k, &e->debt);
		f_str(k, e->text, sizeof(e->text));
		break;
	case HA_E_OP:
		walk_op(k, e);
		break;
	case HA_E_LEASE:
		f_bool(k, &e->has_lease);
		f_bool(k, &e->over);
		f_bool(k, &e->leaving);
		break;
	case HA_E_TIMING:
		f_u32(k, &e->token);
		f_u64(k, &e->token_changes);
		f_bool(k, &e->settled);
		break;
	case HA_E_VOTES:
		walk_votes(k, e);
		break;
	case HA_E_KINDS:
		break;
	}
}

size_t ha_entry_encode(const struct ha_entry *e, uint8_t *buf, size_t size)
{
	struct ha_writer w = { .p = buf, .size = size };
	struct walk k = { .w = &w };

	assert(e->kind >= HA_E_NEW_EPOCH && e->kind < HA_E_KINDS);
	ha_put_u8(&w, HA_ENTRY_VERSION);
	ha_put_u8(&w, (uint8_t)e->kind);
	ha_put_u8(&w, e->level);
	ha_put_u32(&w, e->origin);
	ha_put_u64(&w, e->serial);
	walk(&k, (struct ha_entry *)e); /* a writer changes nothing */
	return w.bad ? 0 : w.len;
}

bool ha_entry_says(enum ha_entry_kind k, const uint8_t *bytes, size_t len)
{
	return len > 1 && bytes[0] == HA_ENTRY_VERSION && bytes[1] == k;
}

bool ha_entry_decode(struct ha_entry *e, const uint8_t *bytes, size_t len)
{
	struct ha_reader r = { .p = bytes, .len = len };
	struct walk k = { .r = &r };
	uint8_t kind;

	/* The large arrays are not cleared: their counts are. */
	memset(e, 0, offsetof(struct ha_entry, members));
	e->voters.n = 0;
	e->from = e->to = e->n_items = 0;
	memset((char *)e + offsetof(struct ha_entry, op), 0,
	       offsetof(struct ha_entry, hosts) - offsetof(struct ha_entry, op));

	if (ha_get_u8(&r) != HA_ENTRY_VERSION)
		return false;
	kind = ha_get_u8(&r);
	if (kind < HA_E_NEW_EPOCH || kind >= HA_E_KINDS)
		return false;
	e->kind = (enum ha_entry_kind)kind;
	e->level = ha_get_u8(&r);
	e->origin = ha_get_u32(&r);
	e->serial = ha_get_u64(&r);
	walk(&k, e);
	return ha_get_end(&r);
}

bool ha_name_valid(const char *s)
{
	size_t n = strlen(s);

	if (!n || n > HA_NAME_MAX || s[0] == '-' || s[0] == '_' || s[0] == '.')
		return false;
	for (size_t i = 0; i < n; i++) {
		char c = s[i];

		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
		      c == '-' || c == '_' || c == '.'))
			return false;
	}
	return true;
}

const char *ha_entry_kind_str(enum ha_entry_kind k)
{
	switch (k) {
	case HA_E_NEW_EPOCH: return "NEW_EPOCH";
	case HA_E_REPORT: return "REPORT";
	case HA_E_RUNNING: return "RUNNING";
	case HA_E_STABLE: return "STABLE";
	case HA_E_EXITED: return "EXITED";
	case HA_E_RETRY: return "RETRY";
	case HA_E_READY: return "READY";
	case HA_E_COMMIT: return "COMMIT";
	case HA_E_ABORT: return "ABORT";
	case HA_E_PASSED: return "PASSED";
	case HA_E_FENCING: return "FENCING";
	case HA_E_FENCED: return "FENCED";
	case HA_E_FENCE_FAILED: return "FENCE_FAILED";
	case HA_E_OP: return "OP";
	case HA_E_LEASE: return "LEASE";
	case HA_E_TIMING: return "TIMING";
	case HA_E_VOTES: return "VOTES";
	case HA_E_KINDS: break;
	}
	return "?";
}

size_t ha_entry_print(const struct ha_entry *e, char *buf, size_t size)
{
	const char *k = ha_entry_kind_str(e->kind);
	int n = 0;

	switch (e->kind) {
	case HA_E_NEW_EPOCH:
		n = snprintf(buf, size, "%s %llu, %u members", k, (unsigned long long)e->epoch,
			     e->n_members);
		break;
	case HA_E_REPORT:
		n = snprintf(buf, size, "%s by %u: %u VMMs%s", k, e->origin, e->n_items,
			     e->to == HA_REPORT_END ? "" : ", and more");
		break;
	case HA_E_RUNNING:
	case HA_E_STABLE:
	case HA_E_RETRY:
	case HA_E_COMMIT:
		n = snprintf(buf, size, "%s %s.%llu by %u", k, e->domain,
			     (unsigned long long)e->incarnation, e->origin);
		break;
	case HA_E_EXITED:
		n = snprintf(buf, size, "%s %s.%llu by %u, %s (%d): %s", k, e->domain,
			     (unsigned long long)e->incarnation, e->origin, ha_end_str(e->end), e->rc, e->text);
		break;
	case HA_E_READY:
	case HA_E_ABORT:
		n = snprintf(buf, size, "%s %s.%llu by %u, rc %d: %s", k, e->domain,
			     (unsigned long long)e->incarnation, e->origin, e->rc, e->text);
		break;
	case HA_E_PASSED:
	case HA_E_FENCING:
	case HA_E_FENCED:
	case HA_E_FENCE_FAILED:
		n = snprintf(buf, size, "%s node %u debt %llu by %u%s%s", k, e->node,
			     (unsigned long long)e->debt, e->origin, e->text[0] ? ": " : "",
			     e->text);
		break;
	case HA_E_OP:
		n = snprintf(buf, size, "%s %s %s%s%s node %u by %u", k, ha_op_str(e->op),
			     e->domain, e->group[0] ? " group " : "", e->group, e->node, e->origin);
		break;
	case HA_E_LEASE:
		n = snprintf(buf, size, "%s %s by %u", k,
			     e->leaving ? "leaving" : e->has_lease ? "held" :
					      e->over              ? "over" :
								     "lost",
			     e->origin);
		break;
	case HA_E_TIMING:
		n = snprintf(buf, size, "%s token %u ms by %u%s", k, e->token, e->origin,
			     e->settled ? ", settled" : "");
		break;
	case HA_E_VOTES:
		if (e->witness)
			n = snprintf(buf, size, "%s %llu: one %s for witness %016llx by %u", k, (unsigned long long)e->version,
				     e->more ? "more" : "less", (unsigned long long)e->witness, e->origin);
		else
			n = snprintf(buf, size, "%s %llu: one %s for node %u by %u", k, (unsigned long long)e->version,
				     e->more ? "more" : "less", e->node, e->origin);
		break;
	case HA_E_KINDS:
		break;
	}
	return n < 0 ? 0 : (size_t)n;
}

bool ha_entry_has_member(const struct ha_entry *e, uint32_t id)
{
	for (uint32_t i = 0; i < e->n_members; i++)
		if (e->members[i] == id)
			return true;
	return false;
}
