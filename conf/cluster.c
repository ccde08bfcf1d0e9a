/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cluster - a cluster file, read as conf/domain.c reads a domain.
 *
 * One thing libcyaml cannot do is a mapping with free keys: a fence device's
 * `options` belong to its agent, not to us.  The schema ignores them, and
 * they are taken from the tree.
 */
#include "conf/cluster.h"

#include "conf/check.h"
#include "conf/load.h"
#include "conf/units.h"

#include "base/hex.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define RUN_DIR_DEFAULT "/run/drover"
#define STATE_DIR_DEFAULT "/var/lib/drover"
#define AGENTS_DIR_DEFAULT "/usr/sbin"
#define TIMEOUT_DEFAULT_MS 20000
#define TIMEOUT_MIN_MS 100
#define TIMEOUT_MAX_MS 600000
#define PATH_LEN_MAX 4095

struct raw_fence {
	char *agent, *timeout;
	uint32_t level;
};

struct raw_host {
	char *name, *address;
	struct raw_fence *fence;
	uint32_t fence_count;
};

struct raw_witness {
	char *path, *id;
};

struct raw {
	struct raw_witness *witness;
	struct raw_host *hosts;
	uint32_t hosts_count;
	char *run_dir, *state_dir, *drover_hv, *agents_dir;
};

#define OPTIONAL CYAML_FLAG_OPTIONAL
#define TEXT(key, flags, type, member, max) \
	CYAML_FIELD_STRING_PTR(key, CYAML_FLAG_POINTER | (flags), type, member, 1, max)

static const cyaml_schema_field_t fence_fields[] = {
	TEXT("agent", 0, struct raw_fence, agent, PATH_LEN_MAX),
	TEXT("timeout", OPTIONAL, struct raw_fence, timeout, 64),
	CYAML_FIELD_UINT("level", OPTIONAL, struct raw_fence, level),
	CYAML_FIELD_IGNORE("options", OPTIONAL),
	CYAML_FIELD_END
};

static const cyaml_schema_value_t fence_schema = {
	CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct raw_fence, fence_fields),
};

static const cyaml_schema_field_t host_fields[] = {
	TEXT("name", 0, struct raw_host, name, 255),
	TEXT("address", OPTIONAL, struct raw_host, address, 255),
	CYAML_FIELD_SEQUENCE("fence", CYAML_FLAG_POINTER | OPTIONAL, struct raw_host, fence,
			     &fence_schema, 0, CLUSTER_FENCE_MAX),
	CYAML_FIELD_END
};

static const cyaml_schema_value_t host_schema = {
	CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct raw_host, host_fields),
};

static const cyaml_schema_field_t witness_fields[] = {
	TEXT("path", 0, struct raw_witness, path, PATH_LEN_MAX),
	TEXT("id", 0, struct raw_witness, id, 64),
	CYAML_FIELD_END
};

static const cyaml_schema_field_t cluster_fields[] = {
	CYAML_FIELD_MAPPING_PTR("witness", CYAML_FLAG_POINTER | OPTIONAL, struct raw, witness, witness_fields),
	CYAML_FIELD_SEQUENCE("hosts", CYAML_FLAG_POINTER | OPTIONAL, struct raw, hosts,
			     &host_schema, 0, CLUSTER_HOSTS_MAX),
	TEXT("run_dir", OPTIONAL, struct raw, run_dir, 90), /* sun_path has 108 bytes */
	TEXT("state_dir", OPTIONAL, struct raw, state_dir, PATH_LEN_MAX),
	TEXT("drover_hv", OPTIONAL, struct raw, drover_hv, PATH_LEN_MAX),
	TEXT("agents_dir", OPTIONAL, struct raw, agents_dir, PATH_LEN_MAX),
	CYAML_FIELD_END
};

static const cyaml_schema_value_t cluster_schema = {
	CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct raw, cluster_fields),
};

/* What the build_*() functions share. */
struct build {
	const struct tree *t;
	const struct raw *raw;
	struct cluster_conf *c;
	struct err *e;
};

