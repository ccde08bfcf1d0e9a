/* SPDX-License-Identifier: Apache-2.0 */
/*
 * plan - what the cluster's core costs as hosts and domains become more: a table, no test.
 *
 *   plan [DOMAINS HOSTS]...      without arguments: the sizes that tests/show/house-2 asks for
 *
 * All hosts are cores in one process, on a network that loses nothing.  Everything that waits is
 * delivered, then each disk is synced once, and so on: as with real disks one sync is for all that
 * came meanwhile.  Disk, network and VMMs cost nothing here; what is left is CPU time of the core.
 *
 *   idle     of one host for one message while nothing happens, ticks included
 *   loss     of one survivor from the loss of a host until all its domains run elsewhere, beyond
 *            what the same time costs when nothing happens
 *   record   bytes of a snapshot
 *   memory   bytes of a host's core that are in use
 *
 * The cluster is not made by commands, which would take longer than what is measured: entries are
 * applied to one record, as any replica would, and all hosts boot from its snapshot.
 */
#include "base/reserve.h"
#include "ha/core/core_int.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define STEP_MS 50
#define IDLE_MS 2000
#define LIMIT_MS 600000
#define TEXT 700 /* bytes of a domain's text: one disk, one NIC */

struct msg {
	uint32_t from;
	size_t len;
	uint8_t *bytes;
};

struct host {
	struct ha_core *core;
	uint64_t token; /* newest PERSIST that is not durable yet */
	bool lost;
};

/* A VMM that comes up. */
struct start {
	uint32_t host;
	uint64_t incarnation;
	char name[HA_NAME_MAX + 1];
};

struct world {
	uint32_t hosts, domains, n_starts, starts_size;
	uint64_t now, delivered;
	double own_us; /* what this program itself took to look at the record */
	struct host *host;
	struct ha_effects *fx;
	struct msg *queue;
	size_t head, tail, size;
	struct start *starts;
};

static void must(bool good, const char *what)
{
	if (good)
		return;
	fprintf(stderr, "plan: %s\n", what);
	exit(1);
}

static double cpu_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static size_t resident(void)
{
	unsigned long size, pages = 0;
	FILE *f = fopen("/proc/self/statm", "r");

	if (f && fscanf(f, "%lu %lu", &size, &pages) != 2)
		pages = 0;
	if (f)
		fclose(f);
	return pages * (size_t)sysconf(_SC_PAGESIZE);
}

static void *grow(void *p, size_t n, size_t each)
{
	p = realloc(p, n * each);
	must(p, "out of memory");
	return p;
}

/* --------------------------------------------------------------- the network */

static void push(struct world *w, uint32_t from, const uint8_t *bytes, size_t len)
{
	struct msg *m;

	if (w->tail == w->size) {
		w->size = w->size ? 2 * w->size : 1024;
		w->queue = grow(w->queue, w->size, sizeof(*w->queue));
	}
	m = &w->queue[w->tail++];
	*m = (struct msg){ .from = from, .len = len, .bytes = malloc(len) };
	must(m->bytes, "out of memory");
	memcpy(m->bytes, bytes, len);
}

static void started(struct world *w, uint32_t h, const struct ha_effect *fx)
{
	struct start *s;

	if (w->n_starts == w->starts_size) {
		w->starts_size = w->starts_size ? 2 * w->starts_size : 64;
		w->starts = grow(w->starts, w->starts_size, sizeof(*w->starts));
	}
	s = &w->starts[w->n_starts++];
	s->host = h;
	s->incarnation = fx->vmm.incarnation;
	ha_copy(s->name, sizeof(s->name), fx->vmm.name);
}

static void step(struct world *w, uint32_t h, struct ha_event *ev)
{
	ev->now_ms = w->now;
	ha_core_step(w->host[h].core, ev, w->fx);
	for (size_t i = 0; i < w->fx->n; i++) {
		const struct ha_effect *fx = &w->fx->fx[i];

		if (fx->kind == HA_FX_PERSIST)
			w->host[h].token = fx->persist.token;
		else if (fx->kind == HA_FX_MCAST)
			push(w, h, fx->mcast.bytes, fx->mcast.len);
		else if (fx->kind == HA_FX_START)
			started(w, h, fx);
		else if (fx->kind == HA_FX_NOTE && fx->note.level == HA_ALARM)
			fprintf(stderr, "plan: host %u: %s\n", h + 1, fx->note.text);
	}
}

