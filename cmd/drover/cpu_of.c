/* SPDX-License-Identifier: Apache-2.0 */
/* cpu_of - see cpu.h. */
#include "cmd/drover/cpu.h"

#include <stdio.h>
#include <string.h>

#define HEAD 11
#define LINE 100

bool cpu_of_json(json_t *o, struct cpu_of *out)
{
	json_t *names = json_object_get(o, "features"), *name;
	const char *vendor = json_string_value(json_object_get(o, "vendor"));
	size_t i;

	memset(out, 0, sizeof(*out));
	if (!vendor || !json_is_array(names))
		return false;
	out->vendor = cpu_vendor_of(vendor);
	out->address_bits = (unsigned int)json_integer_value(json_object_get(o, "address_bits"));
	json_array_foreach(names, i, name) {
		const char *text = json_string_value(name);
		int at = text ? cpu_feature_find(text, strlen(text)) : -1;

		if (at >= 0)
			cpu_features_put(&out->has, (unsigned int)at);
	}
	return true;
}

void cpu_of_both(struct cpu_of *c, const struct cpu_of *other)
{
	if (c->vendor != other->vendor)
		c->vendor = CPU_VENDOR_ANY;
	if (other->address_bits < c->address_bits)
		c->address_bits = other->address_bits;
	cpu_features_both(&c->has, &other->has);
}

void cpu_more(const struct cpu_of *c, struct cpu_features *more)
{
	const struct cpu_model *best = cpu_model_best(&c->has, c->vendor, false);
	struct cpu_features its;

	*more = c->has;
	if (!best)
		return;
	cpu_model_features(best, &its);
	cpu_features_without(more, &its);
}

const struct cpu_model *cpu_next(const struct cpu_of *c)
{
	for (unsigned int i = 0; i < cpu_model_count(); i++)
		if (cpu_model_at(i)->vendor == CPU_VENDOR_ANY && cpu_model_lacks(cpu_model_at(i), &c->has, NULL))
			return cpu_model_at(i);
	return NULL;
}

json_t *cpu_names_json(const struct cpu_features *s)
{
	json_t *list = json_array();

	for (unsigned int i = 0; i < cpu_feature_count(); i++)
		if (cpu_features_has(s, i))
			json_array_append_new(list, json_string(cpu_feature_at(i)->name));
	return list;
}

static const char *name_of(const struct cpu_model *m)
{
	return m ? m->name : NULL;
}

void cpu_add_json(json_t *o, const struct cpu_of *c)
{
	const struct cpu_model *model = cpu_model_best(&c->has, c->vendor, false),
			       *level = cpu_model_best(&c->has, c->vendor, true);
	struct cpu_features more;
	json_t *add;

	cpu_more(c, &more);
	add = json_pack("{s:s?, s:s?, s:o}", "model", name_of(model), "level", name_of(level), "more", cpu_names_json(&more));
	json_object_update(o, add);
	json_decref(add);
}

void cpu_print_names(const char *head, const struct cpu_features *s)
{
	size_t column = 0;

	for (unsigned int i = 0; i < cpu_feature_count(); i++) {
		const char *name = cpu_feature_at(i)->name;

		if (!cpu_features_has(s, i))
			continue;
		if (column && column + 1 + strlen(name) > LINE) {
			putchar('\n');
			column = 0;
		}
		column += (size_t)(column ? printf(" %s", name) : printf("%-*s%s", HEAD, head, name));
		head = "";
	}
	if (column)
		putchar('\n');
}

void cpu_print(const struct cpu_of *c)
{
	const struct cpu_model *model = cpu_model_best(&c->has, c->vendor, false),
			       *level = cpu_model_best(&c->has, c->vendor, true);
	struct cpu_features more;

	cpu_more(c, &more);
	printf("Model:     %s\n", model ? model->name : "none, not all of x86-64-v1 is there");
	if (level && level != model)
		printf("Level:     %s\n", level->name);
	cpu_print_names("More:", &more);
}

void cpu_print_lack(const char *who, const struct cpu_model *next, const struct cpu_features *has)
{
	struct cpu_features lack;
	char names[LINE];

	if (next && cpu_model_lacks(next, has, &lack))
		printf("%s lacks %s of %s\n", who, cpu_features_text(&lack, names, sizeof(names)), next->name);
}
