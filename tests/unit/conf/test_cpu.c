/* SPDX-License-Identifier: Apache-2.0 */
/* Features by name, models over them, and what a domain's file says of its processor. */
#include "tests/unit/conf/domain_text.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct cpu_features set_of(const char *names)
{
	struct cpu_features s = { { 0 } };

	assert_true(cpu_features_read(&s, names));
	return s;
}

static void assert_features(const struct cpu_features *s, const char *names)
{
	struct cpu_features want = set_of(names);

	assert_memory_equal(s, &want, sizeof(want));
}

static void each_name_and_each_bit_stands_for_one_feature(void **state)
{
	for (unsigned int i = 0; i < cpu_feature_count(); i++) {
		const struct cpu_feature *f = cpu_feature_at(i);

		assert_int_equal(cpu_feature_find(f->name, strlen(f->name)), i);
		assert_ptr_equal(cpu_feature_of(f->leaf, f->index, f->reg, f->bit), f);
		assert_true(f->bit < 32);
		/* what can be named in a file is one word */
		assert_true(f->kind != CPU_FEATURE_PLAIN || !strchr(f->name, ' '));
		assert_true(f->kind != CPU_FEATURE_FOLLOWS || f->needs);
	}
	assert_int_equal(cpu_feature_find("vmx", 3), -1); /* no state of a nested guest is carried */
	assert_int_equal(cpu_feature_find("av", 2), -1);
}

static void needs_end_and_name_features(void **state)
{
	for (unsigned int i = 0; i < cpu_feature_count(); i++) {
		const struct cpu_feature *f = cpu_feature_at(i);
		unsigned int steps = 0;

		for (; f->needs; steps++) {
			int other = cpu_feature_find(f->needs, strlen(f->needs));

			assert_true(other >= 0);
			f = cpu_feature_at((unsigned int)other);
			assert_true(steps < 10);
		}
	}
}

/* Names and bits as the manuals have them: one of each word. */
static void bits_are_those_of_the_manuals(void **state)
{
	static const struct {
		const char *name;
		uint32_t leaf, index;
		enum cpu_reg reg;
		unsigned int bit;
	} known[] = {
		{ "sse2", 1, 0, CPU_EDX, 26 },
		{ "cx16", 1, 0, CPU_ECX, 13 },
		{ "avx", 1, 0, CPU_ECX, 28 },
		{ "arat", 6, 0, CPU_EAX, 2 },
		{ "avx2", 7, 0, CPU_EBX, 5 },
		{ "avx512vl", 7, 0, CPU_EBX, 31 },
		{ "umip", 7, 0, CPU_ECX, 2 },
		{ "spec_ctrl", 7, 0, CPU_EDX, 26 },
		{ "avx_vnni", 7, 1, CPU_EAX, 4 },
		{ "bhi_ctrl", 7, 2, CPU_EDX, 4 },
		{ "xsavec", 0xd, 1, CPU_EAX, 1 },
		{ "kvmclock", 0x40000001, 0, CPU_EAX, 3 },
		{ "syscall", 0x80000001, 0, CPU_EDX, 11 },
		{ "nx", 0x80000001, 0, CPU_EDX, 20 },
		{ "abm", 0x80000001, 0, CPU_ECX, 5 },
		{ "nonstop_tsc", 0x80000007, 0, CPU_EDX, 8 },
		{ "amd_ibpb", 0x80000008, 0, CPU_EBX, 12 },
		{ "autoibrs", 0x80000021, 0, CPU_EAX, 8 },
	};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		const struct cpu_feature *f = cpu_feature_of(known[i].leaf, known[i].index, known[i].reg, known[i].bit);

		assert_non_null(f);
		assert_string_equal(f->name, known[i].name);
	}
}

/* What it is without is the same as what it is with, read from the other side. */
static void what_is_needed_comes_and_what_needs_it_goes(void **state)
{
	struct cpu_features s = set_of("avx512vl");

	cpu_features_add_needed(&s);
	assert_features(&s, "avx512vl avx512f avx2 avx xsave fxsr");
	s = set_of("avx512f");
	cpu_features_add_needing(&s);
	assert_true(cpu_features_has(&s, (unsigned int)cpu_feature_find("avx512_fp16", 11)));
	assert_false(cpu_features_has(&s, (unsigned int)cpu_feature_find("avx2", 4)));
}

static void names_that_have_no_room_are_counted(void **state)
{
	struct cpu_features s = set_of("pni ssse3 avx avx2 aes");
	char buf[64], small[24];

	assert_string_equal(cpu_features_text(&s, buf, sizeof(buf)), "pni, ssse3, aes, avx, avx2");
	assert_string_equal(cpu_features_text(&s, small, sizeof(small)), "pni and 4 more");
	s = set_of("");
	assert_string_equal(cpu_features_text(&s, buf, sizeof(buf)), "");
}

