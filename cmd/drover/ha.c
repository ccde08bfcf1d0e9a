/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ha - verbs about protection: what is restarted elsewhere, where, and when.
 */
#include "cmd/drover/drover.h"

#include "base/number.h"
#include "conf/domain.h"

#include <stdlib.h>
#include <string.h>

#define PRIORITY_MAX 1000000 /* as droverd */

static int get(struct drover *d, const char *path, json_t **out)
{
	struct err e = { 0 };
	int code = http_request(d->http, "GET", path, NULL, 0, out, &e);

	return code ? say_error(code, "%s", e.text) : EXIT_OK;
}

int verb_ha_add(struct drover *d)
{
	char name[DOMAIN_NAME_SIZE];
	json_t *body;
	int code;

	if (looks_like_file(d->argv[0])) {
		code = domain_add_file(d, d->argv[0], NULL, true, name);
		return code ? code : done(d, "domain '%s' is protected, and is being started", name);
	}
	body = json_object();
	if (d->opt.group)
		json_object_set_new(body, "group", json_string(d->opt.group));
	if (d->opt.max_restart >= 0)
		json_object_set_new(body, "max_restart", json_integer(d->opt.max_restart));
	code = domain_post(d, "ha/domains", d->argv[0], "", body);
	return code ? code : done(d, "domain '%s' is protected", d->argv[0]);
}

int verb_ha_remove(struct drover *d)
{
	int code = domain_delete(d, "ha/domains", d->argv[0]);

	return code ? code : done(d, "domain '%s' is no longer protected", d->argv[0]);
}

/* ha-manager's format: quorum, then hosts, then services. */
static void print_status(struct drover *d, json_t *st, json_t *nodes, json_t *domains)
{
	char lease[32], words[QUORUM_WORDS];
	json_t *o;
	size_t i;

	printf("quorum %s (epoch %.0f, %s, lease %s)\n", quorum_word(st, words), num_of(st, "epoch"),
	       str_of(st, "standing"), format_ms(num_of(st, "lease_ms"), lease));
	json_array_foreach(json_object_get(st, "problems"), i, o)
		printf("problem: %s\n", text_of(o));
	json_array_foreach(nodes, i, o) {
		printf("node %s (%s, %.0f domain%s)\n", str_of(o, "name"), str_of(o, "state"),
		       num_of(o, "domains"), num_of(o, "domains") == 1 ? "" : "s");
		if (d->opt.why && *str_of(o, "why"))
			printf("    %s\n", str_of(o, "why"));
	}
	json_array_foreach(domains, i, o) {
		if (!bool_of(o, "ha"))
			continue;
		printf("domain %s (%s, %s%s%s)\n", str_of(o, "name"),
		       *str_of(o, "node") ? str_of(o, "node") : "no node", str_of(o, "state"),
		       *str_of(o, "group") ? ", group " : "", str_of(o, "group"));
		if (d->opt.why && *str_of(o, "why"))
			printf("    waits for: %s\n", str_of(o, "why"));
		if (d->opt.why && *str_of(o, "reason"))
			printf("    last: %s\n", str_of(o, "reason"));
	}
}

int verb_ha_status(struct drover *d)
{
	json_t *st = NULL, *nodes = NULL, *domains = NULL, *all;
	int code = get(d, "status", &st);

	if (!code)
		code = get(d, "nodes", &nodes);
	if (!code)
		code = get(d, "domains", &domains);
	if (!code && d->opt.json) {
		all = json_pack("{s:O, s:O, s:O}", "status", st, "nodes", nodes, "domains", domains);
		print_json(all);
		json_decref(all);
	} else if (!code) {
		print_status(d, st, nodes, domains);
	}
	json_decref(st);
	json_decref(nodes);
	json_decref(domains);
	return code;
}

int verb_ha_timings(struct drover *d)
{
	json_t *o;
	int code = get(d, "timings", &o);

	if (code)
		return code;
	if (d->opt.json)
		print_json(o);
	else
		fputs(json_string_value(json_object_get(o, "text")) ?: "", stdout); /* of many lines */
	json_decref(o);
	return EXIT_OK;
}

/* ------------------------------------------------------------------ groups */

/* "n1:20" or "n3" */
static int parse_host(char *word, json_t *hosts)
{
	char *colon = strchr(word, ':');
	uint64_t size = 0;
	bool minus = colon && colon[1] == '-';
	int code;

	if (colon) {
		*colon = '\0';
		if (!number_parse(colon + 1 + minus, 0, PRIORITY_MAX, &size))
			return say_error(EXIT_USAGE, "%s:%s: expected host:priority, such as n1:10, up to %d", word,
					 colon + 1, PRIORITY_MAX);
	}
	code = name_check("host", word);
	if (!code)
		json_array_append_new(hosts, json_pack("{s:s, s:I}", "node", word, "priority",
						       minus ? -(json_int_t)size : (json_int_t)size));
	return code;
}

/* "n1:20,n2:10,n3" */
static int parse_hosts(const char *text, json_t *hosts)
{
	char *copy = strdup(text), *rest = copy, *word;
	int code = copy ? EXIT_OK : say_error(EXIT_ERROR, "out of memory");

	while (!code && (word = strsep(&rest, ",")) != NULL)
		code = parse_host(word, hosts);
	free(copy);
	return code;
}

int verb_ha_group_add(struct drover *d)
{
	json_t *hosts = json_array(), *body;
	int code = parse_hosts(d->argv[1], hosts);

	if (code) {
		json_decref(hosts);
		return code;
	}
	body = json_pack("{s:o, s:b}", "hosts", hosts, "restricted", (int)d->opt.restricted);
	code = domain_post(d, "ha/groups", d->argv[0], "", body);
	return code ? code : done(d, "group '%s' set", d->argv[0]);
}

int verb_ha_group_remove(struct drover *d)
{
	int code = domain_delete(d, "ha/groups", d->argv[0]);

	return code ? code : done(d, "group '%s' removed", d->argv[0]);
}

int verb_ha_group_list(struct drover *d)
{
	static const char *const heads[] = { "NAME", "RESTRICTED", "HOSTS" };
	char hosts[16384]; /* 128 hosts */
	struct table *t;
	json_t *list, *g, *h;
	size_t i, k, n;
	int code = get(d, "ha/groups", &list);

	if (code)
		return code;
	if (d->opt.json) {
		print_json(list);
		json_decref(list);
		return EXIT_OK;
	}
	t = table_make(3, heads);
	json_array_foreach(list, i, g) {
		hosts[0] = '\0';
		n = 0;
		json_array_foreach(json_object_get(g, "hosts"), k, h)
			if (n + 90 < sizeof(hosts))
				n += (size_t)snprintf(hosts + n, sizeof(hosts) - n, "%s%s:%.0f", k ? "," : "",
						      str_of(h, "node"), num_of(h, "priority"));
		table_row(t, (const char *const[]){ str_of(g, "name"),
						    bool_of(g, "restricted") ? "yes" : "no", hosts });
	}
	table_print(t, stdout);
	json_decref(list);
	return EXIT_OK;
}
