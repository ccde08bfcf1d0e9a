/* SPDX-License-Identifier: Apache-2.0 */
/* Cluster files: levels, options with free keys, defaults, and each refusal. */
#include "conf/cluster.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char whole[] =
	"run_dir: /tmp/run\n"
	"hosts:\n"
	"  - name: n1\n"
	"    address: 10.0.0.1\n"
	"    fence:\n"
	"      - agent: /opt/my_agent\n"
	"        level: 2\n"
	"      - agent: fence_ipmilan\n"
	"        timeout: 1500ms\n"
	"        options: {ip: 10.9.0.1, username: admin, password: \"a:b #c\", cipher: 3}\n"
	"      - agent: fence_dummy\n"
	"  - name: n2\n";

static struct cluster_conf *parse(const char *text)
{
	struct cluster_conf *c;
	struct err e = { 0 };

	if (cluster_conf_parse("c.yaml", text, strlen(text), &c, &e))
		fail_msg("%s", e.text);
	return c;
}

static void refused(const char *text, const char *expected)
{
	struct cluster_conf *c = (void *)1;
	struct err e = { 0 };

	assert_int_equal(cluster_conf_parse("c.yaml", text, strlen(text), &c, &e), -EINVAL);
	assert_null(c);
	assert_string_equal(e.text, expected);
}

static void devices_are_in_the_order_of_their_levels(void **state)
{
	struct cluster_conf *c = parse(whole);
	const struct cluster_host *h = cluster_conf_host(c, "n1");

	assert_non_null(h);
	assert_string_equal(h->address, "10.0.0.1");
	assert_int_equal(h->n_fence, 3);
	assert_string_equal(h->fence[0].agent, "fence_ipmilan");
	assert_string_equal(h->fence[1].agent, "fence_dummy");
	assert_string_equal(h->fence[2].agent, "/opt/my_agent");
	assert_int_equal(h->fence[0].level, 1);
	assert_int_equal(h->fence[2].level, 2);
	assert_int_equal(h->fence[0].timeout_ms, 1500);
	assert_int_equal(h->fence[1].timeout_ms, 20000);
	cluster_conf_free(c);
}

static void options_keep_their_text(void **state)
{
	struct cluster_conf *c = parse(whole);
	const struct cluster_fence *f = &cluster_conf_host(c, "n1")->fence[0];

	assert_int_equal(f->n_options, 4);
	assert_string_equal(f->options[0].key, "ip");
	assert_string_equal(f->options[0].value, "10.9.0.1");
	assert_string_equal(f->options[2].value, "a:b #c");
	assert_string_equal(f->options[3].value, "3");
	cluster_conf_free(c);
}

static void defaults_hold_without_a_file(void **state)
{
	struct cluster_conf *c = cluster_conf_default();

	assert_string_equal(c->run_dir, "/run/drover");
	assert_string_equal(c->state_dir, "/var/lib/drover");
	assert_string_equal(c->agents_dir, "/usr/sbin");
	assert_null(c->drover_hv);
	assert_int_equal(c->n_hosts, 0);
	assert_null(cluster_conf_host(c, "n1"));
	cluster_conf_free(c);
	c = parse("hosts: []\n");
	assert_string_equal(c->run_dir, "/run/drover");
	cluster_conf_free(c);
}

static void a_witness_has_a_path_and_an_id(void **state)
{
	struct cluster_conf *c = parse("witness:\n  path: /mnt/w\n  id: 0123456789abcdef\n"), *b;
	char *text = cluster_conf_print(c);

	assert_string_equal(c->witness_path, "/mnt/w");
	assert_true(c->witness_id == 0x0123456789abcdefull);
	b = parse(text);
	assert_string_equal(b->witness_path, "/mnt/w");
	assert_true(b->witness_id == c->witness_id);
	free(text);
	cluster_conf_free(b);
	cluster_conf_free(c);
	c = parse("hosts: []\n");
	assert_null(c->witness_path);
	cluster_conf_free(c);
}

static void what_is_printed_loads_to_the_same(void **state)
{
	struct cluster_conf *a = parse(whole), *b;
	char *first = cluster_conf_print(a), *second;

	b = parse(first);
	second = cluster_conf_print(b);
	assert_string_equal(first, second);
	assert_string_equal(b->run_dir, "/tmp/run");
	assert_int_equal(cluster_conf_host(b, "n1")->n_fence, 3);
	assert_string_equal(cluster_conf_host(b, "n1")->fence[0].options[2].value, "a:b #c");
	assert_int_equal(cluster_conf_host(b, "n2")->n_fence, 0);
	free(first);
	free(second);
	cluster_conf_free(a);
	cluster_conf_free(b);
}

