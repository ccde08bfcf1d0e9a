/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio - what all virtio devices have in common (virtio.h, virtio_int.h).
 *
 * A device is quiet or it works:
 *
 *            start                    quiesce_begin
 *     quiet --------> works  ------------------------>  drains
 *       ^                                                  |
 *       +---------------- nothing in flight ---------------+
 *
 * Quiet means: nothing is taken from a ring, nothing is in flight, so nobody
 * writes guest memory or the disk.  Only then is state saved or loaded.  A kick
 * that arrives meanwhile is forgotten, as start looks at every ring anyway.
 *
 * A reset by the guest while requests are in flight waits for them: status
 * reads as before until the device has let go (VIRTIO 1.2 2.4.1 makes the
 * driver wait for 0), so no late completion can write memory that the guest
 * has given to something else by then.
 */
#include "hv/virtio/virtio_int.h"

#include "base/clock.h"
#include "base/confine.h"
#include "base/lock.h"
#include "base/log_limit.h"
#include "base/wait.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define EVENTS_MAX 8
/* epoll keys: queues first, then the device's own sources, then the control eventfd */
#define KEY_SOURCE VIRTIO_QUEUES_MAX
#define KEY_CONTROL (KEY_SOURCE + VIRTIO_SOURCES_MAX)

/* --- what devices call --- */

bool virtio_dev_works(const struct virtio_dev *v, unsigned int q)
{
	return !v->quiet && !atomic_load(&v->want_quiet) && !v->want_reset &&
	       (v->status & VIRTIO_S_DRIVER_OK) && !(v->status & VIRTIO_S_NEEDS_RESET) &&
	       v->queues[q].enabled;
}

void virtio_dev_again(struct virtio_dev *v, unsigned int q)
{
	assert(q < v->n_queues);
	eventfd_write(v->kick_fd[q], 1);
}

void virtio_dev_retry(struct virtio_dev *v, unsigned int q)
{
	assert(q < v->n_queues && !v->queue_worker[q] && lock_is_held(&v->lock));
	v->retry |= 1ull << q;
}

bool virtio_dev_pop(struct virtio_dev *v, unsigned int q, struct virtq_elem *el)
{
	struct err e = { 0 };
	int ret;

	assert(lock_is_held(virtio_queue_lock(v, q)) && v->queues[q].enabled && !v->quiet);
	ret = virtq_pop(&v->queues[q], v->env->mem, el, &e);
	if (ret < 0)
		virtio_dev_broken(v, q, e.text);
	return ret > 0;
}

static void config_interrupt(struct virtio_dev *v)
{
	v->isr |= 2;
	msix_raise(&v->pci, v->config_vector);
}

void virtio_dev_broken(struct virtio_dev *v, unsigned int q, const char *why)
{
	assert(lock_is_held(virtio_queue_lock(v, q)));
	if (atomic_fetch_or(&v->status, VIRTIO_S_NEEDS_RESET) & VIRTIO_S_NEEDS_RESET)
		return;
	log_of_guest(LOG_LEVEL_WARN, "%s: queue %u: %s; the device waits for a reset by its driver", v->name, q, why);
	if (v->status & VIRTIO_S_DRIVER_OK)
		config_interrupt(v);
}

void virtio_dev_interrupt(struct virtio_dev *v, unsigned int q)
{
	assert(lock_is_held(virtio_queue_lock(v, q)));
	/* A wake-up may come in behind a reset, when the ring is gone already. */
	if (!v->queues[q].enabled || !virtq_should_interrupt(&v->queues[q]))
		return;
	v->isr |= 1;
	msix_raise(&v->pci, v->queues[q].vector);
}

void virtio_dev_config_changed(struct virtio_dev *v)
{
	assert(lock_is_held(&v->lock) && v->config_len <= VIRTIO_CONFIG_MAX);
	v->generation++;
	if (v->status & VIRTIO_S_DRIVER_OK)
		config_interrupt(v);
}

