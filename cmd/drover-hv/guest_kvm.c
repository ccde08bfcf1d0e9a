/* SPDX-License-Identifier: Apache-2.0 */
/*
 * guest_kvm - the migration engine's view (migrate/guest.h) of a machine.
 *
 * The saved state is the machine's own, behind eight bytes of this file's:
 * {u32 format, u32 flags}.  A domain that an operator has paused arrives paused.
 */
#include "cmd/drover-hv/migration.h"

#include "base/bytes.h"
#include "base/log.h"
#include "base/text.h"
#include "hv/disk/disk_broker.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define STATE_FORMAT 1u
#define STATE_HEAD 8u
#define FLAG_PAUSED 1u /* by an operator */
#define RESET_MS 1000u /* a reset of the guest's, which stands anyway: reading its kernel from storage */

static struct machine *machine(void *self)
{
	return ((struct migration *)self)->v->machine;
}

/* What the engine is to be told. */
struct regions {
	struct guest_region *out;
	size_t max, n;
};

static int region_told(void *arg, const struct gmem_region *r, struct err *e)
{
	struct regions *all = arg;

	if (r->rules->move == GMEM_MOVE_NEVER)
		return err_set(e, -EINVAL, "memory %s is %s with others on this host: a domain that has it cannot "
					   "be moved",
			       r->name, r->rules->name);
	if (all->n == all->max)
		return err_set(e, -E2BIG, "memory: more than %zu regions", all->max);
	all->out[all->n++] = (struct guest_region){
		.id = r->id,
		.gpa = r->gpa,
		.size = r->size,
		.host = r->host,
		.page_size = r->backing->page_size,
		.fd = r->backing->fd,
		.fd_offset = (uint64_t)(r->host - r->backing->host),
	};
	return 0;
}

static int gk_regions(void *self, struct guest_region *out, size_t max, size_t *n, struct err *e)
{
	struct regions all = { .out = out, .max = max };
	struct migration *m = self;
	int rc;

	/* What comes is written straight into these, by threads that ask nobody: none may leave. */
	if (m->role == MIGRATE_DESTINATION)
		machine_hold_nowait(machine(self), HOLD_MIGRATION);
	m->changes = machine_changes(machine(self));
	rc = machine_memory_each(machine(self), region_told, &all, e);
	*n = all.n;
	return rc;
}

/* The engine has copied what gk_regions() told it, and the other end has compared what gk_describe() did. */
static int all_same(struct migration *m, struct err *e)
{
	if (machine_changes(m->v->machine) == m->changes)
		return 0;
	return err_set(e, -EBUSY, "a device or a region of memory has come or gone since the migration began");
}

