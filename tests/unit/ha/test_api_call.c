/* SPDX-License-Identifier: Apache-2.0 */
/* api_call: what a request means, and every way it can be wrong. */
#include "base/reserve.h"
#include "ha/api/api_call.h"
#include "ha/api/api_validate.h"
#include "ha/core/apply/apply.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define CONF "name: web\nmemory: 64M\nkernel: /boot/vmlinuz\n"

static struct api_call call;
static struct err err;

static int parse(const char *method, const char *path, const char *query, const char *body)
{
	memset(&err, 0, sizeof(err));
	return api_call_parse(method, path, query, body, strlen(body), &call, &err);
}

static uint32_t id_of(void *arg, const char *name)
{
	return strcmp(name, "n1") == 0 ? 1 : strcmp(name, "n2") == 0 ? 2 :
								       0;
}

static void a_view_is_known_by_its_path(void **state)
{
	assert_int_equal(parse("GET", "/v1/status", NULL, ""), 0);
	assert_int_equal(call.what, API_STATUS);
	assert_int_equal(parse("GET", "/v1/domains", NULL, ""), 0);
	assert_int_equal(call.what, API_DOMAINS);
	assert_int_equal(parse("GET", "/v1/domains/web", NULL, ""), 0);
	assert_int_equal(call.what, API_DOMAIN);
	assert_string_equal(call.name, "web");
	assert_int_equal(parse("GET", "/v1/history", "after=12", ""), 0);
	assert_int_equal(call.after, 12);
}

static void an_unknown_path_or_method_is_named_so(void **state)
{
	assert_int_equal(parse("GET", "/v1/nothing", NULL, ""), -ENOENT);
	assert_int_equal(parse("GET", "/v2/status", NULL, ""), -ENOENT);
	assert_int_equal(parse("GET", "/v1/", NULL, ""), -ENOENT);
	assert_int_equal(parse("GET", "/v1/domains/a/b/c/d/e", NULL, ""), -ENOENT);
	assert_int_equal(parse("PUT", "/v1/status", NULL, ""), -EOPNOTSUPP);
	assert_int_equal(parse("DELETE", "/v1/domains", NULL, ""), -EOPNOTSUPP);
}

static void names_are_decoded_once_and_cannot_change_the_path(void **state)
{
	assert_int_equal(parse("GET", "/v1/domains/%77eb", NULL, ""), 0);
	assert_string_equal(call.name, "web");
	assert_int_equal(parse("GET", "/v1/domains/web%2Fconf", NULL, ""), -EINVAL);
	assert_int_equal(parse("GET", "/v1/domains/%2577eb", NULL, ""), -EINVAL);
	assert_int_equal(parse("GET", "/v1/domains/..%2Fnodes", NULL, ""), -EINVAL);
	assert_int_equal(parse("GET", "/v1//domains", NULL, ""), -ENOENT);
	assert_int_equal(parse("GET", "/v1/domains/web/", NULL, ""), -ENOENT);
}

static void a_file_can_be_started_on_a_host(void **state)
{
	assert_int_equal(parse("POST", "/v1/domains", "start=true&node=n%32", CONF), 0);
	assert_true(call.cmd.started);
	assert_int_equal(api_call_resolve(&call, id_of, NULL, &err), 0);
	assert_int_equal(call.cmd.node, 2);
}

static struct ha_claim claim_of(const char *more, size_t i)
{
	char text[512];

	snprintf(text, sizeof(text), "%s%s", CONF, more);
	assert_int_equal(parse("POST", "/v1/domains", NULL, text), 0);
	assert_true(i < call.cmd.n_claims);
	return call.cmd.claims[i];
}

static bool same(struct ha_claim a, struct ha_claim b)
{
	return a.kind == b.kind && a.key == b.key && a.shared == b.shared;
}

static void a_file_claims_its_uuid_its_macs_and_its_disks(void **state)
{
	struct ha_claim a, b;

	a = claim_of("uuid: 3f2a7c1e-9d4b-4f60-8a57-0c1d2e3f4a5b\n", 0);
	b = claim_of("uuid: 3F2A7C1E-9D4B-4F60-8A57-0C1D2E3F4A5B\n", 0);
	assert_true(same(a, b));
	assert_false(same(a, claim_of("", 0)));
	a = claim_of("nics:\n  - mac: 52:54:00:aa:bb:cc\n", 1);
	assert_true(same(a, claim_of("nics:\n  - mac: \"52:54:00:AA:BB:CC\"\n", 1)));
	assert_int_equal(a.kind, HA_CLAIM_MAC);
	a = claim_of("disks:\n  - path: /srv/a.img\n", 1);
	assert_true(same(a, claim_of("disks:\n  - path: /srv//./a.img\n", 1)));
	assert_false(a.shared);
	assert_true(claim_of("disks:\n  - path: /srv/a.img\n    readonly: true\n", 1).shared);
}

