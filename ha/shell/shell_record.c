/* SPDX-License-Identifier: Apache-2.0 */
/*
 * shell_record - what becomes of the host's part in the cluster when its disk fails,
 * recovers, or turns out to have forgotten (rule L).
 */
#include "ha/shell/shell_int.h"

#include "base/log.h"
#include "ha/store/boot_mark.h"

static enum ha_standing standing(const struct shell *s)
{
	struct ha_status st;

	ha_core_status(s->core, &st);
	return st.standing;
}

static void on_persisted(void *arg, uint64_t token)
{
	struct ha_event ev = { .kind = HA_EV_PERSISTED, .persisted.token = token };

	shell_event(arg, &ev);
}

/*
 * A host that cannot remember must not vote (rule L): nothing is acknowledged any more.
 * As long as the view stays the others' majority carries the epoch, this host keeps its
 * lease in it and its domains run; a new view it does not enter (shell_corosync.c).
 */
static void on_store_failed(void *arg, const char *text)
{
	struct shell *s = arg;

	log_error("%s: this host has no vote until that works", text);
	history_add(&s->history, "alarm", text);
	if (standing(s) == HA_FORMING) /* a promise that cannot be made: let the others go on */
		shell_step_out(s);
}

static void on_store_recovered(void *arg)
{
	struct shell *s = arg;

	shell_say(s, false, "the record can be written again");
	boot_mark(s->state_dir, s->me); /* what it could not leave when it started; a start is behind us */
	/* A core without a group is outside, or on its way: in again. */
	if (s->connected && standing(s) == HA_ALONE)
		shell_rejoin(s);
}

const struct store_ops shell_store_ops = {
	.done = on_persisted,
	.failed = on_store_failed,
	.recovered = on_store_recovered,
};

/* What was found on the disk, as far as somebody should know. */
void shell_tell_image(struct shell *s, const char *dir)
{
	const struct store_image *image = &s->image;

	if (image->cut)
		log_warn("%s/record: cut %lu bytes of an unfinished write", dir,
			 (unsigned long)image->cut);
	if (image->lost) {
		log_error("%s/record: %s; kept as record.bad. This host counts as one whose disk was lost: "
			  "it has no vote until it has the record from others",
			  dir, image->why);
		history_add(&s->history, "alarm", "this host's record is damaged: no vote until others gave theirs");
	}
	if (image->copied) {
		log_error("%s/record is a copy, from a backup or of another host, and may be older than what this host "
			  "has promised: it has no vote until the others gave it theirs, or all are here",
			  dir);
		history_add(&s->history, "alarm", "this host's record is a copy: no vote until others gave theirs");
	}
	if (store_failing(s->store))
		on_store_failed(s, store_failing(s->store));
}
