/* SPDX-License-Identifier: Apache-2.0 */
/*
 * domain - a domain file in three steps: the schema (conf/load.h) settles
 * which keys there are and what shape they have; libcyaml fills `struct raw`,
 * where every size and address is still text; build_*() below turn text into
 * values, check ranges, and fill in what was left out.
 */
#include "conf/domain.h"

#include "conf/check.h"
#include "conf/domain_int.h"
#include "conf/load.h"
#include "conf/units.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MEMORY_ALIGN (2ull << 20)
#define DOWNTIME_DEFAULT_MS 300
#define DOWNTIME_MAX_MS 3600000
#define THROTTLE_MAX 80
#define CMDLINE_MAX 2047 /* what an x86 kernel takes (boot protocol: cmdline_size) */
#define PATH_LEN_MAX CHECK_PATH_MAX
#define MAX_RESTART_DEFAULT 3
#define MAX_RESTART_MAX 100

enum raw_on_error {
	ON_ERROR_STOP,
	ON_ERROR_REPORT
};

struct raw_disk {
	char *path;
	bool readonly, direct;
	enum domain_format format;
	enum raw_on_error on_error;
	char **parents;
	uint32_t parents_count;
};

struct raw_nic {
	char *mac, *bridge, *tap;
};

struct raw_migration {
	char *downtime, *timeout, *bandwidth;
	unsigned int throttle;
};

struct raw_ha {
	char *group;
	uint32_t max_restart;
};

struct raw {
	char *name, *uuid, *memory, *kernel, *initrd, *cmdline;
	enum domain_backing backing;
	uint32_t vcpus;
	bool rng;
	struct raw_disk *disks;
	uint32_t disks_count;
	struct raw_nic *nics;
	uint32_t nics_count;
	struct raw_ha *ha;
	struct raw_migration *migration;
};

#define OPTIONAL CYAML_FLAG_OPTIONAL
#define TEXT(key, flags, type, member, min, max) \
	CYAML_FIELD_STRING_PTR(key, CYAML_FLAG_POINTER | (flags), type, member, min, max)

static const cyaml_strval_t format_words[] = {
	{ "raw", FORMAT_RAW },
	{ "vhd", FORMAT_VHD },
};

static const cyaml_strval_t on_error_words[] = {
	{ "stop", ON_ERROR_STOP },
	{ "report", ON_ERROR_REPORT },
};

static const cyaml_schema_value_t path_schema = {
	CYAML_VALUE_STRING(CYAML_FLAG_POINTER, char *, 1, PATH_LEN_MAX),
};

static const cyaml_schema_field_t disk_fields[] = {
	TEXT("path", 0, struct raw_disk, path, 1, PATH_LEN_MAX),
	CYAML_FIELD_BOOL("readonly", OPTIONAL, struct raw_disk, readonly),
	CYAML_FIELD_BOOL("direct", OPTIONAL, struct raw_disk, direct),
	CYAML_FIELD_ENUM("format", OPTIONAL, struct raw_disk, format, format_words,
			 sizeof(format_words) / sizeof(format_words[0])),
	CYAML_FIELD_SEQUENCE("parents", CYAML_FLAG_POINTER | OPTIONAL, struct raw_disk, parents, &path_schema, 0,
			     DOMAIN_PARENTS_MAX),
	CYAML_FIELD_ENUM("on_error", OPTIONAL, struct raw_disk, on_error, on_error_words,
			 sizeof(on_error_words) / sizeof(on_error_words[0])),
	CYAML_FIELD_END
};

static const cyaml_schema_value_t disk_schema = {
	CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct raw_disk, disk_fields),
};

static const cyaml_schema_field_t nic_fields[] = {
	TEXT("mac", OPTIONAL, struct raw_nic, mac, 1, 64),
	TEXT("bridge", OPTIONAL, struct raw_nic, bridge, 1, 64),
	TEXT("tap", OPTIONAL, struct raw_nic, tap, 1, 64),
	CYAML_FIELD_END
};

static const cyaml_schema_value_t nic_schema = {
	CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct raw_nic, nic_fields),
};

static const cyaml_schema_field_t ha_fields[] = {
	TEXT("group", OPTIONAL, struct raw_ha, group, 1, 255),
	CYAML_FIELD_UINT("max_restart", OPTIONAL, struct raw_ha, max_restart),
	CYAML_FIELD_END
};

