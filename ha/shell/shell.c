/* SPDX-License-Identifier: Apache-2.0 */
/*
 * shell - see shell.h.
 *
 * One step at a time: effects point into memory that the next step reuses, so an
 * event that an effect brings about at once (a start that fails, a connection
 * that breaks) is queued with its strings and handed in when the step is done.
 */
#include "ha/shell/shell_int.h"

#include "ha/store/boot_mark.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/reserve.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#define LEAVE_MAX_MS 30000 /* well within what init systems wait for a service to stop (systemd: 90 s) */

/* ------------------------------------------------------------------ events */

static void on_tick(void *data);

static void arm_tick(struct shell *s)
{
	uint64_t now, at = ha_core_next_wakeup(s->core);

	if (s->tick_armed && at == s->tick_ms)
		return;
	if (s->tick_armed)
		qb_loop_timer_del(s->loop, s->tick);
	s->tick_armed = false;
	if (at == UINT64_MAX)
		return;
	now = clock_ms();
	if (qb_loop_timer_add(s->loop, QB_LOOP_HIGH, (at > now ? at - now : 0) * QB_TIME_NS_IN_MSEC,
			      s, on_tick, &s->tick) == 0) {
		s->tick_armed = true;
		s->tick_ms = at;
	} else {
		shell_stop(s, "cannot arm a timer");
	}
}

static void step(struct shell *s, struct ha_event *ev)
{
	char line[512];
	size_t i;

	ev->now_ms = clock_ms();
	if (ev->kind != HA_EV_DELIVER && ev->kind != HA_EV_TICK) {
		ha_event_print(ev, line, sizeof(line));
		log_debug("on %s", line);
	}
	assert(!s->stepping);
	s->stepping = true;
	ha_core_step(s->core, ev, s->fx);
	for (i = 0; i < s->fx->n; i++)
		shell_carry_out(s, &s->fx->fx[i]);
	s->stepping = false;
	shell_witness_follow(s);
	if (s->leaving && ha_core_parted(s->core))
		qb_loop_stop(s->loop);
}

static void copy_string(char *to, size_t size, const char **what)
{
	if (!*what)
		return;
	snprintf(to, size, "%s", *what);
	*what = to;
}

static void queue_event(struct shell *s, const struct ha_event *ev)
{
	struct queued_event *q = calloc(1, sizeof(*q));

	if (!q) {
		shell_stop(s, "out of memory");
		return;
	}
	q->ev = *ev;
	if (ev->kind == HA_EV_VMM) {
		copy_string(q->domain, sizeof(q->domain), &q->ev.vmm.domain);
		copy_string(q->addr, sizeof(q->addr), &q->ev.vmm.addr);
		copy_string(q->text, sizeof(q->text), &q->ev.vmm.text);
	} else if (ev->kind == HA_EV_FENCE_DONE) {
		copy_string(q->text, sizeof(q->text), &q->ev.fence_done.text);
	} else if (ev->kind == HA_EV_WITNESS) {
		copy_string(q->text, sizeof(q->text), &q->ev.witness.text);
	}
	assert(s->stepping && !*s->queue_tail);
	*s->queue_tail = q;
	s->queue_tail = &q->next;
}

void shell_event(struct shell *s, struct ha_event *ev)
{
	struct queued_event *q;

	if (s->stepping) {
		queue_event(s, ev);
		return;
	}
	step(s, ev);
	while ((q = s->queue) != NULL) {
		s->queue = q->next;
		if (!s->queue)
			s->queue_tail = &s->queue;
		step(s, &q->ev);
		free(q);
	}
	arm_tick(s);
}

static void on_tick(void *data)
{
	struct ha_event ev = { .kind = HA_EV_TICK };
	struct shell *s = data;

	s->tick_armed = false;
	shell_event(s, &ev);
}

void shell_say(struct shell *s, bool warning, const char *fmt, ...)
{
	char line[HISTORY_TEXT_MAX + 1];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	log_line(warning ? LOG_LEVEL_WARN : LOG_LEVEL_INFO, "%s", line);
	history_add(&s->history, warning ? "warning" : "info", line);
}

void shell_stop(struct shell *s, const char *why)
{
	if (!s->error[0])
		snprintf(s->error, sizeof(s->error), "%s", why);
	qb_loop_stop(s->loop);
}

const char *shell_error(const struct shell *s)
{
	return s->error;
}

/* ------------------------------------------------------------------ fencing */

