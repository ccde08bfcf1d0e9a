/* SPDX-License-Identifier: Apache-2.0 */
/*
 * guest_kvm - the migration engine's view (migrate/guest.h) of a machine.
 *
 * The saved state is the machine's own, behind eight octets of this file's:
 * {u32 format, u32 flags}.  A domain that an operator has paused arrives paused.
 */
#include "cmd/drover-hv/migration.h"

#include "base/bytes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define STATE_FORMAT 1u
#define STATE_HEAD 8u
#define FLAG_PAUSED 1u           /* by an operator */
#define RESET_MS 1000u           /* a reset of the guest's, which stands anyway: reading its kernel from storage */

static struct machine *machine(void *self)
{
	return ((struct migration *)self)->v->machine;
}

static int gk_regions(void *self, struct guest_region *out, size_t max, size_t *n, struct err *e)
{
	struct gmem *m = machine_memory(machine(self));
	uint64_t offset = 0;
	size_t i;

	if (m->n_regions > max)
		return err_set(e, -E2BIG, "memory: %zu regions, at most %zu", m->n_regions, max);
	for (i = 0; i < m->n_regions; i++) {
		out[i] = (struct guest_region){
			.id = m->regions[i].id,
			.gpa = m->regions[i].gpa,
			.size = m->regions[i].size,
			.host = m->regions[i].host,
			.page_size = m->page_size,
			.fd = m->fd,
			.fd_offset = offset, /* regions are one mapping (hv/memory.h) */
		};
		offset += m->regions[i].size;
	}
	*n = m->n_regions;
	return 0;
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
		json_object_set_new(j, "resident", json_integer((json_int_t)preflight_resident()));
	}
	*json = j ? json_dumps(j, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
	json_decref(j);
	return *json ? 0 : err_set(e, -ENOMEM, "describing the domain: out of memory");
}

static int gk_dirty_start(void *self, struct err *e)
{
	return machine_dirty_start(machine(self), e);
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

	/* The destination was never started; the source only stood still. */
	return machine_release(machine(self),
			       m->role == MIGRATE_DESTINATION ? HOLD_START : HOLD_MIGRATION, e);
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

int guest_kvm_prepare(void *self, struct err *e)
{
	struct migration *m = self;
	int rc;

	if (m->committed)
		return 0;
	rc = machine_disks_prepare(m->v->machine, e);
	if (rc || m->role == MIGRATE_SOURCE)
		return rc;
	rc = machine_disks_marked(m->v->machine, m->proof, e);
	if (rc)
		machine_disks_abandon(m->v->machine);
	return rc;
}

/* A source may follow what it wrote itself, and nobody else. */
int guest_kvm_commit(void *self, uint64_t incarnation, struct err *e)
{
	struct migration *m = self;
	uint64_t after = m->role == MIGRATE_SOURCE ? m->v->incarnation : incarnation;
	int rc;

	if (m->committed)
		return 0;
	rc = machine_disks_commit(m->v->machine, after, incarnation, e);
	if (rc)
		return rc;
	m->committed = true;
	/* Who takes its disks from now on (gate.c) does so under this number. */
	__atomic_store_n(&m->v->incarnation, incarnation, __ATOMIC_RELEASE);
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
	int rc = machine_disks_close(m->v->machine, e);

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
	.prepare = guest_kvm_prepare,
	.commit = guest_kvm_commit,
	.let_go = gk_let_go,
};

struct guest guest_kvm_make(struct migration *m)
{
	return (struct guest){ .ops = &kvm_ops, .self = m };
}
