/* SPDX-License-Identifier: Apache-2.0 */
/* arbiter - which arbiter (migrate/arbiter.h) a migration has, and what a VMM gives it: its clients, its disks. */
#include "cmd/drover-hv/migration.h"

#include "hv/disk/disk_broker.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

/* --- cluster: droverd, a client, puts the question into the log and answers with `decide` --- */

struct question {
	struct drover_hv *v;
	enum outcome outcome;
	uint64_t incarnation;
};

/* On the main thread. */
static void tell_question(void *arg)
{
	const struct question *q = arg;
	json_t *data = json_pack("{s:s, s:I}", "outcome", outcome_name(q->outcome), "incarnation", (json_int_t)q->incarnation);

	ctl_event(q->v->ctl, "ask", data);
}

static void put_question(void *arg, enum outcome proposal, uint64_t incarnation)
{
	struct migration *m = arg;
	struct question q = { m->v, proposal, incarnation };

	/* Without memory it is asked again. */
	loop_post_copy(m->v->loop, tell_question, &q, sizeof(q));
}

/* --- disk --- */

static bool destination_has_it(void *arg)
{
	const struct migration *m = arg;
	const struct drover_hv *v = m->v;
	const struct domain_conf *c = v->conf;
	struct disk_holder h;
	size_t i;

	for (i = 0; i < c->n_disks; i++)
		if (!c->disks[i].readonly && !disk_broker_record(v->disks, c->disks[i].path, &h, NULL) &&
		    !memcmp(h.uuid, c->uuid, sizeof(h.uuid)) && h.incarnation > v->incarnation)
			return true;
	return false;
}

static bool disk_can_decide(const struct drover_hv *v)
{
	const struct domain_conf *c = v->conf;
	size_t i;

	for (i = 0; i < c->n_disks; i++)
		if (!c->disks[i].readonly && disk_broker_arbitrates(v->disks, c->disks[i].path))
			return true;
	return false;
}

/* --- choice --- */

void arbiter_init(struct migration *m)
{
	arbiter_cluster_init(&m->cluster, put_question, m);
	m->disk = (struct arbiter_disk){ .guest = m->params.guest, .taken = destination_has_it, .arg = m };
}

void arbiter_fini(struct migration *m)
{
	arbiter_cluster_fini(&m->cluster);
}

int arbiter_by_name(struct migration *m, const char *name, struct arbiter *out, struct err *e)
{
	bool disk = disk_can_decide(m->v);

	if (!name && !disk)
		return err_set(e, -EINVAL, "arbiter: no disk of this domain can decide; say cluster, or none "
					   "(then an outcome may stay in doubt)");
	if (!name || !strcmp(name, "disk")) {
		if (!disk)
			return err_set(e, -EINVAL, "arbiter: no disk of this domain can decide");
		*out = arbiter_disk_make(&m->disk);
	} else if (!strcmp(name, "cluster")) {
		*out = arbiter_cluster_make(&m->cluster);
	} else if (!strcmp(name, "none")) {
		*out = arbiter_none_make(&m->none);
	} else {
		return err_set(e, -EINVAL, "arbiter: '%s', expected cluster, disk or none", name);
	}
	return 0;
}

int arbiter_by_wire(void *arg, uint32_t wire, struct arbiter *out, struct err *e)
{
	struct migration *m = arg;

	if (wire == ARBITER_WIRE_CLUSTER)
		return arbiter_by_name(m, "cluster", out, e);
	if (wire == ARBITER_WIRE_DISK)
		return arbiter_by_name(m, "disk", out, e);
	if (!m->v->opt.no_arbiter)
		return err_set(e, -EPERM, "arbiter: the source wants none; that must be allowed here by "
					  "--no-arbiter");
	return arbiter_by_name(m, "none", out, e);
}

/*
 * Before GRANT nobody has asked: an abort is a cancel then, and a commit would make a
 * migration end as nobody decided.
 */
static int too_early(struct migration *m, enum outcome o, struct err *e)
{
	struct migrate_stats st;

	if (m->source)
		source_stats(m->source, &st);
	else
		destination_stats(m->destination, &st);
	if (st.phase == MIGRATE_GRANT || st.phase == MIGRATE_IN_DOUBT)
		return 0;
	return err_set(e, -EPERM, "decide: %s: the migration is in its phase %s, nothing is to be decided",
		       outcome_name(o), migrate_phase_name(st.phase));
}

static int cancel(struct migration *m, struct err *e)
{
	return m->source ? source_cancel(m->source, e) : destination_cancel(m->destination, e);
}

int arbiter_decide(struct migration *m, enum outcome o, uint64_t incarnation, struct err *e)
{
	uint64_t about = atomic_load(&m->incarnation);
	int rc = 0;

	if (incarnation && about && incarnation != about)
		return err_set(e, -EINVAL, "decide: incarnation %llu, this migration is about %llu",
			       (unsigned long long)incarnation, (unsigned long long)about);
	if (!about && o == OUTCOME_COMMIT)
		return err_set(e, -EPERM, "decide: no source has come yet, nothing is to be decided");
	if (m->params.arbiter.ops->wire == ARBITER_WIRE_DISK)
		return err_set(e, -EPERM, "decide: the disk decides this migration");
	if (o == OUTCOME_ABORT && !cancel(m, e))
		return 0;
	rc = too_early(m, o, e);
	if (rc)
		return rc;
	arbiter_none_decide(&m->none, o);
	return arbiter_cluster_decide(&m->cluster, o, about, e);
}
