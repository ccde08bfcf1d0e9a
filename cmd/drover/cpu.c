/* SPDX-License-Identifier: Apache-2.0 */
/* cpu - processors: this host's, models and features by name, and what all hosts have in common. */
#include "cmd/drover/cpu.h"

#include "cmd/drover/drover.h"
#include "hv/cpu/cpuid.h"

#include <errno.h>
#include <string.h>

/* --- list --- */

static json_t *model_json(const struct cpu_model *m)
{
	struct cpu_features has;

	cpu_model_features(m, &has);
	return json_pack("{s:s, s:s, s:s, s:o}", "name", m->name, "vendor", cpu_vendor_name(m->vendor), "about", m->about,
			 "features", cpu_names_json(&has));
}

static json_t *feature_json(const struct cpu_feature *f)
{
	static const char *const regs[] = { "eax", "ebx", "ecx", "edx" };

	return json_pack("{s:s, s:I, s:I, s:s, s:i, s:s?}", "name", f->name, "leaf", (json_int_t)f->leaf, "index",
			 (json_int_t)f->index, "register", regs[f->reg], "bit", (int)f->bit, "needs", f->needs);
}

static void list_json(void)
{
	json_t *models = json_array(), *features = json_array(), *o;

	for (unsigned int i = 0; i < cpu_model_count(); i++)
		json_array_append_new(models, model_json(cpu_model_at(i)));
	for (unsigned int i = 0; i < cpu_feature_count(); i++)
		if (cpu_feature_at(i)->kind == CPU_FEATURE_PLAIN)
			json_array_append_new(features, feature_json(cpu_feature_at(i)));
	o = json_pack("{s:o, s:o}", "models", models, "features", features);
	print_json(o);
	json_decref(o);
}

static void list_people(void)
{
	static const char *const heads[] = { "MODEL", "VENDOR", "ABOUT" };
	struct table *t = table_make(3, heads);
	struct cpu_features all = { { 0 } };

	for (unsigned int i = 0; i < cpu_model_count(); i++) {
		const struct cpu_model *m = cpu_model_at(i);

		table_row(t, (const char *const[]){ m->name, cpu_vendor_name(m->vendor), m->about });
	}
	table_print(t, stdout);
	for (unsigned int i = 0; i < cpu_feature_count(); i++)
		if (cpu_feature_at(i)->kind == CPU_FEATURE_PLAIN)
			cpu_features_put(&all, i);
	putchar('\n');
	cpu_print_names("Features:", &all);
}

int verb_cpu_list(struct drover *d)
{
	const struct cpu_model *m = d->argc ? cpu_model_find(d->argv[0]) : NULL;
	struct cpu_features has;
	json_t *o;

	if (d->argc && !m)
		return say_error(EXIT_NOTFOUND, "no CPU model '%.64s'; 'drover cpu list' has all", d->argv[0]);
	if (m && d->opt.json) {
		o = model_json(m);
		print_json(o);
		json_decref(o);
	} else if (m) {
		cpu_model_features(m, &has);
		printf("Model:     %s, %s\nVendor:    %s\n", m->name, m->about, cpu_vendor_name(m->vendor));
		cpu_print_names("Features:", &has);
	} else if (d->opt.json) {
		list_json();
	} else {
		list_people();
	}
	return EXIT_OK;
}

/* --- baseline --- */

struct baseline {
	struct cpu_of all;
	json_t *hosts, *unknown; /* names */
};

static int baseline_of(json_t *list, struct baseline *b)
{
	size_t i, n = 0;
	json_t *o;

	b->hosts = json_array();
	b->unknown = json_array();
	json_array_foreach(list, i, o) {
		struct cpu_of one;

		if (!cpu_of_json(json_object_get(o, "cpu"), &one)) {
			json_array_append_new(b->unknown, json_string(str_of(o, "name")));
			continue;
		}
		json_array_append_new(b->hosts, json_string(str_of(o, "name")));
		if (n++)
			cpu_of_both(&b->all, &one);
		else
			b->all = one;
	}
	return n ? EXIT_OK : say_error(EXIT_ERROR, "no host has told of its processor yet");
}

static void print_list(const char *head, json_t *names)
{
	size_t i;
	json_t *o;

	if (json_array_size(names))
		fputs(head, stdout);
	json_array_foreach(names, i, o)
		printf("%s%s", i ? ", " : "", text_of(o));
	if (json_array_size(names))
		putchar('\n');
}

static void print_lacks(json_t *list, const struct cpu_model *next)
{
	size_t i;
	json_t *o;

	json_array_foreach(list, i, o) {
		struct cpu_of one;

		if (cpu_of_json(json_object_get(o, "cpu"), &one))
			cpu_print_lack(str_of(o, "name"), next, &one.has);
	}
}

/* Without the figures of one host it may be too much for that: said, and told by the exit code. */
static int baseline_tell(struct drover *d, json_t *list, const struct baseline *b)
{
	json_t *o;

	if (d->opt.json) {
		o = json_pack("{s:O, s:O, s:s, s:i, s:o}", "hosts", b->hosts, "unknown", b->unknown, "vendor",
			      cpu_vendor_name(b->all.vendor), "address_bits", (int)b->all.address_bits, "features",
			      cpu_names_json(&b->all.has));
		cpu_add_json(o, &b->all);
		print_json(o);
		json_decref(o);
	} else {
		print_list("Hosts:     ", b->hosts);
		print_list("Unknown:   ", b->unknown);
		printf("Vendor:    %s\n", b->all.vendor ? cpu_vendor_name(b->all.vendor) : "several, or another: domains stay with their host's");
		cpu_print(&b->all);
		print_lacks(list, cpu_next(&b->all));
	}
	if (!json_array_size(b->unknown))
		return EXIT_OK;
	fprintf(stderr, "drover: %zu of %zu hosts told nothing of their processors (offline, or an older droverd): they may have less\n",
		json_array_size(b->unknown), json_array_size(b->unknown) + json_array_size(b->hosts));
	return EXIT_ERROR;
}

int verb_cpu_baseline(struct drover *d)
{
	struct baseline b = { .hosts = NULL };
	struct err e = { 0 };
	json_t *list;
	int code = http_request(d->http, "GET", "cpus", NULL, 0, &list, &e);

	if (code)
		return say_error(code, "%s", e.text);
	code = baseline_of(list, &b);
	if (!code)
		code = baseline_tell(d, list, &b);
	json_decref(b.hosts);
	json_decref(b.unknown);
	json_decref(list);
	return code;
}

/* --- show --- */

int verb_cpu_show(struct drover *d)
{
	struct cpuid_table host;
	struct err e = { 0 };
	struct cpu_of here;
	json_t *o;
	int rc = cpuid_here(&host, &e);

	if (rc)
		return say_error(err_exit_code(rc), "%s", e.text);
	o = cpuid_host_json(&host);
	if (!cpu_of_json(o, &here)) {
		json_decref(o);
		return say_error(EXIT_ERROR, "out of memory");
	}
	if (d->opt.json) {
		cpu_add_json(o, &here);
		print_json(o);
	} else {
		printf("Processor: %s%s%s, addresses of %u bits\n", str_of(o, "name"), *str_of(o, "name") ? ", " : "", str_of(o, "vendor"),
		       here.address_bits);
		cpu_print(&here);
		cpu_print_names("All:", &here.has);
		cpu_print_lack("It", cpu_next(&here), &here.has);
	}
	json_decref(o);
	return EXIT_OK;
}
