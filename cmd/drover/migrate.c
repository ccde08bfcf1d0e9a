/* SPDX-License-Identifier: Apache-2.0 */
/*
 * migrate - move a running domain, and show how it goes.
 *
 * The cluster decides when a migration is over: the record's phase leaves
 * "migrating".  Percent, rate and downtime are told by the source, and its droverd
 * tells them to all hosts (ha/shell/progress.h).
 */
#include "cmd/drover/drover.h"

#include "base/clock.h"

#include <string.h>
#include <unistd.h>

#define POLL_MS 100
#define DEFAULT_TIMEOUT_S 600

/* What was known before: how an outcome is told from a restart. */
struct before {
	double incarnation;
	char target[64]; /* name of the destination, "" as long as it is not known */
};

static void progress_line(const char *name, json_t *m)
{
	double total = num_of(m, "total"), left = num_of(m, "remaining"), rate = num_of(m, "rate");
	/* "remaining" is counted at the end of a round; in the first one, all of memory, "done" tells. */
	char speed[32], size[32], line[200];
	int n;

	if (!m || total <= 0)
		return;
	if (num_of(m, "round") < 1)
		left = total - num_of(m, "done");
	n = snprintf(line, sizeof(line), "%s: %s, round %.0f, %3.0f %%", name, str_of(m, "phase"),
		     num_of(m, "round"), left < total ? 100 * (1 - left / total) : 0);
	if (rate > 0)
		snprintf(line + n, sizeof(line) - (size_t)n, ", %s/s, %s left, %.1f s",
			 format_size(rate, speed), format_size(left, size), left / rate);
	line_show(line);
}

static int report(struct drover *d, const char *name, json_t *o, json_t *m, uint64_t took_ms)
{
	char total[32], down[32], sent[32];

	if (d->opt.json) {
		json_object_set_new(o, "code", json_integer(0));
		json_object_set_new(o, "took_ms", json_integer((json_int_t)took_ms));
		return print_json(o);
	}
	if (strcmp(str_of(m, "phase"), "done") == 0 && num_of(m, "total_ms") > 0)
		printf("domain '%s' runs on %s now: total %s, downtime %s, %s sent\n", name,
		       str_of(o, "node"), format_ms(num_of(m, "total_ms"), total),
		       format_ms(num_of(m, "downtime_ms"), down), format_size(num_of(m, "sent"), sent));
	else
		printf("domain '%s' runs on %s now: total %s\n", name, str_of(o, "node"),
		       format_ms((double)took_ms, total));
	return EXIT_OK;
}

/*
 * The record left "migrating".  It went well when the very incarnation that ran
 * before was handed over, to the host that was the target, and runs there; a domain that
 * was started again, here or there, lost what it had in memory.
 */
static int conclude(struct drover *d, const char *name, json_t *o, const struct before *was,
		    uint64_t took_ms)
{
	json_t *m = json_object_get(o, "migration");
	const char *why = str_of(m, "error"), *node = str_of(o, "node");
	bool handed_over = num_of(o, "moved_incarnation") == was->incarnation;

	if (handed_over && (!*was->target || strcmp(node, was->target) == 0))
		return report(d, name, o, m, took_ms);
	/* A VMM that was told to stop says "cancelled"; why it was, the record knows. */
	if (*str_of(o, "reason") && (!*why || strcmp(str_of(m, "phase"), "cancelled") == 0))
		why = str_of(o, "reason");
	if (!*why)
		why = "no reason is known";
	if (num_of(o, "incarnation") == was->incarnation && !*node)
		return say_error(EXIT_ERROR, "domain '%s' ended while it was to move, it is %s: %s", name,
				 str_of(o, "phase"), why);
	if (num_of(o, "incarnation") == was->incarnation)
		return say_error(EXIT_ERROR, "domain '%s' stays on %s: %s", name, node, why);
	if (*node)
		return say_error(EXIT_ERROR, "domain '%s' was lost %s and started again on %s: %s", name,
				 handed_over ? "after it moved" : "while it moved", node, why);
	return say_error(EXIT_ERROR, "domain '%s' was lost while it moved, it is %s: %s", name,
			 str_of(o, "phase"), why);
}

/* It stayed where it was, as it should; a reason is what speaks against its moving. */
static int conclude_dry_run(struct drover *d, const char *name, json_t *o, const struct before *was)
{
	const char *why = str_of(o, "reason");

	if (num_of(o, "incarnation") != was->incarnation)
		return say_error(EXIT_ERROR, "domain '%s' was started again meanwhile, nothing is known: %s", name, why);
	if (*why)
		return say_error(EXIT_REFUSED, "domain '%s' could not move to %s: %s", name, was->target, why);
	return done(d, "domain '%s' could move to %s", name, was->target);
}

/* The source's last word (total, downtime) comes a moment after the record changed. */
static bool has_totals(json_t *o)
{
	json_t *m = json_object_get(o, "migration");
	const char *phase = str_of(m, "phase");

	return !m || strcmp(phase, "done") == 0 || strcmp(phase, "failed") == 0 ||
	       strcmp(phase, "cancelled") == 0;
}

static int follow(struct drover *d, const char *name, struct before *was)
{
	uint64_t begin = clock_ms(), now, ended = 0;
	uint64_t until = d->began_ms + (d->opt.timeout_s ? d->opt.timeout_s : DEFAULT_TIMEOUT_S) * 1000ull;
	bool tty = isatty(STDERR_FILENO) && !d->opt.json;
	json_t *o;
	int code;

	for (;;) {
		code = domain_poll(d, name, until, &o);
		if (code)
			return code;
		now = clock_ms();
		if (*str_of(o, "target"))
			snprintf(was->target, sizeof(was->target), "%s", str_of(o, "target"));
		if (strcmp(str_of(o, "phase"), "migrating") != 0 && !ended)
			ended = now;
		if (ended && (d->opt.dry_run || has_totals(o) || now - ended > 1000)) {
			if (tty)
				line_clear();
			code = d->opt.dry_run ? conclude_dry_run(d, name, o, was) : conclude(d, name, o, was, ended - begin);
			json_decref(o);
			return code;
		}
		if (tty && !ended)
			progress_line(name, json_object_get(o, "migration"));
		json_decref(o);
		if (now >= until)
			return say_error(EXIT_TIMEOUT, "domain '%s' is still migrating; 'drover cancel %s' "
						       "stops that",
					 name, name);
		usleep(POLL_MS * 1000);
	}
}

int verb_migrate(struct drover *d)
{
	const char *name = d->argv[0];
	json_t *o, *body = json_object();
	struct before was = { 0 };
	int code;

	code = domain_get(d, name, &o);
	if (code) {
		json_decref(body);
		return code;
	}
	was.incarnation = num_of(o, "incarnation");
	json_decref(o);
	if (d->argc > 1)
		snprintf(was.target, sizeof(was.target), "%s", d->argv[1]);
	if (d->argc > 1)
		json_object_set_new(body, "node", json_string(d->argv[1]));
	if (d->opt.dry_run)
		json_object_set_new(body, "dry_run", json_true());
	code = domain_post(d, "domains", name, "migrate", body);
	if (code)
		return code;
	if (d->opt.no_wait)
		return done(d, "migration of domain '%s' has begun", name);
	return follow(d, name, &was);
}