/* --- models --- */

static void models_are_closed_and_grow(void **state)
{
	struct cpu_features has, closed, base;
	char text[64];

	for (unsigned int i = 0; i < cpu_model_count(); i++) {
		const struct cpu_model *m = cpu_model_at(i);

		assert_ptr_equal(cpu_model_find(m->name), m);
		assert_true(strlen(m->brand) <= CPU_BRAND_MAX);
		for (const char *p = m->features; *p; p += strcspn(p, " ") + (p[strcspn(p, " ")] == ' '))
			if (cpu_feature_find(p, strcspn(p, " ")) < 0)
				fail_msg("%s: no feature %.20s", m->name, p);
		cpu_model_features(m, &has);
		closed = has;
		cpu_features_add_needed(&closed);
		cpu_features_without(&closed, &has);
		if (cpu_features_any(&closed))
			fail_msg("%s lacks %s", m->name, cpu_features_text(&closed, text, sizeof(text)));
		if (!m->base)
			continue;
		cpu_model_features(cpu_model_find(m->base), &base);
		cpu_features_without(&base, &has);
		assert_false(cpu_features_any(&base));
		assert_true(cpu_model_find(m->base)->vendor == CPU_VENDOR_ANY || cpu_model_find(m->base)->vendor == m->vendor);
	}
	assert_null(cpu_model_find("host"));
	assert_null(cpu_model_find("x86-64"));
}

/* System V ABI, AMD64 supplement, table 3.1; OSFXSR and OSXSAVE are the kernel's to set, SCE is syscall. */
static void levels_are_those_of_the_psabi(void **state)
{
	static const struct {
		const char *model, *has, *has_not;
	} levels[] = {
		{ "x86-64-v1", "cmov cx8 fpu fxsr mmx syscall sse sse2", "cx16 lahf_lm popcnt pni sse4_1 sse4_2 ssse3" },
		{ "x86-64-v2", "cx16 lahf_lm popcnt pni sse4_1 sse4_2 ssse3", "avx avx2 bmi1 bmi2 f16c fma abm movbe xsave aes" },
		{ "x86-64-v3", "avx avx2 bmi1 bmi2 f16c fma abm movbe xsave", "avx512f avx512bw avx512cd avx512dq avx512vl" },
		{ "x86-64-v4", "avx512f avx512bw avx512cd avx512dq avx512vl", "avx512_vnni" },
	};

	for (size_t i = 0; i < sizeof(levels) / sizeof(levels[0]); i++) {
		struct cpu_features has, must = set_of(levels[i].has), not = set_of(levels[i].has_not);

		cpu_model_features(cpu_model_find(levels[i].model), &has);
		cpu_features_without(&must, &has);
		assert_false(cpu_features_any(&must));
		cpu_features_both(&not, &has);
		assert_false(cpu_features_any(&not ));
	}
}

/* --- a domain's file --- */

static void a_file_says_nothing_means_as_the_host(void **state)
{
	struct domain_conf *c = parse(LEAST);
	struct cpu_features has, gone;

	assert_null(c->cpu.model);
	domain_cpu_features(&c->cpu, &has, &gone);
	assert_false(cpu_features_any(&has) || cpu_features_any(&gone));
	domain_conf_free(c);
	c = parse(LEAST "cpu: {model: host}\n");
	assert_null(c->cpu.model);
	domain_conf_free(c);
}

static void features_are_added_with_what_they_need_and_taken_with_what_needs_them(void **state)
{
	struct domain_conf *c = parse(LEAST "cpu:\n  model: x86-64-v2\n  features: [+avx2, -ssse3, \"+aes\"]\n");
	struct cpu_features has, gone, v2;

	assert_string_equal(c->cpu.model->name, "x86-64-v2");
	domain_cpu_features(&c->cpu, &has, &gone);
	cpu_model_features(c->cpu.model, &v2);
	cpu_features_without(&has, &v2);
	assert_features(&has, "aes avx avx2 xsave");
	assert_features(&gone, "ssse3");
	domain_conf_free(c);
	c = parse(LEAST "cpu: {features: [-avx]}\n");
	domain_cpu_features(&c->cpu, &has, &gone);
	assert_true(cpu_features_has(&gone, (unsigned int)cpu_feature_find("avx512_vnni", 11)));
	assert_false(cpu_features_any(&has));
	domain_conf_free(c);
}

