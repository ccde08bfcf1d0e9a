/* SPDX-License-Identifier: Apache-2.0 */
/* prefault - see prefault.h. */
#include "migrate/pages/prefault.h"

#include "base/room.h"

#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* Linux 5.14 */
#endif

#define STEP (2u << 20)
#define LOOK_EVERY 32u  /* steps between two looks at the host's memory */
#define PREFAULT_NICE 5 /* behind what serves guests, but not behind every batch job */

/* What is put in use here must not be what somebody else is killed for. */
static bool memory_is_plenty(const struct prefault *a)
{
	const uint64_t next = 2ull * LOOK_EVERY * STEP;

	return a->plenty ? a->plenty(a->arg, next) : !room_plenty("", next, NULL);
}

/* Waits while held; a session that ends calls prefault_stop(), so it does not wait for ever. */
static bool may_go_on(struct prefault *a)
{
	bool go;

	pthread_mutex_lock(&a->lock);
	while (a->mode == PREFAULT_HOLD)
		pthread_cond_wait(&a->cond, &a->lock);
	go = a->mode == PREFAULT_GO;
	pthread_mutex_unlock(&a->lock);
	return go;
}

static bool populate_region(struct prefault *a, const struct guest_region *r)
{
	uint64_t at, len;
	unsigned int steps = 0;

	for (at = 0; at < r->size; at += len) {
		if (!may_go_on(a))
			return false;
		if (steps++ % LOOK_EVERY == 0 && !memory_is_plenty(a))
			return false;
		len = r->size - at < STEP ? r->size - at : STEP;
		if (madvise(r->host + at, len, MADV_POPULATE_WRITE))
			return false;
	}
	return true;
}

/* #syscalls:engine setpriority */
static void *prefault_main(void *arg)
{
	struct prefault *a = arg;
	size_t i;

	/* Of this thread alone (setpriority(2), NOTES: on Linux the nice value is a thread's). */
	setpriority(PRIO_PROCESS, (id_t)gettid(), PREFAULT_NICE);
	for (i = 0; i < a->n && populate_region(a, &a->regions[i]); i++)
		;
	return NULL;
}

void prefault_start(struct prefault *a, const struct guest_region *regions, size_t n,
		    bool (*plenty)(void *arg, uint64_t bytes), void *arg)
{
	memset(a, 0, sizeof(*a));
	a->plenty = plenty;
	a->arg = arg;
	a->regions = regions;
	a->n = n;
	pthread_mutex_init(&a->lock, NULL);
	pthread_cond_init(&a->cond, NULL);
	a->running = !pthread_create(&a->thread, NULL, prefault_main, a);
}

static void set_mode(struct prefault *a, int mode)
{
	if (!a->running)
		return;
	pthread_mutex_lock(&a->lock);
	if (a->mode != PREFAULT_END)
		a->mode = mode;
	pthread_cond_broadcast(&a->cond);
	pthread_mutex_unlock(&a->lock);
}

void prefault_hold(struct prefault *a)
{
	set_mode(a, PREFAULT_HOLD);
}

void prefault_go(struct prefault *a)
{
	set_mode(a, PREFAULT_GO);
}

void prefault_enough(struct prefault *a)
{
	set_mode(a, PREFAULT_END);
}

void prefault_stop(struct prefault *a)
{
	if (!a->running)
		return;
	prefault_enough(a);
	pthread_join(a->thread, NULL);
	a->running = false;
	pthread_cond_destroy(&a->cond);
	pthread_mutex_destroy(&a->lock);
}
