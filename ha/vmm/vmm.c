/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vmm - see vmm.h.
 *
 * Life of one:
 *
 *   spawn -> (connect, every CONNECT_MS, until the socket stands) -> hello
 *         -> query -> known -> news ... -> life file free -> EXITED
 *
 * The lock of its life file alone says that a VMM is dead (conf/vmm_life.h); the
 * pidfd says when to look.  A control connection that ends while the process lives is
 * made again; a VMM that was heard once and does not come back to its socket within
 * CONTROL_DEADLINE_MS cannot be steered any more and is killed, since only one that is
 * proved stopped may be replaced (rule G).  While it is droverd that lacks a descriptor or memory
 * to come to it, nothing is known of the VMM.  One that was never heard may be slow to
 * start: how long it may take is the core's to say.
 */
#include "ha/vmm/vmm_int.h"
#include "ha/vmm/vmm_process.h"

#include "base/clock.h"
#include "base/log.h"
#include "ha/core/timing.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CONNECT_MS 10
#define CONTROL_DEADLINE_MS HA_CONTROL_MS
#define START_CONNECT_MS 20 /* until it listens for the first time */
#define STILL_HELD_MS 100   /* its process is gone, but not its life: another of its processes ends */

const char *vmm_stands(const struct vmm *v)
{
	static const char *const as_it_should[] = { "operator", "migration", "not started" };
	const char *why = json_string_value(json_object_get(v->query, "why"));

	for (size_t i = 0; why && i < sizeof(as_it_should) / sizeof(as_it_should[0]); i++)
		if (!strcmp(why, as_it_should[i]))
			return "";
	return v->state == VMM_PAUSED && why ? why : "";
}

void vmm_say(struct vmm *v, struct vmm_news n)
{
	const char *why = json_string_value(json_object_get(v->query, "why"));

	n.state = v->state;
	n.held = n.state == VMM_PAUSED && why && strcmp(why, "operator") == 0;
	n.stands = vmm_stands(v);
	if (!n.text)
		n.text = "";
	v->ops->news(v->arg, v, &n);
}

static void arm_timer(struct vmm *v, uint64_t ms);
static void disarm_timer(struct vmm *v);
static void look_whether_dead(struct vmm *v);

static void on_query(void *arg, int code, json_t *ret, const char *text)
{
	struct vmm *v = arg;
	const char *listen;
	json_t *migration;

	if (code || vmm_state_parse(json_string_value(json_object_get(ret, "state")), &v->state) < 0) {
		log_limited(&v->limit, LOG_LEVEL_WARN, "%s: its VMM does not answer a query: %s", v->name, code ? text : "bad state");
		return;
	}
	json_decref(v->query);
	v->query = json_incref(ret);
	migration = json_object_get(ret, "migration");
	if (json_is_object(migration)) {
		json_decref(v->migration);
		v->migration = json_incref(migration);
	}
	listen = json_string_value(json_object_get(ret, "listen"));
	if (v->state == VMM_INCOMING && !listen) {
		arm_timer(v, CONNECT_MS); /* the address comes in a moment */
		return;
	}
	v->known = true;
	vmm_beat_start(v);
	vmm_say(v, (struct vmm_news){ .what = VMM_SAID_STATE,
				      .listen = v->state == VMM_INCOMING ? listen : NULL });
}

void vmm_ask(struct vmm *v)
{
	vmm_client_execute(v->client, "query", NULL, on_query, v);
}

static void on_hello(void *arg, json_t *o)
{
	struct vmm *v = arg;
	const char *name = json_string_value(json_object_get(o, "name"));
	uint64_t inc = (uint64_t)json_integer_value(json_object_get(o, "incarnation"));

	if (!name || strcmp(name, v->name) != 0 || inc != v->incarnation) {
		/* Never believed: its life file says who was started here (rule H). */
		log_error("%s: behind its socket is %s, incarnation %llu, not %llu: not listened to", v->name,
			  name ? name : "nobody", (unsigned long long)inc,
			  (unsigned long long)v->incarnation);
		v->client_lost = true;
		v->greeted = false;
		arm_timer(v, CONTROL_DEADLINE_MS);
		return;
	}
	v->greeted = true;
	v->control_deadline_ms = 0;
	v->heard = true;
	disarm_timer(v);
	vmm_ask(v);
	vmm_say_again(v);
}