static void a_printed_file_is_the_same_again(void **state)
{
	struct domain_conf *c = parse(LEAST "cpu:\n  model: EPYC-Rome\n  topology: {sockets: 1, cores: 1, threads: 1}\n  features: [+pku, -rdrand, -x2apic]\n"), *again;
	char *text = domain_conf_print(c);

	assert_non_null(strstr(text, "cpu:\n  model: EPYC-Rome\n  topology: {sockets: 1, cores: 1, threads: 1}\n  features: [\"+pku\", \"-x2apic\", \"-rdrand\"]\n"));
	again = parse(text);
	assert_memory_equal(&again->cpu, &c->cpu, sizeof(c->cpu));
	free(text);
	domain_conf_free(again);
	domain_conf_free(c);
}

static void topology_is_of(const char *text, uint32_t sockets, uint32_t cores, uint32_t threads)
{
	struct domain_conf *c = parse(text);

	assert_int_equal(c->cpu.topology.sockets, sockets);
	assert_int_equal(c->cpu.topology.cores, cores);
	assert_int_equal(c->cpu.topology.threads, threads);
	domain_conf_free(c);
}

static void what_a_topology_leaves_out_follows(void **state)
{
	topology_is_of(LEAST, 1, 1, 1);
	topology_is_of(LEAST "vcpus: 6\n", 1, 6, 1);
	topology_is_of(LEAST "vcpus: 8\ncpu: {topology: {threads: 2}}\n", 1, 4, 2);
	topology_is_of(LEAST "vcpus: 8\ncpu: {topology: {sockets: 2}}\n", 2, 4, 1);
	topology_is_of(LEAST "vcpus: 12\ncpu: {topology: {sockets: 2, cores: 3, threads: 2}}\n", 2, 3, 2);
	refused(LEAST "vcpus: 8\ncpu: {topology: {sockets: 3}}\n", "t.yaml:5: cpu.topology: sockets x cores x threads must be the 8 vcpus");
	refused(LEAST "vcpus: 8\ncpu: {topology: {cores: 4}}\n", "t.yaml:5: cpu.topology: sockets x cores x threads must be the 8 vcpus");
	refused(LEAST "vcpus: 8\ncpu: {topology: {sockets: 16}}\n", "t.yaml:5: cpu.topology: sockets x cores x threads must be the 8 vcpus");
	refused(LEAST "vcpus: 2\ncpu: {topology: {sockets: 65537, cores: 65536, threads: 99999999}}\n",
		"t.yaml:5: cpu.topology: sockets x cores x threads must be the 2 vcpus");
	refused(LEAST "cpu: {topology: {threads: 0}}\n", "t.yaml:4: cpu.topology: got 0, expected 1 or more of each");
}

/* Ids side by side, with holes where a number is no power of two. */
static void apic_ids_have_a_field_for_each_level(void **state)
{
	static const struct cpu_topology t[] = { { 1, 8, 1 }, { 2, 3, 2 }, { 3, 1, 1 }, { 2, 5, 3 } };
	static const struct {
		int topology;
		uint32_t i, id;
	} ids[] = { { 0, 0, 0 }, { 0, 7, 7 }, { 1, 5, 5 }, { 1, 6, 8 }, { 1, 11, 13 }, { 2, 2, 2 }, { 3, 3, 4 }, { 3, 15, 32 }, { 3, 29, 50 } };

	for (size_t k = 0; k < sizeof(ids) / sizeof(ids[0]); k++)
		assert_int_equal(cpu_topology_apic_id(&t[ids[k].topology], ids[k].i), ids[k].id);
	refused(LEAST "vcpus: 150\ncpu: {topology: {sockets: 10, cores: 5, threads: 3}}\n",
		"t.yaml:5: cpu.topology: its last vCPU would have APIC id 306, expected at most 254: let cores and threads be powers of two");
}

