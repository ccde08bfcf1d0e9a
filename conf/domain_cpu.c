/* SPDX-License-Identifier: Apache-2.0 */
/* domain_cpu - the processor that a domain's file asks for: its model, and features more or less than that has. */
#include "conf/domain_int.h"

#include "conf/check.h"

#include <stdio.h>
#include <string.h>

#define KNOWN_MAX 256

static int build_model(struct domain_build *b, const struct tree_node *n)
{
	char known[KNOWN_MAX] = "host";
	size_t used = strlen(known);

	if (!n || strcmp(n->value, "host") == 0)
		return 0;
	b->c->cpu.model = cpu_model_find(n->value);
	if (b->c->cpu.model)
		return 0;
	for (unsigned int i = 0; i < cpu_model_count() && used < sizeof(known); i++)
		used += (size_t)snprintf(known + used, sizeof(known) - used, ", %s", cpu_model_at(i)->name);
	return tree_fail(b->t, n, b->e, "'%.40s' is no model, expected one of %s", n->value, known);
}

static int build_feature(struct domain_build *b, const struct tree_node *n)
{
	struct domain_cpu *c = &b->c->cpu;
	const char *name = n->value + 1;
	bool plus = n->value[0] == '+';
	int i;

	if (!plus && n->value[0] != '-')
		return tree_fail(b->t, n, b->e, "got '%.40s', expected + or - and the name of a feature", n->value);
	i = cpu_feature_find(name, strlen(name));
	if (i < 0 && cpu_feature_meant(name))
		return tree_fail(b->t, n, b->e, "'%.40s' is no feature, did you mean '%s'?", name, cpu_feature_meant(name));
	if (i < 0 || cpu_feature_at((unsigned int)i)->kind != CPU_FEATURE_PLAIN)
		return tree_fail(b->t, n, b->e, "'%.40s' is no feature that a domain can have ('drover cpu list' has their names)",
				 name);
	if (cpu_features_has(&c->add, (unsigned int)i) || cpu_features_has(&c->remove, (unsigned int)i))
		return tree_fail(b->t, n, b->e, "%s is given twice", name);
	cpu_features_put(plus ? &c->add : &c->remove, (unsigned int)i);
	return 0;
}

/* What is added must not need what is taken away. */
static int check_features(struct domain_build *b, const struct tree_node *list)
{
	struct cpu_features gone = b->c->cpu.remove, clash = b->c->cpu.add;
	char names[120];

	cpu_features_add_needing(&gone);
	cpu_features_both(&clash, &gone);
	if (!cpu_features_any(&clash))
		return 0;
	return tree_fail(b->t, list, b->e, "%s needs a feature that is taken away", cpu_features_text(&clash, names, sizeof(names)));
}

/* What is not said: one thread, one socket, and as many cores as that leaves. */
static int build_topology(struct domain_build *b, const struct tree_node *n)
{
	const struct domain_raw_topology *raw = n ? b->raw->cpu->topology : NULL;
	const struct tree_node *sockets = tree_get(n, "sockets"), *threads = tree_get(n, "threads"), *cores = tree_get(n, "cores");
	struct cpu_topology *t = &b->c->cpu.topology;
	uint64_t outer;

	t->sockets = sockets ? raw->sockets : 1;
	t->threads = threads ? raw->threads : 1;
	if (!t->sockets || !t->threads || (cores && !raw->cores))
		return tree_fail(b->t, n, b->e, "got 0, expected 1 or more of each");
	outer = (uint64_t)t->sockets * t->threads;
	t->cores = cores ? raw->cores : (uint32_t)(b->c->vcpus / outer);
	if (t->sockets > b->c->vcpus || t->threads > b->c->vcpus || t->cores > b->c->vcpus || outer * t->cores != b->c->vcpus)
		return tree_fail(b->t, n, b->e, "sockets x cores x threads must be the %u vcpus", b->c->vcpus);
	outer = cpu_topology_apic_id(t, b->c->vcpus - 1);
	if (outer > DOMAIN_APIC_ID_MAX)
		return tree_fail(b->t, n, b->e, "its last vCPU would have APIC id %u, expected at most %u: let cores and threads be "
						"powers of two",
				 (unsigned int)outer, DOMAIN_APIC_ID_MAX);
	return 0;
}

int domain_build_cpu(struct domain_build *b)
{
	const struct tree_node *cpu = tree_get(b->t->root, "cpu"), *list = tree_get(cpu, "features");
	int rc = build_model(b, tree_get(cpu, "model"));

	if (!rc)
		rc = build_topology(b, tree_get(cpu, "topology"));
	if (!rc)
		rc = domain_build_pin(b, tree_get(cpu, "pin"));

	for (const struct tree_node *n = list ? list->child : NULL; n && !rc; n = n->next)
		rc = build_feature(b, n);
	return rc || !list ? rc : check_features(b, list);
}

void domain_cpu_features(const struct domain_cpu *c, struct cpu_features *has, struct cpu_features *gone)
{
	struct cpu_features model;

	*gone = c->remove;
	cpu_features_add_needing(gone);
	*has = c->add;
	if (c->model) {
		cpu_model_features(c->model, &model);
		cpu_features_join(has, &model);
	}
	cpu_features_add_needed(has);
	cpu_features_without(has, gone);
}

static void print_signed(FILE *f, const struct cpu_features *s, char sign, const char **between)
{
	for (unsigned int i = 0; i < cpu_feature_count(); i++)
		if (cpu_features_has(s, i)) {
			fprintf(f, "%s\"%c%s\"", *between, sign, cpu_feature_at(i)->name);
			*between = ", ";
		}
}

void domain_cpu_print(FILE *f, const struct domain_conf *c)
{
	const struct domain_cpu *cpu = &c->cpu;
	const char *between = "";

	fprintf(f, "cpu:\n  model: %s\n  topology: {sockets: %u, cores: %u, threads: %u}\n", cpu->model ? cpu->model->name : "host",
		cpu->topology.sockets, cpu->topology.cores, cpu->topology.threads);
	domain_pin_print(f, c);
	fputs("  features: [", f);
	print_signed(f, &cpu->add, '+', &between);
	print_signed(f, &cpu->remove, '-', &between);
	fputs("]\n", f);
}