static const cyaml_schema_field_t migration_fields[] = {
	TEXT("downtime", OPTIONAL, struct raw_migration, downtime, 1, 64),
	TEXT("timeout", OPTIONAL, struct raw_migration, timeout, 1, 64),
	TEXT("bandwidth", OPTIONAL, struct raw_migration, bandwidth, 1, 64),
	CYAML_FIELD_UINT("throttle", OPTIONAL, struct raw_migration, throttle),
	CYAML_FIELD_END
};

static const cyaml_strval_t backing_words[] = {
	{ "auto", BACKING_AUTO },
	{ "memfd", BACKING_MEMFD },
	{ "hugetlb", BACKING_HUGETLB },
	{ "anon", BACKING_ANON },
};

#define N_BACKINGS (sizeof(backing_words) / sizeof(backing_words[0]))

static const cyaml_schema_field_t domain_fields[] = {
	TEXT("name", 0, struct raw, name, 1, 255),
	TEXT("uuid", OPTIONAL, struct raw, uuid, 1, 64),
	TEXT("memory", 0, struct raw, memory, 1, 64),
	CYAML_FIELD_ENUM("backing", OPTIONAL, struct raw, backing, backing_words, N_BACKINGS),
	CYAML_FIELD_UINT("vcpus", OPTIONAL, struct raw, vcpus),
	TEXT("kernel", 0, struct raw, kernel, 1, PATH_LEN_MAX),
	TEXT("initrd", OPTIONAL, struct raw, initrd, 1, PATH_LEN_MAX),
	TEXT("cmdline", OPTIONAL, struct raw, cmdline, 0, CMDLINE_MAX),
	CYAML_FIELD_SEQUENCE("disks", CYAML_FLAG_POINTER | OPTIONAL, struct raw, disks,
			     &disk_schema, 0, DOMAIN_DISKS_MAX),
	CYAML_FIELD_SEQUENCE("nics", CYAML_FLAG_POINTER | OPTIONAL, struct raw, nics,
			     &nic_schema, 0, DOMAIN_NICS_MAX),
	CYAML_FIELD_BOOL("rng", OPTIONAL, struct raw, rng),
	CYAML_FIELD_MAPPING_PTR("ha", CYAML_FLAG_POINTER | OPTIONAL, struct raw, ha, ha_fields),
	CYAML_FIELD_MAPPING_PTR("migration", CYAML_FLAG_POINTER | OPTIONAL, struct raw, migration,
				migration_fields),
	CYAML_FIELD_END
};

static const cyaml_schema_value_t domain_schema = {
	CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct raw, domain_fields),
};

/* What the build_*() functions share. */
struct build {
	const struct tree *t;
	const struct raw *raw;
	struct domain_conf *c;
	struct err *e;
	size_t n_parents; /* of all disks so far */
};

/* 64-bit FNV-1a, then the finisher of MurmurHash3: not secret, only well spread. */
static uint64_t hash64(uint64_t seed, const void *data, size_t len)
{
	const uint8_t *p = data;
	uint64_t h = 0xcbf29ce484222325ull ^ seed;

	while (len--)
		h = (h ^ *p++) * 0x100000001b3ull;
	h = (h ^ h >> 33) * 0xff51afd7ed558ccdull;
	h = (h ^ h >> 33) * 0xc4ceb9fe1a85ec53ull;
	return h ^ h >> 33;
}

/*
 * Made from the name, so that a domain keeps its uuid wherever and however
 * often the file is read.  Version 8 (RFC 9562 5.8: custom), variant 10.
 */
static void make_uuid(const char *name, uint8_t uuid[16])
{
	uint64_t half[2] = { hash64(1, name, strlen(name)), hash64(2, name, strlen(name)) };

	memcpy(uuid, half, 16);
	uuid[6] = (uint8_t)((uuid[6] & 0x0f) | 0x80);
	uuid[8] = (uint8_t)((uuid[8] & 0x3f) | 0x80);
}

/* 52 is locally administered and unicast (IEEE 802 8.4); five bytes from uuid and index. */
static void make_mac(const uint8_t uuid[16], size_t index, uint8_t mac[6])
{
	uint64_t h = hash64(index, uuid, 16);

	mac[0] = 0x52;
	memcpy(mac + 1, &h, 5);
}

