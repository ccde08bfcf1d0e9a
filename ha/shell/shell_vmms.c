/* SPDX-License-Identifier: Apache-2.0 */
/* shell_vmms - what the VMMs of this host say, in the core's words. */
#include "ha/shell/shell_int.h"

#include <stdio.h>
#include <string.h>

/* News of a VMM that lives, for the core; NULL strings are fine. */
static void vmm_event(struct shell *s, const char *domain, uint64_t incarnation,
		      enum ha_vmm_what what, const char *addr, const char *text)
{
	struct ha_event ev = {
		.kind = HA_EV_VMM,
		.vmm = { .domain = domain, .incarnation = incarnation, .what = what, .addr = addr, .text = text },
	};

	shell_event(s, &ev);
}

void shell_vmm_ended(struct shell *s, const char *domain, uint64_t incarnation, enum ha_end end, int rc,
		     const char *text)
{
	struct ha_event ev = {
		.kind = HA_EV_VMM,
		.vmm = { .domain = domain, .incarnation = incarnation, .what = HA_VMM_EXITED, .end = end, .rc = rc, .text = text },
	};

	shell_event(s, &ev);
}

static enum ha_vmm_what what_of(enum vmm_state state, bool held)
{
	switch (state) {
	case VMM_INCOMING:
		return HA_VMM_INCOMING;
	case VMM_RUNNING:
		return HA_VMM_RUNNING;
	case VMM_GATED:
		return HA_VMM_GATED;
	case VMM_PAUSED:
	case VMM_GRANTED:
		return held ? HA_VMM_HELD : HA_VMM_PAUSED;
	case VMM_STARTING:
	case VMM_GONE:
	case VMM_STOPPED:
	case VMM_EXITED:
	case VMM_STATES:
		break;
	}
	return HA_VMM_STARTING;
}

/*
 * Nothing but the guest's own power-off is a wish that the domain stay off: not a SIGTERM
 * (a host that shuts down sends it to everybody), not a silence, not our own SIGKILL.
 */
static enum ha_end end_of(const struct vmm_news *n)
{
	switch (n->end) {
	case VMM_END_POWEROFF:
		return HA_END_POWEROFF;
	case VMM_END_STOPPED:
		return HA_END_ASKED;
	case VMM_END_MOVED:
		return HA_END_MOVED;
	case VMM_END_SILENT:
		return n->killed ? HA_END_KILLED : HA_END_FAILED;
	case VMM_END_SIGNAL:
	case VMM_END_FAILED:
	case VMM_ENDS:
		break;
	}
	return HA_END_FAILED;
}

/* For a VMM that said nothing: what the kernel says. */
static const char *last_words(const struct vmm_news *n, char buf[HA_TEXT_MAX + 1])
{
	if (n->rc > 128)
		snprintf(buf, HA_TEXT_MAX + 1, "its process was killed by signal %d (%s)", n->rc - 128,
			 strsignal(n->rc - 128));
	else
		snprintf(buf, HA_TEXT_MAX + 1, "its process ended without a word, exit status %d", n->rc);
	return buf;
}

static void on_vmm(void *arg, const char *name, uint64_t incarnation, const struct vmm_news *n)
{
	const char *stands = n->stands ? n->stands : "";
	struct shell *s = arg;
	char buf[HA_TEXT_MAX + 1];
	const char *text;
	enum ha_end end;

	switch (n->what) {
	case VMM_SAID_STATE:
		shell_say(s, n->state == VMM_GATED || *stands, "%s: VMM is %s%s%s", name,
			  vmm_state_str(n->state), *stands ? ": " : "", stands);
		/* A process that is ending says so once, by its end. */
		if (n->state != VMM_GONE && n->state != VMM_STOPPED)
			vmm_event(s, name, incarnation, what_of(n->state, n->held), n->listen, NULL);
		break;
	case VMM_SAID_PROGRESS:
		shell_tell_progress(s, name, incarnation);
		break;
	case VMM_SAID_MIGRATE_FAILED:
		if (*n->text)
			shell_say(s, true, "%s: migration failed: %s", name, n->text);
		else
			shell_say(s, false, "%s: dry run: it could move", name);
		shell_tell_progress(s, name, incarnation);
		vmm_event(s, name, incarnation, HA_VMM_MIGRATE_FAILED, NULL, n->text);
		break;
	case VMM_SAID_ASK_COMMIT:
		vmm_event(s, name, incarnation, HA_VMM_ASK_COMMIT, NULL, NULL);
		break;
	case VMM_SAID_ASK_ABORT:
		vmm_event(s, name, incarnation, HA_VMM_ASK_ABORT, NULL, NULL);
		break;
	case VMM_SAID_HANGS:
		shell_say(s, true, "%s: its VMM does not answer any more: whether it runs is not known", name);
		break;
	case VMM_SAID_ANSWERS:
		shell_say(s, false, "%s: its VMM answers again", name);
		break;
	case VMM_SAID_EXITED:
		end = end_of(n);
		text = n->end == VMM_END_SILENT ? last_words(n, buf) : n->text;
		shell_say(s, end != HA_END_POWEROFF && end != HA_END_ASKED && end != HA_END_MOVED,
			  "%s: VMM %s (was %s)%s%s", name, ha_end_str(end), vmm_state_str(n->state),
			  *text ? ": " : "", text);
		shell_vmm_ended(s, name, incarnation, end, n->rc, text);
		break;
	}
}

static void on_scanned(void *arg)
{
	struct ha_event ev = { .kind = HA_EV_VMM_LIST };

	shell_event(arg, &ev);
}

const struct executor_ops shell_executor_ops = { .news = on_vmm, .scanned = on_scanned };
