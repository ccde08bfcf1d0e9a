/* SPDX-License-Identifier: Apache-2.0 */
/* usher - see usher.h. */
#include "cmd/drover-hv/usher.h"

#include "base/clock.h"
#include "base/helper.h"
#include "base/packet.h"
#include "cmd/drover-hv/viewer_int.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/close_range.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define BEGIN_MS 250 /* from one beginning to the next: one that ends at once costs no more than that */

struct usher {
	struct helper helper;
	int program; /* drover-hv-viewer, until usher_begin() */
};

/* What it is told, once. */
struct usher_word {
	char name[80];
	uint8_t sandbox;
};

enum usher_fds {
	FD_PROGRAM,
	FD_LISTEN,
	FD_MEMORY,
	FDS
};

/* --- its process --- */

/* Where VIEWER_FD_* may be taken, all are out of the way first. */
static bool place_fds(const int from[], int high[], unsigned int n)
{
	for (unsigned int i = 0; i < n; i++) {
		high[i] = fcntl(from[i], F_DUPFD_CLOEXEC, VIEWER_FD_END);
		if (high[i] < 0)
			return false;
	}
	for (unsigned int i = VIEWER_FD_VMM; i < VIEWER_FD_END; i++)
		if (dup2(high[i - VIEWER_FD_VMM], (int)i) < 0)
			return false;
	return !close_range(VIEWER_FD_END, ~0u, CLOSE_RANGE_CLOEXEC);
}

static void __attribute__((noreturn)) become_viewer(const struct usher_word *w, const int fds[FDS], int vmm)
{
	const char *argv[] = { VIEWER_PROGRAM, w->name, w->sandbox ? NULL : VIEWER_NO_SANDBOX, NULL };
	const int from[] = { vmm, fds[FD_LISTEN], fds[FD_MEMORY], fds[FD_PROGRAM] };
	int high[sizeof(from) / sizeof(from[0])];

	if (place_fds(from, high, sizeof(from) / sizeof(from[0])))
		fexecve(high[sizeof(from) / sizeof(from[0]) - 1], (char **)argv, environ);
	_exit(1);
}

/* One drover-hv-viewer, from its begin to its end.  Return: false: the VMM is gone. */
static bool let_in(int sock, const struct usher_word *w, const int fds[FDS])
{
	int pair[2], ret;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair))
		return true; /* later */
	pid = fork();
	if (!pid)
		become_viewer(w, fds, pair[1]);
	close(pair[1]);
	ret = pid < 0 ? 0 : packet_send(sock, "", 1, &pair[0], 1);
	close(pair[0]);
	while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	return !ret;
}

static void serve(int sock, void *arg)
{
	struct usher_word w;
	int fds[PACKET_FDS_MAX];
	uint64_t begun;
	size_t n;

	(void)arg;
	if (packet_receive(sock, &w, sizeof(w), fds, &n) || n != FDS)
		return;
	do {
		struct pollfd came = { .fd = fds[FD_LISTEN], .events = POLLIN };

		while (poll(&came, 1, -1) != 1)
			;
		begun = clock_ms();
		if (!let_in(sock, &w, fds))
			return;
		if (clock_ms() - begun < BEGIN_MS)
			poll(NULL, 0, (int)(begun + BEGIN_MS - clock_ms()));
	} while (true);
}

/* --- the VMM's end --- */

/* "" where nobody knows where this program is. */
static void place_beside_us(char path[PATH_MAX])
{
	ssize_t n = readlink("/proc/self/exe", path, PATH_MAX - sizeof("/" VIEWER_PROGRAM));
	char *slash = n > 0 ? memrchr(path, '/', (size_t)n) : NULL;

	path[0] = slash ? path[0] : '\0';
	if (slash)
		memcpy(slash, "/" VIEWER_PROGRAM, sizeof("/" VIEWER_PROGRAM));
}

/* In a build it lies beside us, else where it was installed. */
static int open_program(struct err *e)
{
	char beside[PATH_MAX];
	int fd;

	place_beside_us(beside);
	fd = open(beside, O_PATH | O_CLOEXEC);
	if (fd < 0)
		fd = open(DROVER_LIBEXECDIR "/" VIEWER_PROGRAM, O_PATH | O_CLOEXEC);
	if (fd < 0)
		return err_errno(e, "screen: %s/%s", DROVER_LIBEXECDIR, VIEWER_PROGRAM);
	return fd;
}

int usher_start(struct usher **out, char *args, size_t args_len, struct err *e)
{
	const struct helper_role role = {
		.name = "drover-hv-usher",
		.kind = CONFINE_USHER,
		.serve = serve,
		.args = args,
		.args_len = args_len,
	};
	struct usher *u = calloc(1, sizeof(*u));
	int ret;

	if (!u)
		return err_set(e, -ENOMEM, "usher: out of memory");
	u->program = open_program(e); /* first: nothing is there yet that would be left behind */
	ret = u->program < 0 ? u->program : helper_start(&u->helper, &role, e);
	if (!ret) {
		*out = u;
		return 0;
	}
	if (u->program >= 0)
		close(u->program);
	free(u);
	return ret;
}

int usher_begin(struct usher *u, const struct usher_place *p, struct err *e)
{
	const int fds[FDS] = { [FD_PROGRAM] = u->program, [FD_LISTEN] = p->listen_fd, [FD_MEMORY] = p->memory_fd };
	struct usher_word w = { .sandbox = p->sandbox };
	int ret;

	snprintf(w.name, sizeof(w.name), "%s", p->name);
	ret = packet_send(u->helper.sock, &w, sizeof(w), fds, FDS);
	close(u->program);
	u->program = -1;
	return ret ? err_set(e, ret, "screen: the process that lets viewers in has ended") : 0;
}

int usher_fd(const struct usher *u)
{
	return u ? u->helper.sock : -1;
}

int usher_take(struct usher *u)
{
	int fds[PACKET_FDS_MAX], ret;
	size_t n;
	char byte;

	ret = packet_receive(u->helper.sock, &byte, sizeof(byte), fds, &n);
	if (ret)
		return ret;
	while (n > 1)
		close(fds[--n]);
	return n ? fds[0] : -EPROTO;
}

void usher_stop(struct usher *u)
{
	if (!u)
		return;
	helper_stop(&u->helper);
	if (u->program >= 0)
		close(u->program);
	free(u);
}
