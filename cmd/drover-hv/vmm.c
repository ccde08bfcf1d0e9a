/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vmm - see vmm.h: building the process around a machine, the states of the domain,
 * and what happens when the guest resets or powers off.
 *
 * State and holders: who holds the machine decides between running, paused and
 * gated; incoming, granted, gone and stopped are set by those who know.
 */
#include "cmd/drover-hv/sandbox.h"
#include "cmd/drover-hv/vmm.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "conf/check.h"
#include "hv/disk/disk_broker.h"

#include "net/link/keeper.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define RESET_RETRY_NS (20 * NS_PER_MS)
#define RESET_RETRY_SLOW_NS (500 * NS_PER_MS) /* something does not come to rest: most of the time is the clients' */
#define RESET_TOLD_NS (2000 * NS_PER_MS)      /* storage that is only slow is nothing to tell */

/* --- states --- */

void vmm_set_state(struct drover_hv *v, enum vmm_state s, const char *why)
{
	char clean[sizeof(v->why)];

	text_copy(clean, sizeof(clean), why);
	if (v->state == s && strcmp(v->why, clean) == 0)
		return;
	/* Rule H: what runs elsewhere never runs here again. */
	assert(v->state != VMM_GONE || s == VMM_GONE || s == VMM_STOPPED);
	v->state = s;
	memcpy(v->why, clean, sizeof(clean));
	log_info("%s%s%s%s", vmm_state_str(s), *why ? " (" : "", why, *why ? ")" : "");
	ctl_event(v->ctl, "state", json_pack("{s:s, s:s}", "state", vmm_state_str(s), "why", v->why));
}

void vmm_update_state(struct drover_hv *v)
{
	unsigned int h = machine_holders(v->machine);

	if (v->state != VMM_RUNNING && v->state != VMM_PAUSED && v->state != VMM_GATED)
		return;
	if (h & HOLD_MIGRATION && v->stands_why[0]) /* more than any pause: nothing the operator does ends it */
		vmm_set_state(v, VMM_PAUSED, v->stands_why);
	else if (h & HOLD_OPERATOR)
		vmm_set_state(v, VMM_PAUSED, "operator");
	else if (h & HOLD_MIGRATION)
		vmm_set_state(v, VMM_PAUSED, "migration");
	else if (h & HOLD_GATE)
		vmm_set_state(v, VMM_GATED, "the lease has ended");
	else if (h & HOLD_START)
		vmm_set_state(v, VMM_PAUSED, "not started");
	else if (h & HOLD_EVENT && v->reset_why[0])
		vmm_set_state(v, VMM_PAUSED, v->reset_why);
	else if (h & HOLD_DISK)
		vmm_set_state(v, VMM_PAUSED, v->disk_why);
	else if (!h)
		vmm_set_state(v, VMM_RUNNING, "");
}

int vmm_start(struct drover_hv *v, struct err *e)
{
	int ret = machine_release(v->machine, HOLD_START, e);

	if (ret)
		return ret;
	if (v->state == VMM_INCOMING || v->state == VMM_GRANTED)
		v->state = VMM_PAUSED;
	vmm_update_state(v);
	return 0;
}

static void announce(void *arg)
{
	struct drover_hv *v = arg;
	int delay_ms = machine_announce(v->machine, v->announce_round++);

	if (delay_ms >= 0)
		loop_timer_set(v->announce_timer, clock_ns() + (uint64_t)delay_ms * NS_PER_MS);
}

void vmm_announce(struct drover_hv *v)
{
	v->announce_round = 0;
	announce(v);
}

void vmm_end(struct drover_hv *v, enum vmm_end how, int exit_code, const char *text)
{
	vmm_life_end(v->opt.life, how, exit_code, text);
	v->exit_code = exit_code;
	loop_quit(v->loop);
}

/* --- what the guest does --- */

struct guest_event {
	struct drover_hv *vmm;
	enum machine_event what;
	char text[160];
};

