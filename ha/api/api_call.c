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
#include "conf/domain.h"
#include "ha/api/api_url.h"
#include "ha/api/claims.h"
#include "ha/core/record/entry.h"

#include <ctype.h>
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#define WORDS_MAX 4
#define MAX_RESTART_DEFAULT 3

struct route;
typedef int (*body_fn)(const struct route *r, const char *body, size_t len, struct api_call *c,
		       struct err *e);

struct route {
	const char *method;
	const char *words[WORDS_MAX];
	enum api_what what;
	enum ha_op op;
	body_fn body;
	unsigned int takes; /* TAKES_...: keys of the body; anything else is refused, never ignored */
	bool on;            /* what the path says */
};

enum {
	TAKES_NODE = 1,
	TAKES_FORCE = 2,
	TAKES_ON = 4,
	TAKES_GROUP = 8,
	TAKES_MAX_RESTART = 16,
	TAKES_DRY_RUN = 32,
	TAKES_ASKED = 64
};

static const struct {
	const char *key;
	unsigned int bit;
} option_keys[] = {
	{ "node", TAKES_NODE },
	{ "force", TAKES_FORCE },
	{ "on", TAKES_ON },
	{ "group", TAKES_GROUP },
	{ "max_restart", TAKES_MAX_RESTART },
	{ "dry_run", TAKES_DRY_RUN },
	{ "asked_ms", TAKES_ASKED },
};

static int name_check(const char *name, const char *what, struct err *e)
{
	size_t i, len = strlen(name);

	if (len == 0 || len > HA_NAME_MAX)
		return err_set(e, -EINVAL, "%s: %zu bytes, expected 1 to %d", what, len, HA_NAME_MAX);
	for (i = 0; i < len; i++)
		if (!isalnum((unsigned char)name[i]) && !strchr("-_.", name[i]))
			return err_set(e, -EINVAL, "%s: expected letters, digits, '-', '_' and '.'", what);
	if (!ha_name_valid(name))
		return err_set(e, -EINVAL, "%s: expected a letter or a digit first", what);
	return 0;
}

static int take_name(json_t *o, const char *key, char out[HA_NAME_MAX + 1], struct err *e)
{
	json_t *v = json_object_get(o, key);
	int rc;

	if (!v || json_is_null(v))
		return 0;
	if (!json_is_string(v) || strlen(json_string_value(v)) != json_string_length(v))
		return err_set(e, -EINVAL, "%s: expected a string", key);
	rc = name_check(json_string_value(v), key, e);
	if (rc == 0)
		snprintf(out, HA_NAME_MAX + 1, "%s", json_string_value(v));
	return rc;
}

static int take_bool(json_t *o, const char *key, bool *out, struct err *e)
{
	json_t *v = json_object_get(o, key);

	if (!v)
		return 0;
	if (!json_is_boolean(v))
		return err_set(e, -EINVAL, "%s: expected true or false", key);
	*out = json_is_true(v);
	return 0;
}

static int take_u32(json_t *o, const char *key, uint32_t max, uint32_t *out, struct err *e)
{
	json_t *v = json_object_get(o, key);

	if (!v)
		return 0;
	if (!json_is_integer(v) || json_integer_value(v) < 0 || json_integer_value(v) > max)
		return err_set(e, -EINVAL, "%s: expected a whole number from 0 to %u", key, max);
	*out = (uint32_t)json_integer_value(v);
	return 0;
}

/* A moment of this host's BOOTTIME. */
static int take_ms(json_t *o, const char *key, uint64_t *out, struct err *e)
{
	json_t *v = json_object_get(o, key);

	if (!v)
		return 0;
	if (!json_is_integer(v) || json_integer_value(v) < 0)
		return err_set(e, -EINVAL, "%s: expected milliseconds since this host booted", key);
	*out = (uint64_t)json_integer_value(v);
	return 0;
}

static int check_keys(json_t *o, const char *const *known, struct err *e)
{
	const char *key;
	json_t *v;
	int i;

	json_object_foreach(o, key, v) {
		for (i = 0; known[i] && strcmp(known[i], key) != 0; i++)
			;
		if (!known[i])
			return err_set(e, -EINVAL, "%.40s: unknown field", key);
	}
	return 0;
}

/* An empty body is an empty object. */
static int load_object(const char *body, size_t len, json_t **out, struct err *e)
{
	json_error_t je;

	*out = NULL;
	if (len == 0) {
		*out = json_object();
		return *out ? 0 : err_set(e, -ENOMEM, "out of memory");
	}
	*out = json_loadb(body, len, JSON_REJECT_DUPLICATES, &je);
	if (!*out)
		return err_set(e, -EINVAL, "body: line %d: %s", je.line, je.text);
	if (json_is_object(*out))
		return 0;
	json_decref(*out);
	*out = NULL;
	return err_set(e, -EINVAL, "body: expected a JSON object");
}