/* A key goes in front of '=' on a line of the agent's input. */
static int check_option(const struct build *b, const struct tree_node *options,
			const struct tree_node *n)
{
	const char *k = n->key;

	if (n->kind != TREE_SCALAR)
		return tree_fail(b->t, n, b->e, "expected one value");
	if (tree_get(options, k) != n)
		return tree_fail(b->t, n, b->e, "given twice, first in line %u",
				 tree_get(options, k)->key_line);
	if (!*k || k[strspn(k, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
			       "0123456789_-")])
		return tree_fail(b->t, n, b->e, "expected letters, digits, '_' or '-' in an "
						"option's name");
	if (!strcmp(k, "action") || !strcmp(k, "option"))
		return tree_fail(b->t, n, b->e, "is set by Drover for each call, expected it "
						"left out");
	if (strlen(n->value) > CLUSTER_OPTION_LEN_MAX || strlen(k) > CLUSTER_OPTION_LEN_MAX)
		return tree_fail(b->t, n, b->e, "more than %d characters", CLUSTER_OPTION_LEN_MAX);
	return check_line(b->t, n, b->e);
}

static int build_options(struct build *b, struct cluster_fence *f, const struct tree_node *n)
{
	if (!n)
		return 0;
	if (n->kind != TREE_MAP)
		return tree_fail(b->t, n, b->e, "expected the agent's options, one 'key: value' "
						"for each");
	f->options = calloc(CLUSTER_OPTIONS_MAX, sizeof(*f->options));
	if (!f->options)
		return tree_nomem(b->t->file, b->e);
	for (const struct tree_node *c = n->child; c; c = c->next) {
		struct cluster_option *o = &f->options[f->n_options];

		if (f->n_options == CLUSTER_OPTIONS_MAX)
			return tree_fail(b->t, c, b->e, "too many, at most %d",
					 CLUSTER_OPTIONS_MAX);
		if (check_option(b, n, c))
			return -EINVAL;
		o->key = strdup(c->key);
		o->value = strdup(c->value);
		f->n_options++;
		if (!o->key || !o->value)
			return tree_nomem(b->t->file, b->e);
	}
	return 0;
}

static int build_fence(struct build *b, struct cluster_fence *f, const struct raw_fence *raw,
		       const struct tree_node *n)
{
	const struct tree_node *agent = tree_get(n, "agent"), *level = tree_get(n, "level");
	const struct tree_node *timeout = tree_get(n, "timeout");

	/* A path, or a name to be looked up in agents_dir: nothing in between. */
	if (strchr(raw->agent, '/') ? check_path(b->t, agent, b->e) :
				      check_name(b->t, agent, b->e))
		return -EINVAL;
	f->level = level ? raw->level : 1;
	if (f->level < 1 || f->level > CLUSTER_LEVEL_MAX)
		return tree_fail(b->t, level, b->e, "got %u, expected 1 to %d", f->level,
				 CLUSTER_LEVEL_MAX);
	f->timeout_ms = TIMEOUT_DEFAULT_MS;
	if (timeout && check_ms(b->t, timeout, TIMEOUT_MIN_MS, TIMEOUT_MAX_MS, &f->timeout_ms,
				b->e))
		return -EINVAL;
	f->agent = strdup(raw->agent);
	if (!f->agent)
		return tree_nomem(b->t->file, b->e);
	return build_options(b, f, tree_get(n, "options"));
}

/* Insertion: keeps the order in which devices of one level were written. */
static void sort_levels(struct cluster_fence *f, size_t n)
{
	for (size_t i = 1; i < n; i++) {
		struct cluster_fence moved = f[i];
		size_t k = i;

		for (; k > 0 && f[k - 1].level > moved.level; k--)
			f[k] = f[k - 1];
		f[k] = moved;
	}
}

static bool same_options(const struct cluster_fence *a, const struct cluster_fence *b)
{
	size_t i, k;

	if (a->n_options != b->n_options)
		return false;
	for (i = 0; i < a->n_options; i++) {
		for (k = 0; k < b->n_options && strcmp(a->options[i].key, b->options[k].key); k++)
			;
		if (k == b->n_options || strcmp(a->options[i].value, b->options[k].value))
			return false;
	}
	return true;
}

static bool same_device(const struct cluster_fence *a, const struct cluster_fence *b)
{
	return !strcmp(a->agent, b->agent) && same_options(a, b);
}

/*
 * A device that stands at two hosts would switch the wrong one off: what was copied and not
 * changed.  Two of one level in one host would be driven at the same time.  Without options
 * an agent is a program of the operator's, which may know by other means.
 */
