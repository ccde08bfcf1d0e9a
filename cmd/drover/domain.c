/* SPDX-License-Identifier: Apache-2.0 */
/*
 * domain - verbs about one domain: list, show, start, stop, remove, cancel, clear.
 */
#include "cmd/drover/drover.h"

#include "base/clock.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WAIT_POLL_MS 50
#define AWAY_MS 5000 /* a restart of droverd, an upgrade */
#define DEFAULT_TIMEOUT_S 60

#define URL_LEN 512

/* What an http_request() says while droverd is restarted. */
static bool is_away(int code)
{
	return code == -ENOENT || code == -ECONNREFUSED || code == -ECONNRESET || code == -EAGAIN;
}

int poll_get(struct drover *d, const char *url, uint64_t until_ms, json_t **out)
{
	uint64_t end = clock_ms() + AWAY_MS;
	struct err e = { 0 };
	int code;

	end = end < until_ms ? end : until_ms;
	while ((code = http_request(d->http, "GET", url, NULL, 0, out, &e)) && is_away(e.code) && clock_ms() < end)
		usleep(WAIT_POLL_MS * 1000);
	return code ? say_error(code, "%s", e.text) : EXIT_OK;
}

int domain_poll(struct drover *d, const char *name, uint64_t until_ms, json_t **out)
{
	char url[URL_LEN] = "domains";

	url_add(url, sizeof(url), name);
	return poll_get(d, url, until_ms, out);
}

int domain_get(struct drover *d, const char *name, json_t **out)
{
	return domain_poll(d, name, 0, out);
}

int domain_post_said(struct drover *d, const char *base, const char *name, const char *verb, json_t *body,
		     char said[SAID_MAX])
{
	char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
	struct err e = { 0 };
	char url[URL_LEN];
	json_t *answer;
	int code;

	snprintf(url, sizeof(url), "%s", base);
	url_add(url, sizeof(url), name);
	if (*verb)
		url_add(url, sizeof(url), verb);
	code = http_request(d->http, "POST", url, text, text ? strlen(text) : 0, &answer, &e);
	json_decref(body);
	free(text);
	snprintf(said, SAID_MAX, "%s", str_of(answer, "text"));
	json_decref(answer);
	return code ? say_error(code, "%s", e.text) : EXIT_OK;
}

int domain_post(struct drover *d, const char *base, const char *name, const char *verb, json_t *body)
{
	char said[SAID_MAX];

	return domain_post_said(d, base, name, verb, body, said);
}

int domain_delete(struct drover *d, const char *base, const char *name)
{
	struct err e = { 0 };
	char url[URL_LEN];
	int code;

	snprintf(url, sizeof(url), "%s", base);
	url_add(url, sizeof(url), name);
	code = http_request(d->http, "DELETE", url, NULL, 0, NULL, &e);
	return code ? say_error(code, "%s", e.text) : EXIT_OK;
}

/* The exit code of the VMM that failed is ours too. */
static int failed(const char *name, const json_t *domain, const char *reason)
{
	int code = (int)json_integer_value(json_object_get(domain, "exit_code"));

	if (code < EXIT_ERROR || code > EXIT_REFUSED)
		code = EXIT_ERROR;
	return say_error(code, "%s: %s", name, *reason ? reason : "it was stopped");
}

/* Until the domain's @field ("phase", "state") is @value, or it failed; an exit code, error said. */
static int wait_for(struct drover *d, const char *name, const char *field, const char *value, uint32_t timeout_s)
{
	uint64_t until = d->began_ms + (timeout_s ? timeout_s : DEFAULT_TIMEOUT_S) * 1000ull;
	const char *now;
	json_t *o;
	int code;

	for (;;) {
		code = domain_poll(d, name, until, &o);
		if (code)
			return code;
		if (strcmp(str_of(o, field), value) == 0)
			break;
		now = str_of(o, "phase");
		/* Protected domains are tried again later, others are not: both have failed now. */
		if (strcmp(now, "backoff") == 0 ||
		    (strcmp(now, "stopped") == 0 && !json_is_true(json_object_get(o, "wanted"))))
			code = failed(name, o, str_of(o, "reason"));
		else if (clock_ms() >= until)
			code = say_error(EXIT_TIMEOUT, "%s is still %s%s%s", name, str_of(o, field),
					 *str_of(o, "why") ? ": " : "", str_of(o, "why"));
		json_decref(o);
		if (code)
			return code;
		usleep(WAIT_POLL_MS * 1000);
	}
	json_decref(o);
	return EXIT_OK;
}

int verb_list(struct drover *d)
{
	static const char *const heads[] = { "NAME", "STATE", "NODE", "MEMORY", "VCPUS", "HA", "WHY" };
	char size[32], vcpus[16];
	struct err e = { 0 };
	struct table *t;
	json_t *list, *o;
	size_t i;
	int code = http_request(d->http, "GET", "domains", NULL, 0, &list, &e);

	if (code)
		return say_error(code, "%s", e.text);
	if (d->opt.json) {
		print_json(list);
	} else {
		t = table_make(7, heads);
		json_array_foreach(list, i, o) {
			snprintf(vcpus, sizeof(vcpus), "%.0f", num_of(o, "vcpus"));
			table_row(t, (const char *const[]){
					     str_of(o, "name"), str_of(o, "state"), str_of(o, "node"),
					     format_size(num_of(o, "memory"), size), vcpus,
					     bool_of(o, "ha") ? *str_of(o, "group") ? str_of(o, "group") : "yes" : "no",
					     str_of(o, "why") });
		}
		table_print(t, stdout);
	}
	json_decref(list);
	return EXIT_OK;
}