/* #syscalls:main,gate,engine,device,vcpu epoll_ctl */
static int watch(int epoll_fd, int fd, uint32_t key, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.u32 = key };

	if (!epoll_ctl(epoll_fd, EPOLL_CTL_MOD, fd, &ev))
		return 0;
	if (errno != ENOENT)
		return -errno;
	return epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &ev) ? -errno : 0;
}

int virtio_dev_watch(struct virtio_dev *v, unsigned int s, int fd, uint32_t events)
{
	int epoll_fd = virtio_worker_epoll(v, v->source_worker[s]);

	/* EPOLLERR and EPOLLHUP are always reported: a source without events leaves the set. */
	if (!events) {
		epoll_ctl(epoll_fd, EPOLL_CTL_DEL, fd, NULL);
		return 0;
	}
	return watch(epoll_fd, fd, KEY_SOURCE + s, events);
}

/* --- status and queues, by registers --- */

static void dev_reset(struct virtio_dev *v)
{
	unsigned int q;

	/* What is in flight writes into a guest that may have given its memory another use. */
	assert(lock_is_held(&v->lock) && !v->ops->in_flight(v));
	v->want_reset = false;
	v->ops->reset(v);
	for (q = 0; q < v->n_queues; q++)
		virtq_reset(&v->queues[q]);
	v->features = 0;
	v->feature_select = v->driver_feature_select = 0;
	v->status = v->isr = 0;
	v->queue_select = 0;
	v->config_vector = VIRTQ_NO_VECTOR;
	v->loaded = false;
}

void virtio_dev_negotiated(struct virtio_dev *v)
{
	unsigned int q;

	for (q = 0; q < v->n_queues; q++) {
		v->queues[q].event_idx = v->features & VIRTIO_F_EVENT_IDX;
		v->queues[q].indirect = v->features & VIRTIO_F_INDIRECT_DESC;
	}
}

void virtio_dev_set_status(struct virtio_dev *v, uint8_t status)
{
	uint8_t set = status & (uint8_t)~v->status;
	unsigned int q;

	assert(lock_is_held(&v->lock));
	if (v->want_reset)
		return;
	if (!status) {
		v->want_reset = true;
		if (!v->ops->in_flight(v))
			dev_reset(v);
		return;
	}
	/* VIRTIO 1.2 2.2.2, 3.1.1: a legacy driver or an unknown feature is told by FEATURES_OK
	 * staying clear; nothing works before it is set. */
	if ((set & VIRTIO_S_FEATURES_OK) &&
	    ((v->features & ~v->offered) || !(v->features & VIRTIO_F_VERSION_1)))
		set &= (uint8_t)~VIRTIO_S_FEATURES_OK;
	if (!((v->status | set) & VIRTIO_S_FEATURES_OK))
		set &= (uint8_t)~VIRTIO_S_DRIVER_OK;
	set &= (uint8_t)~VIRTIO_S_NEEDS_RESET;
	v->status |= set;
	if (set & VIRTIO_S_FEATURES_OK)
		virtio_dev_negotiated(v);
	if (set & VIRTIO_S_DRIVER_OK) {
		v->ops->ready(v);
		for (q = 0; q < v->n_queues; q++)
			virtio_dev_again(v, q);
	}
}

void virtio_dev_enable_queue(struct virtio_dev *v, unsigned int q)
{
	struct err e = { 0 };

	assert(q < v->n_queues && lock_is_held(&v->lock));
	if (v->queues[q].enabled || !(v->status & VIRTIO_S_FEATURES_OK))
		return;
	if (virtq_map(&v->queues[q], v->env->mem, &e)) {
		virtio_dev_broken(v, q, e.text);
		return;
	}
	v->queues[q].enabled = true;
}

/* --- the thread --- */

static bool is_unsettled(struct virtio_dev *v)
{
	return v->want_reset || (atomic_load(&v->want_quiet) && !v->quiet);
}

/* With all locks. */
static void settle(struct virtio_dev *v)
{
	assert(lock_is_held(&v->lock));
	if (!is_unsettled(v) || v->ops->in_flight(v))
		return;
	if (v->want_reset)
		dev_reset(v);
	if (atomic_load(&v->want_quiet) && !v->quiet) {
		v->quiet = true;
		pthread_cond_broadcast(&v->changed);
	}
}

