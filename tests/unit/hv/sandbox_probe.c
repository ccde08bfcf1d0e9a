/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sandbox_probe - what somebody tries who has taken over a thread of a VMM; for test_sandbox.py.
 *
 * A drover-hv that is built with this does it itself: the first thread of a kind that is confined tries one thing, tells
 * what came of it on standard error and ends the process.
 *
 *     DROVER_PROBE="KIND ATTACK [ARGUMENT]"
 *
 * What ends the process in the attempt cannot tell; then the sandbox does (cmd/drover-hv/sandbox_filter.c).
 */
#include "cmd/drover-hv/sandbox.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

static long try_open(const char *path)
{
	return open(path, O_RDWR);
}

static long try_remove(const char *path)
{
	return unlink(path);
}

static long try_socket(const char *arg)
{
	(void)arg;
	return socket(AF_INET, SOCK_STREAM, 0);
}

static long try_connect(const char *port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port)) };
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	return fd < 0 ? -1 : connect(fd, (struct sockaddr *)&a, sizeof(a));
}

static long try_unix(const char *arg)
{
	(void)arg;
	return socket(AF_UNIX, SOCK_STREAM, 0);
}

static long try_kill(const char *pid)
{
	return kill(atoi(pid), SIGTERM);
}

static long try_tgkill(const char *pid)
{
	return syscall(SYS_tgkill, atoi(pid), atoi(pid), SIGTERM);
}

static long try_ptrace(const char *pid)
{
	return ptrace(PTRACE_SEIZE, atoi(pid), NULL, NULL);
}

static long try_read_process(const char *pid)
{
	char mine[8];
	struct iovec to = { mine, sizeof(mine) }, from = { (void *)0x1000, sizeof(mine) };

	/* Nothing is there in anybody: who may look is told so. */
	return process_vm_readv(atoi(pid), &to, 1, &from, 1, 0) < 0 && errno == EFAULT ? 0 : -1;
}

static long try_execve(const char *arg)
{
	char *argv[] = { "/bin/true", NULL }, *env[] = { NULL };

	(void)arg;
	return execve(argv[0], argv, env);
}

static long try_fork(const char *arg)
{
	(void)arg;
	return syscall(SYS_fork);
}

static long try_mount(const char *where)
{
	return mount("none", where, "tmpfs", 0, NULL);
}

static long try_root(const char *arg)
{
	(void)arg;
	return syscall(SYS_setresuid, 0, 0, 0) ? -1 : geteuid() ? -1 :
								  0;
}

static long try_code(const char *arg)
{
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	(void)arg;
	return p == MAP_FAILED ? -1 : 0;
}

static long try_ring(const char *arg)
{
	char params[120] = { 0 }; /* struct io_uring_params */

	(void)arg;
	return syscall(SYS_io_uring_setup, 8, params);
}

static long try_module(const char *arg)
{
	(void)arg;
	return syscall(SYS_init_module, "", 0, "");
}

/*
 * No attack: what the C library may ask for by itself, and does where the host's clock source or a lot of memory make it.
 */
static long try_library(const char *arg)
{
	struct timespec t;
	struct timeval tv;
	static _Thread_local void *p[64]; /* kept, should there be no memory */

	(void)arg;
	for (size_t size = 1 << 10; size <= 1 << 20; size *= 4) {
		for (size_t i = 0; i < 64; i++) {
			p[i] = realloc(p[i], size);
			if (!p[i])
				return -1;
			memset(p[i], 1, size);
		}
		for (size_t i = 0; i < 64; i++) {
			free(p[i]);
			p[i] = NULL;
		}
	}
	if (syscall(SYS_time, NULL) < 0 || syscall(SYS_gettimeofday, &tv, NULL) || syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &t))
		return -1;
	return prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, 0, 0, NULL) && errno != EINVAL ? -1 : 0; /* EINVAL: not in this kernel */
}

/* No attack: how a program ends that finds itself wrong, with a line and a signal. */
static long try_assert(const char *arg)
{
	assert(!arg);
	return 0;
}

static const struct {
	const char *name;
	long (*fn)(const char *arg);
} attacks[] = {
	{ "open", try_open },
	{ "remove", try_remove },
	{ "socket", try_socket },
	{ "unix", try_unix },
	{ "connect", try_connect },
	{ "kill", try_kill },
	{ "tgkill", try_tgkill },
	{ "ptrace", try_ptrace },
	{ "read-process", try_read_process },
	{ "execve", try_execve },
	{ "fork", try_fork },
	{ "mount", try_mount },
	{ "root", try_root },
	{ "code", try_code },
	{ "ring", try_ring },
	{ "module", try_module },
	{ "library", try_library },
	{ "assert", try_assert },
};

/* By one write(2): stdio would ask what kind of file that is, which is an attack by itself. */
static void tell(const char *kind, const char *name, const char *what)
{
	char line[160];
	int n = snprintf(line, sizeof(line), "probe: %s %s: %s\n", kind, name, what);

	if (write(STDERR_FILENO, line, (size_t)n) < 0)
		_exit(4);
}

/* A helper has nowhere to tell: it lives on for all to see. */
static void succeeded(const char *kind, const char *name)
{
	tell(kind, name, "SUCCEEDED");
	while (confine_kind() == CONFINE_BROKER || confine_kind() == CONFINE_PORTER || confine_kind() == CONFINE_VIEWER)
		poll(NULL, 0, 1000);
}

static void attack(const char *kind, const char *name, const char *arg)
{
	char why[80];

	for (size_t i = 0; i < sizeof(attacks) / sizeof(attacks[0]); i++) {
		if (strcmp(attacks[i].name, name))
			continue;
		if (attacks[i].fn(arg) < 0) {
			snprintf(why, sizeof(why), "refused: %s", strerror(errno));
			tell(kind, name, why);
		} else {
			succeeded(kind, name);
		}
		_exit(3);
	}
	tell(kind, name, "there is no such attack");
	_exit(4);
}

void sandbox_probe(enum confine_kind kind)
{
	const char *what = getenv("DROVER_PROBE");
	char who[16], name[16], arg[1024] = "0";

	if (!what || sscanf(what, "%15s %15s %1023s", who, name, arg) < 2 || strcmp(who, confine_name(kind)))
		return;
	attack(who, name, arg);
}

bool sandbox_probe_filters(void)
{
	return !getenv("DROVER_PROBE_NO_FILTERS");
}