static void show_line(const char *key, const char *value)
{
	if (*value)
		printf("%-13s %s\n", key, value);
}

static void show_number(const char *key, double value)
{
	printf("%-13s %.0f\n", key, value);
}

/* As long as it is not over. */
static void show_reboot(json_t *reboot)
{
	const char *phase = str_of(reboot, "phase");

	if (strcmp(phase, "asked") == 0)
		show_line("Reboot:", "the guest was asked to shut down");
	else if (strcmp(phase, "late") == 0)
		show_line("Reboot:", "the guest was asked to shut down, and is late");
}

int verb_show(struct drover *d)
{
	char buf[32];
	json_t *o, *vmm;
	int code = domain_get(d, d->argv[0], &o);

	if (code)
		return code;
	if (d->opt.json) {
		print_json(o);
		json_decref(o);
		return EXIT_OK;
	}
	vmm = json_object_get(o, "vmm");
	show_line("Name:", str_of(o, "name"));
	show_line("UUID:", str_of(o, "uuid"));
	show_line("State:", str_of(o, "state"));
	show_line("Why:", str_of(o, "why"));
	show_line("Reason:", str_of(o, "reason"));
	show_line("Node:", str_of(o, "node"));
	show_line("Target:", str_of(o, "target"));
	show_line("Memory:", format_size(num_of(o, "memory"), buf));
	show_number("vCPUs:", num_of(o, "vcpus"));
	show_line("CPU:", str_of(json_object_get(o, "cpu"), "model"));
	show_line("HA:", bool_of(o, "ha") ? "yes" : "no");
	show_line("Group:", str_of(o, "group"));
	show_number("Incarnation:", num_of(o, "incarnation"));
	show_number("Moves:", num_of(o, "moves"));
	show_number("Failures:", num_of(o, "failures"));
	if (vmm) {
		show_number("PID:", num_of(vmm, "pid"));
		show_line("Console:", str_of(vmm, "console"));
		show_reboot(json_object_get(vmm, "reboot"));
	}
	json_decref(o);
	return EXIT_OK;
}

int verb_start(struct drover *d)
{
	char node[80] = "", said[SAID_MAX] = "", name[DOMAIN_NAME_SIZE];
	json_t *o, *body;
	int code;

	if (looks_like_file(d->argv[0])) {
		code = domain_add_file(d, d->argv[0], d->opt.node, false, name);
	} else {
		snprintf(name, sizeof(name), "%s", d->argv[0]);
		body = json_object();
		if (d->opt.node)
			json_object_set_new(body, "node", json_string(d->opt.node));
		code = domain_post_said(d, "domains", name, "start", body, said);
	}
	if (code)
		return code;
	if (d->opt.no_wait)
		return done(d, "domain '%s' is being started", name);
	code = wait_for(d, name, "phase", "running", d->opt.timeout_s);
	if (code)
		return code;
	if (domain_get(d, name, &o) == EXIT_OK) {
		snprintf(node, sizeof(node), " on %s", str_of(o, "node"));
		json_decref(o);
	}
	return done(d, strstr(said, " already runs ") ? "domain '%s' runs already%s" : "domain '%s' started%s", name, node);
}

int verb_stop(struct drover *d)
{
	const char *name = d->argv[0];
	int code = domain_post(d, "domains", name, "stop", json_pack("{s:b}", "force", (int)d->opt.force));

	if (code)
		return code;
	if (d->opt.no_wait)
		return done(d, "domain '%s' is being stopped", name);
	code = wait_for(d, name, "phase", "stopped", d->opt.timeout_s);
	return code ? code : done(d, "domain '%s' stopped", name);
}

static int pause_or_resume(struct drover *d, const char *verb, const char *state)
{
	const char *name = d->argv[0];
	int code = domain_post(d, "domains", name, verb, NULL);

	if (!code && !d->opt.no_wait)
		code = wait_for(d, name, "state", state, d->opt.timeout_s);
	return code ? code : done(d, "domain '%s' %s %s", name, d->opt.no_wait ? "will be" : "is", state);
}

int verb_pause(struct drover *d)
{
	return pause_or_resume(d, "pause", "paused");
}

int verb_resume(struct drover *d)
{
	return pause_or_resume(d, "resume", "running");
}

int verb_remove(struct drover *d)
{
	int code = domain_delete(d, "domains", d->argv[0]);

	return code ? code : done(d, "domain '%s' removed", d->argv[0]);
}

int verb_cancel(struct drover *d)
{
	int code = domain_post(d, "domains", d->argv[0], "cancel", NULL);

	return code ? code : done(d, "migration of domain '%s' cancelled", d->argv[0]);
}

int verb_clear(struct drover *d)
{
	int code = domain_post(d, "domains", d->argv[0], "clear", NULL);

	return code ? code : done(d, "failures of domain '%s' forgotten", d->argv[0]);
}