static const char *event_name(enum machine_event what)
{
	switch (what) {
	case MACHINE_RESET:
		return "reset";
	case MACHINE_POWEROFF:
		return "poweroff";
	case MACHINE_CRASH:
		return "crash";
	}
	return "?";
}

void vmm_stopped(struct drover_hv *v, enum vmm_end how, const char *why, int exit_code)
{
	vmm_set_state(v, VMM_STOPPED, why);
	vmm_end(v, how, exit_code, why);
}

static void stop_by_force(void *arg)
{
	struct drover_hv *v = arg;

	log_warn("the guest did not power off in time: stopped by force");
	vmm_stopped(v, VMM_END_STOPPED, "stopped by force", EXIT_OK);
}

/*
 * Storage that does not answer is no reason to end a domain, least of all when its guest resets because of
 * that: it stands, as it does when a write fails (disk_hold.c), until what is in flight has come back.
 */
static void reset_waits(struct drover_hv *v, const struct err *e)
{
	if (!v->reset_late_ns)
		v->reset_late_ns = clock_ns();
	if (clock_ns() - v->reset_late_ns < RESET_TOLD_NS) {
		loop_timer_set(v->reset_timer, clock_ns() + RESET_RETRY_NS);
		return;
	}
	if (!v->reset_why[0]) {
		log_error("the guest's reset waits: %s", e->text);
		snprintf(v->reset_why, sizeof(v->reset_why), "reset: %.180s", e->text);
	}
	vmm_update_state(v);
	loop_timer_set(v->reset_timer, clock_ns() + RESET_RETRY_SLOW_NS);
}

int vmm_reset(struct drover_hv *v, struct err *e)
{
	int ret;

	if (v->state == VMM_GONE || v->state == VMM_GRANTED || v->state == VMM_STOPPED)
		return err_set(e, -EPERM, "cannot reset: the domain is %s", vmm_state_str(v->state));
	ret = machine_reset(v->machine, e);
	if (ret == -EBUSY) { /* after the migration has failed, or never, if it succeeds */
		loop_timer_set(v->reset_timer, clock_ns() + RESET_RETRY_NS);
		return ret;
	}
	if (ret == -ETIMEDOUT) {
		reset_waits(v, e);
		return ret;
	}
	v->reset_why[0] = '\0';
	v->reset_late_ns = 0;
	if (ret) {
		log_error("the guest cannot be reset: %s", e->text);
		vmm_stopped(v, VMM_END_FAILED, e->text, EXIT_ERROR);
		return ret;
	}
	loop_timer_set(v->reset_timer, 0); /* whoever else waited for one has it */
	vmm_reboot_done(v);
	vmm_update_state(v);
	return 0;
}

static void try_reset(void *arg)
{
	struct err e = { 0 };

	vmm_reset(arg, &e);
}

/* A guest may reset as often as it likes, but not be told about as often. */
static void tell_guest_event(struct drover_hv *v, const struct guest_event *g)
{
	uint64_t left_out = 0;

	if (g->what == MACHINE_RESET && !log_limit_pass(&v->resets, &left_out))
		return;
	log_info("guest: %s (%s)%s", event_name(g->what), g->text,
		 left_out ? ", and others before that were not told" : "");
	ctl_event(v->ctl, "guest",
		  json_pack("{s:s, s:s, s:I}", "what", event_name(g->what), "why", g->text, "left_out",
			    (json_int_t)left_out));
}

static void on_guest_event(void *arg)
{
	const struct guest_event *g = arg;
	struct drover_hv *v = g->vmm;

	tell_guest_event(v, g);
	if (g->what == MACHINE_CRASH)
		vmm_stopped(v, VMM_END_FAILED, "the guest crashed", EXIT_ERROR);
	else if (g->what == MACHINE_POWEROFF && vmm_reboot_wanted(v))
		try_reset(v);
	else if (g->what == MACHINE_POWEROFF)
		vmm_stopped(v, VMM_END_POWEROFF, "poweroff", EXIT_OK);
	else if (v->opt.no_reboot)
		vmm_stopped(v, VMM_END_POWEROFF, "reset", EXIT_OK);
	else
		try_reset(v);
}