/* Taken in as droverd does it: by the file, with what that claims. */
static void add(struct ha_record *r, const char *file)
{
	static struct ha_outcome o;
	static struct ha_entry e;

	assert_int_equal(parse("POST", "/v1/domains", NULL, file), 0);
	e = (struct ha_entry){ .kind = HA_E_OP, .op = HA_OP_ADD, .access = HA_ACCESS_ADMIN, .conf = (const uint8_t *)file, .conf_len = strlen(file) };
	strcpy(e.domain, call.cmd.domain);
	e.n_claims = (uint32_t)call.cmd.n_claims;
	memcpy(e.claims, call.claims, e.n_claims * sizeof(e.claims[0]));
	ha_operator_apply(r, &e, &o);
	ha_index_follow(r);
	assert_int_equal(o.code, HA_OK);
}

#define UUID "3f2a7c1e-9d4b-4f60-8a57-0c1d2e3f4a5b"
#define OTHER "0a2a7c1e-9d4b-4f60-8a57-0c1d2e3f4a5b"
#define FILE_OF(name, uuid) "name: " name "\nuuid: " uuid "\nmemory: 64M\nkernel: /boot/vmlinuz\n"

/* Which domain of the record a path means. */
static const char *meant(const struct ha_record *r, const char *method, const char *path)
{
	assert_int_equal(parse(method, path, NULL, ""), 0);
	api_call_domain(&call, r);
	return call.cmd.domain ? call.cmd.domain : call.name;
}

static void a_path_names_a_domain_by_its_uuid_too(void **state)
{
	struct ha_record *r = reserve_make(sizeof(*r));

	add(r, FILE_OF("web", UUID));
	assert_string_equal(meant(r, "GET", "/v1/domains/" UUID), "web");
	assert_string_equal(meant(r, "GET", "/v1/domains/3F2A7C1E-9D4B-4F60-8A57-0C1D2E3F4A5B/conf"), "web");
	assert_string_equal(meant(r, "POST", "/v1/domains/" UUID "/stop"), "web");
	assert_string_equal(meant(r, "DELETE", "/v1/ha/domains/" UUID), "web");
	assert_string_equal(meant(r, "GET", "/v1/domains/" OTHER), OTHER);
	assert_string_equal(meant(r, "POST", "/v1/domains/" OTHER "/stop"), OTHER);
	/* a group or a host may be called like that */
	assert_int_equal(parse("DELETE", "/v1/ha/groups/" UUID, NULL, ""), 0);
	api_call_domain(&call, r);
	assert_string_equal(call.cmd.group, UUID);
	assert_int_equal(parse("GET", "/v1/nodes/" UUID, NULL, ""), 0);
	api_call_domain(&call, r);
	assert_string_equal(call.name, UUID);
	/* ... and a domain: then the name is meant */
	add(r, FILE_OF(UUID, OTHER));
	assert_string_equal(meant(r, "GET", "/v1/domains/" UUID), UUID);
	assert_string_equal(meant(r, "GET", "/v1/domains/" OTHER), UUID);
	reserve_free(r, sizeof(*r));
}

/* What is said of @file, which is not taken in. */
static enum ha_code judged(const struct ha_record *r, const char *file, char text[HA_REASON_MAX + 1])
{
	assert_int_equal(parse("POST", "/v1/validate", NULL, file), 0);
	assert_int_equal(call.what, API_VALIDATE);
	return api_validate(r, &call, text);
}

#define DISK(ro) "disks:\n  - path: /srv/a.img\n    readonly: " ro "\n"
#define MAC "nics:\n  - mac: 52:54:00:aa:bb:cc\n"

