/* SPDX-License-Identifier: Apache-2.0 */
/*
 * agent - one run of one fence agent.
 *
 * The options are written to a sealed memfd that becomes the agent's standard
 * input: no pipe can fill up, and no password is seen in a command line.
 * Standard error is a pipe of which only the last line is kept: agents log as
 * much as they like and end with the reason.
 *
 * The agent leads a session of its own.  At its end, good or bad, its whole
 * process group is killed before the leader is reaped (the zombie pins the
 * number, so the kill cannot hit anybody else): an ipmitool that an agent left
 * behind must not switch a host off minutes later, when it is alive again.
 * For the same reason the agent dies with us (PR_SET_PDEATHSIG): whoever takes
 * the fencing over starts afresh.  A grandchild that leaves the group as well
 * escapes; none of the agents of ClusterLabs does that.
 */
#include "fence/agent.h"

#include "base/clock.h"
#include "base/text.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

#define AGENT_STATUS_OFF 2      /* FenceAgentAPI.md: "status" of a host that is off */
#define AGENT_KILL_WAIT_MS 1000 /* a process in uninterruptible sleep may not die at all */
#define AGENT_END_WAIT_MS 100   /* the same when nobody wants the outcome */
#define AGENT_EXEC_FAILED 127
#define AGENT_NICE (-15) /* see agent_hurry() */
#define AGENT_NICE_TEXT "-15"

static void agent_fail(struct agent *a, int code, const char *what)
{
	a->code = code;
	a->done = true;
	if (a->last[0] && code != -ETIMEDOUT)
		snprintf(a->text, sizeof(a->text), "%s: %s", what, a->last);
	else
		snprintf(a->text, sizeof(a->text), "%s", what);
}

/* Our own word for action always comes last: an option cannot turn an off into an on. */
static int agent_input(const struct cluster_fence *d, enum fence_action action)
{
	int fd = memfd_create("fence-options", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	size_t i;
	int rc = 0;

	if (fd < 0)
		return -errno;
	for (i = 0; i < d->n_options && rc >= 0; i++)
		if (strcmp(d->options[i].key, "action") && strcmp(d->options[i].key, "option"))
			rc = dprintf(fd, "%s=%s\n", d->options[i].key, d->options[i].value);
	if (rc >= 0)
		rc = dprintf(fd, "action=%s\n", fence_action_str(action));
	if (rc < 0 || lseek(fd, 0, SEEK_SET) < 0 ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW)) {
		rc = -errno;
		close(fd);
		return rc;
	}
	return fd;
}

/*
 * On a host full of busy domains, proof of death comes first: it is what the
 * domains of the lost host wait for.  Both knobs: with automatic groups (sched(7))
 * a process' nice value counts inside its session only, and the group has its own.
 * Without the right to, the agent runs as it is.
 */
static void agent_hurry(void)
{
	int fd;

	setpriority(PRIO_PROCESS, 0, AGENT_NICE);
	fd = open("/proc/self/autogroup", O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	(void)!write(fd, AGENT_NICE_TEXT, sizeof(AGENT_NICE_TEXT) - 1);
	close(fd);
}

/*
 * In the child, after fork() of a process that may have threads: only
 * async-signal-safe calls.
 */
static void __attribute__((noreturn))
agent_child(const char *path, char *const env[], int in, int err, pid_t parent)
{
	char *const argv[] = { (char *)path, NULL };
	static const char failed[] = "the agent cannot be executed\n";
	struct sigaction dfl = { .sa_handler = SIG_DFL };
	sigset_t none;
	int sig, null;

	setsid();
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	agent_hurry();
	if (getppid() != parent)
		_exit(AGENT_EXEC_FAILED);
	for (sig = 1; sig < NSIG; sig++)
		sigaction(sig, &dfl, NULL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	null = open("/dev/null", O_WRONLY);
	if (dup2(in, 0) == 0 && dup2(null, 1) == 1 && dup2(err, 2) == 2 && chdir("/") == 0) {
		syscall(SYS_close_range, 3u, ~0u, 0u);
		execve(path, argv, env);
	}
	if (write(2, failed, sizeof(failed) - 1) < 0)
		_exit(AGENT_EXEC_FAILED - 1);
	_exit(AGENT_EXEC_FAILED);
}

static int agent_watch(struct agent *a, int fd)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = a };

	assert(fd >= 0 && a->epfd >= 0);
	return epoll_ctl(a->epfd, EPOLL_CTL_ADD, fd, &ev) ? -errno : 0;
}

