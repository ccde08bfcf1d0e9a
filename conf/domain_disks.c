/* SPDX-License-Identifier: Apache-2.0 */
/* domain_disks - the disks of a domain file, and what images among them lie on. */
#include "conf/domain_int.h"

#include "conf/check.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static bool same_path(const char *a, const char *b)
{
	char plain_a[CHECK_PATH_MAX + 1], plain_b[CHECK_PATH_MAX + 1];

	path_plain(a, plain_a);
	path_plain(b, plain_b);
	return strcmp(plain_a, plain_b) == 0;
}

static int build_parent(struct domain_build *b, struct domain_disk *d, const struct tree_node *n)
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

static int build_parents(struct domain_build *b, size_t i, const struct tree_node *n)
{
	struct domain_disk *d = &b->c->disks[i];
	size_t count = b->raw->disks[i].parents_count;
	int rc = 0;

	if (!count)
		return 0;
	if (d->format != FORMAT_VHD && d->format != FORMAT_QCOW2)
		return tree_fail(b->t, n, b->e, "only an image has parents; expected `format: vhd` or `format: qcow2` beside it");
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

static int build_disk(struct domain_build *b, size_t i, const struct tree_node *n)
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
static int check_parents(struct domain_build *b, const struct tree_node *disks)
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

int domain_build_disks(struct domain_build *b)
{
	const struct tree_node *disks = tree_get(b->t->root, "disks");

	for (size_t i = 0; i < b->raw->disks_count; i++) {
		int rc = build_disk(b, i, tree_at(disks, i));

		if (rc)
			return rc;
	}
	return check_parents(b, disks);
}
