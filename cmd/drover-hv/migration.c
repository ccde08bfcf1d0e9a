/* SPDX-License-Identifier: Apache-2.0 */
/* migration - one migration of this VMM, either way: made, watched at each step, ended (migration.h). */
#include "cmd/drover-hv/migration.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- faults, for the tests that walk every step of the handover --- */

static bool fault_is_here(const char *plan, enum migrate_role role, enum migrate_phase phase,
			  bool before, const char **action)
{
	char here[64];
	size_t n;

	snprintf(here, sizeof(here), "%s:%s%s:", role == MIGRATE_SOURCE ? "source" : "destination",
		 migrate_phase_name(phase), before ? "-before" : "");
	n = strlen(here);
	if (strncmp(plan, here, n))
		return false;
	*action = plan + n;
	return true;
}

/* DROVER_FAULT=source|destination:PHASE[-before]:kill|stop */
static void at_step(void *arg, enum migrate_role role, enum migrate_phase phase, bool before)
{
	const char *plan = getenv("DROVER_FAULT"), *action;

	if (!plan || !fault_is_here(plan, role, phase, before, &action))
		return;
	if (!strcmp(action, "kill"))
		raise(SIGKILL);
	else if (!strcmp(action, "stop"))
		raise(SIGSTOP);
}

/* --- its life --- */

static void end_process(void *arg)
{
	struct migration *m = arg;
	struct migrate_stats st;

	source_stats(m->source, &st);
	/* It has moved; but it may not have been able to run there. */
	vmm_end(m->v, VMM_END_MOVED, st.error ? EXIT_ERROR : EXIT_OK, "moved away");
}

static bool plenty(void *arg, uint64_t bytes)
{
	const struct migration *m = arg;

	return !porter_room(m->v->porter, bytes, true, NULL);
}

int migration_create(struct drover_hv *v, enum migrate_role role, struct migration **out, struct err *e)
{
	struct migration *m = calloc(1, sizeof(*m));
	int rc;

	if (!m)
		return err_set(e, -ENOMEM, "migration: out of memory");
	m->v = v;
	m->role = role;
	rc = loop_timer_create(v->loop, end_process, m, &m->linger, e);
	if (rc) {
		free(m);
		return rc;
	}
	m->params.guest = guest_kvm_make(m);
	m->params.notify = report_notify;
	m->params.at_step = at_step;
	m->params.plenty = plenty;
	m->params.pagemap_fd = v->pagemap_fd;
	m->params.capture_dir = v->opt.no_sandbox ? getenv("DROVER_CAPTURE") : NULL; /* in files, which are opened */
	m->params.arg = m;
	arbiter_init(m);
	*out = m;
	return 0;
}

void migration_deaf(struct migration *m)
{
	if (!m->listener)
		return;
	stream_listener_close(m->listener);
	m->listener = NULL;
	porter_remove(m->v->porter, PORTER_INCOMING);
}

void migration_destroy(struct migration *m)
{
	struct err e;

	if (!m)
		return;
	if (m->started) {
		if (m->source && source_cancel(m->source, &e))
			source_abandon(m->source);
		if (m->destination && destination_cancel(m->destination, &e))
			destination_abandon(m->destination);
		pthread_join(m->thread, NULL);
	}
	source_destroy(m->source);
	destination_destroy(m->destination);
	migration_deaf(m);
	loop_timer_destroy(m->linger);
	arbiter_fini(m);
	free(m);
}