/* Out of the set by hand: a child between fork() and exec() may still hold a copy. */
static void agent_close(struct agent *a, int *fd)
{
	if (*fd < 0)
		return;
	epoll_ctl(a->epfd, EPOLL_CTL_DEL, *fd, NULL);
	close(*fd);
	*fd = -1;
}

static int agent_arm(struct agent *a, uint64_t ms)
{
	struct itimerspec t = {
		.it_value.tv_sec = ms / 1000,
		.it_value.tv_nsec = ms % 1000 * NS_PER_MS,
	};

	return timerfd_settime(a->timerfd, 0, &t, NULL) ? -errno : 0;
}

static int agent_spawn(struct agent *a, const char *path, int in)
{
	/* Python agents print a warning of their own libraries as their last line otherwise */
	static char *const env[] = {
		"PATH=/usr/sbin:/usr/bin:/sbin:/bin",
		"LC_ALL=C",
		"PYTHONWARNINGS=ignore",
		NULL,
	};
	pid_t parent = getpid();
	int err[2];

	if (pipe2(err, O_CLOEXEC))
		return -errno;
	a->pid = fork();
	if (a->pid == 0)
		agent_child(path, env, in, err[1], parent);
	close(err[1]);
	a->errfd = err[0];
	if (a->pid < 0) {
		a->pid = 0;
		return -errno;
	}
	if (fcntl(a->errfd, F_SETFL, O_NONBLOCK))
		return -errno;
	a->pidfd = (int)syscall(SYS_pidfd_open, a->pid, 0);
	return a->pidfd < 0 ? -errno : 0;
}

int agent_start(struct agent *a, const struct cluster_fence *d, const char *agents_dir,
		enum fence_action action, int epfd)
{
	char path[512];
	int in = -1, rc;

	*a = (struct agent){
		.device = d,
		.action = action,
		.epfd = epfd,
		.pidfd = -1,
		.timerfd = -1,
		.errfd = -1,
		.began_ms = clock_ms(),
	};
	if (strchr(d->agent, '/'))
		rc = snprintf(path, sizeof(path), "%s", d->agent);
	else
		rc = snprintf(path, sizeof(path), "%s/%s", agents_dir, d->agent);
	if ((size_t)rc >= sizeof(path) || access(path, X_OK)) {
		agent_fail(a, -ENOENT, "no such agent");
		return 0;
	}
	in = agent_input(d, action);
	a->timerfd = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);
	if (in < 0 || a->timerfd < 0)
		rc = -errno;
	else
		rc = agent_spawn(a, path, in);
	if (!rc)
		rc = agent_arm(a, d->timeout_ms);
	if (!rc)
		rc = agent_watch(a, a->timerfd);
	if (!rc)
		rc = agent_watch(a, a->pidfd);
	if (!rc)
		rc = agent_watch(a, a->errfd);
	if (in >= 0)
		close(in);
	if (rc) {
		agent_end(a);
		agent_fail(a, rc, strerror(-rc));
	}
	return 0;
}

static void agent_line_end(struct agent *a)
{
	assert(a->line_len < sizeof(a->line));
	a->line[a->line_len] = '\0';
	a->line_len = text_clean(a->line);
	if (a->line_len)
		memcpy(a->last, a->line, a->line_len + 1);
	a->line_len = 0;
}

