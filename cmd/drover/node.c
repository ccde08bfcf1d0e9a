/* SPDX-License-Identifier: Apache-2.0 */
/*
 * node - verbs about hosts: status, node ..., fence, confirm.
 */
#include "cmd/drover/drover.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SILENT_MS 1000 /* a lease is renewed more often */
#define AWAY_NAMED 4   /* the others are counted: a few lines stay a few lines */

/* How many there are, and which of them would take no domain now. */
static void print_hosts(json_t *nodes)
{
	size_t i, away = 0;
	json_t *o;

	printf("Hosts:     %zu", json_array_size(nodes));
	json_array_foreach(nodes, i, o)
		if (strcmp(str_of(o, "state"), "online") != 0 && ++away <= AWAY_NAMED)
			printf("%s %s (%s)", away == 1 ? ", not online:" : ",", str_of(o, "name"), str_of(o, "state"));
	if (away > AWAY_NAMED)
		printf(" and %zu more", away - AWAY_NAMED);
	putchar('\n');
}

static void print_domains(json_t *o)
{
	double waiting = num_of(o, "waiting");

	printf("Domains:   %.0f, %.0f on this host", num_of(o, "domains"), num_of(o, "vmms"));
	if (waiting > 0)
		printf(", %.0f %s: 'drover list' says for what", waiting, waiting > 1 ? "wait" : "waits");
	putchar('\n');
}

/* A corosync that hangs still says that all is well; that nothing comes back, not even what this host said, is the sign. */
static void print_lease(json_t *o, json_t *nodes)
{
	double lease = num_of(o, "lease_ms"), heard;
	char buf[32];
	size_t i;
	json_t *n;

	if (lease > 0) {
		printf("Lease:     %s\n", format_ms(lease, buf));
		return;
	}
	printf("Lease:     none, domains here are paused");
	json_array_foreach(nodes, i, n) {
		heard = num_of(n, "heard_ms_ago");
		if (num_of(n, "id") == num_of(o, "id") && bool_of(n, "member") && heard >= SILENT_MS)
			printf("; corosync has delivered nothing for %s", format_ms(heard, buf));
	}
	putchar('\n');
}

/* "has no vote yet": until all hosts' cluster.yaml name it and all of them read it. */
static void print_witness(json_t *o)
{
	json_t *w = json_object_get(o, "witness");

	if (!json_is_object(w))
		return;
	printf("Witness:   %s, %s", str_of(w, "id"), bool_of(w, "votes") ? "has a vote" : "has no vote yet");
	if (bool_of(w, "leans"))
		fputs(", without which there would be no majority now", stdout);
	printf("%s%s\n", *str_of(w, "why") ? ": " : "", str_of(w, "why"));
}

int verb_status(struct drover *d)
{
	char words[QUORUM_WORDS];
	json_t *o, *problem, *nodes = NULL;
	struct err e = { 0 };
	size_t i;
	int code = http_request(d->http, "GET", "status", NULL, 0, &o, &e);

	if (code)
		return say_error(code, "%s", e.text);
	if (!d->opt.json)
		code = http_request(d->http, "GET", "nodes", NULL, 0, &nodes, &e);
	if (code) {
		say_error(code, "%s", e.text);
	} else if (d->opt.json) {
		print_json(o);
	} else {
		printf("Host:      %s (id %.0f)\n", str_of(o, "node"), num_of(o, "id"));
		printf("Version:   %s\n", str_of(o, "version"));
		printf("Corosync:  %s\n", bool_of(o, "corosync") ? "connected" : "not reachable");
		printf("Quorum:    %s\n", quorum_word(o, words));
		printf("Cluster:   %s, epoch %.0f, entry %.0f\n", str_of(o, "standing"),
		       num_of(o, "epoch"), num_of(o, "committed"));
		print_witness(o);
		print_lease(o, nodes);
		print_hosts(nodes);
		print_domains(o);
		json_array_foreach(json_object_get(o, "problems"), i, problem)
			printf("Problem:   %s\n", text_of(problem));
	}
	json_decref(nodes);
	json_decref(o);
	return code;
}

