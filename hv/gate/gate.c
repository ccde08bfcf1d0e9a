/* SPDX-License-Identifier: Apache-2.0 */
/* gate - see gate.h. */
#include "hv/gate/gate.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/wait.h"
#include "conf/lease_page.h"
#include "hv/disk/disk_broker.h"
#include "hv/disk/disk_record.h"
#include "hv/machine/machine.h"

#include <assert.h>
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
	struct machine *machine;
	struct gate_owner owner;
	const struct lease_page *page;
	pthread_t thread;
	bool has_thread;
	pthread_mutex_t lock; /* guards what follows, and orders opening against closing */
	pthread_cond_t wake;  /* to end early */
	bool closed, quit;
	bool posted; /* the main thread has been asked to look, and has not yet */
	bool told;   /* ... that it is closed */
	uint64_t closed_ns;
	/* main thread only */
	bool disks_released;
	bool disks_refused; /* they could not be taken again: said once */
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

static void release_disks(struct gate *g)
{
	struct err e;

	if (!g->owner.stands_still(g->owner.arg))
		return;
	if (machine_holders(g->machine) & (HOLD_MIGRATION | HOLD_START))
		return;
	/* Something is still on its way to a disk: the next look tries again, and others have their turn before. */
	if (machine_hold_for(g->machine, HOLD_GATE, MACHINE_TRY_MS, &e))
		return;
	if (machine_disks_close(g->machine, &e)) {
		/* The cluster waits for them; the guest hears of it with its next flush, if it ever runs again. */
		log_error("%s", e.text);
		machine_disks_abandon(g->machine);
	}
	assert(!g->disks_released);
	g->disks_released = true;
	log_info("gated for long: the disks are free for another host");
}

static int take_disks(struct gate *g)
{
	uint64_t incarnation = g->owner.incarnation(g->owner.arg);
	bool lost = false;
	struct err e;
	int ret;

	if (!g->disks_released)
		return 0;
	ret = machine_disks_prepare(g->machine, &e);
	if (!ret) {
		ret = machine_disks_commit(g->machine, incarnation, incarnation, &e);
		if (ret)
			machine_disks_abandon(g->machine);
		lost = ret == -EPERM || ret == DISK_ANOTHER;
	}
	lost |= ret == DISK_BROKER_GONE; /* nor can they be taken later */
	if (lost) {
		log_error("the lease is back, but the domain cannot go on: %s", e.text);
		g->owner.lost(g->owner.arg, e.text);
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
	assert(g->closed && !g->disks_released);
	ret = machine_release(g->machine, HOLD_GATE, &e);
	g->closed = ret != 0;
	g->told = false;
	pthread_mutex_unlock(&g->lock);
	if (ret)
		log_error("the lease is back, but the domain does not start: %s", e.text);
	else
		log_info("the lease is valid");
	g->owner.changed(g->owner.arg);
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
		g->owner.changed(g->owner.arg);
	}
	if (closed && gate_allows(g))
		open_gate(g);
	else if (closed && !g->disks_released && clock_ns() >= since + GATE_KEEP_DISKS_NS)
		release_disks(g);
}

/* --- the gate's thread --- */

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
			machine_hold_nowait(g->machine, HOLD_GATE);
			g->closed = true;
			g->closed_ns = now;
		}
		if (g->closed && !g->posted)
			g->posted = g->owner.post(g->owner.arg, look, g) == 0;
		if (!g->closed && end < next)
			next = end;
		/* a host that was suspended looks again on waking up */
		now = clock_ns();
		wait_until(&g->wake, &g->lock, wait_now() + (next > now ? next - now : 0));
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

int gate_create(struct gate **out, struct machine *m, const struct gate_owner *owner, const char *path, struct err *e)
{
	struct gate *g = calloc(1, sizeof(*g));
	struct stat st;
	void *p;
	int fd, ret;

	if (!g)
		return err_set(e, -ENOMEM, "out of memory");
	g->machine = m;
	g->owner = *owner;
	pthread_mutex_init(&g->lock, NULL);
	wait_init(&g->wake);
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
	machine_hold_nowait(g->machine, HOLD_GATE);
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
