/* SPDX-License-Identifier: Apache-2.0 */
/*
 * migrate - the commands that move a domain away (docs/control.md), and the
 * door of the migration side (vmm.h: migration_init(), migration_fini()).
 */
#include "cmd/drover-hv/migration.h"

#include "base/confine.h"
#include "base/log.h"
#include "base/wait.h"
#include "conf/units.h"
#include "migrate/session/source/converge.h"
#include "migrate/wire/wire.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHANNELS_MAX 32
#define DOWNTIME_MAX_MS 3600000
#define DRY_RUN_DEAD_MS 20000 /* the destination tries everything before it says a word */

/* --- sending --- */

/* On the main thread: the engine's thread has nothing left to do. */
static void source_ended(void *arg)
{
	struct migration *m = arg;

	assert(m->started && !m->over);
	pthread_join(m->thread, NULL);
	m->started = false;
	m->over = true;
	report_end(m);
}

static void *source_thread(void *arg)
{
	struct migration *m = arg;

	confine(CONFINE_ENGINE);
	m->rc = source_run(m->source, &m->err);
	loop_post(m->v->loop, source_ended, m);
	return NULL;
}

/* @out stays as it is when the command does not say. */
static int number(const json_t *args, const char *name, json_int_t max, uint64_t *out, struct err *e)
{
	const json_t *j = json_object_get(args, name);
	json_int_t n = json_integer_value(j);

	if (!j)
		return 0;
	if (n < 0 || n > max)
		return err_set(e, -EINVAL, "%s: %lld, expected 0 to %lld", name, (long long)n,
			       (long long)max);
	*out = (uint64_t)n;
	return 0;
}

static int compress_mode(const json_t *args, enum compress_mode *out, struct err *e)
{
	const char *s = json_string_value(json_object_get(args, "compress"));

	if (!s || !strcmp(s, "auto"))
		*out = COMPRESS_AUTO;
	else if (!strcmp(s, "on"))
		*out = COMPRESS_ON;
	else if (!strcmp(s, "off"))
		*out = COMPRESS_OFF;
	else
		return err_set(e, -EINVAL, "compress: '%s', expected auto, on or off", s);
	return 0;
}

/* By the porter: this process makes no sockets. */
static int link_open(void *arg, int timeout_ms, struct stream **out, struct err *e)
{
	struct migration *m = arg;

	return porter_connect(m->v->porter, m->to, timeout_ms, out, e);
}

/* What the command does not say, the domain's file does. */
static int read_limits(struct migration *m, const json_t *args, struct err *e)
{
	const struct domain_migration *own = &m->v->conf->migration;
	struct migrate_params *p = &m->params;
	uint64_t downtime = own->downtime_ms, throttle = own->throttle;
	int rc;

	p->timeout_ms = own->timeout_ms;
	p->bandwidth = own->bandwidth;
	rc = number(args, "downtime_ms", DOWNTIME_MAX_MS, &downtime, e);
	if (!rc)
		rc = number(args, "throttle", THROTTLE_MAX, &throttle, e);
	if (!rc)
		rc = number(args, "bandwidth", INT64_MAX, &p->bandwidth, e);
	if (!rc)
		rc = number(args, "timeout_ms", INT64_MAX, &p->timeout_ms, e);
	p->downtime_ms = (unsigned int)downtime;
	p->throttle_max = (unsigned int)throttle;
	return rc;
}

static int read_params(struct migration *m, const json_t *args, struct err *e)
{
	struct migrate_params *p = &m->params;
	uint64_t channels = 0, dead = 0;
	int rc;

	snprintf(m->to, sizeof(m->to), "%s", json_string_value(json_object_get(args, "to")));
	rc = read_limits(m, args, e);
	if (!rc)
		rc = number(args, "channels", CHANNELS_MAX, &channels, e);
	if (!rc)
		rc = number(args, "dead_ms", WIRE_DEAD_MAX_MS, &dead, e);
	if (!rc)
		rc = number(args, "incarnation", INT64_MAX, &p->incarnation, e);
	if (!rc)
		rc = compress_mode(args, &p->compress, e);
	if (!rc)
		rc = arbiter_by_name(m, json_string_value(json_object_get(args, "arbiter")), &p->arbiter, e);
	if (rc)
		return rc;
	p->own_incarnation = m->v->incarnation;
	if (!p->incarnation)
		p->incarnation = p->own_incarnation + 1;
	if (p->incarnation <= p->own_incarnation)
		return err_set(e, -EINVAL, "incarnation: %llu, the domain has %llu already",
			       (unsigned long long)p->incarnation, (unsigned long long)p->own_incarnation);
	/* The cluster's log never gives the granted one to anybody after an abort; a disk only knows what is written. */
	p->back_incarnation = p->arbiter.ops->wire == ARBITER_WIRE_CLUSTER ? p->own_incarnation : p->incarnation + 1;
	m->disk.back_incarnation = p->back_incarnation;
	if (dead && dead < WIRE_DEAD_MIN_MS)
		return err_set(e, -EINVAL, "dead_ms: %llu, expected 0 or %u to %u",
			       (unsigned long long)dead, WIRE_DEAD_MIN_MS, WIRE_DEAD_MAX_MS);
	p->dead_ms = (unsigned int)dead;
	p->dry_run = json_is_true(json_object_get(args, "dry_run"));
	if (p->dry_run)
		p->dead_ms = DRY_RUN_DEAD_MS;
	p->channels = (unsigned int)channels;
	p->link = (struct migrate_link){ .open = link_open, .arg = m };
	assert(p->back_incarnation >= p->own_incarnation && p->back_incarnation != p->incarnation); /* rule H */
	m->incarnation = p->incarnation;
	m->committed = true;
	return 0;
}

