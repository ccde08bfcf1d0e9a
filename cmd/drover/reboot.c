/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reboot - the guest begins anew, on the host where it runs: reset, reboot.
 *
 * The wish to reboot is the VMM's (docs/control.md); what is waited for here is what that says of it.
 */
#include "cmd/drover/drover.h"

#include "base/clock.h"

#include <string.h>
#include <unistd.h>

#define POLL_MS 50
#define DEFAULT_TIMEOUT_S 60
#define SLACK_MS 5000 /* the VMM's own word that it is late comes first */

int verb_reset(struct drover *d)
{
	char said[SAID_MAX];
	int code = domain_post_said(d, "domains", d->argv[0], "reset", NULL, said);

	return code ? code : done(d, "%s", said);
}

static int too_late(const char *name, uint32_t timeout_s)
{
	return say_error(EXIT_TIMEOUT, "the guest of domain '%s' has not shut down in %u s; it starts again if it still does, and at once "
				       "by 'drover reset %s'",
			 name, timeout_s, name);
}

/* Return: -1 to go on waiting, else an exit code, all said. */
static int judge(struct drover *d, json_t *o, double incarnation, uint32_t timeout_s)
{
	const json_t *vmm = json_object_get(o, "vmm");
	json_t *reboot = json_object_get(vmm, "reboot");
	const char *name = d->argv[0], *phase = str_of(reboot, "phase");

	if (num_of(o, "incarnation") != incarnation || (!vmm && strcmp(str_of(o, "phase"), "running") != 0))
		return say_error(EXIT_ERROR, "domain '%s' ended while it was to reboot, it is %s%s%s", name, str_of(o, "phase"),
				 *str_of(o, "reason") ? ": " : "", str_of(o, "reason"));
	if (strcmp(phase, "done") == 0)
		return done(d, "domain '%s' has rebooted", name);
	if (strcmp(phase, "late") == 0)
		return too_late(name, timeout_s);
	if (strcmp(phase, "dropped") == 0)
		return say_error(EXIT_ERROR, "domain '%s' does not reboot: %s", name, str_of(reboot, "why"));
	return -1;
}

static int follow(struct drover *d, double incarnation, uint32_t timeout_s)
{
	uint64_t until = clock_ms() + timeout_s * 1000ull + SLACK_MS;
	json_t *o;
	int code;

	for (;;) {
		code = domain_poll(d, d->argv[0], until, &o);
		if (code)
			return code;
		code = judge(d, o, incarnation, timeout_s);
		json_decref(o);
		if (code >= 0)
			return code;
		if (clock_ms() >= until)
			return too_late(d->argv[0], timeout_s);
		usleep(POLL_MS * 1000);
	}
}

int verb_reboot(struct drover *d)
{
	uint32_t timeout_s = d->opt.timeout_s ? d->opt.timeout_s : DEFAULT_TIMEOUT_S;
	char said[SAID_MAX];
	double incarnation;
	json_t *o;
	int code = domain_get(d, d->argv[0], &o);

	if (code)
		return code;
	incarnation = num_of(o, "incarnation");
	json_decref(o);
	code = domain_post_said(d, "domains", d->argv[0], "reboot", json_pack("{s:I}", "timeout_ms", (json_int_t)timeout_s * 1000), said);
	if (code)
		return code;
	return d->opt.no_wait ? done(d, "%s", said) : follow(d, incarnation, timeout_s);
}
