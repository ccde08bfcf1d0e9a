/* SPDX-License-Identifier: Apache-2.0 */
/*
 * api_call - see api_call.h.
 *
 * A path is split at '/' into at most four words behind /v1 (api_url.h); one table gives
 * every route: method, words ("*" is a name), and what to do with the body.
 * Everything is hostile (rule S): lengths first, then characters, then meaning.
 */
#include "ha/api/api_call.h"

#include "base/number.h"
#include "ha/api/api_body.h"
#include "ha/api/api_url.h"
#include "ha/api/claims.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const struct api_route routes[] = {
	{ "GET", { "status" }, API_STATUS },
	{ "GET", { "timings" }, API_TIMINGS },
	{ "GET", { "history" }, API_HISTORY },
	{ "GET", { "nodes" }, API_NODES },
	{ "GET", { "nodes", "*" }, API_NODE },
	{ "GET", { "cpus" }, API_CPUS },
	{ "POST", { "nodes", "*", "fence" }, API_COMMAND, HA_OP_FENCE, api_body_options, API_TAKES_ASKED },
	{ "POST", { "nodes", "*", "confirm" }, API_COMMAND, HA_OP_CONFIRM, api_body_options, API_TAKES_ASKED },
	{ "POST", { "nodes", "*", "maintenance" }, API_COMMAND, HA_OP_MAINTENANCE, api_body_options, API_TAKES_ON },
	{ "POST", { "validate" }, API_VALIDATE, 0, api_body_conf },
	{ "GET", { "domains" }, API_DOMAINS },
	{ "POST", { "domains" }, API_COMMAND, HA_OP_ADD, api_body_conf },
	{ "GET", { "domains", "*" }, API_DOMAIN },
	{ "GET", { "domains", "*", "conf" }, API_DOMAIN_CONF },
	{ "DELETE", { "domains", "*" }, API_COMMAND, HA_OP_REMOVE, api_body_options },
	{ "POST", { "domains", "*", "start" }, API_COMMAND, HA_OP_START, api_body_options, API_TAKES_NODE },
	{ "POST", { "domains", "*", "stop" }, API_COMMAND, HA_OP_STOP, api_body_options, API_TAKES_FORCE },
	{ "POST", { "domains", "*", "migrate" }, API_COMMAND, HA_OP_MIGRATE, api_body_options, API_TAKES_NODE | API_TAKES_DRY_RUN },
	{ "POST", { "domains", "*", "cancel" }, API_COMMAND, HA_OP_CANCEL, api_body_options },
	{ "POST", { "domains", "*", "pause" }, API_COMMAND, HA_OP_PAUSE, api_body_options, 0, true },
	{ "POST", { "domains", "*", "resume" }, API_COMMAND, HA_OP_PAUSE, api_body_options },
	{ "POST", { "domains", "*", "reset" }, API_ORDER, 0, api_body_options },
	{ "POST", { "domains", "*", "reboot" }, API_ORDER, 0, api_body_options, API_TAKES_TIMEOUT },
	{ "POST", { "domains", "*", "clear" }, API_COMMAND, HA_OP_CLEAR, api_body_options },
	{ "GET", { "ha", "groups" }, API_GROUPS },
	{ "POST", { "ha", "groups", "*" }, API_COMMAND, HA_OP_GROUP_SET, api_body_group },
	{ "DELETE", { "ha", "groups", "*" }, API_COMMAND, HA_OP_GROUP_REMOVE, api_body_options },
	{ "POST", { "ha", "domains", "*" }, API_COMMAND, HA_OP_HA_ON, api_body_options, API_TAKES_GROUP | API_TAKES_MAX_RESTART },
	{ "DELETE", { "ha", "domains", "*" }, API_COMMAND, HA_OP_HA_OFF, api_body_options },
};

/* Return: the place of the name among the words, -1 when there is none, -2 when they differ. */
static int match(const struct api_route *r, char *const words[], int n)
{
	int i, name = -1;

	for (i = 0; i < API_WORDS_MAX && r->words[i]; i++) {
		if (i >= n)
			return -2;
		if (strcmp(r->words[i], "*") == 0)
			name = i;
		else if (strcmp(r->words[i], words[i]) != 0)
			return -2;
	}
	return i == n ? name : -2;
}

static const struct api_route *find_route(const char *method, char *const words[], int n, int *name,
					  bool *other_method)
{
	size_t i;

	*other_method = false;
	for (i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
		*name = match(&routes[i], words, n);
		if (*name == -2)
			continue;
		if (strcmp(routes[i].method, method) == 0)
			return &routes[i];
		*other_method = true;
	}
	return NULL;
}

/* "node=n2": a name into @out; 1: it is not this key. */
static int query_name(const char *word, const char *key, char out[HA_NAME_MAX + 1], struct err *e)
{
	size_t len = strlen(key);
	int rc;

	if (strncmp(word, key, len) != 0 || word[len] != '=')
		return 1;
	rc = api_name_check(word + len + 1, key, e);
	if (rc == 0)
		snprintf(out, HA_NAME_MAX + 1, "%s", word + len + 1);
	return rc;
}

/* How a new domain is to be started and protected, together with its being taken in: all of it or nothing. */
static int query_of_add(const char *word, struct api_call *c, struct err *e)
{
	uint64_t n;
	int rc;

	if (strcmp(word, "start=true") == 0) {
		c->cmd.started = true;
		return 0;
	}
	if (strcmp(word, "protect=true") == 0) {
		c->protect = true;
		return 0;
	}
	if (strncmp(word, "max_restart=", 12) == 0) {
		if (!number_parse(word + 12, 0, 100, &n))
			return err_set(e, -EINVAL, "max_restart: expected a whole number from 0 to 100");
		c->cmd.max_restart = (uint32_t)n;
		c->limited = true;
		return 0;
	}
	rc = query_name(word, "node", c->node, e);
	return rc == 1 ? query_name(word, "group", c->group, e) : rc;
}