static void a_file_is_validated_as_it_would_be_taken_in(void **state)
{
	static const struct {
		const char *file;
		enum ha_code code;
		const char *text;
	} rows[] = {
		{ FILE_OF("mail", OTHER), HA_OK, "mail could be defined" },
		{ FILE_OF("mail", OTHER) MAC, HA_REFUSED, "its nics[0].mac is that of web" },
		{ FILE_OF("mail", OTHER) DISK("false"), HA_REFUSED, "its disks[0].path is that of db" },
		{ FILE_OF("mail", OTHER) DISK("true"), HA_OK, "mail could be defined" },
		{ FILE_OF("mail", UUID), HA_REFUSED, "its uuid is that of web" },
		{ FILE_OF("mail", OTHER) "ha:\n  group: nowhere\n", HA_NOT_FOUND, "no group called nowhere" },
		/* a domain is no stranger to itself, but its name is taken, and what others have is told first */
		{ FILE_OF("web", UUID) MAC, HA_REFUSED, "web is already defined, with this very text" },
		{ FILE_OF("web", UUID) "vcpus: 2\n" MAC, HA_REFUSED, "web is already defined, with another text" },
		{ FILE_OF("web", UUID) DISK("false"), HA_REFUSED, "its disks[0].path is that of db" },
	};
	struct ha_record *r = reserve_make(sizeof(*r));
	char text[HA_REASON_MAX + 1];

	add(r, FILE_OF("web", UUID) MAC);
	add(r, FILE_OF("db", "00000000-0000-0000-0000-000000000001") DISK("true"));
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		enum ha_code code = judged(r, rows[i].file, text);

		if (code != rows[i].code || strcmp(text, rows[i].text) != 0)
			fail_msg("%s: %d, '%s'", rows[i].file, code, text);
	}
	assert_int_equal(parse("POST", "/v1/validate", NULL, "name: web\n"), -EINVAL);
	assert_int_equal(parse("POST", "/v1/validate", NULL, ""), -EINVAL);
	assert_int_equal(parse("GET", "/v1/validate", NULL, ""), -EOPNOTSUPP);
	reserve_free(r, sizeof(*r));
}

static void a_command_carries_its_names(void **state)
{
	assert_int_equal(parse("POST", "/v1/domains/web/migrate", NULL, "{\"node\": \"n2\"}"), 0);
	assert_int_equal(call.cmd.op, HA_OP_MIGRATE);
	assert_string_equal(call.cmd.domain, "web");
	assert_int_equal(api_call_resolve(&call, id_of, NULL, &err), 0);
	assert_int_equal(call.cmd.node, 2);
	assert_int_equal(parse("POST", "/v1/domains/web/stop", NULL, "{\"force\": true}"), 0);
	assert_true(call.cmd.force);
	assert_int_equal(parse("POST", "/v1/nodes/n1/fence", NULL, ""), 0);
	assert_int_equal(call.cmd.op, HA_OP_FENCE);
	assert_int_equal(api_call_resolve(&call, id_of, NULL, &err), 0);
	assert_int_equal(call.cmd.node, 1);
	assert_null(call.cmd.domain);
	assert_int_equal(call.cmd.asked_ms, 0);
	assert_int_equal(parse("POST", "/v1/nodes/n1/confirm", NULL, "{\"asked_ms\": 81234567890}"), 0);
	assert_int_equal(call.cmd.asked_ms, 81234567890);
	assert_int_not_equal(parse("POST", "/v1/nodes/n1/confirm", NULL, "{\"asked_ms\": -1}"), 0);
	assert_int_not_equal(parse("POST", "/v1/nodes/n1/confirm", NULL, "{\"asked_ms\": \"now\"}"), 0);
	assert_int_not_equal(parse("POST", "/v1/domains/web/stop", NULL, "{\"asked_ms\": 1}"), 0);
	assert_int_equal(parse("POST", "/v1/ha/domains/web", NULL,
			       "{\"group\": \"east\", \"max_restart\": 5}"),
			 0);
	assert_int_equal(call.cmd.op, HA_OP_HA_ON);
	assert_string_equal(call.cmd.group, "east");
	assert_int_equal(call.cmd.max_restart, 5);
}

static void an_order_is_the_last_word_of_its_path(void **state)
{
	assert_int_equal(parse("POST", "/v1/domains/web/reset", NULL, ""), 0);
	assert_int_equal(call.what, API_ORDER);
	assert_string_equal(call.order, "reset");
	assert_string_equal(call.name, "web");
	assert_int_equal(parse("POST", "/v1/domains/web/reboot", NULL, "{\"timeout_ms\": 5000}"), 0);
	assert_string_equal(call.order, "reboot");
	assert_int_equal(call.timeout_ms, 5000);
	assert_int_equal(parse("GET", "/v1/domains/web/reset", NULL, ""), -EOPNOTSUPP);
}

static void a_host_that_does_not_exist_is_not_found(void **state)
{
	assert_int_equal(parse("POST", "/v1/nodes/n9/fence", NULL, ""), 0);
	assert_int_equal(api_call_resolve(&call, id_of, NULL, &err), -ENOENT);
	assert_string_equal(err.text, "no such host: n9");
}