static int may_begin(struct drover_hv *v, struct err *e)
{
	if (v->state != VMM_RUNNING && v->state != VMM_PAUSED && v->state != VMM_GATED)
		return err_set(e, -EPERM, "cannot migrate: the domain is %s", vmm_state_str(v->state));
	if (v->migration && v->migration->started)
		return err_set(e, -EBUSY, "a migration is running already");
	if (machine_holders(v->machine) & HOLD_START)
		return err_set(e, -EPERM, "cannot migrate: the domain has not been started");
	if (v->stands_why[0])
		return err_set(e, -EPERM, "cannot migrate: %s", v->stands_why);
	/* Rules G and H: somebody else may own it by now, and its disks may be released (hv/gate/gate.h). */
	if (machine_holders(v->machine) & HOLD_GATE)
		return err_set(e, -EPERM, "cannot migrate: this host has no valid lease");
	return 0;
}

static void say_limits(const struct migration *m)
{
	const struct migrate_params *p = &m->params;
	char timeout[UNITS_TEXT_MAX] = "none", rate[UNITS_TEXT_MAX] = "no limit";

	if (p->timeout_ms)
		units_print_ms(p->timeout_ms, timeout);
	if (p->bandwidth)
		units_print_size(p->bandwidth, rate);
	log_info("moving to %s: downtime up to %u ms, timeout %s, bytes per second %s, vCPUs held back up to %u %%",
		 m->to, p->downtime_ms ? p->downtime_ms : MIGRATE_DOWNTIME_MS, timeout, rate, p->throttle_max);
}

/* #syscalls:main clone(0&THREAD_FLAGS=THREAD_FLAGS) clone3!ENOSYS */
static int cmd_migrate(void *owner, const json_t *args, json_t **ret, struct err *e)
{
	struct drover_hv *v = owner;
	struct migration *m;
	int rc;

	rc = may_begin(v, e);
	if (!rc)
		rc = migration_create(v, MIGRATE_SOURCE, &m, e);
	if (rc)
		return rc;
	rc = read_params(m, args, e);
	if (!rc)
		rc = source_create(&m->source, &m->params, e);
	if (!rc && !m->params.dry_run)
		rc = vmm_reboot_may_move(v, e);
	if (!rc && pthread_create(&m->thread, NULL, source_thread, m))
		rc = err_set(e, -EAGAIN, "cannot start the migration thread");
	if (rc) {
		migration_destroy(m);
		return rc;
	}
	m->started = true;
	migration_destroy(v->migration);
	v->migration = m;
	say_limits(m);
	return 0;
}

static int cmd_cancel(void *owner, const json_t *args, json_t **ret, struct err *e)
{
	struct drover_hv *v = owner;
	struct migration *m = v->migration;

	if (!m || !m->started)
		return err_set(e, -ENOENT, "no migration is running");
	return m->source ? source_cancel(m->source, e) : destination_cancel(m->destination, e);
}

static int cmd_decide(void *owner, const json_t *args, json_t **ret, struct err *e)
{
	struct drover_hv *v = owner;
	const char *what = json_string_value(json_object_get(args, "outcome"));
	uint64_t incarnation = 0;
	enum outcome o;
	int rc;

	if (!v->migration || !v->migration->started)
		return err_set(e, -ENOENT, "no migration waits for a decision");
	if (!strcmp(what, "commit"))
		o = OUTCOME_COMMIT;
	else if (!strcmp(what, "abort"))
		o = OUTCOME_ABORT;
	else
		return err_set(e, -EINVAL, "outcome: '%s', expected commit or abort", what);
	rc = number(args, "incarnation", INT64_MAX, &incarnation, e);
	return rc ? rc : arbiter_decide(v->migration, o, incarnation, e);
}

static const struct ctl_command commands[] = {
	{ "migrate",
	  "to:s! arbiter:s incarnation:i downtime_ms:i channels:i compress:s bandwidth:i timeout_ms:i dead_ms:i dry_run:b "
	  "throttle:i",
	  cmd_migrate },
	{ "migrate-cancel", "", cmd_cancel },
	{ "decide", "outcome:s! incarnation:i", cmd_decide },
	{ NULL, NULL, NULL },
};

int migration_init(struct drover_hv *v, struct err *e)
{
	v->query_more = report_query;
	v->stats_more = report_stats;
	if (v->ctl)
		ctl_add(v->ctl, commands);
	return v->opt.incoming ? receive_open(v, e) : 0;
}

void migration_fini(struct drover_hv *v)
{
	migration_destroy(v->migration);
	v->migration = NULL;
}
