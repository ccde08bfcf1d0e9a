/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ha_core_seeds - where corpus/ha_core begins: every kind of entry, a stored record, what a core says, in today's formats.
 *
 *   ha_core_seeds DIR            writes them (after a change of a format)
 *   ha_core_seeds --check DIR    fails when they are not the ones that lie there
 *
 * A corpus of an older format is turned away at its first byte, and a fuzzer that begins with it tests nothing.
 */
#include "base/reserve.h"
#include "ha/core/core_int.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *dir;
static bool checks, wrong;

static void seed(const char *name, uint8_t what, const uint8_t *bytes, size_t len)
{
	static uint8_t there[1 << 17];
	char path[512];
	size_t n;
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, checks ? "rb" : "wb");
	if (!f) {
		perror(path);
		exit(1);
	}
	if (checks) {
		n = fread(there, 1, sizeof(there), f);
		if (n != len + 1 || there[0] != what || memcmp(there + 1, bytes, len)) {
			fprintf(stderr, "%s is not of today's formats: make it anew with ha_core_seeds\n", path);
			wrong = true;
		}
	} else {
		fputc(what, f);
		fwrite(bytes, 1, len, f);
	}
	fclose(f);
}

static void fill(struct ha_entry *e, enum ha_entry_kind kind)
{
	memset(e, 0, sizeof(*e));
	e->kind = kind;
	e->origin = 2;
	e->serial = 4;
	strcpy(e->domain, "web");
	e->incarnation = 3;
	strcpy(e->text, kind == HA_E_READY ? "tcp:10.0.0.2:49152" : "why");
	e->node = 1;
	e->debt = 2;
	e->has_lease = true;
	e->token = 1000;
	e->token_changes = 1;
	e->epoch = 3;
	e->cluster = 77;
	e->n_members = 2;
	for (uint32_t i = 0; i < 2; i++) {
		e->members[i] = i + 1;
		e->tokens[i] = 1000;
		e->levels[i] = HA_LEVEL;
		e->sizes[i] = (struct ha_size){ 1 << 30, 2 };
		ha_voters_set(&e->voters, i + 1, 1);
	}
	e->version = 2;
	e->more = true;
	e->left.n = 1;
	e->left.id[0] = 3;
	e->left.epoch[0] = 2;
	e->to = HA_REPORT_END;
	e->n_items = 1;
	strcpy(e->items[0].name, "web");
	e->items[0].incarnation = 3;
	e->op = HA_OP_ADD;
	strcpy(e->actor, "root");
	e->access = HA_ACCESS_ADMIN;
	e->ha = e->started = true;
	e->max_restart = 3;
	e->conf = (const uint8_t *)"name: web\n";
	e->conf_len = 10;
	e->size = (struct ha_size){ 1 << 28, 1 };
	e->n_claims = 1;
	e->claims[0] = (struct ha_claim){ HA_CLAIM_DISK, false, 99 };
}

static void entries(void)
{
	static struct ha_entry e;
	static uint8_t buf[HA_ENTRY_MAX];
	char name[64];
	size_t n;

	for (int k = HA_E_NEW_EPOCH; k < HA_E_KINDS; k++) {
		fill(&e, (enum ha_entry_kind)k);
		snprintf(name, sizeof(name), "entry-%s", ha_entry_kind_str((enum ha_entry_kind)k));
		n = ha_entry_encode(&e, buf, sizeof(buf));
		assert(ha_entry_decode(&e, buf, n));
		seed(name, 0, buf, n);
	}
}

/* A record with two hosts, one that was lost, and a domain. */
static void snapshot(struct ha_core *c)
{
	static uint8_t buf[1 << 14];
	static struct ha_entry e;
	static struct ha_state end;
	struct ha_outcome *o = &c->outcome;
	size_t n;

	ha_core_init(c);
	c->me = 1;
	fill(&e, HA_E_NEW_EPOCH);
	ha_apply(&c->rec, &e, o);
	fill(&e, HA_E_OP);
	ha_apply(&c->rec, &e, o);
	c->log.applied = c->log.seq = c->log.commit = 2;
	c->log.applied_epoch = c->log.epoch = 3;
	c->log.promised = 4;
	c->log.voters = c->rec.voters;
	n = ha_snapshot_encode(c, buf, sizeof(buf));
	assert(ha_snapshot_check(&c->seen, buf, n, &end));
	seed("snapshot", 1, buf, n);
}

/* What one of two cores says while its epoch comes to stand, each message behind its length. */
static void messages(struct ha_core *c)
{
	static const struct ha_node_conf nodes[2] = { { 1, 1, "n1" }, { 2, 0, "n2" } };
	static const uint32_t both[2] = { 1, 2 };
	static struct ha_effects fx;
	struct ha_event queue[64] = {
		{ .kind = HA_EV_BOOT },
		{ .kind = HA_EV_CONFIG },
		{ .kind = HA_EV_VMM_LIST },
		{ .kind = HA_EV_VIEW },
	};
	static uint8_t said[64][256], buf[4096];
	size_t n = 4, len = 0, kept = 0;

	ha_core_init(c);
	queue[0].boot.me = 1;
	queue[0].boot.token_ms = 1000;
	queue[0].boot.draw = 1;
	queue[1].config.nodes = nodes;
	queue[1].config.n = 2;
	queue[3].view.nodes = both;
	queue[3].view.n = 2;
	for (size_t i = 0; i < n; i++) {
		queue[i].now_ms = 10 * (i + 1);
		ha_core_step(c, &queue[i], &fx);
		for (size_t k = 0; k < fx.n && n < 40; k++) {
			const struct ha_effect *x = &fx.fx[k];

			if (x->kind == HA_FX_PERSIST)
				queue[n++] = (struct ha_event){ .kind = HA_EV_PERSISTED, .persisted.token = x->persist.token };
			if (x->kind != HA_FX_MCAST || x->mcast.len > 255)
				continue;
			memcpy(said[kept], x->mcast.bytes, x->mcast.len);
			queue[n++] = (struct ha_event){ .kind = HA_EV_DELIVER, .deliver = { 1, said[kept], x->mcast.len } };
			if (said[kept][1] == MSG_STATE && n < 40) {
				queue[n] = queue[n - 1];
				queue[n++].deliver.from = 2;
			}
			kept++;
			if (len + 1 + x->mcast.len > sizeof(buf))
				continue;
			buf[len++] = (uint8_t)x->mcast.len;
			memcpy(buf + len, x->mcast.bytes, x->mcast.len);
			len += x->mcast.len;
		}
	}
	assert(c->form.stage == ST_STANDS);
	seed("messages", 2, buf, len);
}

int main(int argc, char **argv)
{
	struct ha_core *c = reserve_make(ha_core_size());

	checks = argc == 3 && !strcmp(argv[1], "--check");
	if (!c || argc != 2 + checks)
		return 2;
	dir = argv[1 + checks];
	entries();
	snapshot(c);
	messages(c);
	reserve_free(c, ha_core_size());
	return wrong;
}