static int query_word(const char *word, struct api_call *c, struct err *e)
{
	int rc = 1;

	if (c->what == API_HISTORY && strncmp(word, "after=", 6) == 0 &&
	    number_parse(word + 6, 0, UINT64_MAX, &c->after))
		return 0;
	if (c->what == API_COMMAND && c->cmd.op == HA_OP_ADD)
		rc = query_of_add(word, c, e);
	return rc <= 0 ? rc : err_set(e, -EINVAL, "query: '%.40s' means nothing here", word);
}

/* "after=12", "start=true", "start=true&node=n2": all there are, each once. */
static int parse_query(const char *query, struct api_call *c, struct err *e)
{
	char copy[API_PATH_MAX], *rest = copy, *word, *seen[8];
	int rc, n = 0, i;

	if (!query || !*query)
		return 0;
	if (strlen(query) >= sizeof(copy))
		return err_set(e, -EINVAL, "query longer than %zu bytes", sizeof(copy) - 1);
	strcpy(copy, query);
	while ((word = strsep(&rest, "&")) != NULL) {
		for (i = 0; i < n; i++)
			if (strncmp(seen[i], word, strcspn(word, "=") + 1) == 0)
				return err_set(e, -EINVAL, "query: '%.40s' comes a second time", word);
		rc = api_url_decode(word, e);
		if (rc == 0)
			rc = query_word(word, c, e);
		if (rc < 0)
			return rc;
		seen[n++] = word; /* five different ones are all that get here */
	}
	if (c->node[0] && !c->cmd.started)
		return err_set(e, -EINVAL, "query: node needs start=true");
	if ((c->group[0] || c->limited) && !c->protect)
		return err_set(e, -EINVAL, "query: group and max_restart need protect=true");
	return 0;
}

/* What the name in the path stands for. */
static void place_name(const struct api_route *r, struct api_call *c)
{
	switch (r->op) {
	case HA_OP_FENCE:
	case HA_OP_CONFIRM:
	case HA_OP_MAINTENANCE:
		memcpy(c->node, c->name, sizeof(c->node));
		c->node_from_path = true;
		break;
	case HA_OP_GROUP_SET:
	case HA_OP_GROUP_REMOVE:
		memcpy(c->group, c->name, sizeof(c->group));
		c->cmd.group = c->group;
		break;
	case HA_OP_ADD:
		break;
	default:
		memcpy(c->domain, c->name, sizeof(c->domain));
		c->cmd.domain = c->domain;
	}
}

int api_call_parse(const char *method, const char *path, const char *query, const char *body,
		   size_t body_len, struct api_call *out, struct err *e)
{
	char copy[API_PATH_MAX], *words[API_WORDS_MAX];
	const struct api_route *r;
	bool other_method;
	int n, name, rc;

	memset(out, 0, sizeof(*out));
	if (strlen(path) >= sizeof(copy))
		return err_set(e, -EINVAL, "path longer than %zu bytes", sizeof(copy) - 1);
	strcpy(copy, path);
	n = api_url_split(copy, words, API_WORDS_MAX, e);
	if (n == -EINVAL)
		return n;
	r = n > 0 ? find_route(method, words, n, &name, &other_method) : NULL;
	if (!r && n > 0 && other_method)
		return err_set(e, -EOPNOTSUPP, "%s is not possible here", method);
	if (!r)
		return err_set(e, -ENOENT, "no such path; docs/openapi.yaml lists them");
	out->what = r->what;
	out->cmd.op = r->op;
	out->cmd.on = r->on;
	if (name >= 0) {
		rc = api_name_check(words[name], "name", e);
		if (rc < 0)
			return rc;
		snprintf(out->name, sizeof(out->name), "%s", words[name]);
		out->of_domain = name > 0 && strcmp(words[name - 1], "domains") == 0;
	}
	rc = parse_query(query, out, e);
	if (rc < 0 || !r->body)
		return rc;
	if (body_len > API_BODY_MAX)
		return err_set(e, -EINVAL, "body: more than %u bytes", API_BODY_MAX);
	rc = r->body(r, body, body_len, out, e);
	if (rc == 0 && r->what == API_COMMAND)
		place_name(r, out);
	if (r->what == API_ORDER)
		out->order = r->words[2];
	return rc;
}

void api_call_domain(struct api_call *c, const struct ha_record *r)
{
	int i = c->of_domain ? claims_named(r, c->name) : -1;

	if (i < 0)
		return;
	snprintf(c->name, sizeof(c->name), "%s", r->domains[i].name);
	if (c->cmd.domain)
		memcpy(c->domain, c->name, sizeof(c->domain));
}

int api_call_resolve(struct api_call *c, api_node_id id, void *arg, struct err *e)
{
	size_t i;

	if (c->node[0]) {
		c->cmd.node = id(arg, c->node);
		if (!c->cmd.node)
			return err_set(e, -ENOENT, "no such host: %s", c->node);
	}
	for (i = 0; i < c->n_hosts; i++) {
		c->group_hosts[i].node = id(arg, c->hosts[i]);
		if (!c->group_hosts[i].node)
			return err_set(e, -ENOENT, "no such host: %s", c->hosts[i]);
	}
	c->cmd.hosts = c->group_hosts;
	c->cmd.n_hosts = c->n_hosts;
	return 0;
}
