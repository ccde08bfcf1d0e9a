/* SPDX-License-Identifier: Apache-2.0 */
/*
 * loop - the main thread of a program: epoll, timers, and work from other threads.
 *
 * Everything that touches the control socket, or what its commands touch, runs here, so
 * none of it needs a lock.  Other threads hand over work with loop_post() and
 * loop_post_copy(), the only functions that any thread may call.
 *
 * Nothing that runs here may wait: a slow disk must not make the domain deaf.
 */
#ifndef DROVER_NET_CONTROL_LOOP_H
#define DROVER_NET_CONTROL_LOOP_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct loop;

typedef void (*loop_fd_fn)(void *arg, uint32_t events); /* EPOLLIN, EPOLLOUT, ... */
typedef void (*loop_fn)(void *arg);

/** loop_create() - the caller's to destroy; -errno with @e */
int loop_create(struct loop **out, struct err *e);
/** loop_destroy() - what is still watched is forgotten, not closed */
void loop_destroy(struct loop *l);

/** loop_add() - call @fn when @fd has one of @events (level-triggered); the caller owns the fd */
int loop_add(struct loop *l, int fd, uint32_t events, loop_fd_fn fn, void *arg, struct err *e);
/** loop_change() - other events for @fd; -ENOENT: it is not watched */
int loop_change(struct loop *l, int fd, uint32_t events);
/** loop_del() - stop watching; safe inside any callback, also for events already fetched */
void loop_del(struct loop *l, int fd);

struct loop_timer;
/** loop_timer_create() - a timer that calls @fn on the main thread; starts disarmed */
int loop_timer_create(struct loop *l, loop_fn fn, void *arg, struct loop_timer **out,
		      struct err *e);
/** loop_timer_set() - fire at @at_ns of clock_ns(), once; 0 disarms */
void loop_timer_set(struct loop_timer *t, uint64_t at_ns);
/** loop_timer_destroy() - also in its own callback; NULL is fine */
void loop_timer_destroy(struct loop_timer *t);

/** loop_post() - run @fn(@arg) on the main thread, soon, in order; any thread */
int loop_post(struct loop *l, loop_fn fn, void *arg);
/**
 * loop_post_copy() - as loop_post(), with a copy of the @size bytes at @arg that is the loop's own:
 * it ends with the call, or with a loop that never gets to it.  -ENOMEM.
 */
int loop_post_copy(struct loop *l, loop_fn fn, const void *arg, size_t size);

/** loop_run() - until loop_quit(), which may have been before; it may be run again */
void loop_run(struct loop *l);
/** loop_quit() - loop_run() returns after what it is at */
void loop_quit(struct loop *l);

#endif
