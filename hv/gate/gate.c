/* SPDX-License-Identifier: Apache-2.0 */
/* gate - see gate.h. */
#include "hv/gate/gate.h"

#include "base/clock.h"
#include "base/confine.h"
#include "base/log.h"
#include "base/wait.h"
#include "conf/lease_page.h"
#include "hv/gate/gate_disks.h"
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
#define GATE_STOP_MS 1000
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
	struct gate_disks disks; /* main thread only, as gate_disks.h says */
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

static void let_go(struct gate *g)
{
	if (g->owner.stands_still(g->owner.arg) && !(machine_holders(g->machine) & (HOLD_MIGRATION | HOLD_START)))
		gate_disks_let_go(&g->disks);
}

static void open_gate(struct gate *g)
{
	struct err e;
	int ret;

	if (g->disks.released) {
		gate_disks_take(&g->disks, g->owner.incarnation(g->owner.arg));
		return;
	}
	/* The lock keeps the thread from closing in between and losing its hold to our release. */
	pthread_mutex_lock(&g->lock);
	if (!gate_allows(g)) { /* taking the disks took longer than the lease lasted */
		pthread_mutex_unlock(&g->lock);
		return;
	}
	assert(g->closed && !g->disks.busy);
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

static void tell(struct gate *g)
{
	log_warn("the lease has ended: the domain is gated");
	g->owner.changed(g->owner.arg);
}

/* Whatever did not succeed is tried again with the next look, and not at once. */
static void disks_end(struct gate *g)
{
	struct err e;

	if (gate_disks_end(&g->disks, &e))
		g->owner.lost(g->owner.arg, e.text);
	else if (!g->disks.released && gate_allows(g))
		open_gate(g);
}

/* What a closed gate is about to do, one thing at a time. */
static void step(struct gate *g, uint64_t since)
{
	if (!gate_disks_done(&g->disks))
		return;
	if (g->disks.busy)
		disks_end(g);
	else if (gate_allows(g))
		open_gate(g);
	else if (!g->disks.released && clock_ns() >= since + GATE_KEEP_DISKS_NS)
		let_go(g);
}

/* The threads ask for this while the gate is closed. */
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
	if (news)
		tell(g);
	if (closed)
		step(g, since);
}

/* With the lock held; any thread. */
static void ask_for_look(struct gate *g)
{
	if (g->closed && !g->posted)
		g->posted = g->owner.post(g->owner.arg, look, g) == 0;
}

/* On the thread of gate_disks. */
static void disks_ended(void *arg)
{
	struct gate *g = arg;

	pthread_mutex_lock(&g->lock);
	ask_for_look(g);
	pthread_mutex_unlock(&g->lock);
}

/* --- the gate's thread --- */

static void *gate_main(void *arg)
{
	struct gate *g = arg;

	pthread_setname_np(pthread_self(), "gate");
	pthread_mutex_lock(&g->lock);
	while (!g->quit) {
		uint64_t now = clock_ns(), end = gate_end(g), next = now + GATE_LOOK_NS;

		confine(CONFINE_GATE);
		if (now >= end && !g->closed) {
			machine_hold_nowait(g->machine, HOLD_GATE);
			g->closed = true;
			g->closed_ns = now;
		}
		ask_for_look(g);
		if (!g->closed && end < next)
			next = end;
		/* a host that was suspended looks again on waking up */
		now = clock_ns();
		wait_until(&g->wake, &g->lock, wait_now() + (next > now ? next - now : 0));
	}
	pthread_mutex_unlock(&g->lock);
	return NULL;
}

/*
 * Its priority comes from here and at once: a thread that begins late may find the rights to that gone.
 */
static int start_thread(struct gate *g, struct err *e)
{
	const struct sched_param priority = { .sched_priority = 1 };
	int ret = -pthread_create(&g->thread, NULL, gate_main, g);

	if (ret)
		return err_set(e, ret, "gate: cannot create its thread: %s", strerror(-ret));
	g->has_thread = true;
	if (pthread_setschedparam(g->thread, SCHED_FIFO, &priority))
		log_debug("gate: no real-time priority");
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
	g->disks = (struct gate_disks){ .machine = m, .ended = disks_ended, .arg = g };
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

static void stop_thread(struct gate *g)
{
	pthread_mutex_lock(&g->lock);
	g->quit = true;
	pthread_cond_signal(&g->wake);
	pthread_mutex_unlock(&g->lock);
	pthread_join(g->thread, NULL);
	g->has_thread = false;
}

bool gate_stop(struct gate *g)
{
	uint64_t end = clock_ms() + GATE_STOP_MS;
	struct err e;

	if (!g)
		return true;
	if (g->has_thread)
		stop_thread(g);
	while (!gate_disks_done(&g->disks) && clock_ms() < end)
		usleep(1000);
	if (!gate_disks_done(&g->disks))
		return false;
	gate_disks_end(&g->disks, &e);
	return true;
}

void gate_destroy(struct gate *g)
{
	if (!g)
		return;
	if (!gate_stop(g))
		return;
	pthread_cond_destroy(&g->wake);
	pthread_mutex_destroy(&g->lock);
	if (g->page)
		munmap((void *)g->page, LEASE_PAGE_SIZE);
	free(g);
}
