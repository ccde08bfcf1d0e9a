/* SPDX-License-Identifier: Apache-2.0 */
/*
 * throttle - hold a domain's vCPUs back for a share of the time, so that a guest which
 * writes faster than the network carries can still be migrated.
 *
 *     |<------- 10 ms ------->|
 *     | held, percent  | runs |
 *
 * A thread takes and gives back a hold of its own; it exists only while it is needed.
 */
#include "hv/cpu/vcpu.h"

#include "base/clock.h"
#include "base/lock.h"
#include "base/wait.h"

#include <assert.h>

#define PERIOD_NS (10 * NS_PER_MS)

/* With the lock held; a change of mind wakes it early. */
static void nap(struct vcpus *s, uint64_t ns)
{
	assert(lock_is_held(&s->lock));
	wait_until(&s->throttle_wake, &s->lock, wait_now() + ns);
}

static void *throttle_main(void *arg)
{
	struct vcpus *s = arg;

	pthread_setname_np(pthread_self(), "throttle");
	pthread_mutex_lock(&s->lock);
	while (s->throttle_percent && !s->quit) {
		uint64_t held = PERIOD_NS * s->throttle_percent / 100;

		pthread_mutex_unlock(&s->lock);
		vcpus_hold(s, VCPU_HOLD_THROTTLE);
		pthread_mutex_lock(&s->lock);
		nap(s, held);
		pthread_mutex_unlock(&s->lock);
		vcpus_release(s, VCPU_HOLD_THROTTLE);
		pthread_mutex_lock(&s->lock);
		nap(s, PERIOD_NS - held);
	}
	pthread_mutex_unlock(&s->lock);
	return NULL;
}

void vcpus_throttle(struct vcpus *s, unsigned int percent)
{
	bool start, stop;

	pthread_mutex_lock(&s->lock);
	s->throttle_percent = percent > 99 ? 99 : percent;
	start = s->throttle_percent && !s->throttle_running;
	stop = !s->throttle_percent && s->throttle_running;
	if (start)
		s->throttle_running = pthread_create(&s->throttle_thread, NULL, throttle_main, s) == 0;
	pthread_cond_signal(&s->throttle_wake);
	pthread_mutex_unlock(&s->lock);
	if (stop) {
		pthread_join(s->throttle_thread, NULL);
		s->throttle_running = false;
	}
}