void virtio_dev_handle(struct virtio_dev *v, uint32_t key, uint32_t events)
{
	eventfd_t count;

	if (key < KEY_SOURCE) {
		if (virtio_dev_works(v, key))
			v->ops->kick(v, key);
	} else if (key < KEY_CONTROL) {
		v->ops->event(v, key - KEY_SOURCE, events);
	} else {
		eventfd_read(v->control_fd, &count);
	}
}

/* Queues that asked for it get another look; one that is not at work has start look anyway. */
static void retry_queues(struct virtio_dev *v)
{
	uint64_t queues = v->retry;
	unsigned int q;

	v->retry = 0;
	for (q = 0; q < v->n_queues; q++)
		if ((queues >> q & 1) && virtio_dev_works(v, q))
			v->ops->kick(v, q);
}

/* #syscalls:device epoll_wait */
static void *dev_thread(void *arg)
{
	struct epoll_event ev[EVENTS_MAX];
	struct virtio_dev *v = arg;
	bool ending = false;
	int n, i, wait = -1;

	/* By itself: another one would be named through a file in /proc. */
	pthread_setname_np(pthread_self(), v->name);
	while (!ending) {
		n = epoll_wait(v->epoll_fd, ev, EVENTS_MAX, wait);
		confine(CONFINE_DEVICE); /* before the first request of a guest */
		pthread_mutex_lock(&v->lock);
		for (i = 0; i < n; i++)
			virtio_dev_handle(v, ev[i].data.u32, ev[i].events);
		virtio_dev_take_over(v);
		if (!n)
			retry_queues(v);
		if (is_unsettled(v)) {
			virtio_workers_lock(v);
			settle(v);
			virtio_workers_unlock(v);
		}
		wait = v->retry ? VIRTIO_RETRY_MS : -1;
		ending = v->ending;
		pthread_mutex_unlock(&v->lock);
	}
	return NULL;
}