/* On a vCPU thread. */
static void machine_event(void *arg, enum machine_event what, const char *text)
{
	struct drover_hv *v = arg;
	struct guest_event g = { .vmm = v, .what = what };

	snprintf(g.text, sizeof(g.text), "%s", text);
	/* Without memory the guest stands still, which is what a crash looks like anyway. */
	loop_post_copy(v->loop, on_guest_event, &g, sizeof(g));
}

/* --- clients --- */

static json_t *greeting(void *owner)
{
	const struct drover_hv *v = owner;
	char uuid[DOMAIN_UUID_TEXT];

	domain_uuid_print(v->conf->uuid, uuid);
	return json_pack("{s:{s:s, s:i, s:s, s:s, s:I, s:i}}", "drover-hv", "version", DROVER_VERSION,
			 "protocol", CTL_PROTOCOL, "name", v->conf->name, "uuid", uuid, "incarnation",
			 (json_int_t)v->incarnation, "pid", (int)getpid());
}

/* --- life --- */

static int open_console(struct drover_hv *v, struct err *e)
{
	char path[PATH_MAX];

	sockets_place(v, PORTER_CONSOLE, path);
	return console_create(&v->console, v, *path ? path : "stdio", e);
}

/* For people who look at the domain, and for its guest's agent. */
static int open_sockets(struct drover_hv *v, struct err *e)
{
	char path[PATH_MAX];
	int ret = screen_open(v, e);

	return ret ? ret : agent_open(v, sockets_place(v, PORTER_AGENT, path), e);
}

static int load_conf(struct drover_hv *v, struct err *e)
{
	int ret = domain_conf_load(v->opt.file, &v->conf, e);
	char *name;

	if (ret || !v->opt.name)
		return ret;
	if (!is_name(v->opt.name, CHECK_NAME_MAX))
		return err_set(e, -EINVAL, "--name '%.80s': expected up to %d letters, digits, '-', '_', '.', starting with "
					   "a letter or digit",
			       v->opt.name, CHECK_NAME_MAX);
	name = strdup(v->opt.name);
	if (!name)
		return err_set(e, -ENOMEM, "out of memory");
	free(v->conf->name);
	v->conf->name = name;
	return 0;
}

static int start_broker(struct drover_hv *v, struct err *e)
{
	struct disk_broker_disk disks[DOMAIN_DISKS_MAX + DOMAIN_PARENTS_MAX];
	size_t n = 0;

	for (size_t i = 0; i < v->conf->n_disks; i++) {
		const struct domain_disk *d = &v->conf->disks[i];

		disks[n++] = (struct disk_broker_disk){ d->path, d->readonly };
		for (size_t k = 0; k < d->n_parents; k++)
			disks[n++] = (struct disk_broker_disk){ d->parents[k], true };
	}
	return disk_broker_start(&v->disks, disks, n, v->opt.args, v->opt.args_len, e);
}

static int start_helpers(struct drover_hv *v, struct err *e)
{
	int ret = start_broker(v, e);

	sandbox_domain(v->conf->uuid);
	if (!ret)
		ret = sockets_start_porter(v, e);
	if (!ret && v->conf->n_nics)
		ret = keeper_start(&v->ports, v->opt.args, v->opt.args_len, e);
	return ret ? ret : screen_start(v, e);
}

/*
 * For the resets of a guest that arrives as well: nothing is opened for them later.  Who waits for it
 * without says so when he is asked whether it could run here (preflight.c).
 */
static int open_boot(struct drover_hv *v, struct err *e)
{
	if (!v->opt.incoming)
		return machine_boot_open(v->machine, e);
	v->boot_rc = machine_boot_open(v->machine, &v->boot_why);
	if (v->boot_rc)
		log_warn("%s", v->boot_why.text);
	return 0;
}

static int open_control(struct drover_hv *v, struct err *e)
{
	const struct ctl_conf conf = {
		.loop = v->loop,
		.path = v->opt.control,
		.program = "drover-hv",
		.greeting = greeting,
		.owner = v,
	};

	return ctl_create(&v->ctl, &conf, e);
}

