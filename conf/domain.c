/* SPDX-License-Identifier: Apache-2.0 */
/*
 * domain - a domain file in three steps: the schema (conf/load.h) settles
 * which keys there are and what shape they have; libcyaml fills `struct domain_raw`,
 * where every size and address is still text; build_*() here and in domain_boot.c, domain_cpu.c, domain_disks.c and domain_nics.c turn text into
 * values, check ranges, and fill in what was left out.
 */
#include "conf/domain_int.h"

#include "conf/check.h"
#include "conf/load.h"
#include "conf/units.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MEMORY_ALIGN (2ull << 20)
#define DISPLAY_DEFAULT (16ull << 20)
#define DOWNTIME_DEFAULT_MS 300
#define DOWNTIME_MAX_MS 3600000
#define THROTTLE_MAX 80
#define MAX_RESTART_DEFAULT 3
#define MAX_RESTART_MAX 100

static int build_names(struct domain_build *b)
{
	const struct tree_node *root = b->t->root, *n = tree_get(root, "uuid");

	if (check_name(b->t, tree_get(root, "name"), b->e))
		return -EINVAL;
	b->c->name = strdup(b->raw->name);
	if (!b->c->name)
		return tree_nomem(b->t->file, b->e);
	if (n)
		return check_uuid(b->t, n, b->c->uuid, b->e);
	domain_make_uuid(b->c->name, b->c->uuid);
	return 0;
}

static int build_machine(struct domain_build *b)
{
	const struct tree_node *n = tree_get(b->t->root, "vcpus");

	b->c->backing = b->raw->backing;
	b->c->vcpus = n ? b->raw->vcpus : 1;
	b->c->guest_agent = b->raw->guest_agent;
	b->c->rng = tree_get(b->t->root, "rng") ? b->raw->rng : true;
	if (b->c->vcpus < 1 || b->c->vcpus > DOMAIN_VCPUS_MAX)
		return tree_fail(b->t, n, b->e, "got %u, expected 1 to %d", b->c->vcpus,
				 DOMAIN_VCPUS_MAX);
	return check_size(b->t, tree_get(b->t->root, "memory"), DOMAIN_MEMORY_MIN, DOMAIN_MEMORY_MAX,
			  MEMORY_ALIGN, &b->c->memory, b->e);
}

static int build_display(struct domain_build *b)
{
	const struct tree_node *display = tree_get(b->t->root, "display"), *memory = tree_get(display, "memory");
	struct domain_display *to = &b->c->display;

	to->present = display != NULL;
	to->memory = DISPLAY_DEFAULT;
	if (memory && (units_parse_size(memory->value, &to->memory) || to->memory < DOMAIN_DISPLAY_MIN ||
		       to->memory > DOMAIN_DISPLAY_MAX || (to->memory & (to->memory - 1))))
		return tree_fail(b->t, memory, b->e, "got '%s', expected 4M, 8M, 16M, 32M or 64M", memory->value);
	return 0;
}

static int build_ha(struct domain_build *b)
{
	const struct tree_node *ha = tree_get(b->t->root, "ha");
	const struct tree_node *group = tree_get(ha, "group"), *max = tree_get(ha, "max_restart");

	b->c->ha.max_restart = MAX_RESTART_DEFAULT;
	if (!ha)
		return 0;
	b->c->ha.present = true;
	if (group) {
		if (check_name(b->t, group, b->e))
			return -EINVAL;
		b->c->ha.group = strdup(b->raw->ha->group);
		if (!b->c->ha.group)
			return tree_nomem(b->t->file, b->e);
	}
	if (max && b->raw->ha->max_restart > MAX_RESTART_MAX)
		return tree_fail(b->t, max, b->e, "got %u, expected 0 to %d",
				 b->raw->ha->max_restart, MAX_RESTART_MAX);
	if (max)
		b->c->ha.max_restart = (int)b->raw->ha->max_restart;
	return 0;
}

static int build_migration(struct domain_build *b)
{
	const struct tree_node *m = tree_get(b->t->root, "migration");
	const struct tree_node *downtime = tree_get(m, "downtime"), *timeout = tree_get(m, "timeout");
	const struct tree_node *bandwidth = tree_get(m, "bandwidth"), *throttle = tree_get(m, "throttle");
	struct domain_migration *to = &b->c->migration;

	to->downtime_ms = DOWNTIME_DEFAULT_MS;
	if (downtime && (units_parse_ms(downtime->value, &to->downtime_ms) || !to->downtime_ms ||
			 to->downtime_ms > DOWNTIME_MAX_MS))
		return tree_fail(b->t, downtime, b->e, "got '%s', expected a time from 1ms to 1h", downtime->value);
	if (timeout && (units_parse_ms(timeout->value, &to->timeout_ms) || !to->timeout_ms))
		return tree_fail(b->t, timeout, b->e, "got '%s', expected a time such as 10m", timeout->value);
	if (bandwidth && (units_parse_size(bandwidth->value, &to->bandwidth) || !to->bandwidth))
		return tree_fail(b->t, bandwidth, b->e, "got '%s', expected bytes per second such as 100M",
				 bandwidth->value);
	if (throttle && b->raw->migration->throttle > THROTTLE_MAX)
		return tree_fail(b->t, throttle, b->e, "got %u, expected 0 to %d percent",
				 b->raw->migration->throttle, THROTTLE_MAX);
	if (throttle)
		to->throttle = b->raw->migration->throttle;
	return 0;
}

static int domain_conf_build(const struct tree *t, const void *raw, void **out, struct err *e)
{
	struct domain_build b = { .t = t, .raw = raw, .c = calloc(1, sizeof(*b.c)), .e = e };
	int rc;

	if (!b.c)
		return tree_nomem(t->file, e);
	if ((rc = build_names(&b)) || (rc = build_machine(&b)) || (rc = domain_build_cpu(&b)) || (rc = domain_build_boot(&b)) ||
	    (rc = domain_build_disks(&b)) || (rc = domain_build_nics(&b)) || (rc = build_display(&b)) || (rc = build_ha(&b)) ||
	    (rc = build_migration(&b))) {
		domain_conf_free(b.c);
		return rc;
	}
	*out = b.c;
	return 0;
}

static const struct load_kind kind = { &domain_schema, domain_conf_build };

int domain_conf_parse(const char *name, const char *text, size_t len,
		      struct domain_conf **out, struct err *e)
{
	void *c;
	int rc = load_text(&kind, name, text, len, &c, e);

	*out = c;
	return rc;
}

int domain_conf_load(const char *path, struct domain_conf **out, struct err *e)
{
	void *c;
	int rc = load_file(&kind, path, &c, e);

	*out = c;
	return rc;
}

void domain_conf_free(struct domain_conf *c)
{
	if (!c)
		return;
	for (size_t i = 0; i < DOMAIN_DISKS_MAX; i++) {
		free(c->disks[i].path);
		for (size_t k = 0; k < c->disks[i].n_parents; k++)
			free(c->disks[i].parents[k]);
		free(c->disks[i].parents);
	}
	for (size_t i = 0; i < DOMAIN_NICS_MAX; i++) {
		free(c->nics[i].bridge);
		free(c->nics[i].tap);
	}
	free(c->name);
	free(c->firmware_image);
	free(c->kernel);
	free(c->initrd);
	free(c->cmdline);
	free(c->ha.group);
	free(c->cpu.pin);
	free(c);
}