static void a_group_lists_hosts_with_priorities(void **state)
{
	assert_int_equal(parse("POST", "/v1/ha/groups/east", NULL, "{\"hosts\": [{\"node\": \"n1\", "
								   "\"priority\": 20}, {\"node\": \"n2\"}], \"restricted\": true}"),
			 0);
	assert_int_equal(api_call_resolve(&call, id_of, NULL, &err), 0);
	assert_string_equal(call.cmd.group, "east");
	assert_int_equal(call.cmd.n_hosts, 2);
	assert_int_equal(call.cmd.hosts[0].node, 1);
	assert_int_equal(call.cmd.hosts[0].priority, 20);
	assert_int_equal(call.cmd.hosts[1].priority, 0);
	assert_true(call.cmd.restricted);
}

static void a_domain_file_gives_name_and_protection(void **state)
{
	assert_int_equal(parse("POST", "/v1/domains", "start=true", CONF "ha:\n  group: east\n"), 0);
	assert_int_equal(call.cmd.op, HA_OP_ADD);
	assert_string_equal(call.cmd.domain, "web");
	assert_true(call.cmd.started);
	assert_true(call.cmd.ha);
	assert_string_equal(call.cmd.group, "east");
	assert_int_equal(call.cmd.max_restart, 3);
	/* What the query says goes before it, in the same command. */
	assert_int_equal(parse("POST", "/v1/domains", "start=true&protect=true&group=west&max_restart=0&node=n2",
			       CONF "ha:\n  group: east\n  max_restart: 7\n"),
			 0);
	assert_true(call.cmd.ha && call.cmd.started);
	assert_string_equal(call.cmd.group, "west");
	assert_int_equal(call.cmd.max_restart, 0);
	assert_string_equal(call.node, "n2");
	assert_int_equal(parse("POST", "/v1/domains", "protect=true", CONF "ha: {group: east, max_restart: 7}\n"), 0);
	assert_string_equal(call.cmd.group, "east");
	assert_int_equal(call.cmd.max_restart, 7);
	assert_int_equal(parse("POST", "/v1/domains", "protect=true", CONF), 0);
	assert_true(call.cmd.ha);
	assert_null(call.cmd.group);
	assert_int_equal(call.cmd.max_restart, 3);
	assert_int_equal(parse("POST", "/v1/domains", NULL, CONF), 0);
	assert_false(call.cmd.ha);
	assert_false(call.cmd.started);
	assert_int_equal(call.cmd.conf_len, strlen(CONF));
}

