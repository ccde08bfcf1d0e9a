/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vmm_steer - telling a VMM what to do, and reading what is known of it (vmm.h).
 *
 * Commands are sent and not waited for: what comes of them is told by news.  A decision and a stop outlive
 * a lost connection, or one that was not there yet.
 */
#include "ha/vmm/vmm_int.h"
#include "ha/vmm/vmm_process.h"

#include "base/clock.h"
#include "base/log.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#define KILL_AFTER_MS 2000 /* what a stop may take on top of its own deadline */

const char *vmm_name(const struct vmm *v)
{
	return v->name;
}

uint64_t vmm_incarnation(const struct vmm *v)
{
	return v->incarnation;
}

enum vmm_state vmm_state(const struct vmm *v)
{
	return v->state;
}

pid_t vmm_pid(const struct vmm *v)
{
	return v->pid;
}

bool vmm_known(const struct vmm *v)
{
	return v->known;
}

json_t *vmm_query_json(const struct vmm *v)
{
	return v->query;
}

json_t *vmm_migration_json(const struct vmm *v)
{
	return v->migration;
}

static void on_done(void *arg, int code, json_t *ret, const char *text)
{
	struct vmm *v = arg;

	if (code)
		log_warn("%s: its VMM refused: %s", v->name, text);
}

static void on_migrate_reply(void *arg, int code, json_t *ret, const char *text)
{
	if (code)
		vmm_say(arg, (struct vmm_news){ .what = VMM_SAID_MIGRATE_FAILED, .text = text });
}

static bool vmm_send(struct vmm *v, const char *command, json_t *arguments, vmm_reply reply)
{
	if (!v->client || v->client_lost) {
		json_decref(arguments);
		return false;
	}
	return vmm_client_execute(v->client, command, arguments, reply, v) == 0;
}

static void on_decided(void *arg, int code, json_t *ret, const char *text)
{
	struct vmm *v = arg;

	v->decided = false;
	if (code)
		log_warn("%s: its VMM refused the cluster's decision: %s", v->name, text);
}

static void send_decision(struct vmm *v)
{
	if (v->decided)
		vmm_send(v, "decide",
			 json_pack("{s:s, s:I}", "outcome", v->decided_commit ? "commit" : "abort",
				   "incarnation", (json_int_t)v->decided_incarnation),
			 on_decided);
}

static void on_kill_timer(void *data)
{
	struct vmm *v = data;

	v->kill_armed = false;
	log_warn("%s: its VMM does not end, killing pid %d", v->name, v->pid);
	vmm_kill(v);
}

/* A source that waits for the decision of its migration does: its next state is another one. */
static void on_stop(void *arg, int code, json_t *ret, const char *text)
{
	struct vmm *v = arg;

	v->stop_sent = v->stop_taken = code == 0;
	on_done(arg, code, ret, text);
}

/*
 * Said until it was obeyed, as a decision is: a guest that was not asked to power off loses what it has not
 * written when its time is over.
 */
void vmm_send_stop(struct vmm *v)
{
	uint64_t now = clock_ms();
	json_t *args;

	if (!v->stop_wanted || v->stop_sent || !v->greeted)
		return;
	args = json_pack("{s:b, s:I}", "force", (int)v->stop_force, "timeout_ms",
			 (json_int_t)(v->stop_until_ms > now ? v->stop_until_ms - now : 0));
	v->stop_sent = vmm_send(v, "stop", args, on_stop);
}

void vmm_say_again(struct vmm *v)
{
	send_decision(v);
	v->stop_sent = v->stop_taken;
	vmm_send_stop(v);
}

void vmm_stop(struct vmm *v, bool force, uint32_t timeout_ms)
{
	uint64_t kill_ms = (force ? 0 : timeout_ms) + KILL_AFTER_MS;

	v->stop_wanted = true;
	v->stop_force = force;
	v->stop_sent = v->stop_taken = false;
	v->stop_until_ms = clock_ms() + timeout_ms;
	vmm_send_stop(v);
	if (!v->stop_sent && force) {
		vmm_kill(v);
		return;
	}
	if (v->kill_armed)
		qb_loop_timer_del(v->loop, v->kill_timer);
	v->kill_armed = qb_loop_timer_add(v->loop, QB_LOOP_MED, kill_ms * QB_TIME_NS_IN_MSEC, v,
					  on_kill_timer, &v->kill_timer) == 0;
}

void vmm_kill(struct vmm *v)
{
	if (v->pidfd < 0)
		return;
	assert(v->state != VMM_EXITED);
	v->killed = true;
	vmm_process_kill(v->pidfd);
}

/* Is this very migration under way already, ordered by a droverd before us? */
static bool sends_already(const struct vmm *v, uint64_t incarnation)
{
	const char *phase = json_string_value(json_object_get(v->migration, "phase"));
	const char *role = json_string_value(json_object_get(v->migration, "role"));

	return phase && role && strcmp(role, "source") == 0 && strcmp(phase, "failed") != 0 &&
	       strcmp(phase, "cancelled") != 0 &&
	       (uint64_t)json_integer_value(json_object_get(v->migration, "incarnation")) == incarnation;
}

void vmm_migrate(struct vmm *v, const char *to, uint64_t incarnation, uint32_t dead_ms, bool dry_run)
{
	json_t *args = json_pack("{s:s, s:s, s:I, s:I, s:b}", "to", to, "arbiter", "cluster",
				 "incarnation", (json_int_t)incarnation, "dead_ms",
				 (json_int_t)dead_ms, "dry_run", (int)dry_run);

	v->about = incarnation;
	if (sends_already(v, incarnation)) {
		log_info("%s: its migration is under way already", v->name);
		json_decref(args);
		return;
	}
	if (!vmm_send(v, "migrate", args, on_migrate_reply))
		vmm_say(v, (struct vmm_news){ .what = VMM_SAID_MIGRATE_FAILED,
					      .text = "its VMM cannot be reached" });
}

void vmm_cancel(struct vmm *v)
{
	vmm_send(v, "migrate-cancel", NULL, on_done);
}

void vmm_decide(struct vmm *v, bool commit, uint64_t incarnation)
{
	v->decided = true;
	v->decided_commit = commit;
	/*
	 * The VMM knows a decision by what the migration is about: the destination's
	 * incarnation, whoever wins.  0 leaves it to the VMM's own knowledge.
	 */
	v->decided_incarnation = commit ? incarnation : v->about;
	send_decision(v);
}

void vmm_pause(struct vmm *v, bool pause)
{
	vmm_send(v, pause ? "pause" : "resume", NULL, on_done);
}
