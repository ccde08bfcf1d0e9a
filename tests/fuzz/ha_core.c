/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ha_core - hostile bytes for the cluster's core (rule S), by the first byte:
 *   entries, what the disk held, and messages to a core whose epoch stands.
 */
#include "base/reserve.h"
#include "ha/core/core_int.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct ha_core *core;
static struct ha_effects *fx;
static uint64_t now;

static void give(struct ha_event *ev)
{
	uint64_t token = 0;
	uint8_t own[8][512];
	size_t len[8], n = 0;

	ev->now_ms = now += 10;
	ha_core_step(core, ev, fx);
	for (size_t i = 0; i < fx->n; i++) {
		if (fx->fx[i].kind == HA_FX_PERSIST)
			token = fx->fx[i].persist.token;
		if (fx->fx[i].kind == HA_FX_MCAST && n < 8 &&
		    fx->fx[i].mcast.len <= sizeof(own[0])) {
			memcpy(own[n], fx->fx[i].mcast.bytes, fx->fx[i].mcast.len);
			len[n++] = fx->fx[i].mcast.len;
		}
	}
	if (token) {
		struct ha_event p = { .kind = HA_EV_PERSISTED };

		p.persisted.token = token;
		give(&p);
	}
	for (size_t i = 0; i < n && now < 100000; i++) {
		struct ha_event d = { .kind = HA_EV_DELIVER };

		d.deliver.from = 1;
		d.deliver.bytes = own[i];
		d.deliver.len = len[i];
		give(&d);
		/* The other one says the same of itself as long as nothing stands. */
		if (own[i][1] == MSG_STATE && core->form.stage == ST_GATHER) {
			d.deliver.from = 2;
			give(&d);
		}
	}
}

/* Two members and one vote: everything it says to itself is a majority. */
static void boot(const struct ha_blob *disk, size_t n)
{
	static const struct ha_node_conf nodes[2] = { { 1, 1, "n1" }, { 2, 0, "n2" } };
	static const uint32_t both[2] = { 1, 2 };
	struct ha_event ev = { .kind = HA_EV_BOOT };

	now = 0;
	ha_core_init(core);
	ev.boot.me = 1;
	ev.boot.token_ms = 1000;
	ev.boot.draw = 1;
	ev.boot.disk = disk;
	ev.boot.n_disk = n;
	give(&ev);
	ev = (struct ha_event){ .kind = HA_EV_CONFIG };
	ev.config.nodes = nodes;
	ev.config.n = 2;
	give(&ev);
	ev = (struct ha_event){ .kind = HA_EV_VMM_LIST };
	give(&ev);
	ev = (struct ha_event){ .kind = HA_EV_VIEW };
	ev.view.nodes = both;
	ev.view.n = 2;
	give(&ev);
}

/*
 * Versions and checksums keep strangers out at the first byte.  A member that is broken has them right, so
 * what is tried here has them too.
 */
static void let_in(uint8_t *p, size_t n)
{
	struct ha_writer end;

	switch (p[0] % 3) {
	case 0:
		if (n > 1)
			p[1] = HA_ENTRY_VERSION;
		break;
	case 1:
		if (n < 20)
			break;
		p[1] = 1; /* a snapshot */
		p[2] = HA_SNAPSHOT_VERSION;
		end = (struct ha_writer){ .p = p + n - 8, .size = 8 };
		ha_put_u64(&end, ha_hash(0, p + 1, n - 9));
		break;
	case 2:
		for (size_t at = 1; at + 1 < n; at += p[at] + 1u) {
			p[at + 1] = HA_MSG_VERSION;
			if (at + 16 < n && p[at + 2] == MSG_ENTRY)
				p[at + 1 + 2 + 8 + 4] = HA_ENTRY_VERSION;
		}
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *given, size_t size)
{
	static uint8_t data[1 << 16];
	static struct ha_entry e;
	struct ha_event ev = { .kind = HA_EV_DELIVER };
	char line[256];

	if (!core) {
		core = reserve_make(sizeof(*core));
		fx = malloc(sizeof(*fx));
	}
	if (!size || size > sizeof(data) || !core || !fx)
		return 0;
	memcpy(data, given, size);
	let_in(data, size);
	switch (data[0] % 3) {
	case 0:
		if (ha_entry_decode(&e, data + 1, size - 1))
			ha_entry_print(&e, line, sizeof(line));
		break;
	case 1: {
		struct ha_blob disk = { data + 1, size - 1 };

		boot(&disk, 1);
		break;
	}
	case 2:
		/* Messages of up to 255 bytes, each with its length in front, from node 2. */
		boot(NULL, 0);
		assert(core->form.stage == ST_STANDS);
		for (size_t at = 1; at + 1 < size;) {
			size_t n = data[at++];

			if (n > size - at)
				n = size - at;
			ev.deliver.from = 2;
			ev.deliver.bytes = data + at;
			ev.deliver.len = n;
			give(&ev);
			at += n;
			if (now > 50000)
				break;
		}
		break;
	}
	return 0;
}
