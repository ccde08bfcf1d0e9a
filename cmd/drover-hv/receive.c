/* SPDX-License-Identifier: Apache-2.0 */
/*
 * receive - `drover-hv run --incoming ADDRESS`: wait for a domain, take it, run
 * it.  When it does not come about, the process ends: what it has is of no use
 * to anybody, the domain is the source's.
 */
#include "cmd/drover-hv/migration.h"

#include "base/confine.h"
#include "base/log.h"

#include <errno.h>
#include <stdlib.h>

/* On the main thread. */
static void destination_ended(void *arg)
{
	struct migration *m = arg;

	pthread_join(m->thread, NULL);
	m->started = false;
	m->over = true;
	migration_deaf(m);
	report_end(m);
	if (!m->rc)
		return;
	log_error("migration: %s", m->err.text);
	vmm_end(m->v, VMM_END_FAILED, err_exit_code(m->rc) == EXIT_USAGE ? EXIT_ERROR : err_exit_code(m->rc),
		m->err.text);
}

static void *destination_thread(void *arg)
{
	struct migration *m = arg;

	confine(CONFINE_ENGINE);
	m->rc = destination_run(m->destination, &m->err);
	loop_post(m->v->loop, destination_ended, m);
	return NULL;
}

/* arbiter_by_wire() with the migration's own note of what was agreed. */
static int pick_arbiter(void *arg, uint32_t wire, uint64_t incarnation, struct arbiter *out,
			struct err *e)
{
	struct migration *m = arg;
	int rc = arbiter_by_wire(m, wire, out, e);

	if (!rc) {
		m->params.arbiter = *out;
		atomic_store(&m->incarnation, incarnation);
	}
	return rc;
}

int receive_open(struct drover_hv *v, struct err *e)
{
	struct migration *m;
	int rc;

	rc = migration_create(v, MIGRATE_DESTINATION, &m, e);
	if (rc)
		return rc;
	rc = stream_listen(v->opt.incoming, &m->listener, e);
	if (rc)
		goto out;
	/* No incarnation but the first can be the default's: then it is the source that says. */
	m->params.incarnation = v->opt.incarnation > 1 ? v->opt.incarnation : 0;
	m->params.pick_arbiter = pick_arbiter;
	m->params.arbiter = arbiter_none_make(&m->none);
	m->params.prefault = true;
	m->params.link = migrate_link_at(m->listener);
	rc = destination_create(&m->destination, &m->params, e);
	if (rc)
		goto out;
	v->migration = m;
	return 0;
out:
	migration_destroy(m);
	return rc;
}

int receive_begin(struct drover_hv *v, struct err *e)
{
	struct migration *m = v->migration;

	if (pthread_create(&m->thread, NULL, destination_thread, m))
		return err_set(e, -EAGAIN, "cannot start the migration thread");
	m->started = true;
	log_info("waiting for a domain at %s", stream_listener_address(m->listener));
	return 0;
}