static void what_was_copied_and_not_changed_is_told(void **state)
{
	struct cluster_conf *c;

	refused("hosts:\n- name: n1\n  address: db.lan\n- name: n2\n  address: DB.lan\n",
		"c.yaml:5: hosts[1].address: 'DB.lan' is the address of host 'n1' already");
	refused("hosts:\n- name: n1\n  fence: [{agent: x, options: {ip: 1, plug: 2}}]\n"
		"- name: n2\n  fence:\n  - agent: x\n    level: 3\n    options: {plug: 2, ip: 1}\n",
		"c.yaml:6: hosts[1].fence[0]: is the device of host 'n1', with the same options: fencing one would "
		"switch the other off");
	refused("hosts:\n- name: n1\n  fence:\n  - {agent: x, options: {ip: 1}}\n  - {agent: x, options: {ip: 1}}\n",
		"c.yaml:5: hosts[0].fence[1]: host 'n1' has this device at this level already");
	/* Again at the next level, or another plug, or a program that needs no options. */
	c = parse("hosts:\n- name: n1\n  fence:\n  - {agent: x, options: {ip: 1}}\n  - {agent: x, level: 2, options: {ip: 1}}\n"
		  "  - {agent: /y}\n- name: n2\n  fence: [{agent: x, options: {ip: 2}}, {agent: /y}]\n");
	assert_int_equal(c->n_hosts, 2);
	cluster_conf_free(c);
}

#define FENCE "hosts:\n- name: n1\n  fence:\n  - agent: fence_x\n"

static void each_mistake_is_named(void **state)
{
	refused("hots: []\n", "c.yaml:1: hots: unknown key, did you mean 'hosts'?");
	refused("hosts:\n- adress: 10.0.0.1\n",
		"c.yaml:2: hosts[0].adress: unknown key, did you mean 'address'?");
	refused("hosts:\n- address: 10.0.0.1\n", "c.yaml:2: hosts[0]: 'name' is missing");
	refused("hosts:\n- name: n1\n- name: n1\n",
		"c.yaml:3: hosts[1].name: 'n1' is in the list already");
	refused("hosts:\n- name: n1\n  address: 10.0.0.256\n",
		"c.yaml:3: hosts[0].address: got '10.0.0.256', expected an IP address or a host "
		"name");
	refused("witness:\n  path: /w\n", "c.yaml:1: witness: 'id' is missing");
	refused("witness:\n  path: w\n  id: 0123456789abcdef\n", "c.yaml:2: witness.path: got 'w', expected an absolute path");
	refused("witness:\n  path: /w\n  id: 0123\n",
		"c.yaml:3: witness.id: expected 16 hex digits, as 'drover witness init' printed them");
	refused("run_dir: run\n", "c.yaml:1: run_dir: got 'run', expected an absolute path");
	refused("hosts:\n- name: n1\n  fence:\n  - level: 1\n",
		"c.yaml:4: hosts[0].fence[0]: 'agent' is missing");
	refused("hosts:\n- name: n1\n  fence:\n  - agent: ../fence_x\n",
		"c.yaml:4: hosts[0].fence[0].agent: got '../fence_x', expected an absolute path");
	refused(FENCE "    level: 10\n",
		"c.yaml:5: hosts[0].fence[0].level: got 10, expected 1 to 9");
	refused(FENCE "    timeout: 20\n",
		"c.yaml:5: hosts[0].fence[0].timeout: got '20', expected a time such as 250ms or "
		"20s");
	refused(FENCE "    timeout: 1ms\n",
		"c.yaml:5: hosts[0].fence[0].timeout: got '1ms', expected 100ms to 10m");
	refused(FENCE "    options: ip=1\n",
		"c.yaml:5: hosts[0].fence[0].options: expected the agent's options, one "
		"'key: value' for each");
	refused(FENCE "    options: {ip: [1]}\n",
		"c.yaml:5: hosts[0].fence[0].options.ip: expected one value");
	refused(FENCE "    options: {action: off}\n",
		"c.yaml:5: hosts[0].fence[0].options.action: is set by Drover for each call, "
		"expected it left out");
	refused(FENCE "    options: {a: \"x\\naction=status\"}\n",
		"c.yaml:5: hosts[0].fence[0].options.a: has a control character in it, expected "
		"one line of text");
	refused(FENCE "    options: {\"a=b\": c}\n",
		"c.yaml:5: hosts[0].fence[0].options.a=b: expected letters, digits, '_' or '-' in "
		"an option's name");
	refused(FENCE "    options: {a: 1, a: 2}\n",
		"c.yaml:5: hosts[0].fence[0].options.a: given twice, first in line 5");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(devices_are_in_the_order_of_their_levels),
		cmocka_unit_test(options_keep_their_text),
		cmocka_unit_test(defaults_hold_without_a_file),
		cmocka_unit_test(a_witness_has_a_path_and_an_id),
		cmocka_unit_test(what_is_printed_loads_to_the_same),
		cmocka_unit_test(what_was_copied_and_not_changed_is_told),
		cmocka_unit_test(each_mistake_is_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