static void on_fence_done(void *arg, uint32_t node, uint64_t debt, int rc, const char *text)
{
	struct ha_event ev = { .kind = HA_EV_FENCE_DONE, .fence_done = { .node = node, .debt = debt, .rc = rc, .text = text } };
	struct shell *s = arg;

	shell_say(s, rc < 0 && rc != -ECANCELED, "fencing %s: %s", ha_core_node_name(s->core, node), text);
	if (rc != -ECANCELED && rc != -ENODEV)
		fence_watch_used(s->fence_watch, ha_core_node_name(s->core, node), rc, text);
	shell_event(s, &ev);
}

/* -------------------------------------------------------------------- boot */

/* What domains can have of this host at most. */
static struct ha_size host_size(void)
{
	long pages = sysconf(_SC_PHYS_PAGES), cpus = sysconf(_SC_NPROCESSORS_ONLN);

	return (struct ha_size){ pages > 0 ? (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE) : 0, cpus > 0 ? (uint32_t)cpus : 0 };
}

static int boot(struct shell *s, struct err *e)
{
	struct ha_event ev = { .kind = HA_EV_BOOT };
	struct ha_blob *disk = calloc(s->image.n_entries + 1, sizeof(*disk));
	size_t i, n = 0;

	if (!disk)
		return err_set(e, -ENOMEM, "out of memory");
	if (s->image.snapshot.bytes)
		disk[n++] = (struct ha_blob){ s->image.snapshot.bytes, s->image.snapshot.len };
	for (i = 0; i < s->image.n_entries; i++)
		disk[n++] = (struct ha_blob){ s->image.entries[i].bytes, s->image.entries[i].len };
	ev.boot.me = s->me;
	ev.boot.unseen = boot_mark(s->state_dir, s->me);
	ev.boot.copied = s->image.copied;
	ev.boot.token_ms = s->nodes.token_ms;
	ev.boot.size = host_size();
	/* Without it a new cluster has no id, nor do its disks, until another host's number names it. */
	if (getrandom(&ev.boot.draw, sizeof(ev.boot.draw), 0) < 0)
		ev.boot.draw = 0;
	ev.boot.disk = disk;
	ev.boot.n_disk = n;
	assert(!s->booted && s->me);
	s->booted = true;
	shell_event(s, &ev);
	free(disk);
	store_image_free(&s->image);
	return 0;
}

static const char *my_address(const struct shell *s)
{
	const struct cluster_host *host;
	uint32_t i;

	for (i = 0; i < s->nodes.n_nodes; i++) {
		if (s->nodes.nodes[i].id != s->me)
			continue;
		host = cluster_conf_host(s->cluster, s->nodes.nodes[i].name);
		if (host && host->address)
			return host->address;
		return s->nodes.nodes[i].address;
	}
	return "";
}

int shell_first_connection(struct shell *s, struct err *e)
{
	int rc;

	snprintf(s->address, sizeof(s->address), "%s", my_address(s));
	s->executor_conf.address = s->address;
	if (!s->executor_conf.address[0])
		return err_set(e, -EINVAL, "no address for migrations: corosync.conf has no ring0_addr "
					   "for node %u",
			       s->me);
	rc = executor_open(s->loop, &s->executor_conf, &shell_executor_ops, s, &s->executor, e);
	if (rc == 0)
		rc = boot(s, e);
	if (rc == 0)
		shell_witness_open(s);
	return rc;
}

void shell_follow_address(struct shell *s)
{
	const char *now = my_address(s);

	if (!*now || strcmp(now, s->address) == 0)
		return;
	shell_say(s, false, "migrations to this host arrive at %s now, before at %s", now, s->address);
	snprintf(s->address, sizeof(s->address), "%s", now);
	executor_address(s->executor, s->address);
	shell_problems_address(s);
}

/* ------------------------------------------------------------ open, close */

static int make_dirs(const struct shell_conf *conf, struct err *e)
{
	if (mkdir(conf->run_dir, 0755) < 0 && errno != EEXIST)
		return err_errno(e, "cannot create %s", conf->run_dir);
	if (mkdir(conf->state_dir, 0750) < 0 && errno != EEXIST)
		return err_errno(e, "cannot create %s", conf->state_dir);
	return 0;
}