static bool sync_disks(struct world *w)
{
	bool any = false;

	for (uint32_t h = 0; h < w->hosts; h++) {
		struct ha_event ev = { .kind = HA_EV_PERSISTED, .persisted.token = w->host[h].token };

		if (!ev.persisted.token || w->host[h].lost)
			continue;
		w->host[h].token = 0;
		step(w, h, &ev);
		any = true;
	}
	return any;
}

static void deliver(struct world *w)
{
	for (; w->head < w->tail; w->head++) {
		struct msg m = w->queue[w->head];

		for (uint32_t h = 0; h < w->hosts; h++) {
			struct ha_event ev = { .kind = HA_EV_DELIVER };

			if (w->host[h].lost)
				continue;
			ev.deliver.from = m.from + 1;
			ev.deliver.bytes = m.bytes;
			ev.deliver.len = m.len;
			step(w, h, &ev);
			w->delivered++;
		}
		free(m.bytes);
	}
	w->head = w->tail = 0;
}

static void settle(struct world *w)
{
	do
		deliver(w);
	while (sync_disks(w) || w->tail);
}

/* VMMs that were started in an earlier step have come up. */
static void come_up(struct world *w)
{
	uint32_t n = w->n_starts;

	for (uint32_t i = 0; i < n; i++) {
		struct start s = w->starts[i];
		struct ha_event ev = { .kind = HA_EV_VMM };

		ev.vmm.domain = s.name;
		ev.vmm.incarnation = s.incarnation;
		ev.vmm.what = HA_VMM_RUNNING;
		step(w, s.host, &ev);
	}
	w->n_starts -= n;
	memmove(w->starts, w->starts + n, w->n_starts * sizeof(*w->starts));
}

static void pass(struct world *w, uint64_t ms)
{
	for (uint64_t end = w->now + ms; w->now < end;) {
		w->now += STEP_MS;
		if (w->n_starts)
			come_up(w);
		for (uint32_t h = 0; h < w->hosts; h++) {
			struct ha_event ev = { .kind = HA_EV_TICK };

			if (!w->host[h].lost && ha_core_next_wakeup(w->host[h].core) <= w->now)
				step(w, h, &ev);
		}
		settle(w);
	}
}

static void view(struct world *w)
{
	uint32_t ids[HA_NODES_MAX], n = 0;

	for (uint32_t h = 0; h < w->hosts; h++)
		if (!w->host[h].lost)
			ids[n++] = h + 1;
	for (uint32_t h = 0; h < w->hosts; h++) {
		struct ha_event v = { .kind = HA_EV_VIEW }, q = { .kind = HA_EV_QUORUM };

		if (w->host[h].lost)
			continue;
		v.view.nodes = ids;
		v.view.n = n;
		v.view.ring = HA_RING_SILENT;
		step(w, h, &v);
		q.quorum.quorate = true;
		q.quorum.nodes = ids;
		q.quorum.n = n;
		step(w, h, &q);
	}
	settle(w);
}

/* --------------------------------------------------------- a cluster that runs */

static void apply(struct ha_core *c, struct ha_entry *e, uint32_t origin)
{
	e->origin = origin;
	e->serial = origin ? c->rec.nodes[origin - 1].last_op + 1 : 0;
	ha_apply(&c->rec, e, &c->outcome);
	must(c->outcome.applied && c->outcome.code == HA_OK, c->outcome.text[0] ? c->outcome.text : "not applied");
}