/* Keep the last line that says something, without control characters; drop the rest. */
static void agent_take(struct agent *a, const char *p, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++) {
		unsigned char c = (unsigned char)p[i];

		if (c == '\n')
			agent_line_end(a);
		else if (a->line_len < sizeof(a->line) - 1 && (a->line_len || c > ' '))
			a->line[a->line_len++] = c < ' ' || c == 0x7f ? ' ' : (char)c;
	}
}

/* Bounded: an agent that writes without end must not hold the event loop. */
static void agent_read(struct agent *a)
{
	char buf[4096];
	ssize_t n;
	int i;

	for (i = 0; i < 32 && a->errfd >= 0; i++) {
		n = read(a->errfd, buf, sizeof(buf));
		if (n > 0) {
			agent_take(a, buf, (size_t)n);
		} else if (n == 0) {
			agent_close(a, &a->errfd);
		} else {
			return;
		}
	}
}

static bool agent_ended(struct agent *a, siginfo_t *si)
{
	si->si_pid = 0;
	return waitid(P_PIDFD, (id_t)a->pidfd, si, WEXITED | WNOHANG | WNOWAIT) == 0 &&
	       si->si_pid != 0;
}

/* Kill the group while the leader still pins its number, then reap the leader. */
static void agent_reap(struct agent *a)
{
	siginfo_t si;

	assert(a->pid > 1 && a->pidfd >= 0); /* of 1 and 0 the group is everybody, or us */
	kill(-a->pid, SIGKILL);
	waitid(P_PIDFD, (id_t)a->pidfd, &si, WEXITED | WNOHANG);
	a->pid = 0;
}

static void agent_judge(struct agent *a, const siginfo_t *si)
{
	char what[80];

	if (a->killed) {
		snprintf(what, sizeof(what), "no success within %llu ms, killed",
			 (unsigned long long)a->device->timeout_ms);
		agent_fail(a, -ETIMEDOUT, what);
	} else if (si->si_code != CLD_EXITED) {
		snprintf(what, sizeof(what), "killed by signal %d", si->si_status);
		agent_fail(a, -EIO, what);
	} else if (a->action == FENCE_STATUS && si->si_status == AGENT_STATUS_OFF) {
		a->power = FENCE_POWER_OFF;
		a->done = true;
	} else if (si->si_status != 0) {
		snprintf(what, sizeof(what), "exit status %d", si->si_status);
		agent_fail(a, -EIO, what);
	} else {
		a->power = a->action == FENCE_STATUS ? FENCE_POWER_ON : FENCE_POWER_UNKNOWN;
		a->done = true;
	}
}

bool agent_step(struct agent *a)
{
	uint64_t expired;
	siginfo_t si;

	if (a->done)
		return true;
	agent_read(a);
	if (agent_ended(a, &si)) {
		agent_read(a);
		agent_line_end(a);
		agent_reap(a);
		agent_judge(a, &si);
	} else if (read(a->timerfd, &expired, sizeof(expired)) == sizeof(expired)) {
		if (a->killed) { /* will not die; nothing more can be learned from it */
			agent_judge(a, &si);
		} else {
			assert(a->pid > 1);
			a->killed = true;
			kill(-a->pid, SIGKILL);
			kill(a->pid, SIGKILL); /* it may not have reached setsid() yet */
			agent_arm(a, AGENT_KILL_WAIT_MS);
		}
	}
	if (a->done) {
		a->took_ms = clock_ms() - a->began_ms;
		agent_end(a);
	}
	return a->done;
}

void agent_end(struct agent *a)
{
	struct pollfd p = { .fd = a->pidfd, .events = POLLIN };

	if (!a->device)
		return;
	if (a->pid > 0) {
		kill(-a->pid, SIGKILL);
		kill(a->pid, SIGKILL); /* it may not have reached setsid() yet */
		if (a->pidfd >= 0 && poll(&p, 1, AGENT_END_WAIT_MS) > 0)
			agent_reap(a);
		a->pid = 0;
	}
	agent_close(a, &a->pidfd);
	agent_close(a, &a->timerfd);
	agent_close(a, &a->errfd);
}
