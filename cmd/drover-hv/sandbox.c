/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox - see sandbox.h: when which thread gives up what. */
#include "cmd/drover-hv/sandbox.h"

#include "base/log.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

static bool sandbox_closed;
static void (*say_last)(const char *text);
static uint8_t domain[16]; /* its uuid */

static void prepare_files(void)
{
	int ret;

	/* Its own calls, of which nobody has a list, and files that it opens when it has found something. */
	if (!sandbox_filters()) {
		log_info("sandbox: no filters of system calls, this is a sanitizer's build");
		prctl(PR_SET_DUMPABLE, 1, 0, 0, 0); /* leaks are looked for by ptrace(2) */
		return;
	}
	ret = sandbox_files_prepare();
	if (ret)
		log_info("sandbox: this host has no Landlock (%s): that files are out of reach is left to seccomp alone",
			 strerror(-ret));
}

static int lose_all(void)
{
	int ret = sandbox_rights_drop();

	return ret ? ret : sandbox_files_close();
}

/*
 * What a thread gives up that says what it is.  One that began after the sandbox was closed has from the main thread
 * what that has left, so only others have rights to lose.  The helpers are processes of whoever started the VMM: the
 * porter needs no capabilities, the broker opens disks, and what it can do with that is its filter's business.  The
 * keeper has what links need, and nobody speaks to it any more when there is a guest.  The usher becomes the domain's
 * user, which who serves viewers is from its first instruction on.
 */
static int lose_rights(enum confine_kind kind)
{
	switch (kind) {
	case CONFINE_VCPU:
	case CONFINE_DEVICE:
	case CONFINE_GATE:
		return lose_all();
	case CONFINE_USHER:
		sandbox_rights_leave(domain);
		return sandbox_rights_drop();
	case CONFINE_KEEPER:
		return sandbox_rights_keep_links();
	case CONFINE_PORTER:
		return sandbox_rights_drop();
	case CONFINE_VIEWER:
		prctl(PR_SET_DUMPABLE, 0, 0, 0, 0); /* nobody else's to look at; and no picture of the screen on a disk */
		prepare_files();
		return lose_all();
	default:
		return 0;
	}
}

static int give_up(enum confine_kind kind)
{
	int ret = lose_rights(kind);

	return ret || kind == CONFINE_USHER || kind == CONFINE_KEEPER ? ret : sandbox_filter_load(kind);
}

static bool is_its_turn(enum confine_kind kind)
{
	/* A filter of their own would keep other threads from getting the main one's, so that comes first. */
	return kind == CONFINE_MAIN || kind == CONFINE_BROKER || kind == CONFINE_PORTER || kind == CONFINE_KEEPER ||
	       kind == CONFINE_USHER || kind == CONFINE_VIEWER || __atomic_load_n(&sandbox_closed, __ATOMIC_ACQUIRE);
}

static bool become(enum confine_kind kind)
{
	char text[160];
	int ret;

	if (!is_its_turn(kind))
		return false;
	ret = give_up(kind);
	if (!ret) {
		sandbox_probe(kind);
		return true;
	}
	snprintf(text, sizeof(text), "sandbox: thread %s cannot give up its rights: %s", confine_name(kind), strerror(-ret));
	log_error("%s", text);
	if (say_last)
		say_last(text);
	_exit(EXIT_ERROR);
}

void sandbox_prepare(void (*last_word)(const char *text))
{
	say_last = last_word;
	sandbox_rights_bound();
	sandbox_filter_tell(last_word);
	confine_by(become);
}

void sandbox_domain(const uint8_t uuid[16])
{
	memcpy(domain, uuid, sizeof(domain));
}

int sandbox_close(struct err *e)
{
	int ret;

	assert(!sandbox_closed);
	sandbox_rights_leave(domain);
	prepare_files();
	ret = lose_all();
	if (ret)
		return err_set(e, ret, "sandbox: rights cannot be given up: %s", strerror(-ret));
	confine(CONFINE_MAIN);
	__atomic_store_n(&sandbox_closed, true, __ATOMIC_RELEASE);
	return 0;
}