static const struct wrong {
	const char *method, *path, *query, *body, *text;
} wrongs[] = {
	{ "POST", "/v1/domains", NULL, "", "expected a domain file" },
	{ "POST", "/v1/domains", NULL, "name: web\n", "domain:" },
	{ "POST", "/v1/domains", "start=yes", CONF, "query" },
	{ "GET", "/v1/history", "after=x", "", "query" },
	{ "GET", "/v1/history", "after=99999999999999999999999", "", "query" },
	{ "GET", "/v1/domains/a%2fb", NULL, "", "name: expected" },
	{ "GET", "/v1/domains/a%2", NULL, "", "two hexadecimal digits" },
	{ "GET", "/v1/domains/web%00x", NULL, "", "two hexadecimal digits" },
	{ "GET", "/v1/domains/", NULL, "", "name: 0 bytes" },
	{ "POST", "/v1/domains//stop", NULL, "", "name: 0 bytes" },
	{ "POST", "/v1/domains", "start=true&node=n2&node=n1", CONF, "second time" },
	{ "POST", "/v1/domains", "start=true&x=1", CONF, "means nothing" },
	{ "POST", "/v1/domains", "node=n2", CONF, "needs start=true" },
	{ "POST", "/v1/domains", "start=true&group=east", CONF, "need protect=true" },
	{ "POST", "/v1/domains", "max_restart=1", CONF, "need protect=true" },
	{ "POST", "/v1/domains", "protect=true&max_restart=101", CONF, "0 to 100" },
	{ "POST", "/v1/domains", "protect=true&group=.x", CONF, "digit first" },
	{ "GET", "/v1/domains", "protect=true", "", "means nothing" },
	{ "POST", "/v1/domains/web/stop", NULL, "{\"node\": \"n2\"}", "node: unknown field" },
	{ "POST", "/v1/domains/web/clear", NULL, "{\"force\": true}", "force: unknown field" },
	{ "POST", "/v1/nodes/n1/maintenance", NULL, "", "on: expected true or false" },
	{ "POST", "/v1/nodes/n1/fence", NULL, "{\"yes\": 1}", "yes: unknown field" },
	{ "POST", "/v1/domains/web/reset", NULL, "{\"timeout_ms\": 5}", "timeout_ms: unknown field" },
	{ "POST", "/v1/domains/web/reboot", NULL, "{\"timeout_ms\": 86400001}", "from 0 to 86400000" },
	{ "POST", "/v1/domains/web/reboot", NULL, "{\"timeout_ms\": -1}", "from 0 to 86400000" },
	{ "POST", "/v1/domains/a%20b/reset", NULL, "", "name: expected" },
	{ "POST", "/v1/domains/web/stop", NULL, "[]", "expected a JSON object" },
	{ "POST", "/v1/domains/web/stop", NULL, "{\"force\": 1}", "force: expected true or false" },
	{ "POST", "/v1/domains/web/stop", NULL, "{\"forse\": true}", "forse: unknown field" },
	{ "POST", "/v1/domains/web/stop", NULL, "{", "body: line 1" },
	{ "POST", "/v1/domains/web/migrate", NULL, "{\"node\": 2}", "node: expected a string" },
	{ "POST", "/v1/domains/web/migrate", NULL, "{\"node\": \"a b\"}", "node: expected letters" },
	{ "POST", "/v1/domains/web/migrate", NULL, "{\"node\": \"\"}", "node: 0 bytes" },
	{ "POST", "/v1/ha/domains/web", NULL, "{\"max_restart\": 101}", "from 0 to 100" },
	{ "POST", "/v1/ha/groups/g", NULL, "{}", "hosts: expected a list" },
	{ "POST", "/v1/ha/groups/g", NULL, "{\"hosts\": [1]}", "expected {node, priority}" },
	{ "POST", "/v1/ha/groups/g", NULL, "{\"hosts\": [{}]}", "has no node" },
	{ "POST", "/v1/ha/groups/g", NULL, "{\"hosts\": [{\"node\": \"n1\", \"priority\": 1e9}]}",
	  "priority" },
};

static void what_is_wrong_is_said_with_the_field(void **state)
{
	size_t i;

	for (i = 0; i < sizeof(wrongs) / sizeof(wrongs[0]); i++) {
		const struct wrong *w = &wrongs[i];

		assert_int_equal(parse(w->method, w->path, w->query, w->body), -EINVAL);
		if (!strstr(err.text, w->text))
			fail_msg("%s %s: said '%s', expected '%s'", w->method, w->path, err.text, w->text);
	}
}

static void lengths_are_checked_first(void **state)
{
	char path[600], *body = calloc(1, API_BODY_MAX + 2);

	memset(path, 'a', sizeof(path) - 1);
	path[sizeof(path) - 1] = '\0';
	memcpy(path, "/v1/domains/", 12);
	assert_int_equal(parse("GET", path, NULL, ""), -EINVAL);
	path[12 + HA_NAME_MAX + 1] = '\0';
	assert_int_equal(parse("GET", path, NULL, ""), -EINVAL);
	path[12 + HA_NAME_MAX] = '\0';
	assert_int_equal(parse("GET", path, NULL, ""), 0);
	memset(body, ' ', API_BODY_MAX + 1);
	assert_int_equal(parse("POST", "/v1/domains/web/stop", NULL, body), -EINVAL);
	free(body);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_view_is_known_by_its_path),
		cmocka_unit_test(an_unknown_path_or_method_is_named_so),
		cmocka_unit_test(names_are_decoded_once_and_cannot_change_the_path),
		cmocka_unit_test(a_file_can_be_started_on_a_host),
		cmocka_unit_test(a_file_claims_its_uuid_its_macs_and_its_disks),
		cmocka_unit_test(a_path_names_a_domain_by_its_uuid_too),
		cmocka_unit_test(a_file_is_validated_as_it_would_be_taken_in),
		cmocka_unit_test(a_command_carries_its_names),
		cmocka_unit_test(an_order_is_the_last_word_of_its_path),
		cmocka_unit_test(a_host_that_does_not_exist_is_not_found),
		cmocka_unit_test(a_group_lists_hosts_with_priorities),
		cmocka_unit_test(a_domain_file_gives_name_and_protection),
		cmocka_unit_test(what_is_wrong_is_said_with_the_field),
		cmocka_unit_test(lengths_are_checked_first),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