static void on_event(void *arg, const char *name, json_t *data)
{
	struct vmm *v = arg;

	if (v->greeted) /* else by another than it should be: on_hello() */
		vmm_heard(v, name, data);
}

static void on_closed(void *arg, const char *why)
{
	struct vmm *v = arg;

	v->client_lost = true;
	vmm_orders_end(v);
	disarm_timer(v);
	if (!v->control_deadline_ms && v->heard)
		v->control_deadline_ms = clock_ms() + CONTROL_DEADLINE_MS;
	arm_timer(v, CONNECT_MS);
}

static const struct vmm_client_ops client_ops = {
	.hello = on_hello,
	.event = on_event,
	.closed = on_closed,
};

static void disarm_timer(struct vmm *v)
{
	if (v->timer_armed)
		qb_loop_timer_del(v->loop, v->timer);
	v->timer_armed = false;
}

static void on_timer(void *data)
{
	struct vmm *v = data;
	uint64_t now;
	int rc;

	v->timer_armed = false;
	if (v->pidfd < 0)
		return;
	if (v->client_lost) {
		vmm_client_close(v->client);
		v->client = NULL;
		v->client_lost = false;
	}
	if (v->client && v->heard && !v->control_deadline_ms) {
		vmm_ask(v);
		return;
	}
	now = clock_ms();
	if (v->control_deadline_ms && now >= v->control_deadline_ms) {
		log_error("%s: no answer on its control socket for %d ms, killing its VMM (pid %d)",
			  v->name, CONTROL_DEADLINE_MS, v->pid);
		vmm_process_kill(v->pidfd); /* not asked for: a failure */
		return;
	}
	if (!v->client)
		v->greeted = false;
	rc = v->client ? 0 : vmm_client_connect(v->loop, v->control, &client_ops, v, &v->client, NULL);
	if (rc == 0) {
		/* for its hello */
		arm_timer(v, v->control_deadline_ms ? v->control_deadline_ms - now : CONTROL_DEADLINE_MS);
		return;
	}
	if (err_is_shortage(rc) && v->control_deadline_ms)
		v->control_deadline_ms = now + CONTROL_DEADLINE_MS;
	arm_timer(v, v->heard ? CONNECT_MS : START_CONNECT_MS);
}

static void arm_timer(struct vmm *v, uint64_t ms)
{
	if (!v->timer_armed && qb_loop_timer_add(v->loop, QB_LOOP_MED, ms * QB_TIME_NS_IN_MSEC, v,
						 on_timer, &v->timer) == 0)
		v->timer_armed = true;
}

static void ended(struct vmm *v, const struct vmm_life *life)
{
	struct vmm_news n = { .what = VMM_SAID_EXITED, .end = life->end, .killed = v->killed };

	assert(v->state != VMM_EXITED && !life->lives); /* the last word, said once */
	if (life->end != VMM_END_SILENT)
		n.rc = life->code;
	else
		n.rc = v->status >= 0 ? v->status : EXIT_FAILURE;
	n.text = life->text;
	v->known = true;
	unlink(v->control);
	vmm_say(v, n);
	v->state = VMM_EXITED;
}

static int watch_process(struct vmm *v, struct err *e);

static void on_held_timer(void *data)
{
	struct vmm *v = data;

	v->held_armed = false;
	look_whether_dead(v);
}

/*
 * The process that was watched is gone.  It is the life file that counts: a program that stood
 * in front of the VMM may have ended before what it started.
 */
