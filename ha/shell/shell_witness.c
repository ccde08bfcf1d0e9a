/* SPDX-License-Identifier: Apache-2.0 */
/*
 * shell_witness - between the core, which decides when the witness's vote is needed, and the process that
 * asks for it (ha/witness/witness.h).
 */
#include "ha/shell/shell_int.h"

#include "base/log.h"
#include "base/text.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

static void answer(struct shell *s, uint64_t claim, bool ok, uint64_t seen, const char *text)
{
	struct ha_event ev = { .kind = HA_EV_WITNESS,
			       .witness = { .claim = claim, .ok = ok, .seen = seen, .text = text } };

	shell_event(s, &ev);
}

static void on_claimed(void *arg, uint64_t epoch, bool ok, uint64_t seen, const char *text)
{
	struct shell *s = arg;

	/* It is asked again every second or so, and says the same. */
	if (ok)
		shell_say(s, false, "the witness gave its vote for epoch %llu", (unsigned long long)epoch);
	else if (strncmp(s->witness_refused, text, sizeof(s->witness_refused) - 1))
		shell_say(s, true, "the witness gave no vote for epoch %llu: %s", (unsigned long long)epoch, text);
	text_copy(s->witness_refused, sizeof(s->witness_refused), ok ? "" : text);
	answer(s, epoch, ok, seen, text);
}

static void on_seen(void *arg, bool ok, const struct claim_nodes *live, uint64_t newest, const char *text)
{
	struct ha_event ev = { .kind = HA_EV_WITNESS, .witness = { .ok = ok, .live = *live, .seen = newest, .text = text } };
	struct shell *s = arg;

	if (ok && *s->witness_problem)
		shell_say(s, false, "the witness can be used again");
	else if (!ok && strncmp(s->witness_problem, text, sizeof(s->witness_problem) - 1)) {
		log_error("the witness cannot be used: %s", text);
		history_add(&s->history, "alarm", text);
	}
	text_copy(s->witness_problem, sizeof(s->witness_problem), ok ? "" : text);
	shell_event(s, &ev);
}

static const struct witness_ops witness_ops = { .claimed = on_claimed, .seen = on_seen };

/* Without it droverd runs all the same. */
void shell_witness_open(struct shell *s)
{
	const struct cluster_conf *c = s->cluster;
	char lock[PATH_MAX];
	const struct witness_worker w = { .path = c->witness_path, .id = c->witness_id, .me = s->me, .lock_path = lock };
	struct err e = { 0 };

	if (!c->witness_path)
		return;
	if (s->me >= CLAIM_SLOTS) {
		snprintf(s->witness_problem, sizeof(s->witness_problem),
			 "this host's node id is %u: a witness has room for ids below %d", s->me, CLAIM_SLOTS);
		shell_say(s, true, "%s", s->witness_problem);
		return;
	}
	snprintf(lock, sizeof(lock), "%s/witness.lock", s->state_dir);
	if (!witness_open(s->loop, &w, &witness_ops, s, &s->witness, &e))
		return;
	text_copy(s->witness_problem, sizeof(s->witness_problem), e.text);
	shell_say(s, true, "%s", s->witness_problem);
}

void shell_witness_follow(struct shell *s)
{
	if (s->witness && !s->witness_knows && ha_core_record(s->core)->cluster) {
		s->witness_knows = true;
		witness_cluster(s->witness, ha_core_record(s->core)->cluster);
	}
}

uint64_t shell_witness_id(const struct shell *s)
{
	return s->cluster->witness_path ? s->cluster->witness_id : 0;
}

const char *shell_witness_problem(const struct shell *s)
{
	struct ha_status st;

	if (*s->witness_problem || !*s->witness_refused)
		return s->witness_problem;
	ha_core_status(s->core, &st);
	return st.standing == HA_FORMING ? s->witness_refused : "";
}

void shell_witness_claim(struct shell *s, const struct ha_effect *fx)
{
	const struct claim c = {
		.me = s->me,
		.cluster = fx->claim.cluster,
		.epoch = fx->claim.epoch,
		.log = fx->claim.log,
		.nodes = fx->claim.nodes,
		.n = fx->claim.n,
	};
	struct err e = { 0 };

	if (fx->claim.witness != shell_witness_id(s))
		answer(s, c.epoch, false, 0, "the witness that has the vote is not the one in this host's cluster.yaml");
	else if (!s->witness)
		answer(s, c.epoch, false, 0, *s->witness_problem ? s->witness_problem : "the witness is not looked at yet");
	else if (witness_claim(s->witness, &c, &e))
		answer(s, c.epoch, false, 0, e.text);
}
