/* SPDX-License-Identifier: Apache-2.0 */
/*
 * loop - see loop.h.
 *
 * A watched descriptor is an entry in a list; epoll carries a pointer to it.  An
 * entry that is deleted while events of the same epoll_wait() are being handled is
 * only marked, and freed when the batch is done, so a pointer never dangles.
 * Timers are timerfds on CLOCK_BOOTTIME (rule T), watched like everything else.
 */
#include "net/control/loop.h"

#include "base/clock.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define BATCH 16

struct watch {
	struct watch *next;
	int fd;
	loop_fd_fn fn;
	void *arg;
	bool dead;
};

struct posted {
	struct posted *next;
	loop_fn fn;
	void *arg; /* of whoever posted it, or @copy */
	max_align_t copy[];
};

struct loop {
	int epoll_fd, wake_fd;
	struct watch *watches;
	bool quit;
	pthread_mutex_t lock;
	struct posted *first, **last;
};

struct loop_timer {
	struct loop *loop;
	int fd;
	loop_fn fn;
	void *arg;
};

static void run_posted(void *arg, uint32_t events)
{
	struct loop *l = arg;
	struct posted *p, *next;
	eventfd_t count;

	(void)events;
	eventfd_read(l->wake_fd, &count);
	pthread_mutex_lock(&l->lock);
	p = l->first;
	l->first = NULL;
	l->last = &l->first;
	pthread_mutex_unlock(&l->lock);
	for (; p; p = next) {
		next = p->next;
		p->fn(p->arg);
		free(p);
	}
}

int loop_create(struct loop **out, struct err *e)
{
	struct loop *l = calloc(1, sizeof(*l));
	int ret;

	if (!l)
		return err_set(e, -ENOMEM, "out of memory");
	l->last = &l->first;
	pthread_mutex_init(&l->lock, NULL);
	l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	l->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (l->epoll_fd < 0 || l->wake_fd < 0) {
		ret = err_errno(e, "epoll");
		loop_destroy(l);
		return ret;
	}
	ret = loop_add(l, l->wake_fd, EPOLLIN, run_posted, l, e);
	if (ret) {
		loop_destroy(l);
		return ret;
	}
	*out = l;
	return 0;
}

void loop_destroy(struct loop *l)
{
	struct posted *p, *next_p;
	struct watch *w, *next_w;

	if (!l)
		return;
	for (w = l->watches; w; w = next_w) {
		next_w = w->next;
		free(w);
	}
	for (p = l->first; p; p = next_p) {
		next_p = p->next;
		free(p);
	}
	if (l->wake_fd >= 0)
		close(l->wake_fd);
	if (l->epoll_fd >= 0)
		close(l->epoll_fd);
	pthread_mutex_destroy(&l->lock);
	free(l);
}

/* #syscalls:main epoll_ctl */
int loop_add(struct loop *l, int fd, uint32_t events, loop_fd_fn fn, void *arg, struct err *e)
{
	struct watch *w = calloc(1, sizeof(*w));
	struct epoll_event ev = { .events = events, .data.ptr = w };
	int ret;

	if (!w)
		return err_set(e, -ENOMEM, "out of memory");
	assert(fd >= 0 && fn);
	w->fd = fd;
	w->fn = fn;
	w->arg = arg;
	if (epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, fd, &ev)) {
		ret = err_errno(e, "cannot watch descriptor %d", fd);
		free(w);
		return ret;
	}
	w->next = l->watches;
	l->watches = w;
	return 0;
}

static struct watch *find(struct loop *l, int fd)
{
	struct watch *w = l->watches;

	while (w && (w->fd != fd || w->dead))
		w = w->next;
	return w;
}

int loop_change(struct loop *l, int fd, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.ptr = find(l, fd) };

	if (!ev.data.ptr)
		return -ENOENT;
	return epoll_ctl(l->epoll_fd, EPOLL_CTL_MOD, fd, &ev) ? -errno : 0;
}

void loop_del(struct loop *l, int fd)
{
	struct watch *w = find(l, fd);

	if (!w)
		return;
	epoll_ctl(l->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
	w->dead = true;
}

static void bury(struct loop *l)
{
	struct watch **p = &l->watches, *w;

	while ((w = *p)) {
		if (w->dead) {
			*p = w->next;
			free(w);
		} else {
			p = &w->next;
		}
	}
}

static void timer_fired(void *arg, uint32_t events)
{
	struct loop_timer *t = arg;
	uint64_t count;

	(void)events;
	/* disarmed in the same batch: nothing to read, nothing to do */
	if (read(t->fd, &count, sizeof(count)) == sizeof(count))
		t->fn(t->arg);
}

/* #syscalls:main timerfd_create close */
int loop_timer_create(struct loop *l, loop_fn fn, void *arg, struct loop_timer **out,
		      struct err *e)
{
	struct loop_timer *t = calloc(1, sizeof(*t));
	int ret;

	if (!t)
		return err_set(e, -ENOMEM, "out of memory");
	*t = (struct loop_timer){ .loop = l, .fn = fn, .arg = arg };
	t->fd = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);
	if (t->fd < 0) {
		ret = err_errno(e, "timerfd");
		free(t);
		return ret;
	}
	ret = loop_add(l, t->fd, EPOLLIN, timer_fired, t, e);
	if (ret) {
		close(t->fd);
		free(t);
		return ret;
	}
	*out = t;
	return 0;
}

/* #syscalls:all timerfd_settime */
void loop_timer_set(struct loop_timer *t, uint64_t at_ns)
{
	struct itimerspec when = {
		.it_value = { .tv_sec = (time_t)(at_ns / NS_PER_SEC),
			      .tv_nsec = (long)(at_ns % NS_PER_SEC) },
	};

	timerfd_settime(t->fd, TFD_TIMER_ABSTIME, &when, NULL);
}

void loop_timer_destroy(struct loop_timer *t)
{
	if (!t)
		return;
	loop_del(t->loop, t->fd);
	close(t->fd);
	free(t);
}

static void post(struct loop *l, struct posted *p)
{
	pthread_mutex_lock(&l->lock);
	assert(!*l->last);
	*l->last = p;
	l->last = &p->next;
	pthread_mutex_unlock(&l->lock);
	eventfd_write(l->wake_fd, 1);
}

int loop_post(struct loop *l, loop_fn fn, void *arg)
{
	struct posted *p = calloc(1, sizeof(*p));

	if (!p)
		return -ENOMEM;
	p->fn = fn;
	p->arg = arg;
	post(l, p);
	return 0;
}

int loop_post_copy(struct loop *l, loop_fn fn, const void *arg, size_t size)
{
	struct posted *p = calloc(1, sizeof(*p) + size);

	if (!p)
		return -ENOMEM;
	p->fn = fn;
	p->arg = p->copy;
	memcpy(p->copy, arg, size);
	post(l, p);
	return 0;
}

/* #syscalls:main epoll_wait */
void loop_run(struct loop *l)
{
	struct epoll_event ev[BATCH];

	while (!l->quit) {
		int n = epoll_wait(l->epoll_fd, ev, BATCH, -1);

		for (int i = 0; i < n; i++) {
			struct watch *w = ev[i].data.ptr;

			if (!w->dead)
				w->fn(w->arg, ev[i].events);
		}
		bury(l);
	}
	l->quit = false;
}

void loop_quit(struct loop *l)
{
	l->quit = true;
}