static void look_whether_dead(struct vmm *v)
{
	struct vmm_life life;
	struct err e = { 0 };
	pid_t holder;

	assert(v->pidfd < 0 && !v->held_armed);
	/* That the lock is free is all that counts; what cannot be read is no last word. */
	vmm_life_look(v->life_fd, &life, &e);
	if (!life.lives) {
		ended(v, &life);
		return;
	}
	holder = vmm_life_holder(v->life_fd, 0);
	if (holder > 0 && v->pid != holder)
		log_warn("%s: pid %d has ended, but not all that was started with it: pid %d lives", v->name,
			 v->pid, holder);
	if (holder > 0) {
		v->pid = holder;
		if (watch_process(v, &e) == 0) {
			if (v->killed)
				vmm_process_kill(v->pidfd);
			return;
		}
	}
	v->held_armed = qb_loop_timer_add(v->loop, QB_LOOP_MED, STILL_HELD_MS * QB_TIME_NS_IN_MSEC, v,
					  on_held_timer, &v->held_timer) == 0;
}

static int32_t on_exit_ready(int32_t fd, int32_t revents, void *data)
{
	struct vmm *v = data;

	assert(fd == v->pidfd);
	if (v->child)
		v->status = vmm_process_reap(v->pidfd);
	v->child = false;
	close(v->pidfd); /* takes it out of the epoll set; see cpg.c on_ready() */
	v->pidfd = -1;
	look_whether_dead(v);
	return -1;
}

static struct vmm *vmm_make(qb_loop_t *loop, const char *name, const char *control,
			    const struct vmm_ops *ops, void *arg)
{
	struct vmm *v = calloc(1, sizeof(*v));

	if (!v)
		return NULL;
	v->loop = loop;
	v->ops = ops;
	v->arg = arg;
	v->pidfd = v->life_fd = -1;
	v->status = -1;
	v->state = VMM_STARTING;
	v->limit = (struct log_limit)LOG_LIMIT_INIT;
	snprintf(v->name, sizeof(v->name), "%s", name);
	snprintf(v->control, sizeof(v->control), "%s", control);
	return v;
}

static int watch_process(struct vmm *v, struct err *e)
{
	int rc;

	assert(v->pidfd < 0 && v->pid > 0);
	v->pidfd = vmm_process_pidfd(v->pid);
	if (v->pidfd < 0)
		return err_set(e, v->pidfd, "%s: cannot watch pid %d: %s", v->name, v->pid,
			       strerror(-v->pidfd));
	rc = qb_loop_poll_add(v->loop, QB_LOOP_MED, v->pidfd, POLLIN, v, on_exit_ready);
	if (rc < 0) {
		close(v->pidfd);
		v->pidfd = -1;
		return err_set(e, rc, "%s: cannot watch pid %d: %s", v->name, v->pid, strerror(-rc));
	}
	return 0;
}

int vmm_spawn(qb_loop_t *loop, const struct vmm_spawn *s, const struct vmm_ops *ops, void *arg,
	      struct vmm **out, struct err *e)
{
	int rc, life = -1;
	struct vmm *v;

	*out = NULL;
	if (strlen(s->control) >= VMM_PATH_MAX || strlen(s->life) >= VMM_PATH_MAX)
		return err_set(e, -EINVAL, "%s: path longer than %d bytes", s->control, VMM_PATH_MAX - 1);
	v = vmm_make(loop, s->name, s->control, ops, arg);
	if (!v)
		return err_set(e, -ENOMEM, "out of memory");
	v->incarnation = s->incarnation;
	v->child = true;
	rc = vmm_life_begin(s->life, s->incarnation, &life, e);
	if (rc < 0)
		goto out_free;
	/* Opened anew: through the locked one the life would be ours as well. */
	v->life_fd = rc = vmm_life_open(s->life, e);
	if (rc >= 0)
		rc = vmm_process_spawn(s, life, &v->pid, e);
	if (rc == 0) {
		vmm_life_pid(life, v->pid);
		rc = watch_process(v, e);
		if (rc < 0)
			kill(v->pid, SIGKILL); /* our child, not reaped: the pid is still its own */
	}
	close(life);
	if (rc < 0)
		goto out_free;
	arm_timer(v, CONNECT_MS);
	*out = v;
	return 0;
out_free:
	vmm_free(v);
	return rc;
}

