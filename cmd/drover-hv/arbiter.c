/* SPDX-License-Identifier: Apache-2.0 */
/*
 * arbiter - who decides a migration after GRANT (rule H, migrate/handover.h).
 *
 *   cluster  The question goes out as an `ask` event; droverd puts it into the
 *            cluster's log and answers with `decide`.  Without an answer nobody
 *            runs: the event is repeated every second.
 *   disk     The lock and the record of the domain's disk (hv/disk_lock.h).  The
 *            source has let go of it before GRANT.  The destination takes it with
 *            the incarnation it was granted; a source that wants the domain back
 *            takes it with one above that, which fails if the destination has it
 *            or had it, and bars a late destination for ever.
 *   none     The destination takes what it is granted; a source that does not
 *            hear of it waits for a person.
 */
#include "cmd/drover-hv/migration.h"

#include "base/clock.h"
#include "hv/disk_lock.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define DISK_GIVE_UP_MS 10000u  /* a destination whose record cannot be written hands the domain back */

/* --- cluster --- */

struct question {
	struct vmm *v;
	enum outcome outcome;
	uint64_t incarnation;
};

/* On the main thread. */
static void put_question(void *arg)
{
	struct question *q = arg;

	ctl_event(q->v->ctl, "ask", json_pack("{s:s, s:I}", "outcome", outcome_name(q->outcome),
					      "incarnation", (json_int_t)q->incarnation));
	free(q);
}

static int cluster_ask(void *self, enum migrate_role role, enum outcome proposal,
		       uint64_t incarnation, int timeout_ms, enum outcome *out, struct err *e)
{
	struct migration *m = self;
	struct cluster_arbiter *c = &m->cluster;
	struct question *q = malloc(sizeof(*q));
	struct timespec t;
	int rc = 0;

	if (q) {
		*q = (struct question){ m->v, proposal, incarnation };
		if (loop_post(m->v->loop, put_question, q))
			free(q);
	}
	clock_gettime(CLOCK_MONOTONIC, &t);
	t.tv_nsec += timeout_ms % 1000 * 1000000L;
	t.tv_sec += timeout_ms / 1000 + t.tv_nsec / 1000000000;
	t.tv_nsec %= 1000000000;
	pthread_mutex_lock(&c->lock);
	while ((!c->decided || c->incarnation != incarnation) && !rc)
		rc = pthread_cond_timedwait(&c->cond, &c->lock, &t);
	if (c->decided && c->incarnation == incarnation) {
		*out = c->decided;
		rc = 0;
	}
	pthread_mutex_unlock(&c->lock);
	return rc ? err_set(e, -EAGAIN, "the cluster has not decided yet") : 0;
}

static const char *cluster_advice(void *self)
{
	return "the cluster decides when it has quorum; `drover status` shows it";
}

static const struct arbiter_ops cluster_ops = {
	.name = "cluster",
	.wire = ARBITER_WIRE_CLUSTER,
	.ask = cluster_ask,
	.advice = cluster_advice,
};

/* --- disk --- */

/*
 * Somebody has the disk: is it the destination?  Its record says so once it has written it;
 * a backup that holds the disk for a moment, or a destination that has not got so far,
 * decides nothing.
 */
static bool destination_has_it(const struct vmm *v)
{
	const struct domain_conf *c = v->conf;
	struct disk_holder h;
	size_t i;

	for (i = 0; i < c->n_disks; i++)
		if (!c->disks[i].readonly && !disk_lock_record(c->disks[i].path, NULL, &h, NULL) &&
		    !memcmp(h.uuid, c->uuid, sizeof(h.uuid)) && h.incarnation > v->incarnation)
			return true;
	return false;
}

static int disk_ask(void *self, enum migrate_role role, enum outcome proposal,
		    uint64_t incarnation, int timeout_ms, enum outcome *out, struct err *e)
{
	struct timespec pause = { .tv_nsec = 100 * 1000000L };
	struct migration *m = self;
	int rc;

	rc = guest_kvm_prepare(m, e);
	if (!rc)
		rc = guest_kvm_commit(m, role == MIGRATE_SOURCE ? m->params.back_incarnation : incarnation, e);
	if (rc == -EBUSY && role == MIGRATE_SOURCE && !destination_has_it(m->v))
		rc = -EAGAIN;
	if (!rc)
		*out = role == MIGRATE_SOURCE ? OUTCOME_ABORT : OUTCOME_COMMIT;
	else if (rc == -EBUSY || rc == -EPERM)
		*out = role == MIGRATE_SOURCE ? OUTCOME_COMMIT : OUTCOME_ABORT;
	else
		nanosleep(&pause, NULL); /* nobody knows until the storage is back, or free */
	return rc == -EBUSY || rc == -EPERM ? 0 : rc;
}

static const char *disk_advice(void *self)
{
	return "the disk decides as soon as it can be reached";
}

static const struct arbiter_ops disk_ops = {
	.name = "disk",
	.wire = ARBITER_WIRE_DISK,
	.give_up_ms = DISK_GIVE_UP_MS,
	.ask = disk_ask,
	.advice = disk_advice,
};

static bool disk_can_decide(const struct domain_conf *c)
{
	size_t i;

	for (i = 0; i < c->n_disks; i++)
		if (!c->disks[i].readonly && disk_lock_arbitrates(c->disks[i].path))
			return true;
	return false;
}

/* --- choice --- */

int arbiter_by_name(struct migration *m, const char *name, struct arbiter *out, struct err *e)
{
	bool disk = disk_can_decide(m->v->conf);

	if (!name && !disk)
		return err_set(e, -EINVAL, "arbiter: no disk of this domain can decide; say cluster, or none "
			       "(then an outcome may stay in doubt)");
	if (!name || !strcmp(name, "disk")) {
		if (!disk)
			return err_set(e, -EINVAL, "arbiter: no disk of this domain can decide");
		*out = (struct arbiter){ .ops = &disk_ops, .self = m };
	} else if (!strcmp(name, "cluster")) {
		*out = (struct arbiter){ .ops = &cluster_ops, .self = m };
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

	if (wire == cluster_ops.wire)
		return arbiter_by_name(m, "cluster", out, e);
	if (wire == disk_ops.wire)
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
	struct cluster_arbiter *c = &m->cluster;
	uint64_t about = atomic_load(&m->incarnation);
	int rc = 0;

	if (incarnation && about && incarnation != about)
		return err_set(e, -EINVAL, "decide: incarnation %llu, this migration is about %llu",
			       (unsigned long long)incarnation, (unsigned long long)about);
	if (!about && o == OUTCOME_COMMIT)
		return err_set(e, -EPERM, "decide: no source has come yet, nothing is to be decided");
	if (m->params.arbiter.ops == &disk_ops)
		return err_set(e, -EPERM, "decide: the disk decides this migration");
	if (o == OUTCOME_ABORT && !cancel(m, e))
		return 0;
	rc = too_early(m, o, e);
	if (rc)
		return rc;
	arbiter_none_decide(&m->none, o);
	pthread_mutex_lock(&c->lock);
	if (c->decided && c->decided != o) {
		rc = err_set(e, -EPERM, "decide: it was decided before: %s", outcome_name(c->decided));
	} else {
		c->decided = o;
		c->incarnation = about;
		pthread_cond_broadcast(&c->cond);
	}
	pthread_mutex_unlock(&c->lock);
	return rc;
}