static void a_pin_is_a_list_for_all_or_a_list_for_some(void **state)
{
	struct domain_conf *c = parse(LEAST "vcpus: 3\ncpu: {pin: \"1-2,5\"}\n"), *again;
	char text[CPU_LIST_TEXT], *printed;

	for (int i = 0; i < 3; i++)
		assert_string_equal(cpu_list_print(&c->cpu.pin[i], text, sizeof(text)), "1-2,5");
	domain_conf_free(c);
	c = parse(LEAST "vcpus: 3\ncpu: {pin: {0: 2, 2: \"3\"}}\n");
	assert_string_equal(cpu_list_print(&c->cpu.pin[0], text, sizeof(text)), "2");
	assert_false(cpu_list_any(&c->cpu.pin[1]));
	printed = domain_conf_print(c);
	again = parse(printed);
	assert_memory_equal(again->cpu.pin, c->cpu.pin, 3 * sizeof(c->cpu.pin[0]));
	free(printed);
	domain_conf_free(again);
	domain_conf_free(c);
	refused(LEAST "vcpus: 3\ncpu: {pin: {3: \"1\"}}\n", "t.yaml:5: cpu.pin.3: expected the number of a vCPU, 0 to 2, before its list");
	refused(LEAST "cpu: {pin: {0: 1, 00: 2}}\n", "t.yaml:4: cpu.pin.00: given twice, first in line 4");
	refused(LEAST "cpu: {pin: {0: [1]}}\n",
		"t.yaml:4: cpu.pin.0: got '', expected numbers of the host's CPUs, 0 to 1023, such as \"0-3,8\"");
	refused(LEAST "cpu: {pin: [0, 1]}\n", "t.yaml:4: cpu.pin: got '', expected numbers of the host's CPUs, 0 to 1023, such as \"0-3,8\"");
	refused(LEAST "cpu: {pin: 4-1}\n", "t.yaml:4: cpu.pin: got '4-1', expected numbers of the host's CPUs, 0 to 1023, such as \"0-3,8\"");
	refused(LEAST "cpu: {pin: 0-1024}\n",
		"t.yaml:4: cpu.pin: got '0-1024', expected numbers of the host's CPUs, 0 to 1023, such as \"0-3,8\"");
}

static void what_is_wrong_is_said(void **state)
{
	refused(LEAST "cpu: {model: x86-64-v5}\n",
		"t.yaml:4: cpu.model: 'x86-64-v5' is no model, expected one of host, x86-64-v1, x86-64-v2, x86-64-v3, x86-64-v4, "
		"Haswell, Skylake-Server, Cascadelake-Server, Icelake-Server, EPYC, EPYC-Rome, EPYC-Milan");
	refused(LEAST "cpu: {features: [avx2]}\n",
		"t.yaml:4: cpu.features[0]: got 'avx2', expected + or - and the name of a feature");
	refused(LEAST "cpu: {features: [+avx2, -avx3]}\n",
		"t.yaml:4: cpu.features[1]: 'avx3' is no feature that a domain can have ('drover cpu list' has their names)");
	refused(LEAST "cpu: {features: [+sse4.1]}\n", "t.yaml:4: cpu.features[0]: 'sse4.1' is no feature, did you mean 'sse4_1'?");
	refused(LEAST "cpu: {features: [-LZCNT]}\n", "t.yaml:4: cpu.features[0]: 'LZCNT' is no feature, did you mean 'abm'?");
	refused(LEAST "cpu: {features: [+ibpb]}\n",
		"t.yaml:4: cpu.features[0]: 'ibpb' is no feature, did you mean 'spec_ctrl' (Intel) or 'amd_ibpb'?");
	refused(LEAST "cpu: {features: [+vmx]}\n",
		"t.yaml:4: cpu.features[0]: 'vmx' is no feature that a domain can have ('drover cpu list' has their names)");
	refused(LEAST "cpu: {features: [+hypervisor]}\n",
		"t.yaml:4: cpu.features[0]: 'hypervisor' is no feature that a domain can have ('drover cpu list' has their names)");
	refused(LEAST "cpu: {features: [+aes, -aes]}\n", "t.yaml:4: cpu.features[1]: aes is given twice");
	refused(LEAST "cpu: {features: [+avx2, -avx]}\n", "t.yaml:4: cpu.features: avx2 needs a feature that is taken away");
	refused(LEAST "cpu: {features: +avx2}\n", "t.yaml:4: cpu.features: expected a list, one '- ' for each");
	refused(LEAST "cpu: {modle: host}\n", "t.yaml:4: cpu.modle: unknown key, did you mean 'model'?");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_name_and_each_bit_stands_for_one_feature),
		cmocka_unit_test(needs_end_and_name_features),
		cmocka_unit_test(bits_are_those_of_the_manuals),
		cmocka_unit_test(what_is_needed_comes_and_what_needs_it_goes),
		cmocka_unit_test(names_that_have_no_room_are_counted),
		cmocka_unit_test(models_are_closed_and_grow),
		cmocka_unit_test(levels_are_those_of_the_psabi),
		cmocka_unit_test(a_file_says_nothing_means_as_the_host),
		cmocka_unit_test(features_are_added_with_what_they_need_and_taken_with_what_needs_them),
		cmocka_unit_test(a_printed_file_is_the_same_again),
		cmocka_unit_test(what_a_topology_leaves_out_follows),
		cmocka_unit_test(apic_ids_have_a_field_for_each_level),
		cmocka_unit_test(a_pin_is_a_list_for_all_or_a_list_for_some),
		cmocka_unit_test(what_is_wrong_is_said),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