/* The keys that this route takes, NULL at the end. */
static void known_keys(const struct route *r, const char *known[])
{
	size_t i, n = 0;

	for (i = 0; i < sizeof(option_keys) / sizeof(option_keys[0]); i++)
		if (r->takes & option_keys[i].bit)
			known[n++] = option_keys[i].key;
	known[n] = NULL;
}

static int body_options(const struct route *r, const char *body, size_t len, struct api_call *c,
			struct err *e)
{
	const char *known[sizeof(option_keys) / sizeof(option_keys[0]) + 1];
	json_t *o;
	int rc = load_object(body, len, &o, e);

	if (rc < 0)
		return rc;
	known_keys(r, known);
	rc = check_keys(o, known, e);
	if (rc == 0)
		rc = take_name(o, "node", c->node, e);
	if (rc == 0)
		rc = take_name(o, "group", c->group, e);
	if (rc == 0)
		rc = take_bool(o, "force", &c->cmd.force, e);
	if (rc == 0 && (r->takes & TAKES_ON) && !json_object_get(o, "on"))
		rc = err_set(e, -EINVAL, "on: expected true or false");
	if (rc == 0)
		rc = take_bool(o, "on", &c->cmd.on, e);
	if (rc == 0)
		rc = take_bool(o, "dry_run", &c->cmd.on, e);
	c->cmd.max_restart = MAX_RESTART_DEFAULT;
	if (rc == 0)
		rc = take_u32(o, "max_restart", 100, &c->cmd.max_restart, e);
	if (rc == 0)
		rc = take_ms(o, "asked_ms", &c->cmd.asked_ms, e);
	json_decref(o);
	if (c->group[0])
		c->cmd.group = c->group;
	return rc;
}

/* A new domain: the body is its file (docs/domain.yaml.5). */
static int body_conf(const struct route *r, const char *body, size_t len, struct api_call *c,
		     struct err *e)
{
	struct domain_conf *conf;
	int rc;

	if (len == 0)
		return err_set(e, -EINVAL, "body: expected a domain file (YAML)");
	if (len > HA_CONF_MAX)
		return err_set(e, -EINVAL, "domain file: %zu bytes, at most %u", len, HA_CONF_MAX);
	rc = domain_conf_parse("domain", body, len, &conf, e);
	if (rc < 0)
		return rc;
	snprintf(c->domain, sizeof(c->domain), "%s", conf->name);
	c->cmd.domain = c->domain;
	c->cmd.conf = body;
	c->cmd.conf_len = len;
	c->cmd.ha = conf->ha.present || c->protect;
	if (!c->limited)
		c->cmd.max_restart = conf->ha.present ? (uint32_t)conf->ha.max_restart : MAX_RESTART_DEFAULT;
	c->cmd.size = (struct ha_size){ conf->memory, (uint32_t)conf->vcpus };
	c->cmd.claims = c->claims;
	c->cmd.n_claims = claims_of(conf, c->claims);
	if (conf->ha.group && !c->group[0]) {
		rc = name_check(conf->ha.group, "ha.group", e);
		snprintf(c->group, sizeof(c->group), "%.*s", HA_NAME_MAX, conf->ha.group);
	}
	if (c->group[0])
		c->cmd.group = c->group;
	domain_conf_free(conf);
	return rc;
}

static int take_host(json_t *h, size_t i, struct api_call *c, struct err *e)
{
	static const char *const known[] = { "node", "priority", NULL };
	json_t *prio;
	int rc;

	if (!json_is_object(h))
		return err_set(e, -EINVAL, "hosts: expected {node, priority}");
	rc = check_keys(h, known, e);
	if (rc == 0)
		rc = take_name(h, "node", c->hosts[i], e);
	if (rc < 0)
		return rc;
	if (!c->hosts[i][0])
		return err_set(e, -EINVAL, "hosts: entry %zu has no node", i + 1);
	prio = json_object_get(h, "priority");
	if (prio && (!json_is_integer(prio) || json_integer_value(prio) < -1000000 ||
		     json_integer_value(prio) > 1000000))
		return err_set(e, -EINVAL, "hosts: priority of %s: expected -1000000 to 1000000",
			       c->hosts[i]);
	c->group_hosts[i].priority = (int32_t)json_integer_value(prio);
	return 0;
}

/* {"hosts": [{"node": "n1", "priority": 10}, ...], "restricted": false} */
static int body_group(const struct route *r, const char *body, size_t len, struct api_call *c,
		      struct err *e)
{
	static const char *const known[] = { "hosts", "restricted", NULL };
	json_t *o, *hosts, *h;
	size_t i;
	int rc = load_object(body, len, &o, e);