static int check_device(struct build *b, const struct cluster_host *h, size_t k,
			const struct tree_node *n)
{
	const struct cluster_fence *f = &h->fence[k];

	for (const struct cluster_host *o = b->c->hosts; f->n_options && o <= h; o++)
		for (size_t i = 0; i < (o == h ? k : o->n_fence); i++) {
			if (!same_device(&o->fence[i], f) || (o == h && o->fence[i].level != f->level))
				continue;
			if (o == h)
				return tree_fail(b->t, n, b->e, "host '%s' has this device at this level already", o->name);
			return tree_fail(b->t, n, b->e, "is the device of host '%s', with the same options: fencing one would "
							"switch the other off",
					 o->name);
		}
	return 0;
}

static int check_address(struct build *b, const struct cluster_host *h, const struct tree_node *n)
{
	for (const struct cluster_host *o = b->c->hosts; h->address && o < h; o++)
		if (o->address && !strcasecmp(o->address, h->address))
			return tree_fail(b->t, n, b->e, "'%s' is the address of host '%s' already", h->address,
					 o->name);
	return 0;
}

static int build_host(struct build *b, size_t i, const struct tree_node *n)
{
	const struct raw_host *raw = &b->raw->hosts[i];
	struct cluster_host *h = &b->c->hosts[i];
	const struct tree_node *name = tree_get(n, "name"), *address = tree_get(n, "address");

	if (check_name(b->t, name, b->e) || (address && check_host(b->t, address, b->e)))
		return -EINVAL;
	if (cluster_conf_host(b->c, raw->name))
		return tree_fail(b->t, name, b->e, "'%s' is in the list already", raw->name);
	h->name = strdup(raw->name);
	h->address = raw->address ? strdup(raw->address) : NULL;
	h->fence = calloc(raw->fence_count + 1, sizeof(*h->fence));
	b->c->n_hosts = i + 1;
	if (!h->name || (raw->address && !h->address) || !h->fence)
		return tree_nomem(b->t->file, b->e);
	if (check_address(b, h, address))
		return -EINVAL;
	for (size_t k = 0; k < raw->fence_count; k++) {
		const struct tree_node *device = tree_at(tree_get(n, "fence"), k);
		int rc;

		h->n_fence = k + 1;
		rc = build_fence(b, &h->fence[k], &raw->fence[k], device);
		if (!rc)
			rc = check_device(b, h, k, device);
		if (rc)
			return rc;
	}
	sort_levels(h->fence, h->n_fence);
	return 0;
}

static int build_hosts(struct build *b)
{
	b->c->hosts = calloc(b->raw->hosts_count + 1, sizeof(*b->c->hosts));
	if (!b->c->hosts)
		return tree_nomem(b->t->file, b->e);
	for (size_t i = 0; i < b->raw->hosts_count; i++) {
		int rc = build_host(b, i, tree_at(tree_get(b->t->root, "hosts"), i));

		if (rc)
			return rc;
	}
	return 0;
}

static int build_path(struct build *b, const char *key, char **to)
{
	const struct tree_node *n = tree_get(b->t->root, key);
	char *copy;

	if (!n)
		return 0;
	if (check_path(b->t, n, b->e))
		return -EINVAL;
	copy = strdup(n->value);
	if (!copy)
		return tree_nomem(b->t->file, b->e);
	free(*to);
	*to = copy;
	return 0;
}

/* False: not 16 digits, or nothing but zeros. */
static bool witness_id(const char *text, uint64_t *id)
{
	uint8_t bytes[8];

	if (!hex_read(text, bytes, sizeof(bytes)))
		return false;
	*id = 0;
	for (size_t i = 0; i < sizeof(bytes); i++)
		*id = *id << 8 | bytes[i];
	return *id != 0;
}

static int build_witness(struct build *b)
{
	const struct tree_node *w = tree_get(b->t->root, "witness"), *id, *path;

	if (!w)
		return 0;
	id = tree_get(w, "id");
	path = tree_get(w, "path");
	if (check_path(b->t, path, b->e))
		return -EINVAL;
	if (!witness_id(id->value, &b->c->witness_id))
		return tree_fail(b->t, id, b->e, "expected 16 hex digits, as 'drover witness init' printed them");
	b->c->witness_path = strdup(path->value);
	return b->c->witness_path ? 0 : tree_nomem(b->t->file, b->e);
}