static int build_names(struct build *b)
{
	const struct tree_node *root = b->t->root, *n = tree_get(root, "uuid");

	if (check_name(b->t, tree_get(root, "name"), b->e))
		return -EINVAL;
	b->c->name = strdup(b->raw->name);
	if (!b->c->name)
		return tree_nomem(b->t->file, b->e);
	if (n)
		return check_uuid(b->t, n, b->c->uuid, b->e);
	make_uuid(b->c->name, b->c->uuid);
	return 0;
}

static int build_machine(struct build *b)
{
	const struct tree_node *n = tree_get(b->t->root, "vcpus");

	b->c->backing = b->raw->backing;
	b->c->vcpus = n ? b->raw->vcpus : 1;
	b->c->rng = tree_get(b->t->root, "rng") ? b->raw->rng : true;
	if (b->c->vcpus < 1 || b->c->vcpus > DOMAIN_VCPUS_MAX)
		return tree_fail(b->t, n, b->e, "got %u, expected 1 to %d", b->c->vcpus,
				 DOMAIN_VCPUS_MAX);
	return check_size(b->t, tree_get(b->t->root, "memory"), DOMAIN_MEMORY_MIN, DOMAIN_MEMORY_MAX,
			  MEMORY_ALIGN, &b->c->memory, b->e);
}

static int build_boot(struct build *b)
{
	const struct tree_node *root = b->t->root, *n = tree_get(root, "initrd");

	if (check_path(b->t, tree_get(root, "kernel"), b->e) ||
	    (n && check_path(b->t, n, b->e)))
		return -EINVAL;
	b->c->kernel = strdup(b->raw->kernel);
	b->c->initrd = n ? strdup(b->raw->initrd) : NULL;
	b->c->cmdline = strdup(b->raw->cmdline ? b->raw->cmdline : "");
	if (!b->c->kernel || !b->c->cmdline || (n && !b->c->initrd))
		return tree_nomem(b->t->file, b->e);
	n = tree_get(root, "cmdline");
	return n ? check_line(b->t, n, b->e) : 0;
}

static bool same_path(const char *a, const char *b)
{
	char plain_a[CHECK_PATH_MAX + 1], plain_b[CHECK_PATH_MAX + 1];

	path_plain(a, plain_a);
	path_plain(b, plain_b);
	return strcmp(plain_a, plain_b) == 0;
}

static int build_parent(struct build *b, struct domain_disk *d, const struct tree_node *n)
{
	if (check_path(b->t, n, b->e))
		return -EINVAL;
	if (same_path(d->path, n->value))
		return tree_fail(b->t, n, b->e, "'%.100s' is the disk itself", n->value);
	for (size_t i = 0; i < d->n_parents; i++)
		if (same_path(d->parents[i], n->value))
			return tree_fail(b->t, n, b->e, "'%.100s' is parents[%zu] already", n->value, i);
	d->parents[d->n_parents] = strdup(n->value);
	return d->parents[d->n_parents++] ? 0 : tree_nomem(b->t->file, b->e);
}

static int build_parents(struct build *b, size_t i, const struct tree_node *n)
{
	struct domain_disk *d = &b->c->disks[i];
	size_t count = b->raw->disks[i].parents_count;
	int rc = 0;

	if (!count)
		return 0;
	if (d->format != FORMAT_VHD)
		return tree_fail(b->t, n, b->e, "only an image has parents; expected `format: vhd` beside it");
	b->n_parents += count;
	if (b->n_parents > DOMAIN_PARENTS_MAX)
		return tree_fail(b->t, n, b->e, "%zu parents of all disks so far, expected at most %d", b->n_parents,
				 DOMAIN_PARENTS_MAX);
	d->parents = calloc(count, sizeof(*d->parents));
	if (!d->parents)
		return tree_nomem(b->t->file, b->e);
	for (size_t k = 0; k < count && !rc; k++)
		rc = build_parent(b, d, tree_at(n, k));
	return rc;
}