int verb_node_status(struct drover *d)
{
	static const char *const heads[] = { "NAME", "ID", "STATE", "VOTES", "DOMAINS", "CPUS", "MEMORY", "HEARD", "FENCING", "WHY" };
	char id[16], votes[16], domains[16], cpus[16], memory[32], heard[48], buf[32];
	struct err e = { 0 };
	struct table *t;
	json_t *list, *o;
	size_t i;
	int code = http_request(d->http, "GET", "nodes", NULL, 0, &list, &e);

	if (code)
		return say_error(code, "%s", e.text);
	if (d->opt.json) {
		print_json(list);
		json_decref(list);
		return EXIT_OK;
	}
	t = table_make(10, heads);
	json_array_foreach(list, i, o) {
		snprintf(id, sizeof(id), "%.0f", num_of(o, "id"));
		snprintf(votes, sizeof(votes), "%.0f", num_of(o, "votes"));
		snprintf(domains, sizeof(domains), "%.0f", num_of(o, "domains"));
		strcpy(cpus, "-"); /* a host that was never in the view told nobody */
		strcpy(memory, "-");
		if (num_of(o, "cpus") > 0)
			snprintf(cpus, sizeof(cpus), "%.0f", num_of(o, "cpus"));
		if (num_of(o, "memory") > 0)
			format_size(num_of(o, "memory"), memory);
		snprintf(heard, sizeof(heard), "%s ago", format_ms(num_of(o, "heard_ms_ago"), buf));
		table_row(t, (const char *const[]){ str_of(o, "name"), id, str_of(o, "state"), votes,
						    domains, cpus, memory,
						    json_is_number(json_object_get(o, "heard_ms_ago")) ? heard : "never",
						    str_of(o, "fence"), *str_of(o, "why") ? str_of(o, "why") : str_of(o, "fence_text") });
	}
	table_print(t, stdout);
	json_decref(list);
	return EXIT_OK;
}

int verb_node_maintenance(struct drover *d)
{
	bool on = strcmp(d->argv[1], "on") == 0;
	int code;

	if (!on && strcmp(d->argv[1], "off") != 0)
		return say_error(EXIT_USAGE, "maintenance '%s': expected on or off", d->argv[1]);
	code = domain_post(d, "nodes", d->argv[0], "maintenance", json_pack("{s:b}", "on", (int)on));
	return code ? code : done(d, "maintenance of %s is %s", d->argv[0], on ? "on" : "off");
}

/* Return: true when a person at a terminal typed "yes". */
static bool asked(const char *what, const char *node)
{
	char line[16] = "";

	fprintf(stderr, "%s %s? Type yes: ", what, node);
	fflush(stderr);
	return fgets(line, sizeof(line), stdin) && strcmp(line, "yes\n") == 0;
}

static int sure(struct drover *d, const char *what)
{
	if (d->opt.yes)
		return EXIT_OK;
	if (!isatty(STDIN_FILENO))
		return say_error(EXIT_USAGE, "nobody to ask here: add --yes");
	if (asked(what, d->argv[0]))
		return EXIT_OK;
	return say_error(EXIT_REFUSED, "not confirmed, nothing done");
}

/* A daemon that stood still may read this much later: what was true of the host then is not now. */
static json_t *given_at(const struct drover *d)
{
	return json_pack("{s:I}", "asked_ms", (json_int_t)d->began_ms);
}

int verb_fence(struct drover *d)
{
	int code = sure(d, "Cut the power of");

	if (!code)
		code = domain_post(d, "nodes", d->argv[0], "fence", given_at(d));
	return code ? code : done(d, "fencing of %s was ordered; 'drover node status' shows the outcome", d->argv[0]);
}

int verb_confirm(struct drover *d)
{
	int code = sure(d, "Domains will start elsewhere. Is the power really off at");
	char said[SAID_MAX] = "";

	if (!code)
		code = domain_post_said(d, "nodes", d->argv[0], "confirm", given_at(d), said);
	return code ? code : done(d, "%s", said); /* also that nothing waited for it */
}
