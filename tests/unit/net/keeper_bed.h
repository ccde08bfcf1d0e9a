/* SPDX-License-Identifier: Apache-2.0 */
/* keeper_bed - VMMs whose ports another process keeps, in a namespace of their own. */
#ifndef DROVER_TESTS_UNIT_NET_KEEPER_BED_H
#define DROVER_TESTS_UNIT_NET_KEEPER_BED_H

#include "net_bed.h"

#include "base/log.h"
#include "base/packet.h"
#include "net/link/keeper.h"
#include "net/link/keeper_int.h"
#include "net/link/rtnl.h"

#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>

static const struct port_conf plain = { .tap = "t0", .mac = mac, .bridge = "br0" };

static inline struct keeper *start_or_fail(void)
{
	struct err e = { 0 };
	struct keeper *k;

	if (keeper_start(&k, NULL, 0, &e))
		fail_msg("%s", e.text);
	return k;
}

static inline struct port *open_or_fail(struct keeper *k, const struct port_conf *c)
{
	struct err e = { 0 };
	struct port *p;

	if (keeper_open(k, c, &p, &e))
		fail_msg("%s", e.text);
	return p;
}

static inline void refused(struct keeper *k, const struct port_conf *c, int code, const char *text)
{
	struct err e = { 0 };
	struct port *p;

	assert_int_equal(keeper_open(k, c, &p, &e), code);
	assert_string_equal(e.text, text);
}

/* What @command says is so within PATIENCE_MS. */
static inline void becomes(const char *command)
{
	const struct timespec pause = { .tv_nsec = 10000000l };

	for (int ms = 0; ms < PATIENCE_MS; ms += 10) {
		if (!system(command))
			return;
		nanosleep(&pause, NULL);
	}
	fail_msg("never: %s", command);
}

/* A VMM that opens @c, says so, and stays until it is killed; its tap's descriptor is its own. */
static inline pid_t vmm_with(const struct port_conf *c)
{
	int ready[2];
	pid_t child;
	char byte;

	assert_int_equal(pipe(ready), 0);
	child = fork();
	if (!child) {
		struct keeper *k;
		struct port *p;
		struct err e;

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (keeper_start(&k, NULL, 0, &e) || keeper_open(k, c, &p, &e))
			_exit(1);
		port_take_fd(p, 0);
		keeper_seal(k);
		if (write(ready[1], "", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	close(ready[1]);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	return child;
}

static inline void kill_it(pid_t child)
{
	kill(child, SIGKILL);
	assert_int_equal(waitpid(child, NULL, 0), child);
}

#endif