static int build_disk(struct build *b, size_t i, const struct tree_node *n)
{
	struct domain_disk *d = &b->c->disks[i];
	const struct tree_node *path = tree_get(n, "path");

	if (check_path(b->t, path, b->e))
		return -EINVAL;
	for (size_t k = 0; k < i; k++)
		if (same_path(b->c->disks[k].path, path->value))
			return tree_fail(b->t, path, b->e, "'%.100s' is disks[%zu] already",
					 path->value, k);
	d->path = strdup(b->raw->disks[i].path);
	d->readonly = b->raw->disks[i].readonly;
	if (tree_get(n, "direct"))
		d->direct = b->raw->disks[i].direct ? DIRECT_ON : DIRECT_OFF;
	d->format = tree_get(n, "format") ? b->raw->disks[i].format : FORMAT_UNSAID;
	d->report_errors = b->raw->disks[i].on_error == ON_ERROR_REPORT;
	b->c->n_disks = i + 1;
	return d->path ? build_parents(b, i, tree_get(n, "parents")) : tree_nomem(b->t->file, b->e);
}

/* What images lie on must not change: no disk of the domain's own may write to it. */
static int check_parents(struct build *b, const struct tree_node *disks)
{
	for (size_t i = 0; i < b->c->n_disks; i++)
		for (size_t k = 0; k < b->c->disks[i].n_parents; k++)
			for (size_t o = 0; o < b->c->n_disks; o++)
				if (!b->c->disks[o].readonly && same_path(b->c->disks[o].path, b->c->disks[i].parents[k]))
					return tree_fail(b->t, tree_at(tree_get(tree_at(disks, i), "parents"), k), b->e,
							 "'%.100s' is disks[%zu], which is written to",
							 b->c->disks[o].path, o);
	return 0;
}

static int build_nic(struct build *b, size_t i, const struct tree_node *n)
{
	const struct raw_nic *raw = &b->raw->nics[i];
	struct domain_nic *nic = &b->c->nics[i];
	const struct tree_node *mac = tree_get(n, "mac"), *bridge = tree_get(n, "bridge");
	const struct tree_node *tap = tree_get(n, "tap");

	if ((mac && check_mac(b->t, mac, nic->mac, b->e)) ||
	    (bridge && check_ifname(b->t, bridge, b->e)) ||
	    (tap && check_ifname(b->t, tap, b->e)))
		return -EINVAL;
	if (!mac)
		make_mac(b->c->uuid, i, nic->mac);
	for (size_t k = 0; k < i; k++) {
		const struct domain_nic *o = &b->c->nics[k];

		if (!memcmp(o->mac, nic->mac, 6))
			return tree_fail(b->t, mac ? mac : n, b->e, "nics[%zu] has this MAC already",
					 k);
		if (tap && o->tap && !strcmp(o->tap, tap->value))
			return tree_fail(b->t, tap, b->e, "nics[%zu] has this tap already", k);
	}
	nic->bridge = raw->bridge ? strdup(raw->bridge) : NULL;
	nic->tap = raw->tap ? strdup(raw->tap) : NULL;
	b->c->n_nics = i + 1;
	if ((raw->bridge && !nic->bridge) || (raw->tap && !nic->tap))
		return tree_nomem(b->t->file, b->e);
	return 0;
}

static int build_ha(struct build *b)
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

static int build_migration(struct build *b)
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

static int build_lists(struct build *b)
{
	const struct tree_node *disks = tree_get(b->t->root, "disks");
	const struct tree_node *nics = tree_get(b->t->root, "nics");
	int rc = 0;

	for (size_t i = 0; i < b->raw->disks_count && !rc; i++)
		rc = build_disk(b, i, tree_at(disks, i));
	if (!rc)
		rc = check_parents(b, disks);
	for (size_t i = 0; i < b->raw->nics_count && !rc; i++)
		rc = build_nic(b, i, tree_at(nics, i));
	return rc;
}

static int domain_conf_build(const struct tree *t, const void *raw, void **out, struct err *e)
{
	struct build b = { .t = t, .raw = raw, .c = calloc(1, sizeof(*b.c)), .e = e };
	int rc;

	if (!b.c)
		return tree_nomem(t->file, e);
	if ((rc = build_names(&b)) || (rc = build_machine(&b)) || (rc = build_boot(&b)) ||
	    (rc = build_lists(&b)) || (rc = build_ha(&b)) || (rc = build_migration(&b))) {
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
	free(c->kernel);
	free(c->initrd);
	free(c->cmdline);
	free(c->ha.group);
	free(c);
}

const char *domain_backing_name(enum domain_backing b)
{
	for (size_t i = 0; i < N_BACKINGS; i++)
		if (backing_words[i].val == (int64_t)b)
			return backing_words[i].str;
	return "?";
}
