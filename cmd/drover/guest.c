/* SPDX-License-Identifier: Apache-2.0 */
/*
 * guest - what may be asked of the agent in a guest: a table, a row for each.
 *
 * What an agent says is shown clean (base/text.h), whatever it is.
 */
#include "cmd/drover/agent.h"
#include "cmd/drover/drover.h"

#include "base/err.h"

#include <errno.h>
#include <string.h>

#define SYNC_MS 10000
#define ASK_MS 20000
#define FREEZE_MS 60000 /* the guest writes out what its file systems hold */
#define GONE_MS 5000    /* an agent that shuts down says nothing, or that it cannot */
#define ITEMS_MAX 256   /* interfaces and addresses that are shown */

struct guest_order {
	const char *word, *command, *args;
	unsigned int timeout_ms;
	bool silent; /* no answer means that it is done */
	void (*show)(const char *name, json_t *answer);
};

static void show_ping(const char *name, json_t *answer)
{
	(void)answer;
	printf("the agent in '%s' answers\n", name);
}

static void show_info(const char *name, json_t *answer)
{
	json_t *commands = json_object_get(answer, "supported_commands"), *c;
	size_t i, n = 0;

	json_array_foreach(commands, i, c)
		n += json_is_true(json_object_get(c, "enabled"));
	printf("agent in '%s': version %s, %zu commands\n", name, str_of(answer, "version"), n);
}

static void show_addresses(const char *name, json_t *answer)
{
	static const char *const heads[] = { "INTERFACE", "MAC", "ADDRESS" };
	struct table *t = table_make(3, heads);
	json_t *nic, *ip;
	size_t i, k, n = 0;
	char text[128];

	(void)name;
	json_array_foreach(answer, i, nic) {
		const char *mac = str_of(nic, "hardware-address"), *cells[] = { str_of(nic, "name"), *mac ? mac : NULL, NULL };

		json_array_foreach(json_object_get(nic, "ip-addresses"), k, ip) {
			snprintf(text, sizeof(text), "%.100s/%.0f", str_of(ip, "ip-address"), num_of(ip, "prefix"));
			cells[2] = text;
			if (n++ < ITEMS_MAX)
				table_row(t, cells);
		}
		if (!k && n++ < ITEMS_MAX)
			table_row(t, cells);
	}
	table_print(t, stdout);
}

static void show_shutdown(const char *name, json_t *answer)
{
	(void)answer;
	printf("the guest of '%s' shuts down\n", name);
}

static void show_freeze(const char *name, json_t *answer)
{
	printf("%lld file systems of '%s' stand still; let them go on with 'drover guest %s thaw'\n",
	       (long long)json_integer_value(answer), name, name);
}

static void show_thaw(const char *name, json_t *answer)
{
	printf("%lld file systems of '%s' go on\n", (long long)json_integer_value(answer), name);
}

static const struct guest_order orders[] = {
	{ "ping", "guest-ping", NULL, ASK_MS, false, show_ping },
	{ "info", "guest-info", NULL, ASK_MS, false, show_info },
	{ "addresses", "guest-network-get-interfaces", NULL, ASK_MS, false, show_addresses },
	{ "shutdown", "guest-shutdown", "powerdown", GONE_MS, true, show_shutdown },
	{ "freeze", "guest-fsfreeze-freeze", NULL, FREEZE_MS, false, show_freeze },
	{ "thaw", "guest-fsfreeze-thaw", NULL, FREEZE_MS, false, show_thaw },
};

#define N_ORDERS (sizeof(orders) / sizeof(orders[0]))

static const struct guest_order *order_find(const char *word)
{
	for (size_t i = 0; i < N_ORDERS; i++)
		if (!strcmp(orders[i].word, word))
			return &orders[i];
	return NULL;
}

static int failed(const char *name, int ret, const struct err *e)
{
	return say_error(err_exit_code(ret == -EPROTO ? -EIO : ret), "%s: %s", name, e->text);
}

/* The answer, or null where there need be none. */
static int order_give(const char *name, const char *path, const struct guest_order *o, json_t **answer)
{
	json_t *args = o->args ? json_pack("{s:s}", "mode", o->args) : NULL;
	struct agent_link *l = NULL;
	struct err e = { 0 };
	int ret = agent_link_open(&l, path, SYNC_MS, &e);

	if (ret) {
		json_decref(args);
		return failed(name, ret, &e);
	}
	ret = agent_link_ask(l, o->command, args, o->timeout_ms, answer, &e);
	agent_link_close(l);
	if (o->silent && (ret == -ETIMEDOUT || ret == -EBUSY)) {
		*answer = json_null();
		ret = 0;
	}
	return ret ? failed(name, ret, &e) : EXIT_OK;
}

/* Where its socket is; an exit code, error said. */
static int agent_find(struct drover *d, const char *name, json_t **query, const char **path)
{
	struct vmm_link *l;
	json_t *agent;
	int code = vmm_link_open(d, name, "guest", &l);

	if (code)
		return code;
	code = vmm_link_ask(l, "query", NULL, query);
	vmm_link_close(l);
	if (code)
		return code;
	agent = json_object_get(*query, "agent");
	*path = str_of(agent, "path");
	if (!agent)
		code = say_error(EXIT_NOTFOUND, "%s: the domain has no port for an agent ('guest_agent' in its file)", name);
	else if (!bool_of(agent, "open"))
		code = say_error(EXIT_REFUSED, "%s: no agent runs in the guest", name);
	if (code)
		json_decref(*query);
	return code;
}

int verb_guest(struct drover *d)
{
	const struct guest_order *o = order_find(d->argv[1]);
	json_t *query = NULL, *answer = NULL;
	const char *path;
	int code;

	if (!o)
		return say_error(EXIT_USAGE, "guest: '%s': expected ping, info, addresses, shutdown, freeze or thaw", d->argv[1]);
	code = agent_find(d, d->argv[0], &query, &path);
	if (code)
		return code;
	code = order_give(d->argv[0], path, o, &answer);
	json_decref(query);
	if (code)
		return code;
	if (d->opt.json)
		code = print_json(answer);
	else
		o->show(d->argv[0], answer);
	json_decref(answer);
	return code;
}