/*
 * Its life file says nothing that droverd wrote, and what lives can have done that: nobody knows under which
 * number it writes.  So it is ended, as one without a file is, before it holds up the others of its host.
 */
static int end_unknown(int life_fd, const char *name, struct err *e)
{
	pid_t pid = vmm_life_holder(life_fd, 0);
	int pidfd = pid > 0 ? vmm_process_pidfd(pid) : -1;

	if (pidfd >= 0 && vmm_life_holder(life_fd, pid) == pid) {
		log_error("%s: its life file is spoilt while it lives, pid %d: it is ended", name, pid);
		vmm_process_kill(pidfd);
	}
	if (pidfd >= 0)
		close(pidfd);
	return err_set(e, -EAGAIN, "%s: its life file is spoilt, and it lives", name);
}

int vmm_adopt(qb_loop_t *loop, const char *name, const char *life, const char *control,
	      const struct vmm_ops *ops, void *arg, struct vmm **out, struct err *e)
{
	struct vmm_life facts;
	struct vmm *v;
	int rc;

	*out = NULL;
	v = vmm_make(loop, name, control, ops, arg);
	if (!v)
		return err_set(e, -ENOMEM, "out of memory");
	v->life_fd = rc = vmm_life_open(life, e);
	if (rc >= 0) {
		rc = vmm_life_look(v->life_fd, &facts, e);
		if (rc < 0)
			err_prefix(e, "%s", life);
		if (rc == -EINVAL && facts.lives)
			rc = end_unknown(v->life_fd, name, e);
		else if (rc == -EINVAL)
			rc = 0; /* how it ended is not known; that it did is */
	}
	if (rc == -ENOENT || (rc == 0 && !facts.lives))
		rc = err_set(e, -ESRCH, "%s: nothing of it lives", name);
	else if (rc == 0 && !facts.incarnation)
		rc = err_set(e, -EAGAIN, "%s: its life file names no incarnation", life);
	if (rc < 0)
		goto out_free;
	v->incarnation = facts.incarnation;
	v->pid = vmm_life_holder(v->life_fd, facts.pid);
	if (v->pid <= 0) {
		rc = err_set(e, -EAGAIN, "%s: it lives, but its process is not found", name);
		goto out_free;
	}
	rc = watch_process(v, e);
	if (rc < 0)
		goto out_free;
	/* Looked at again now that the pidfd is ours: a pid may come to mean another process, that one cannot. */
	if (vmm_life_holder(v->life_fd, v->pid) != v->pid) {
		rc = err_set(e, -EAGAIN, "%s: its process has just ended", name);
		goto out_free;
	}
	arm_timer(v, CONNECT_MS);
	*out = v;
	return 0;
out_free:
	vmm_free(v);
	return rc;
}

void vmm_free(struct vmm *v)
{
	if (!v)
		return;
	disarm_timer(v);
	vmm_beat_stop(v);
	if (v->kill_armed)
		qb_loop_timer_del(v->loop, v->kill_timer);
	if (v->held_armed)
		qb_loop_timer_del(v->loop, v->held_timer);
	if (v->life_fd >= 0)
		close(v->life_fd);
	if (v->pidfd >= 0) {
		qb_loop_poll_del(v->loop, v->pidfd);
		close(v->pidfd);
	}
	vmm_client_close(v->client);
	vmm_orders_end(v);
	json_decref(v->query);
	json_decref(v->migration);
	free(v);
}
