/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gate - a domain runs only while its host's lease is valid (rule G).
 *
 * The lease page (conf/lease_page.h) says until when.  Two things look at it:
 *
 *   disks     ask gate_allows() before each request, from any thread: no timer,
 *             no wake-up, no way to be late
 *   vCPUs     a thread of the gate's own takes HOLD_GATE when the time has come
 *
 * The thread does nothing else and waits for nobody: not for a log that is not
 * read, not for a disk, not for the main thread, which may be stuck in either.  It
 * asks for real-time priority and goes on without where that is not allowed.
 * Opening is the other way round: it is left to the main thread, and if that is
 * stuck, the domain stays gated, which is safe.
 *
 * Both count the lease as over GATE_MARGIN before its end, which leaves time for
 * vCPUs to stop and for what the disk was given to arrive.
 *
 * The page may be changed at any time, also backwards, so the thread never sleeps
 * longer than GATE_LOOK.  A page that vanished or was never valid allows nothing.
 *
 * A domain that stays gated lets go of its disks: the cluster may start it
 * elsewhere once this host is proved to have stopped, and storage whose locks
 * outlive a network (a host that can still reach its NFS server) would refuse
 * that for ever.  When the lease returns, the disks are taken again with the
 * same incarnation.  When somebody has had one of them since, or it is another
 * disk by now (restored, made anew, its path leads elsewhere), what the domain
 * remembers is worth nothing: its VMM ends as failed, and the cluster starts it
 * afresh.  Anything else in the way is tried again.
 */
#include "cmd/drover-hv/vmm.h"

#include "base/clock.h"
#include "base/log.h"
#include "conf/lease_page.h"
#include "hv/disk_record.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define GATE_MARGIN_NS (50 * NS_PER_MS)
#define GATE_LOOK_NS (100 * NS_PER_MS)
#define GATE_KEEP_DISKS_NS (250 * NS_PER_MS) /* a blink of the lease is not worth it; far below W */

struct gate {
	struct vmm *vmm;
	const struct lease_page *page;
	pthread_t thread;
	bool has_thread;
	pthread_mutex_t lock;    /* guards what follows, and orders opening against closing */
	pthread_cond_t wake;     /* to end early */
	bool closed, quit;
	bool posted;             /* the main thread has been asked to look, and has not yet */
	bool told;               /* ... that it is closed */
	uint64_t closed_ns;
	/* main thread only */
	bool disks_released;
	bool disks_refused;      /* they could not be taken again: said once */
};

/* When vCPUs must stop, 0 for "they must not run". */
static uint64_t gate_end(const struct gate *g)
{
	uint64_t until = lease_page_until(g->page);

	return until > GATE_MARGIN_NS ? until - GATE_MARGIN_NS : 0;
}

bool gate_allows(const struct gate *g)
{
	return !g || clock_ns() < gate_end(g);
}

/* --- main thread --- */

/* Not in the middle of a migration: there the disks belong to its handover (rule H). */
static void release_disks(struct gate *g)
{
	struct vmm *v = g->vmm;
	struct err e;

	if (v->state != VMM_GATED && v->state != VMM_PAUSED)
		return;
	if (machine_holders(v->machine) & (HOLD_MIGRATION | HOLD_START))
		return;
	if (machine_hold(v->machine, HOLD_GATE, &e)) /* something is still on its way to a disk */
		return;
	if (machine_disks_close(v->machine, &e)) {
		/* The cluster waits for them; the guest hears of it with its next flush, if it ever runs again. */
		log_error("%s", e.text);
		machine_disks_abandon(v->machine);
	}
	g->disks_released = true;
	log_info("gated for long: the disks are free for another host");
}

static int take_disks(struct gate *g)
{
	struct vmm *v = g->vmm;
	bool lost = false;
	struct err e;
	int ret;

	if (!g->disks_released)
		return 0;
	ret = machine_disks_prepare(v->machine, &e);
	if (!ret) {
		ret = machine_disks_commit(v->machine, v->incarnation, v->incarnation, &e);
		if (ret)
			machine_disks_abandon(v->machine);
		lost = ret == -EPERM || ret == DISK_ANOTHER;
	}
	if (lost) {
		log_error("the lease is back, but the domain cannot go on: %s", e.text);
		vmm_end(v, VMM_END_FAILED, EXIT_REFUSED, e.text);
		return ret;
	}
	if (ret) {
		if (!g->disks_refused)
			log_error("the lease is back, but not the disks: %s", e.text);
		g->disks_refused = true;
		return ret;
	}
	g->disks_released = g->disks_refused = false;
	return 0;
}

static void open_gate(struct gate *g)
{
	struct err e;
	int ret;

	if (take_disks(g))
		return;
	/* The lock keeps the thread from closing in between and losing its hold to our release. */
	pthread_mutex_lock(&g->lock);
	if (!gate_allows(g)) { /* taking the disks took longer than the lease lasted */
		pthread_mutex_unlock(&g->lock);
		return;
	}
	ret = machine_release(g->vmm->machine, HOLD_GATE, &e);
	g->closed = ret != 0;
	g->told = false;
	pthread_mutex_unlock(&g->lock);
	if (ret)
		log_error("the lease is back, but the domain does not start: %s", e.text);
	else
		log_info("the lease is valid");
	vmm_update_state(g->vmm);
}