int shell_open(qb_loop_t *loop, const struct shell_conf *conf, struct shell **out, struct err *e)
{
	char record_dir[512];
	struct shell *s;
	int rc;

	*out = NULL;
	snprintf(record_dir, sizeof(record_dir), "%s/ha", conf->state_dir);
	s = calloc(1, sizeof(*s));
	if (!s)
		return err_set(e, -ENOMEM, "out of memory");
	s->loop = loop;
	s->cluster = conf->cluster;
	s->queue_tail = &s->queue;
	snprintf(s->log_dir, sizeof(s->log_dir), "%s%s", conf->log_dir ? conf->log_dir : conf->state_dir,
		 conf->log_dir ? "" : "/log");
	s->core = reserve_make(ha_core_size());
	s->fx = malloc(sizeof(*s->fx));
	s->fence = fence_runs_open(loop, conf->cluster, on_fence_done, s);
	s->progress = progress_open();
	s->facts = facts_open();
	s->host_cpu = conf->host_cpu;
	if (!s->core || !s->fx || !s->fence || !s->progress || !s->facts) {
		rc = err_set(e, -ENOMEM, "out of memory");
		goto out_close;
	}
	ha_core_init(s->core);
	s->executor_conf = (struct executor_conf){
		.run_dir = conf->run_dir,
		.log_dir = s->log_dir,
		.drover_hv = conf->drover_hv,
	};
	rc = make_dirs(conf, e);
	if (rc == 0)
		rc = store_open(loop, record_dir, &shell_store_ops, s, &s->store, &s->image, e);
	if (rc < 0)
		goto out_close;
	s->state_dir = conf->state_dir;
	shell_tell_image(s, record_dir);
	rc = shell_connect(s, conf->wait_ms, e);
	if (rc < 0)
		goto out_close;
	*out = s;
	return 0;
out_close:
	shell_close(s);
	return rc;
}

void shell_close(struct shell *s)
{
	struct queued_event *q;

	if (!s)
		return;
	if (s->tick_armed)
		qb_loop_timer_del(s->loop, s->tick);
	if (s->leaving)
		qb_loop_timer_del(s->loop, s->leave_timer);
	shell_disconnect(s);
	shell_problems_stop(s);
	fence_runs_close(s->fence);
	executor_close(s->executor);
	witness_close(s->witness);
	store_close(s->store);
	store_image_free(&s->image);
	progress_close(s->progress);
	shell_facts_stop(s);
	facts_close(s->facts);
	while ((q = s->queue) != NULL) {
		s->queue = q->next;
		free(q);
	}
	shell_forget_all(s);
	reserve_free(s->core, ha_core_size());
	free(s->fx);
	free(s);
}

/* Another host may just be lost: as long as a new epoch takes, which is what a lease lasts. */
static uint32_t leave_ms(const struct shell *s)
{
	uint32_t lease = ha_core_timing(s->core)->lease;

	return lease < LEAVE_MAX_MS ? lease : LEAVE_MAX_MS;
}

static void on_leave_timer(void *data)
{
	struct shell *s = data;

	log_warn("leaving untold: no majority heard it in %u ms", leave_ms(s));
	s->leaving = false;
	qb_loop_stop(s->loop);
}

void shell_leave(struct shell *s)
{
	struct ha_event ev = { .kind = HA_EV_LEAVE };

	if (s->leaving || !s->booted || !shell_connected(s) ||
	    qb_loop_timer_add(s->loop, QB_LOOP_HIGH, leave_ms(s) * QB_TIME_NS_IN_MSEC, s, on_leave_timer,
			      &s->leave_timer) < 0) {
		qb_loop_stop(s->loop);
		return;
	}
	s->leaving = true;
	shell_event(s, &ev);
}

/* ------------------------------------------------------- what there is to look at */

const struct ha_core *shell_core(const struct shell *s)
{
	return s->core;
}

struct executor *shell_executor(const struct shell *s)
{
	return s->executor;
}

const struct history *shell_history(const struct shell *s)
{
	return &s->history;
}

const struct progress *shell_progress(const struct shell *s)
{
	return s->progress;
}

bool shell_connected(const struct shell *s)
{
	return s->connected;
}

bool shell_fencing(const struct shell *s, uint32_t node)
{
	return fence_runs_busy(s->fence, node);
}

/* corosync's list first: it is known before the core has booted, and its names are today's. */
uint32_t shell_node_id(const struct shell *s, const char *name)
{
	int at = cmap_find(&s->nodes, name);

	if (at == -2)
		return 0; /* told as a problem; their numbers still mean something */
	return at < 0 ? ha_core_node_id(s->core, name) : s->nodes.nodes[at].id;
}