struct cluster_conf *cluster_conf_default(void)
{
	struct cluster_conf *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->run_dir = strdup(RUN_DIR_DEFAULT);
	c->state_dir = strdup(STATE_DIR_DEFAULT);
	c->agents_dir = strdup(AGENTS_DIR_DEFAULT);
	if (c->run_dir && c->state_dir && c->agents_dir)
		return c;
	cluster_conf_free(c);
	return NULL;
}

static int cluster_conf_build(const struct tree *t, const void *raw, void **out, struct err *e)
{
	struct build b = { .t = t, .raw = raw, .c = cluster_conf_default(), .e = e };
	int rc;

	if (!b.c)
		return tree_nomem(t->file, e);
	if ((rc = build_path(&b, "run_dir", &b.c->run_dir)) ||
	    (rc = build_path(&b, "state_dir", &b.c->state_dir)) ||
	    (rc = build_path(&b, "drover_hv", &b.c->drover_hv)) ||
	    (rc = build_path(&b, "agents_dir", &b.c->agents_dir)) ||
	    (rc = build_witness(&b)) ||
	    (rc = build_hosts(&b))) {
		cluster_conf_free(b.c);
		return rc;
	}
	*out = b.c;
	return 0;
}

static const struct load_kind kind = { &cluster_schema, cluster_conf_build };

int cluster_conf_parse(const char *name, const char *text, size_t len,
		       struct cluster_conf **out, struct err *e)
{
	void *c;
	int rc = load_text(&kind, name, text, len, &c, e);

	*out = c;
	return rc;
}

int cluster_conf_load(const char *path, struct cluster_conf **out, struct err *e)
{
	void *c;
	int rc = load_file(&kind, path, &c, e);

	*out = c;
	return rc;
}

const struct cluster_host *cluster_conf_host(const struct cluster_conf *c, const char *name)
{
	for (size_t i = 0; i < c->n_hosts; i++)
		if (!strcmp(c->hosts[i].name, name))
			return &c->hosts[i];
	return NULL;
}

static void fence_free(struct cluster_fence *f)
{
	for (size_t i = 0; i < f->n_options; i++) {
		free(f->options[i].key);
		free(f->options[i].value);
	}
	free(f->options);
	free(f->agent);
}

void cluster_conf_free(struct cluster_conf *c)
{
	if (!c)
		return;
	for (size_t i = 0; i < c->n_hosts; i++) {
		for (size_t k = 0; k < c->hosts[i].n_fence; k++)
			fence_free(&c->hosts[i].fence[k]);
		free(c->hosts[i].fence);
		free(c->hosts[i].name);
		free(c->hosts[i].address);
	}
	free(c->hosts);
	free(c->run_dir);
	free(c->state_dir);
	free(c->drover_hv);
	free(c->agents_dir);
	free(c->witness_path);
	free(c);
}

static void print_fence(FILE *f, const struct cluster_fence *d)
{
	char ms[UNITS_TEXT_MAX];

	print_text(f, "      - agent: ", d->agent);
	fprintf(f, "        level: %u\n        timeout: %s\n", d->level,
		units_print_ms(d->timeout_ms, ms));
	if (d->n_options)
		fputs("        options:\n", f);
	for (size_t i = 0; i < d->n_options; i++) {
		fprintf(f, "          %s", d->options[i].key);
		print_text(f, ": ", d->options[i].value);
	}
}

char *cluster_conf_print(const struct cluster_conf *c)
{
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);
	bool failed;

	if (!f)
		return NULL;
	print_text(f, "run_dir: ", c->run_dir);
	print_text(f, "state_dir: ", c->state_dir);
	print_text(f, "agents_dir: ", c->agents_dir);
	print_text(f, "drover_hv: ", c->drover_hv);
	if (c->witness_path) {
		fputs("witness:\n", f);
		print_text(f, "  path: ", c->witness_path);
		fprintf(f, "  id: '%016llx'\n", (unsigned long long)c->witness_id);
	}
	if (c->n_hosts)
		fputs("hosts:\n", f);
	for (size_t i = 0; i < c->n_hosts; i++) {
		const struct cluster_host *h = &c->hosts[i];

		print_text(f, "  - name: ", h->name);
		print_text(f, "    address: ", h->address);
		if (h->n_fence)
			fputs("    fence:\n", f);
		for (size_t k = 0; k < h->n_fence; k++)
			print_fence(f, &h->fence[k]);
	}
	failed = ferror(f);
	if (fclose(f) || failed) {
		free(text);
		return NULL;
	}
	return text;
}