/* With what the destination must see on its disks (preflight.c), and how much memory this takes there. */
static int gk_describe(void *self, char **json, struct err *e)
{
	struct migration *m = self;
	int rc = preflight_mark(m, e);
	json_t *j;

	if (rc)
		return rc;
	j = machine_describe(machine(self));
	if (j) {
		json_object_set_new(j, "proof", json_string(m->proof));
		json_object_set_new(j, "disks", machine_disks_sizes(machine(self)));
		json_object_set_new(j, "resident", json_integer((json_int_t)preflight_resident(m->v)));
	}
	*json = j ? json_dumps(j, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
	json_decref(j);
	return *json ? 0 : err_set(e, -ENOMEM, "describing the domain: out of memory");
}

static int gk_dirty_start(void *self, struct err *e)
{
	int rc = machine_dirty_start(machine(self), e);

	if (rc)
		return rc;
	rc = all_same(self, e); /* from here on they stay */
	if (rc)
		machine_dirty_stop(machine(self));
	return rc;
}

static void gk_dirty_stop(void *self)
{
	machine_dirty_stop(machine(self));
}

static int gk_dirty_fetch(void *self, uint32_t id, uint64_t *bitmap, struct err *e)
{
	return machine_dirty_fetch(machine(self), id, bitmap, e);
}

static int gk_dirty_clear(void *self, uint32_t id, uint64_t first, uint64_t count,
			  const uint64_t *bitmap, struct err *e)
{
	return machine_dirty_clear(machine(self), id, first, count, bitmap, e);
}

static void gk_throttle(void *self, unsigned int percent)
{
	machine_throttle(machine(self), percent);
}

static int gk_pause(void *self, struct err *e)
{
	return machine_hold_to_leave(machine(self), RESET_MS, e);
}

static int gk_resume(void *self, struct err *e)
{
	struct migration *m = self;
	int rc = machine_release(machine(self), HOLD_MIGRATION, e);

	/* The destination was never started; the source only stood still. */
	return rc || m->role == MIGRATE_SOURCE ? rc : machine_release(machine(self), HOLD_START, e);
}

static int gk_save(void *self, uint8_t **buf, size_t *len, struct err *e)
{
	bool paused = machine_holders(machine(self)) & HOLD_OPERATOR;
	struct writer w;
	uint8_t *state;
	size_t n;
	int rc;

	rc = machine_save(machine(self), &state, &n, e);
	if (rc)
		return rc;
	*buf = malloc(STATE_HEAD + n);
	if (!*buf) {
		free(state);
		return err_set(e, -ENOMEM, "device state: out of memory");
	}
	w = writer_make(*buf, STATE_HEAD + n);
	writer_u32(&w, STATE_FORMAT);
	writer_u32(&w, paused ? FLAG_PAUSED : 0);
	writer_bytes(&w, state, n);
	*len = STATE_HEAD + n;
	free(state);
	return 0;
}

static int learn_proof(struct migration *m, const json_t *j, struct err *e)
{
	const char *proof = json_string_value(json_object_get(j, "proof"));
	json_int_t resident = json_integer_value(json_object_get(j, "resident"));

	if (!proof || strlen(proof) != PROOF_TEXT - 1 || resident < 0)
		return err_set(e, -EINVAL, "the source's description: no proof of %d digits", PROOF_TEXT - 1);
	memcpy(m->proof, proof, PROOF_TEXT);
	m->their_memory = (uint64_t)resident;
	return 0;
}

static int gk_match(void *self, const char *theirs, size_t len, struct err *e)
{
	json_error_t je;
	json_t *j = json_loadb(theirs, len, JSON_REJECT_DUPLICATES, &je);
	int rc;

	if (!json_is_object(j)) {
		json_decref(j);
		return err_set(e, -EINVAL, "the source's description is no JSON object");
	}
	rc = machine_match(machine(self), j, e);
	if (!rc)
		rc = machine_disks_expect(machine(self), json_object_get(j, "disks"), e);
	if (!rc)
		rc = learn_proof(self, j, e);
	json_decref(j);
	return rc;
}

static int gk_load(void *self, const uint8_t *buf, size_t len, struct err *e)
{
	struct reader r = reader_make(buf, len);
	uint32_t format = reader_u32(&r), flags = reader_u32(&r);
	int rc = all_same(self, e);

	if (rc)
		return rc;
	if (r.bad || format != STATE_FORMAT || flags & ~FLAG_PAUSED)
		return err_set(e, -EINVAL, "device state: format %u, flags 0x%x, expected format %u", format,
			       flags, STATE_FORMAT);
	if (flags & FLAG_PAUSED)
		machine_hold_nowait(machine(self), HOLD_OPERATOR);
	return machine_load(machine(self), buf + STATE_HEAD, len - STATE_HEAD, e);
}

static int gk_preflight(void *self, struct err *e)
{
	return preflight(self, e);
}

/* --- a side that can never have its disks any more --- */

struct last_word {
	struct drover_hv *v;
	char text[200];
};

/* On the main thread. */
static void end_as_failed(void *arg)
{
	const struct last_word *w = arg;

	log_error("the domain stays here, and can never go on: %s", w->text);
	vmm_end(w->v, VMM_END_FAILED, EXIT_REFUSED, w->text);
}

/*
 * A source stands still, and would for ever: so it ends, which whoever started it hears of, and can start
 * it again.  A destination has tried for the last time, and ends by itself.
 */
static int broker_gone(struct migration *m, struct err *e)
{
	struct last_word w = { .v = m->v };

	if (m->role == MIGRATE_DESTINATION) {
		e->code = -EPERM;
		return -EPERM;
	}
	text_copy(w.text, sizeof(w.text), e->text);
	if (!m->ended)
		m->ended = !loop_post_copy(m->v->loop, end_as_failed, &w, sizeof(w));
	return DISK_BROKER_GONE;
}

static int gk_prepare(void *self, struct err *e)
{
	struct migration *m = self;
	int rc;

	if (m->committed)
		return 0;
	rc = machine_disks_prepare(m->v->machine, e);
	if (rc == DISK_BROKER_GONE)
		return broker_gone(m, e);
	if (rc || m->role == MIGRATE_SOURCE)
		return rc;
	rc = machine_disks_marked(m->v->machine, m->proof, e);
	if (rc)
		machine_disks_abandon(m->v->machine);
	return rc;
}

/* A source may follow what it wrote itself, and nobody else. */
static int gk_commit(void *self, uint64_t incarnation, struct err *e)
{
	struct migration *m = self;
	uint64_t after = m->role == MIGRATE_SOURCE ? m->v->incarnation : incarnation;
	int rc;

	if (m->committed)
		return 0;
	rc = machine_disks_commit(m->v->machine, after, incarnation, e);
	if (rc == DISK_BROKER_GONE)
		return broker_gone(m, e);
	if (rc)
		return rc;
	m->committed = true;
	/* Who takes its disks from now on (hv/gate/gate.h) does so under this number. */
	atomic_store(&m->v->incarnation, incarnation);
	return 0;
}

static int gk_let_go(void *self, struct err *e)
{
	struct migration *m = self;

	if (!m->committed)
		machine_disks_abandon(m->v->machine);
	return 0;
}

static int gk_release(void *self, struct err *e)
{
	struct migration *m = self;
	int rc = machine_disks_named(m->v->machine, e);

	if (!rc)
		rc = machine_disks_close(m->v->machine, e);

	m->committed = rc != 0;
	return rc;
}

static void gk_gone(void *self)
{
	/* It stays held; report.c ends the process. */
}

static const struct guest_ops kvm_ops = {
	.regions = gk_regions,
	.describe = gk_describe,
	.dirty_start = gk_dirty_start,
	.dirty_stop = gk_dirty_stop,
	.dirty_fetch = gk_dirty_fetch,
	.dirty_clear = gk_dirty_clear,
	.throttle = gk_throttle,
	.pause = gk_pause,
	.resume = gk_resume,
	.save = gk_save,
	.release = gk_release,
	.gone = gk_gone,
	.match = gk_match,
	.load = gk_load,
	.preflight = gk_preflight,
	.prepare = gk_prepare,
	.commit = gk_commit,
	.let_go = gk_let_go,
};

struct guest guest_kvm_make(struct migration *m)
{
	return (struct guest){ .ops = &kvm_ops, .self = m };
}