static void hosts_come(struct ha_core *c, uint32_t hosts)
{
	static struct ha_entry e;

	memset(&e, 0, sizeof(e));
	e.kind = HA_E_NEW_EPOCH;
	e.epoch = 1;
	e.cluster = 0xc1;
	e.n_members = hosts;
	for (uint32_t h = 0; h < hosts; h++) {
		e.members[h] = h + 1;
		e.tokens[h] = 1000;
		e.levels[h] = HA_LEVEL;
		ha_voters_set(&e.voters, h + 1, 1);
	}
	apply(c, &e, 0);
	for (uint32_t h = 1; h <= hosts; h++) {
		memset(&e, 0, sizeof(e));
		e.kind = HA_E_REPORT;
		e.to = HA_REPORT_END;
		apply(c, &e, h);
		e.kind = HA_E_LEASE;
		e.has_lease = true;
		apply(c, &e, h);
	}
}

static void domains_come(struct ha_core *c, uint32_t domains)
{
	static struct ha_entry e;
	static char text[TEXT];

	memset(text, 'x', sizeof(text));
	for (uint32_t d = 0; d < domains; d++) {
		const struct ha_domain *dom;

		memset(&e, 0, sizeof(e));
		e.kind = HA_E_OP;
		e.op = HA_OP_ADD;
		strcpy(e.actor, "root");
		e.access = HA_ACCESS_ADMIN;
		e.size = (struct ha_size){ 1 << 30, 1 };
		snprintf(e.domain, sizeof(e.domain), "domain-%u", d);
		e.conf = (const uint8_t *)text;
		e.conf_len = sizeof(text);
		e.ha = e.started = true;
		e.n_claims = 3;
		for (uint32_t k = 0; k < e.n_claims; k++)
			e.claims[k] = (struct ha_claim){ .kind = (enum ha_claim_kind)k, .key = ha_hash_u64(k, d) };
		apply(c, &e, 1);
		dom = &c->rec.domains[ha_record_find(&c->rec, e.domain)];
		must(dom->owner, "a domain found no host");
		e.kind = HA_E_RUNNING;
		e.incarnation = dom->incarnation;
		apply(c, &e, dom->owner);
	}
}

/* What a host of that cluster has on its disk. */
static uint8_t *make_disk(uint32_t domains, uint32_t hosts, size_t *len)
{
	struct ha_core *c = reserve_make(ha_core_size());
	size_t size = (4u << 20) + domains * (size_t)(TEXT + 1024);
	uint8_t *disk = malloc(size);

	must(c && disk, "out of memory");
	ha_core_init(c);
	hosts_come(c, hosts);
	domains_come(c, domains);
	c->log.promised = c->log.epoch = c->log.applied_epoch = 1;
	c->log.seq = c->log.commit = c->log.applied = 1;
	*len = ha_snapshot_encode(c, disk, size);
	must(*len, "the record does not fit into its snapshot");
	reserve_free(c, ha_core_size());
	return disk;
}

static void found(struct world *w, uint32_t h)
{
	const struct ha_record *r = ha_core_record(w->host[h].core);

	for (uint32_t i = 0; i < r->n_domains; i++) {
		struct ha_event ev = { .kind = HA_EV_VMM };

		if (r->domains[i].owner != h + 1)
			continue;
		ev.vmm.domain = r->domains[i].name;
		ev.vmm.incarnation = r->domains[i].incarnation;
		ev.vmm.what = HA_VMM_RUNNING;
		step(w, h, &ev);
	}
}

static void boot(struct world *w, uint32_t h, const uint8_t *disk, size_t len)
{
	struct ha_node_conf nodes[HA_NODES_MAX];
	struct ha_blob blob = { .bytes = disk, .len = len };
	struct ha_event ev = { .kind = HA_EV_BOOT };

	w->host[h].core = reserve_make(ha_core_size());
	must(w->host[h].core, "out of memory");
	ha_core_init(w->host[h].core);
	ev.boot.me = h + 1;
	ev.boot.token_ms = 1000;
	ev.boot.draw = h + 1;
	ev.boot.disk = &blob;
	ev.boot.n_disk = 1;
	step(w, h, &ev);
	memset(nodes, 0, sizeof(nodes));
	for (uint32_t k = 0; k < w->hosts; k++) {
		nodes[k].id = k + 1;
		nodes[k].votes = 1;
		snprintf(nodes[k].name, sizeof(nodes[k].name), "n%u", k + 1);
	}
	ev = (struct ha_event){ .kind = HA_EV_CONFIG };
	ev.config.nodes = nodes;
	ev.config.n = w->hosts;
	step(w, h, &ev);
	found(w, h);
	ev = (struct ha_event){ .kind = HA_EV_VMM_LIST };
	step(w, h, &ev);
}

