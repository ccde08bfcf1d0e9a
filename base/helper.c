/* SPDX-License-Identifier: Apache-2.0 */
/*
 * helper - see helper.h.
 *
 * A signal at the parent's death (PR_SET_PDEATHSIG) is sent with the rights that the parent has by then, which may be
 * too few; so a thread waits for the end of the pair.  It ends the process also while the other one waits for storage.
 */
#include "base/helper.h"

#include "base/child.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define STOP_MS 1000

static void name_args(const struct helper_role *r)
{
	size_t n = strlen(r->name) + 1;

	memset(r->args, 0, r->args_len);
	if (r->args_len)
		memcpy(r->args, r->name, n < r->args_len ? n : r->args_len - 1);
}

static void *wait_for_end(void *arg)
{
	struct pollfd p = { .fd = (int)(intptr_t)arg };

	while (poll(&p, 1, -1) != 1)
		;
	_exit(0);
}

/* #syscalls:broker,porter clone(0&THREAD_FLAGS=THREAD_FLAGS) clone3!ENOSYS rt_sigaction(0=SIG_SETXID) */
static void __attribute__((noreturn)) helper_main(int sock, const struct helper_role *r)
{
	pthread_t watch;

	if (!r->lingers)
		prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (r->args)
		name_args(r);
	/*
	 * Nothing of the parent's stays open here: its life file says by who has it open that a domain may run, its
	 * standard error that it may still say something.
	 */
	child_keep_only(r->name, sock);
	confine(r->kind);
	if (r->lingers || !pthread_create(&watch, NULL, wait_for_end, (void *)(intptr_t)sock))
		r->serve(sock, r->arg);
	_exit(0);
}

int helper_start(struct helper *h, const struct helper_role *role, struct err *e)
{
	int pair[2], ret;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		return err_errno(e, "%s: socketpair", role->name);
	h->pid = fork();
	if (!h->pid)
		helper_main(pair[1], role);
	ret = h->pid < 0 ? err_errno(e, "%s: fork", role->name) : 0;
	close(pair[1]);
	if (ret)
		close(pair[0]);
	else
		h->sock = pair[0];
	return ret;
}

/* #syscalls:main wait4 */
void helper_stop(struct helper *h)
{
	close(h->sock);
	for (int ms = 0; ms < STOP_MS && !waitpid(h->pid, NULL, WNOHANG); ms++)
		usleep(1000);
}
