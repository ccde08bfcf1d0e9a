/* SPDX-License-Identifier: Apache-2.0 */
/* domain_pin - which CPUs of the host each vCPU may run on: one list for all, or a list for some. */
#include "conf/domain_int.h"

#include "base/number.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int build_list(struct domain_build *b, const struct tree_node *n, struct cpu_list *out)
{
	if (n->kind != TREE_SCALAR || !cpu_list_read(n->value, out))
		return tree_fail(b->t, n, b->e, "got '%.40s', expected numbers of the host's CPUs, 0 to %d, such as \"0-3,8\"",
				 n->kind == TREE_SCALAR ? n->value : "", CPU_LIST_MAX - 1);
	return 0;
}

static int build_one(struct domain_build *b, const struct tree_node *map, const struct tree_node *n)
{
	uint64_t i;

	if (!number_parse(n->key, 0, b->c->vcpus - 1, &i))
		return tree_fail(b->t, n, b->e, "expected the number of a vCPU, 0 to %u, before its list", b->c->vcpus - 1);
	for (const struct tree_node *other = map->child; other != n; other = other->next)
		if (strtoull(other->key, NULL, 10) == i)
			return tree_fail(b->t, n, b->e, "given twice, first in line %u", other->key_line);
	return build_list(b, n, &b->c->cpu.pin[i]);
}

int domain_build_pin(struct domain_build *b, const struct tree_node *n)
{
	struct domain_cpu *c = &b->c->cpu;
	int rc = 0;

	if (!n)
		return 0;
	c->pin = calloc(b->c->vcpus, sizeof(*c->pin));
	if (!c->pin)
		return tree_nomem(b->t->file, b->e);
	if (n->kind == TREE_MAP) {
		for (const struct tree_node *one = n->child; one && !rc; one = one->next)
			rc = build_one(b, n, one);
		return rc;
	}
	rc = build_list(b, n, &c->pin[0]);
	for (uint32_t i = 1; i < b->c->vcpus && !rc; i++)
		c->pin[i] = c->pin[0];
	return rc;
}

void domain_pin_print(FILE *f, const struct domain_conf *c)
{
	char text[CPU_LIST_TEXT];
	const char *between = "";

	if (!c->cpu.pin)
		return;
	fputs("  pin: {", f);
	for (uint32_t i = 0; i < c->vcpus; i++) {
		if (!cpu_list_any(&c->cpu.pin[i]))
			continue;
		fprintf(f, "%s%u: \"%s\"", between, i, cpu_list_print(&c->cpu.pin[i], text, sizeof(text)));
		between = ", ";
	}
	fputs("}\n", f);
}
