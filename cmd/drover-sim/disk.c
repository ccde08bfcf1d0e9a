/* SPDX-License-Identifier: Apache-2.0 */
/*
 * disk - what a host of the simulator remembers.
 *
 * A disk takes what is appended in order and makes it durable a little later; a
 * crash keeps a random prefix of what was still on its way (also what nobody was
 * told of).
 */
#include "cmd/drover-sim/sim.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static void blobs_drop(struct sim_disk *d, uint32_t from, uint32_t n)
{
	assert(from <= d->n && n <= d->n - from);
	for (uint32_t i = from; i < from + n; i++)
		free(d->b[i].bytes);
	memmove(d->b + from, d->b + from + n, (d->n - from - n) * sizeof(*d->b));
	d->n -= n;
}

void disk_empty(struct sim_disk *d)
{
	if (d->n)
		blobs_drop(d, 0, d->n);
	d->durable = 0;
}

static void disk_kick(struct sim *s, uint32_t h)
{
	struct sim_disk *d = &s->host[h].disk;
	uint64_t delay = sim_range(s, 300, 4000);

	assert(d->durable <= d->n);
	if (d->writing || d->durable == d->n)
		return;
	if (!s->quiet_world && sim_chance(s, 1))
		delay = sim_range(s, 100 * MS, 2500 * MS);
	if (s->host[h].disk_hangs_until > s->now + delay)
		delay = s->host[h].disk_hangs_until - s->now;
	d->writing = true;
	sim_at(s, delay, EV_PERSISTED, h, s->host[h].gen, d->n, 0);
}

void disk_append(struct sim_disk *d, const struct ha_effect *fx)
{
	struct sim_blob *b;

	if (d->n == d->size) {
		d->size = d->size ? d->size * 2 : 64;
		d->b = realloc(d->b, d->size * sizeof(*d->b));
		if (!d->b)
			abort();
	}
	b = &d->b[d->n++];
	b->snapshot = fx->persist.snapshot;
	b->token = fx->persist.token;
	b->len = (uint32_t)fx->persist.len;
	b->bytes = malloc(b->len + 1);
	if (!b->bytes)
		abort();
	memcpy(b->bytes, fx->persist.bytes, b->len);
}

void disk_write(struct sim *s, uint32_t h, const struct ha_effect *fx)
{
	disk_append(&s->host[h].disk, fx);
	disk_kick(s, h);
}

/* What is durable behind a snapshot makes what is before it superfluous. */
static void disk_trim(struct sim_disk *d)
{
	for (uint32_t i = d->durable; i-- > 1;) {
		if (!d->b[i].snapshot)
			continue;
		blobs_drop(d, 0, i);
		d->durable -= i;
		return;
	}
}

void disk_crash(struct sim *s, uint32_t h)
{
	struct sim_disk *d = &s->host[h].disk;
	uint32_t keep = (uint32_t)sim_range(s, d->durable, d->n);

	blobs_drop(d, keep, d->n - keep);
	d->durable = keep;
	d->writing = false;
	disk_trim(d);
}

static void copy(struct sim_disk *to, const struct sim_disk *from)
{
	disk_empty(to);
	for (uint32_t i = 0; i < from->durable; i++) {
		struct ha_effect fx = {
			.kind = HA_FX_PERSIST,
			.persist = { .snapshot = from->b[i].snapshot, .bytes = from->b[i].bytes, .len = from->b[i].len },
		};

		disk_append(to, &fx);
	}
	to->durable = to->n;
}

void disk_backup(struct sim_host *x)
{
	copy(&x->backup, &x->disk);
}

void disk_restore(struct sim_host *x)
{
	copy(&x->disk, &x->backup);
	x->copied = true;
	x->foreign = false;
	/* So is the mark of the last boot, and tells of another kernel (ha/store/boot_mark.h). */
	x->had_daemon = false;
}

uint64_t disk_persisted(struct sim *s, uint32_t h, uint32_t n)
{
	struct sim_disk *d = &s->host[h].disk;
	uint64_t token = d->b[n - 1].token;

	assert(n <= d->n && d->durable <= n);
	/* Before the snapshot, the file says that it is a copy (ha/store/store_file.c). */
	for (uint32_t i = d->durable; i < n; i++)
		if (d->b[i].snapshot)
			s->host[h].copied = false;
	d->writing = false;
	d->durable = n;
	disk_trim(d);
	disk_kick(s, h);
	return token;
}
