/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vmm_int - what vmm.c (life of a VMM), vmm_heard.c (what it says), vmm_beat.c (does it answer?),
 * vmm_steer.c (what the cluster tells it) and vmm_order.c (what an operator does) share.
 */
#ifndef DROVER_HA_VMM_VMM_INT_H
#define DROVER_HA_VMM_VMM_INT_H

#include "base/log_limit.h"
#include "ha/vmm/vmm.h"
#include "ha/vmm/vmm_client.h"

struct vmm {
	qb_loop_t *loop;
	const struct vmm_ops *ops;
	void *arg;
	char name[VMM_NAME_MAX + 1];
	char control[VMM_PATH_MAX];
	int life_fd; /* of its life file, whatever becomes of the name */
	uint64_t incarnation;
	enum vmm_state state;
	pid_t pid;
	int pidfd;
	bool child, known;
	bool heard;                   /* it has said hello */
	uint64_t about;               /* what the migration under way is about: the destination's
					 * incarnation, 0 = not known */
	bool decided, decided_commit; /* `decide` not answered yet */
	uint64_t decided_incarnation;
	bool stop_wanted, stop_force, stop_sent, stop_taken; /* `stop`: sent on this connection, and obeyed */
	uint64_t stop_until_ms;
	bool killed; /* by us */
	int status;  /* our child's exit status, -1 = not known (yet) */
	qb_loop_timer_handle kill_timer;
	bool kill_armed;
	struct vmm_client *client;
	bool client_lost; /* to be closed and made again by the timer */
	bool greeted;     /* its hello on this connection was the right one */
	uint64_t control_deadline_ms;
	qb_loop_timer_handle timer;
	bool timer_armed;
	qb_loop_timer_handle held_timer; /* pidfd is ready, but its life is not over */
	bool held_armed;
	qb_loop_timer_handle beat_timer;
	bool beat_armed, beat_sent; /* vmm_beat.c: asked, and not answered yet ... */
	uint32_t beats_missed;      /* ... for so many beats */
	json_t *query, *migration;
	struct vmm_orders *orders; /* vmm_order.c: sent, and not answered yet */
	struct log_limit limit;    /* for what it, or its guest, makes us write */
};

/** vmm_say() - give news to whoever supervises it */
void vmm_say(struct vmm *v, struct vmm_news n);

/** vmm_ask() - for its state; news follow with the answer */
void vmm_ask(struct vmm *v);

/** vmm_heard() - it said event @name */
void vmm_heard(struct vmm *v, const char *name, json_t *data);

/** vmm_orders_end() - the connection is gone: whoever gave an order that was not answered is told */
void vmm_orders_end(struct vmm *v);

/** vmm_beat_start() - ask it again and again whether it answers; doing so twice is fine */
void vmm_beat_start(struct vmm *v);
/** vmm_beat_stop() - no more questions */
void vmm_beat_stop(struct vmm *v);

/** vmm_say_again() - on a new connection: the cluster's decision and the wish that it stop, if not answered yet */
void vmm_say_again(struct vmm *v);
/** vmm_send_stop() - send the wish that it stop, if there is one that it has not been told or has refused */
void vmm_send_stop(struct vmm *v);

#endif
