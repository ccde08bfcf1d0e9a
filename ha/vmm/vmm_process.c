/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vmm_process - see vmm_process.h.
 *
 * A pidfd, not a pid, stands for the process: it cannot come to mean another
 * one.  The child gets no descriptor of ours but its life file, a session of its own (so
 * that nothing sent to droverd's reaches it), and a log file.
 */
#include "ha/vmm/vmm_process.h"

#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

#define ARGS_MAX 20
#define LIFE_FD 3 /* where the child finds its life file */

static void fill_args(const struct vmm_spawn *s, char incarnation[24], const char *args[ARGS_MAX])
{
	int n = 0;

	snprintf(incarnation, 24, "%" PRIu64, s->incarnation);
	args[n++] = s->program;
	args[n++] = "run";
	args[n++] = s->conf;
	args[n++] = "--incarnation";
	args[n++] = incarnation;
	if (s->cluster) {
		args[n++] = "--cluster";
		args[n++] = s->cluster;
	}
	args[n++] = "--control";
	args[n++] = s->control;
	args[n++] = "--console";
	args[n++] = s->console;
	args[n++] = "--lease";
	args[n++] = s->lease;
	args[n++] = "--life";
	args[n++] = "3";
	if (s->incoming) {
		args[n++] = "--incoming";
		args[n++] = s->incoming;
	}
	args[n] = NULL;
}

/*
 * Here, not in the child: a FIFO that nobody reads would hold it, and posix_spawn() with it.  A full
 * or read-only disk of droverd's is no reason why a domain should not run: then its lines are lost.
 */
static int open_log(const char *path)
{
	int log = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NONBLOCK, 0640);

	if (log >= 0)
		return log;
	log_warn("cannot open %s (%s): what the VMM says is lost", path, strerror(errno));
	return open("/dev/null", O_WRONLY | O_CLOEXEC);
}

int vmm_process_spawn(const struct vmm_spawn *s, int life, pid_t *pid, struct err *e)
{
	const char *args[ARGS_MAX];
	posix_spawn_file_actions_t fa;
	posix_spawnattr_t at;
	char incarnation[24];
	sigset_t none, all;
	int rc, log;

	log = open_log(s->log);
	if (log < 0)
		return err_errno(e, "cannot open /dev/null");
	fill_args(s, incarnation, args);
	posix_spawn_file_actions_init(&fa);
	posix_spawnattr_init(&at);
	posix_spawn_file_actions_addopen(&fa, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&fa, log, 1);
	posix_spawn_file_actions_adddup2(&fa, 1, 2);
	posix_spawn_file_actions_adddup2(&fa, life, LIFE_FD); /* also clears O_CLOEXEC, POSIX.1-2017 */
	posix_spawn_file_actions_addclosefrom_np(&fa, LIFE_FD + 1);
	sigemptyset(&none);
	sigfillset(&all);
	posix_spawnattr_setsigmask(&at, &none);
	posix_spawnattr_setsigdefault(&at, &all);
	posix_spawnattr_setflags(&at, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK |
					      POSIX_SPAWN_SETSIGDEF);
	rc = posix_spawnp(pid, s->program, &fa, &at, (char *const *)args, environ);
	posix_spawnattr_destroy(&at);
	posix_spawn_file_actions_destroy(&fa);
	close(log);
	if (rc)
		return err_set(e, -rc, "cannot start %s: %s", s->program, strerror(rc));
	return 0;
}

int vmm_process_pidfd(pid_t pid)
{
	int fd = pidfd_open(pid, 0);

	return fd < 0 ? -errno : fd;
}

int vmm_process_reap(int pidfd)
{
	siginfo_t si = { 0 };

	if (waitid(P_PIDFD, (id_t)pidfd, &si, WEXITED | WNOHANG) < 0 || si.si_pid == 0)
		return -1;
	return si.si_code == CLD_EXITED ? si.si_status : 128 + si.si_status;
}

void vmm_process_kill(int pidfd)
{
	pidfd_send_signal(pidfd, SIGKILL, NULL, 0);
}
