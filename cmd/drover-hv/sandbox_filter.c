/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sandbox_filter - seccomp(2); see sandbox.h.
 *
 * Of calls that a filter allows in any case the kernel keeps a bitmap, and does not run it at all.  What it does not
 * know makes a SIGSYS, whose handler writes the one line and ends the process; nothing in a filter lets anybody put
 * another handler there.
 *
 * Filters are inherited and add up: a thread has its own and that of whoever began it.
 */
#include "cmd/drover-hv/sandbox.h"

#include "base/log.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/fs.h>
#include <linux/if_tun.h>
#include <linux/io_uring.h>
#include <linux/kvm.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <termios.h>
#include <ucontext.h>
#include <unistd.h>

#ifndef __x86_64__
#error "the filters are for x86-64"
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define FILTERS false
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define FILTERS false
#endif
#endif
#ifndef FILTERS
#define FILTERS true
#endif

/*
 * What the C library asks for by itself, for any thread: memory (never to be executed), locks, threads that begin and
 * end, abort(3).  Without clone3(2), whose flags no filter can see, it takes clone(2).
 * #syscalls:all mmap(2&PROT_EXEC=0) mprotect(2&PROT_EXEC=0) munmap mremap madvise brk
 * #syscalls:all futex exit exit_group rseq set_robust_list sched_yield restart_syscall
 * #syscalls:all rt_sigprocmask rt_sigreturn rt_sigaction(0=SIGABRT) getpid gettid tgkill(0=SELF)
 * #syscalls:all clock_gettime clock_nanosleep nanosleep getrandom prctl(0=PR_SET_NAME)
 * Clocks are read without a call, but where the host's clock source cannot be (hpet, acpi_pm) or there is no vDSO.
 * #syscalls:all gettimeofday time
 * Names for memory, if glibc.mem.decorate_maps=1 asks for them.
 * #syscalls:all prctl(0=PR_SET_VMA)
 * What has been opened may be used.
 * #syscalls:all read write writev close poll fstat newfstatat(3&AT_EMPTY_PATH=AT_EMPTY_PATH)
 */
#define THREAD_FLAGS (CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD) /* a thread, and no process */
#define SIG_SETXID (__SIGRTMIN + 1)                                                     /* glibc's, at the first thread */
#define O_WRITES (O_ACCMODE | O_CREAT | O_TRUNC)
#define SOCK_KIND 0xf /* of socket(2)'s type: the rest are flags */

/* The words of syscalls.py. */
#define SANDBOX_SELF 0x53454c46u /* put in when it is loaded: this process */
#define DATA(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define RETURN(what) BPF_STMT(BPF_RET | BPF_K, what)
#define TRAP RETURN(SECCOMP_RET_TRAP)
#define KILL RETURN(SECCOMP_RET_KILL_PROCESS)
#define ALLOW RETURN(SECCOMP_RET_ALLOW)
#define REFUSE(error) RETURN(SECCOMP_RET_ERRNO | (error))
#define BEGIN                                                                     \
	DATA(arch), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0), \
		KILL, DATA(nr)
#define CALL(name, skip) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_##name, 0, skip)
#define BELOW(name, skip) BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, __NR_##name, 0, skip)
#define GO(skip) BPF_JUMP(BPF_JMP | BPF_JA, skip, 0, 0)
/* Little endian: the lower half comes first. */
#define ARG(n) DATA(args[n])
#define AND(mask) BPF_STMT(BPF_ALU | BPF_AND | BPF_K, (uint32_t)(mask))
#define EQUAL(value, skip) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)(value), 0, skip)

#include <sandbox_filters.h> /* made by syscalls.py, in the build directory */

#define FILTER(kind)                                                            \
	{                                                                       \
		filter_##kind, sizeof(filter_##kind) / sizeof(filter_##kind[0]) \
	}
static const struct {
	const struct sock_filter *code;
	size_t n;
} filters[CONFINE_KINDS] = {
	[CONFINE_MAIN] = FILTER(main),
	[CONFINE_VCPU] = FILTER(vcpu),
	[CONFINE_DEVICE] = FILTER(device),
	[CONFINE_GATE] = FILTER(gate),
	[CONFINE_ENGINE] = FILTER(engine),
	[CONFINE_SEND] = FILTER(send),
	[CONFINE_RECEIVE] = FILTER(receive),
	[CONFINE_BROKER] = FILTER(broker),
	[CONFINE_PORTER] = FILTER(porter),
	[CONFINE_VIEWER] = FILTER(viewer),
};

#define CODE_MAX 1024

bool sandbox_filters(void)
{
	return FILTERS;
}

/*
 * A thread that blocks signals would be killed without a word.
 * #syscalls:main,engine seccomp(0=SECCOMP_SET_MODE_FILTER) prctl(0=PR_SET_NO_NEW_PRIVS)
 */
static void hear_of_it(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGSYS);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

int sandbox_filter_load(enum confine_kind kind)
{
	/* Who serves viewers has nowhere to write the line: the kernel's log has it. */
	unsigned int flags = kind == CONFINE_MAIN ? SECCOMP_FILTER_FLAG_TSYNC : kind == CONFINE_VIEWER ? SECCOMP_FILTER_FLAG_LOG :
													 0;
	struct sock_filter code[CODE_MAX];
	struct sock_fprog prog = { .len = (unsigned short)filters[kind].n, .filter = code };
	long ret;

	assert(filters[kind].n && filters[kind].n <= CODE_MAX);
	if (!FILTERS || !sandbox_probe_filters())
		return 0;
	memcpy(code, filters[kind].code, filters[kind].n * sizeof(*code));
	for (size_t i = 0; i < filters[kind].n; i++)
		if (code[i].code == (BPF_JMP | BPF_JEQ | BPF_K) && code[i].k == SANDBOX_SELF)
			code[i].k = (uint32_t)getpid();
	hear_of_it();
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return -errno;
	ret = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &prog);
	return ret < 0 ? -errno : ret > 0 ? -EBUSY :
					    0; /* a number: that thread has a filter of its own already */
}

/* --- a call that is not allowed --- */

static void (*tell_last)(const char *text);

static const char *call_name(int nr)
{
	const char *name = nr >= 0 && (size_t)nr < sizeof(call_names) / sizeof(call_names[0]) ? call_names[nr] : NULL;

	return name ? name : "?";
}

/* The call was not made, so nothing is in the middle of anything that this would wait for. */
static void on_sigsys(int sig, siginfo_t *info, void *context)
{
	const ucontext_t *u = context;
	const greg_t *r = u->uc_mcontext.gregs;
	char text[200];

	(void)sig;
	snprintf(text, sizeof(text), "sandbox: thread %s made system call %d, %s(%#llx, %#llx, %#llx), which is not in its list",
		 confine_name(confine_kind()), info->si_syscall, call_name(info->si_syscall), r[REG_RDI], r[REG_RSI],
		 r[REG_RDX]);
	log_error("%s", text);
	if (tell_last)
		tell_last(text);
	_exit(EXIT_ERROR);
}

void sandbox_filter_tell(void (*last_word)(const char *text))
{
	struct sigaction sa = { .sa_sigaction = on_sigsys, .sa_flags = SA_SIGINFO };

	tell_last = last_word;
	sigfillset(&sa.sa_mask);
	sigaction(SIGSYS, &sa, NULL);
}
