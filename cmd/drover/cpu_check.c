/* SPDX-License-Identifier: Apache-2.0 */
/* cpu_check - on which hosts the processor that a domain's file asks for can be had. */
#include "cmd/drover/cpu.h"

#include "cmd/drover/drover.h"
#include "conf/domain.h"
#include "hv/cpu/cpuid.h"

#include <string.h>

#define WHY_MAX 120

/* What keeps @c's domain from @host; "": nothing.  As drover-hv sees it there (hv/cpu/cpuid_guest.c). */
static void judge(const struct domain_conf *c, const struct cpu_of *host, struct cpu_features *lack, char why[WHY_MAX])
{
	const struct cpu_model *m = c->cpu.model;
	unsigned int bits = m ? cpuid_model_bits(c->memory) : 0;
	struct cpu_features gone;
	char names[WHY_MAX - 8];

	why[0] = '\0';
	domain_cpu_features(&c->cpu, lack, &gone);
	cpu_features_without(lack, &host->has);
	if (m && m->vendor != CPU_VENDOR_ANY && m->vendor != host->vendor)
		snprintf(why, WHY_MAX, "no processor of %s", cpu_vendor_name(m->vendor));
	else if (cpu_features_any(lack))
		snprintf(why, WHY_MAX, "lacks %s", cpu_features_text(lack, names, sizeof(names)));
	else if (host->address_bits < bits)
		snprintf(why, WHY_MAX, "%u address bits, %u are needed", host->address_bits, bits);
}

/* {name, runs, lacks, why}; runs is null where the host told nothing */
static json_t *judged(const struct domain_conf *c, json_t *o, bool *everywhere)
{
	struct cpu_features lack = { { 0 } };
	char why[WHY_MAX] = "it told nothing of its processor";
	struct cpu_of host;
	bool known = cpu_of_json(json_object_get(o, "cpu"), &host);

	if (known)
		judge(c, &host, &lack, why);
	*everywhere = *everywhere && !*why;
	return json_pack("{s:s, s:o, s:o, s:s}", "name", str_of(o, "name"), "runs", known ? json_boolean(!*why) : json_null(), "lacks",
			 cpu_names_json(&lack), "why", why);
}

static void tell(const struct domain_conf *c, json_t *list)
{
	static const char *const heads[] = { "HOST", "RUNS", "WHY" };
	struct table *t = table_make(3, heads);
	size_t i;
	json_t *o;

	json_array_foreach(list, i, o) {
		json_t *runs = json_object_get(o, "runs");

		table_row(t, (const char *const[]){ str_of(o, "name"), json_is_null(runs) ? "?" : json_is_true(runs) ? "yes" :
														       "no",
						    *str_of(o, "why") ? str_of(o, "why") : NULL });
	}
	table_print(t, stdout);
	if (!c->cpu.model)
		puts("\nWithout a model the guest sees what the host has where it starts, and moves only where that is too.");
}

int verb_cpu_check(struct drover *d)
{
	json_t *list, *out = json_array(), *o;
	struct domain_conf *c = NULL;
	struct err e = { 0 };
	bool everywhere = true;
	size_t i;
	int code, rc = domain_conf_load(d->argv[0], &c, &e);

	if (rc) {
		json_decref(out);
		return say_error(err_exit_code(rc), "%s", e.text);
	}
	code = http_request(d->http, "GET", "cpus", NULL, 0, &list, &e);
	if (code) {
		say_error(code, "%s", e.text);
	} else {
		json_array_foreach(list, i, o)
			json_array_append_new(out, judged(c, o, &everywhere));
		if (d->opt.json)
			print_json(out);
		else
			tell(c, out);
		json_decref(list);
		code = everywhere ? EXIT_OK : EXIT_REFUSED;
	}
	json_decref(out);
	domain_conf_free(c);
	return code;
}