static uint32_t running(struct world *w)
{
	const struct ha_record *r = ha_core_record(w->host[0].core);
	double t = cpu_us();
	uint32_t n = 0;

	for (uint32_t i = 0; i < r->n_domains; i++)
		n += r->domains[i].used && r->domains[i].phase == HA_RUNNING && !w->host[r->domains[i].owner - 1].lost;
	w->own_us += cpu_us() - t;
	return n;
}

static bool all_leased(const struct world *w)
{
	const struct ha_record *r = ha_core_record(w->host[0].core);

	for (uint32_t h = 0; h < w->hosts; h++)
		if (!r->nodes[h].leased || r->nodes[h].report_due)
			return false;
	return true;
}

/* ------------------------------------------------------------------ measuring */

static void measure(uint32_t domains, uint32_t hosts)
{
	struct world w = { .hosts = hosts, .domains = domains, .now = 1000 };
	size_t len, before;
	double t, idle_us, idle_all, loss_us;
	uint8_t *disk = make_disk(domains, hosts, &len);
	uint64_t from;

	before = resident();
	w.host = calloc(hosts, sizeof(*w.host));
	w.fx = malloc(sizeof(*w.fx));
	must(w.host && w.fx, "out of memory");
	for (uint32_t h = 0; h < hosts; h++)
		boot(&w, h, disk, len);
	view(&w);
	while (!all_leased(&w) && w.now < LIMIT_MS)
		pass(&w, STEP_MS);
	must(all_leased(&w), "not all hosts have a lease");
	must(running(&w) == domains, "not all domains run");
	pass(&w, 2000);

	w.delivered = 0;
	t = cpu_us();
	pass(&w, IDLE_MS);
	idle_all = cpu_us() - t;
	idle_us = idle_all / (double)w.delivered;

	w.host[hosts - 1].lost = true;
	from = w.now;
	w.own_us = 0;
	t = cpu_us();
	pass(&w, 1100); /* until corosync has noticed */
	view(&w);
	while (running(&w) < domains && w.now < from + LIMIT_MS)
		pass(&w, STEP_MS);
	must(running(&w) == domains, "not all domains run after the loss");
	loss_us = cpu_us() - t - w.own_us - idle_all * (double)(w.now - from) / IDLE_MS * (hosts - 1) * (hosts - 1) / hosts / hosts;

	printf("%8u %8u %12.2f %12.2f %12zu %12zu\n", domains, hosts, idle_us, loss_us / (hosts - 1) / 1e3, len,
	       (resident() - before) / hosts);
	fflush(stdout);
	for (uint32_t h = 0; h < hosts; h++)
		reserve_free(w.host[h].core, ha_core_size());
	free(w.host);
	free(w.fx);
	free(w.queue);
	free(w.starts);
	free(disk);
}

int main(int argc, char **argv)
{
	static const uint32_t sizes[][2] = {
		{ 1000, 8 },
		{ 2500, 8 },
		{ 5000, 8 },
		{ 10000, 8 },
		{ 10000, 32 },
		{ 10000, 64 },
		{ 10000, 128 },
		{ 5000, 128 },
		{ 2500, 128 },
		{ 1000, 128 },
	};

	printf("%8s %8s %12s %12s %12s %12s\n", "domains", "hosts", "idle, us", "loss, ms", "record, B", "memory, B");
	for (int i = 1; i + 1 < argc; i += 2)
		measure((uint32_t)atoi(argv[i]), (uint32_t)atoi(argv[i + 1]));
	for (size_t i = 0; argc == 1 && i < sizeof(sizes) / sizeof(sizes[0]); i++)
		measure(sizes[i][0], sizes[i][1]);
	return 0;
}
