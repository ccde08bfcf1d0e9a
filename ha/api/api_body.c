/* SPDX-License-Identifier: Apache-2.0 */
/* api_body - see api_body.h.  Everything is hostile (rule S): lengths first, then characters, then meaning. */
#include "ha/api/api_body.h"

#include "conf/domain.h"
#include "ha/api/claims.h"
#include "ha/core/record/entry.h"

#include <ctype.h>
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#define MAX_RESTART_DEFAULT 3
#define TIMEOUT_MAX_MS 86400000 /* a day, as drover's --timeout */

static const struct {
	const char *key;
	unsigned int bit;
} option_keys[] = {
	{ "node", API_TAKES_NODE },
	{ "force", API_TAKES_FORCE },
	{ "on", API_TAKES_ON },
	{ "group", API_TAKES_GROUP },
	{ "max_restart", API_TAKES_MAX_RESTART },
	{ "dry_run", API_TAKES_DRY_RUN },
	{ "asked_ms", API_TAKES_ASKED },
	{ "timeout_ms", API_TAKES_TIMEOUT },
};

int api_name_check(const char *name, const char *what, struct err *e)
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
	rc = api_name_check(json_string_value(v), key, e);
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
static void known_keys(const struct api_route *r, const char *known[])
{
	size_t i, n = 0;

	for (i = 0; i < sizeof(option_keys) / sizeof(option_keys[0]); i++)
		if (r->takes & option_keys[i].bit)
			known[n++] = option_keys[i].key;
	known[n] = NULL;
}

int api_body_options(const struct api_route *r, const char *body, size_t len, struct api_call *c,
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
	if (rc == 0 && (r->takes & API_TAKES_ON) && !json_object_get(o, "on"))
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
	if (rc == 0)
		rc = take_u32(o, "timeout_ms", TIMEOUT_MAX_MS, &c->timeout_ms, e);
	json_decref(o);
	if (c->group[0])
		c->cmd.group = c->group;
	return rc;
}

int api_body_conf(const struct api_route *r, const char *body, size_t len, struct api_call *c,
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
		rc = api_name_check(conf->ha.group, "ha.group", e);
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

int api_body_group(const struct api_route *r, const char *body, size_t len, struct api_call *c,
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