int vmm_init(struct drover_hv *v, struct err *e)
{
	struct machine_options mo;
	int ret;

	pthread_mutex_init(&v->resets.lock, NULL);
	v->statm_fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
	v->pagemap_fd = sandbox_open_pagemap();
	v->incarnation = v->opt.incarnation ? v->opt.incarnation : 1;
	v->state = v->opt.incoming ? VMM_INCOMING : VMM_PAUSED;
	ret = load_conf(v, e);
	if (ret)
		return ret;
	snprintf(v->log_name, sizeof(v->log_name), "drover-hv %s", v->conf->name);
	log_init(v->log_name, v->opt.log_level);
	json_object_seed(0);       /* else from /dev/urandom, at the first object */
	ret = start_helpers(v, e); /* nothing that they should not have is open yet, and there are no threads */
	if (!ret)
		ret = loop_create(&v->loop, e);
	if (!ret)
		ret = loop_timer_create(v->loop, stop_by_force, v, &v->stop_timer, e);
	if (!ret)
		ret = loop_timer_create(v->loop, announce, v, &v->announce_timer, e);
	if (!ret)
		ret = vmm_reboot_init(v, e);
	if (!ret)
		ret = disk_hold_init(v, e);
	if (!ret)
		ret = loop_timer_create(v->loop, try_reset, v, &v->reset_timer, e);
	if (ret)
		return ret;
	mo = (struct machine_options){
		.conf = v->conf,
		.incarnation = v->incarnation,
		.may_submit = vmm_may_submit,
		.leased = v->opt.lease != NULL,
		.disks = v->disks,
		.ports = v->ports,
		.cluster = v->opt.cluster,
		.event = machine_event,
		.disk_held = disk_hold_event,
		.arg = v,
	};
	ret = machine_create(&v->machine, &mo, e);
	keeper_seal(v->ports);
	if (!ret)
		ret = open_boot(v, e);
	if (!ret)
		ret = open_console(v, e);
	if (!ret)
		ret = typing_create(&v->typing, v, e);
	if (!ret)
		ret = open_sockets(v, e);
	if (!ret && v->opt.control)
		ret = open_control(v, e);
	if (ret)
		return ret;
	ctl_add(v->ctl, vmm_commands);
	ctl_add(v->ctl, vmm_reboot_commands);
	ctl_add(v->ctl, screen_commands);
	return vmm_gate_open(v, e);
}

/* A thread waits for storage and has the machine.  The guest is held, its disks are not written: nothing is lost. */
static void __attribute__((noreturn)) end_without_storage(struct drover_hv *v)
{
	log_warn("ends while its storage does not answer");
	console_destroy(v->console);
	_exit(v->exit_code);
}

void vmm_fini(struct drover_hv *v)
{
	if (v->machine) {
		machine_hold(v->machine, HOLD_START, NULL);
		if (v->console)
			console_flush(v->console);
	}
	if (v->ctl) {
		ctl_destroy(v->ctl);
		porter_remove(v->porter, PORTER_CONTROL);
	}
	typing_destroy(v->typing);
	screen_close(v);
	agent_close(v);
	if (!gate_stop(v->gate))
		end_without_storage(v);
	machine_destroy(v->machine);
	console_destroy(v->console);
	gate_destroy(v->gate);
	loop_timer_destroy(v->stop_timer);
	loop_timer_destroy(v->reset_timer);
	loop_timer_destroy(v->reboot.timer);
	loop_timer_destroy(v->announce_timer);
	loop_timer_destroy(v->disk_timer);
	loop_destroy(v->loop);
	disk_broker_stop(v->disks);
	porter_stop(v->porter);
	keeper_stop(v->ports);
	usher_stop(v->usher);
	if (v->statm_fd >= 0)
		close(v->statm_fd);
	if (v->pagemap_fd > 0)
		close(v->pagemap_fd);
	domain_conf_free(v->conf);
}