static int thread_start(struct virtio_dev *v, struct err *e)
{
	sigset_t all, old;
	int ret;

	/* Signals are for the main thread and the vCPUs. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	ret = virtio_workers_start(v, e);
	if (!ret) {
		ret = pthread_create(&v->thread, NULL, dev_thread, v);
		if (ret)
			ret = err_set(e, -ret, "%s: thread: %s", v->name, strerror(ret));
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return ret;
}

/* --- start and stop, by the machine --- */

int virtio_dev_start(struct virtio_dev *v, struct err *e)
{
	unsigned int q;

	virtio_dev_stop(v);
	atomic_store(&v->want_quiet, false);
	v->quiet = false;
	v->ops->run(v, true);
	for (q = 0; q < v->n_queues; q++) {
		virtio_dev_again(v, q);
		/* What was raised just before the move may not have reached the guest's APIC there:
		 * one interrupt too many is harmless. */
		if (v->loaded && virtio_dev_works(v, q))
			msix_raise(&v->pci, v->queues[q].vector);
	}
	if (v->loaded && (v->status & VIRTIO_S_DRIVER_OK))
		config_interrupt(v);
	v->loaded = false;
	virtio_dev_go(v);
	return 0;
}

void virtio_dev_quiesce_begin(struct virtio_dev *v)
{
	/* Before the lock: the thread then leaves its rings early and gives the lock away. */
	bool was = atomic_exchange(&v->want_quiet, true);

	virtio_dev_stop(v);
	if (!was)
		v->ops->run(v, false);
	settle(v);
	virtio_dev_go(v);
}

int virtio_dev_quiesce(struct virtio_dev *v, unsigned int timeout_ms, struct err *e)
{
	uint64_t deadline = wait_now() + timeout_ms * NS_PER_MS;
	int ret = 0;

	virtio_dev_quiesce_begin(v);
	pthread_mutex_lock(&v->lock);
	while (!v->quiet && wait_until(&v->changed, &v->lock, deadline))
		;
	if (!v->quiet)
		ret = err_set(e, -ETIMEDOUT, "%s: %u requests still in flight after %u ms", v->name,
			      v->ops->in_flight(v), timeout_ms);
	pthread_mutex_unlock(&v->lock);
	return ret;
}

json_t *virtio_dev_stats(struct virtio_dev *v)
{
	json_t *o;

	virtio_dev_stop(v);
	o = v->ops->stats(v);
	virtio_dev_go(v);
	if (o)
		json_object_set_new(o, "name", json_string(v->name));
	return o;
}

/* --- creation --- */

static int dev_fds(struct virtio_dev *v, struct err *e)
{
	unsigned int q;

	v->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	v->control_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (v->epoll_fd < 0 || v->control_fd < 0 ||
	    watch(v->epoll_fd, v->control_fd, KEY_CONTROL, EPOLLIN))
		return err_errno(e, "%s: epoll", v->name);
	/* Each kick is an edge, so nobody has to read them: a system call less for each. */
	for (q = 0; q < v->n_queues; q++) {
		v->kick_fd[q] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (v->kick_fd[q] < 0 ||
		    watch(virtio_worker_epoll(v, v->queue_worker[q]), v->kick_fd[q], q, EPOLLIN | EPOLLET))
			return err_errno(e, "%s: eventfd for a queue", v->name);
	}
	return 0;
}

static void dev_close_fds(struct virtio_dev *v)
{
	unsigned int q;

	for (q = 0; q < v->n_queues; q++)
		if (v->kick_fd[q] >= 0)
			close(v->kick_fd[q]);
	if (v->control_fd >= 0)
		close(v->control_fd);
	if (v->epoll_fd >= 0)
		close(v->epoll_fd);
}

int virtio_dev_init(struct virtio_dev *v, struct device_env *env, const struct virtio_ops *ops,
		    unsigned int index, uint64_t features, unsigned int n_queues,
		    uint16_t queue_size, struct err *e)
{
	unsigned int q;
	int ret;

	assert(n_queues && n_queues <= VIRTIO_QUEUES_MAX);
	v->ops = ops;
	v->env = env;
	v->offered = features | VIRTIO_F_VERSION_1 | VIRTIO_F_EVENT_IDX | VIRTIO_F_INDIRECT_DESC;
	v->n_queues = n_queues;
	v->config_vector = VIRTQ_NO_VECTOR;
	v->quiet = true;
	atomic_init(&v->want_quiet, true);
	snprintf(v->name, sizeof(v->name), "%s%u", ops->kind, index);
	pthread_mutex_init(&v->lock, NULL);
	wait_init(&v->changed);
	v->epoll_fd = v->control_fd = -1;
	for (q = 0; q < VIRTIO_QUEUES_MAX; q++) {
		v->queues[q].size_max = queue_size;
		virtq_reset(&v->queues[q]);
		v->kick_fd[q] = -1;
	}
	ret = virtio_workers_init(v, e);
	if (!ret)
		ret = dev_fds(v, e);
	if (ret)
		goto fail;
	ret = virtio_pci_init(v, e);
	if (ret)
		goto fail;
	ret = thread_start(v, e);
	if (!ret)
		return 0;
	pci_dev_fini(&v->pci);
fail:
	virtio_workers_end(v);
	dev_close_fds(v);
	pthread_cond_destroy(&v->changed);
	pthread_mutex_destroy(&v->lock);
	return ret;
}

void virtio_dev_plug(struct virtio_dev *v)
{
	pci_dev_plug(&v->pci);
}

void virtio_dev_destroy(struct virtio_dev *v)
{
	if (!v)
		return;
	if (v->ops->leave)
		v->ops->leave(v);
	/* First the guest: then no vCPU is in here, nor comes in. */
	pci_dev_unplug(&v->pci);
	pthread_mutex_lock(&v->lock);
	assert(!v->ending);
	v->ending = true;
	pthread_mutex_unlock(&v->lock);
	eventfd_write(v->control_fd, 1);
	pthread_join(v->thread, NULL);
	virtio_workers_end(v);
	pci_dev_fini(&v->pci);
	dev_close_fds(v);
	pthread_cond_destroy(&v->changed);
	pthread_mutex_destroy(&v->lock);
	v->ops->destroy(v);
}