	if (rc < 0)
		return rc;
	rc = check_keys(o, known, e);
	if (rc == 0)
		rc = take_bool(o, "restricted", &c->cmd.restricted, e);
	hosts = json_object_get(o, "hosts");
	if (rc == 0 && (!json_is_array(hosts) || json_array_size(hosts) == 0 ||
			json_array_size(hosts) > HA_NODES_MAX))
		rc = err_set(e, -EINVAL, "hosts: expected a list of 1 to %d", HA_NODES_MAX);
	if (rc == 0) {
		json_array_foreach(hosts, i, h) {
			rc = take_host(h, i, c, e);
			if (rc < 0)
				break;
			c->n_hosts = i + 1;
		}
	}
	json_decref(o);
	return rc;
}

static const struct route routes[] = {
	{ "GET", { "status" }, API_STATUS },
	{ "GET", { "timings" }, API_TIMINGS },
	{ "GET", { "history" }, API_HISTORY },
	{ "GET", { "nodes" }, API_NODES },
	{ "GET", { "nodes", "*" }, API_NODE },
	{ "POST", { "nodes", "*", "fence" }, API_COMMAND, HA_OP_FENCE, body_options, TAKES_ASKED },
	{ "POST", { "nodes", "*", "confirm" }, API_COMMAND, HA_OP_CONFIRM, body_options, TAKES_ASKED },
	{ "POST", { "nodes", "*", "maintenance" }, API_COMMAND, HA_OP_MAINTENANCE, body_options, TAKES_ON },
	{ "GET", { "domains" }, API_DOMAINS },
	{ "POST", { "domains" }, API_COMMAND, HA_OP_ADD, body_conf },
	{ "GET", { "domains", "*" }, API_DOMAIN },
	{ "GET", { "domains", "*", "conf" }, API_DOMAIN_CONF },
	{ "DELETE", { "domains", "*" }, API_COMMAND, HA_OP_REMOVE, body_options },
	{ "POST", { "domains", "*", "start" }, API_COMMAND, HA_OP_START, body_options, TAKES_NODE },
	{ "POST", { "domains", "*", "stop" }, API_COMMAND, HA_OP_STOP, body_options, TAKES_FORCE },
	{ "POST", { "domains", "*", "migrate" }, API_COMMAND, HA_OP_MIGRATE, body_options, TAKES_NODE | TAKES_DRY_RUN },
	{ "POST", { "domains", "*", "cancel" }, API_COMMAND, HA_OP_CANCEL, body_options },
	{ "POST", { "domains", "*", "pause" }, API_COMMAND, HA_OP_PAUSE, body_options, 0, true },
	{ "POST", { "domains", "*", "resume" }, API_COMMAND, HA_OP_PAUSE, body_options },
	{ "POST", { "domains", "*", "clear" }, API_COMMAND, HA_OP_CLEAR, body_options },
	{ "GET", { "ha", "groups" }, API_GROUPS },
	{ "POST", { "ha", "groups", "*" }, API_COMMAND, HA_OP_GROUP_SET, body_group },
	{ "DELETE", { "ha", "groups", "*" }, API_COMMAND, HA_OP_GROUP_REMOVE, body_options },
	{ "POST", { "ha", "domains", "*" }, API_COMMAND, HA_OP_HA_ON, body_options, TAKES_GROUP | TAKES_MAX_RESTART },
	{ "DELETE", { "ha", "domains", "*" }, API_COMMAND, HA_OP_HA_OFF, body_options },
};

/* Return: the place of the name among the words, -1 when there is none, -2 when they differ. */
static int match(const struct route *r, char *const words[], int n)
{
	int i, name = -1;

	for (i = 0; i < WORDS_MAX && r->words[i]; i++) {
		if (i >= n)
			return -2;
		if (strcmp(r->words[i], "*") == 0)
			name = i;
		else if (strcmp(r->words[i], words[i]) != 0)
			return -2;
	}
	return i == n ? name : -2;
}

static const struct route *find_route(const char *method, char *const words[], int n, int *name,
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
	rc = name_check(word + len + 1, key, e);
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
static void place_name(const struct route *r, struct api_call *c)
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
	char copy[API_PATH_MAX], *words[WORDS_MAX];
	const struct route *r;
	bool other_method;
	int n, name, rc;

	memset(out, 0, sizeof(*out));
	if (strlen(path) >= sizeof(copy))
		return err_set(e, -EINVAL, "path longer than %zu bytes", sizeof(copy) - 1);
	strcpy(copy, path);
	n = api_url_split(copy, words, WORDS_MAX, e);
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
		rc = name_check(words[name], "name", e);
		if (rc < 0)
			return rc;
		snprintf(out->name, sizeof(out->name), "%s", words[name]);
	}
	rc = parse_query(query, out, e);
	if (rc < 0 || r->what != API_COMMAND)
		return rc;
	if (body_len > API_BODY_MAX)
		return err_set(e, -EINVAL, "body: more than %u bytes", API_BODY_MAX);
	rc = r->body(r, body, body_len, out, e);
	if (rc == 0)
		place_name(r, out);
	return rc;
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
