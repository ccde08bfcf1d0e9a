/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio_worker - threads of a device beside its own, each with queues and a lock of its own (virtio_int.h).
 *
 *     worker 0, the device's thread:  v->lock     everything that concerns the device as a whole
 *     worker 1..                      its lock    rings of its queues, and nothing else
 */
#include "hv/virtio/virtio_int.h"

#include "base/confine.h"
#include "base/lock.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define EVENTS_MAX 4
#define KEY_ENDING UINT32_MAX

pthread_mutex_t *virtio_queue_lock(struct virtio_dev *v, unsigned int q)
{
	assert(q < v->n_queues);
	return v->queue_worker[q] ? &v->worker[v->queue_worker[q]].lock : &v->lock;
}

int virtio_worker_epoll(const struct virtio_dev *v, unsigned int w)
{
	return w ? v->worker[w].epoll_fd : v->epoll_fd;
}

void virtio_workers_lock(struct virtio_dev *v)
{
	unsigned int w;

	assert(lock_is_held(&v->lock));
	for (w = 1; w < v->n_workers; w++)
		pthread_mutex_lock(&v->worker[w].lock);
}

void virtio_workers_unlock(struct virtio_dev *v)
{
	unsigned int w;

	for (w = v->n_workers; w-- > 1;)
		pthread_mutex_unlock(&v->worker[w].lock);
}

void virtio_dev_stop(struct virtio_dev *v)
{
	pthread_mutex_lock(&v->lock);
	virtio_workers_lock(v);
}

void virtio_dev_go(struct virtio_dev *v)
{
	virtio_workers_unlock(v);
	pthread_mutex_unlock(&v->lock);
}

/* --- what a worker must not do itself --- */

bool virtio_dev_hand_over(struct virtio_dev *v, unsigned int q)
{
	assert(lock_is_held(virtio_queue_lock(v, q)));
	if (!v->queue_worker[q] || v->worker[v->queue_worker[q]].handed)
		return false;
	atomic_fetch_or(&v->handed, 1ull << q);
	eventfd_write(v->control_fd, 1);
	return true;
}

void virtio_dev_take_over(struct virtio_dev *v)
{
	uint64_t queues = atomic_exchange(&v->handed, 0);
	unsigned int q;

	assert(lock_is_held(&v->lock));
	for (q = 0; queues && q < v->n_queues; q++) {
		struct virtio_worker *w = &v->worker[v->queue_worker[q]];

		if (!(queues >> q & 1))
			continue;
		pthread_mutex_lock(&w->lock);
		w->handed = true;
		if (virtio_dev_works(v, q))
			v->ops->kick(v, q);
		w->handed = false;
		pthread_mutex_unlock(&w->lock);
	}
}

/* --- threads --- */

/* #syscalls:device epoll_wait */
static void *worker_thread(void *arg)
{
	struct epoll_event ev[EVENTS_MAX];
	struct virtio_worker *w = arg;
	char name[16];
	bool ending = false;
	int n, i;

	snprintf(name, sizeof(name), "%.11s.%u", w->v->name, (unsigned int)(w - w->v->worker));
	pthread_setname_np(pthread_self(), name);
	while (!ending) {
		n = epoll_wait(w->epoll_fd, ev, EVENTS_MAX, -1);
		confine(CONFINE_DEVICE);
		pthread_mutex_lock(&w->lock);
		for (i = 0; i < n; i++)
			if (ev[i].data.u32 != KEY_ENDING)
				virtio_dev_handle(w->v, ev[i].data.u32, ev[i].events);
		ending = w->ending;
		pthread_mutex_unlock(&w->lock);
	}
	return NULL;
}

int virtio_workers_init(struct virtio_dev *v, struct err *e)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.u32 = KEY_ENDING };
	unsigned int w;

	assert(v->n_workers <= VIRTIO_WORKERS_MAX);
	for (w = 1; w < v->n_workers; w++) {
		v->worker[w].v = v;
		v->worker[w].epoll_fd = v->worker[w].control_fd = -1;
		pthread_mutex_init(&v->worker[w].lock, NULL);
	}
	for (w = 1; w < v->n_workers; w++) {
		struct virtio_worker *k = &v->worker[w];

		k->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
		k->control_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (k->epoll_fd < 0 || k->control_fd < 0 ||
		    epoll_ctl(k->epoll_fd, EPOLL_CTL_ADD, k->control_fd, &ev))
			return err_errno(e, "%s: epoll of worker %u", v->name, w);
	}
	return 0;
}

int virtio_workers_start(struct virtio_dev *v, struct err *e)
{
	unsigned int w;
	int ret;

	for (w = 1; w < v->n_workers; w++) {
		ret = pthread_create(&v->worker[w].thread, NULL, worker_thread, &v->worker[w]);
		if (ret)
			return err_set(e, -ret, "%s: thread of worker %u: %s", v->name, w, strerror(ret));
		v->worker[w].running = true;
	}
	return 0;
}

void virtio_workers_end(struct virtio_dev *v)
{
	unsigned int w;

	for (w = 1; w < v->n_workers; w++) {
		struct virtio_worker *k = &v->worker[w];

		pthread_mutex_lock(&k->lock);
		k->ending = true;
		pthread_mutex_unlock(&k->lock);
		if (k->running) {
			eventfd_write(k->control_fd, 1);
			pthread_join(k->thread, NULL);
		}
		if (k->control_fd >= 0)
			close(k->control_fd);
		if (k->epoll_fd >= 0)
			close(k->epoll_fd);
		pthread_mutex_destroy(&k->lock);
	}
}