/* The thread asks for this while the gate is closed. */
static void look(void *arg)
{
	struct gate *g = arg;
	bool closed, news;
	uint64_t since;

	pthread_mutex_lock(&g->lock);
	g->posted = false;
	closed = g->closed;
	since = g->closed_ns;
	news = closed && !g->told;
	g->told = closed;
	pthread_mutex_unlock(&g->lock);
	if (news) {
		log_warn("the lease has ended: the domain is gated");
		vmm_update_state(g->vmm);
	}
	if (closed && gate_allows(g))
		open_gate(g);
	else if (closed && !g->disks_released && clock_ns() >= since + GATE_KEEP_DISKS_NS)
		release_disks(g);
}

/* --- the gate's thread --- */

static void wait_until(struct gate *g, uint64_t ns)
{
	uint64_t now = clock_ns();
	struct timespec t;

	/* a condition cannot wait on CLOCK_BOOTTIME; a suspended host looks again on waking up */
	clock_gettime(CLOCK_MONOTONIC, &t);
	ns = (uint64_t)t.tv_sec * NS_PER_SEC + (uint64_t)t.tv_nsec + (ns > now ? ns - now : 0);
	t.tv_sec = (time_t)(ns / NS_PER_SEC);
	t.tv_nsec = (long)(ns % NS_PER_SEC);
	pthread_cond_timedwait(&g->wake, &g->lock, &t);
}

static void *gate_main(void *arg)
{
	struct sched_param priority = { .sched_priority = 1 };
	struct gate *g = arg;

	pthread_setname_np(pthread_self(), "gate");
	if (pthread_setschedparam(pthread_self(), SCHED_FIFO, &priority))
		log_debug("gate: no real-time priority");
	pthread_mutex_lock(&g->lock);
	while (!g->quit) {
		uint64_t now = clock_ns(), end = gate_end(g), next = now + GATE_LOOK_NS;

		if (now >= end && !g->closed) {
			machine_hold_nowait(g->vmm->machine, HOLD_GATE);
			g->closed = true;
			g->closed_ns = now;
		}
		if (g->closed && !g->posted)
			g->posted = loop_post(g->vmm->loop, look, g) == 0;
		if (!g->closed && end < next)
			next = end;
		wait_until(g, next);
	}
	pthread_mutex_unlock(&g->lock);
	return NULL;
}

static int start_thread(struct gate *g, struct err *e)
{
	int ret = -pthread_create(&g->thread, NULL, gate_main, g);

	if (ret)
		return err_set(e, ret, "gate: cannot create its thread: %s", strerror(-ret));
	g->has_thread = true;
	return 0;
}

int gate_create(struct gate **out, struct vmm *v, const char *path, struct err *e)
{
	struct gate *g = calloc(1, sizeof(*g));
	pthread_condattr_t attr;
	struct stat st;
	void *p;
	int fd, ret;

	if (!g)
		return err_set(e, -ENOMEM, "out of memory");
	g->vmm = v;
	pthread_mutex_init(&g->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&g->wake, &attr);
	pthread_condattr_destroy(&attr);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0) {
		ret = err_errno(e, "lease: %s", path);
		goto fail;
	}
	/* a shorter file would kill us with SIGBUS at the first look */
	if (fstat(fd, &st) || !S_ISREG(st.st_mode) || st.st_size < LEASE_PAGE_SIZE) {
		ret = err_set(e, -EINVAL, "lease: %s: not a lease page, expected a file of at least %u bytes", path,
			      LEASE_PAGE_SIZE);
		close(fd);
		goto fail;
	}
	p = mmap(NULL, LEASE_PAGE_SIZE, PROT_READ, MAP_SHARED, fd, 0);
	close(fd);
	if (p == MAP_FAILED) {
		ret = err_errno(e, "lease: %s", path);
		goto fail;
	}
	g->page = p;
	/* Closed until the main thread finds the lease valid. */
	machine_hold_nowait(v->machine, HOLD_GATE);
	g->closed = g->told = true;
	g->closed_ns = clock_ns();
	if (gate_allows(g))
		open_gate(g);
	ret = start_thread(g, e);
	if (ret)
		goto fail;
	*out = g;
	return 0;

fail:
	gate_destroy(g);
	return ret;
}

void gate_stop(struct gate *g)
{
	if (!g || !g->has_thread)
		return;
	pthread_mutex_lock(&g->lock);
	g->quit = true;
	pthread_cond_signal(&g->wake);
	pthread_mutex_unlock(&g->lock);
	pthread_join(g->thread, NULL);
	g->has_thread = false;
}

void gate_destroy(struct gate *g)
{
	if (!g)
		return;
	gate_stop(g);
	pthread_cond_destroy(&g->wake);
	pthread_mutex_destroy(&g->lock);
	if (g->page)
		munmap((void *)g->page, LEASE_PAGE_SIZE);
	free(g);
}
