/* SPDX-License-Identifier: Apache-2.0 */
/* droverd's log: each test is a child process, as a log is one per process. */
#include "base/log.h"
#include "cmd/droverd/daemon_log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <qb/qbdefs.h>
#include <qb/qblog.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define TEXT_MAX (1 << 20)
#define CANNOT 77

struct child {
	int status;
	char said[TEXT_MAX]; /* to standard output and error */
};

/* It catches crashes, and would go on with the next test in the child. */
static void forget_cmocka(void)
{
	static const int signals[] = { SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL };
	size_t i;

	for (i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		signal(signals[i], SIG_DFL);
}

/* Runs @body(@arg) in a process of its own. */
static void run(void (*body)(const char *arg), const char *arg, struct child *out)
{
	size_t at = 0;
	ssize_t n;
	int fds[2];
	pid_t pid;

	assert_int_equal(pipe(fds), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		forget_cmocka();
		dup2(fds[1], 1);
		dup2(fds[1], 2);
		close(fds[0]);
		close(fds[1]);
		body(arg);
		fflush(stdout);
		_exit(0);
	}
	close(fds[1]);
	while ((n = read(fds[0], out->said + at, sizeof(out->said) - 1 - at)) > 0)
		at += (size_t)n;
	out->said[at] = '\0';
	close(fds[0]);
	assert_int_equal(waitpid(pid, &out->status, 0), pid);
}

/* A crash; the daemon gives its blackbox two seconds, which a busy machine may need for other things. */
static void run_crash(void (*body)(const char *arg), const char *arg, struct child *out)
{
	for (int tries = 0; tries < 8; tries++) {
		run(body, arg, out);
		if (!WIFSIGNALED(out->status) || WTERMSIG(out->status) != SIGALRM)
			return;
	}
}

static void say_something(void)
{
	log_debug("d%s", "etail");
	log_info("news of %d", 7);
	log_warn("trouble");
}

static void talk(const char *arg)
{
	daemon_log_open(true, *arg == 'd');
	say_something();
	daemon_log_close();
}

static void test_lines_go_to_standard_error_with_their_level(void **state)
{
	static struct child c;

	run(talk, "", &c);
	assert_int_equal(c.status, 0);
	assert_string_equal(c.said, "droverd: news of 7\ndroverd: warning: trouble\n");
	run(talk, "d", &c);
	assert_string_equal(c.said, "droverd: debug: detail\ndroverd: news of 7\ndroverd: warning: trouble\n");
}

static void talk_at_length(const char *arg)
{
	char line[1000];

	memset(line, 'x', sizeof(line));
	line[sizeof(line) - 1] = '\0';
	daemon_log_open(true, false);
	log_info("%s", line);
	daemon_log_close();
}

static void test_a_long_line_is_not_lost(void **state)
{
	static struct child c;
	size_t i, n = 0;

	run(talk_at_length, "", &c);
	for (i = 0; c.said[i]; i++)
		n += c.said[i] == 'x';
	assert_int_equal(n, 999);
}

/* A syslog of our own, in a mount namespace of our own. */
static void talk_to_syslog(const char *arg)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX, .sun_path = "/dev/log" };
	struct timeval patience = { .tv_sec = 5 };
	char line[512];
	ssize_t n;
	int fd, i;

	if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("tmpfs", "/dev", "tmpfs", 0, NULL) < 0)
		_exit(CANNOT);
	mkdir("/dev/shm", 0777);
	fd = socket(AF_UNIX, SOCK_DGRAM, 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	if (bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
		_exit(CANNOT);
	daemon_log_open(false, false);
	say_something();
	daemon_log_close();
	for (i = 0; i < 2; i++) {
		n = recv(fd, line, sizeof(line) - 1, 0);
		if (n < 0)
			_exit(1);
		line[n] = '\0';
		printf("%s\n", line);
	}
}

static void test_without_a_terminal_lines_go_to_syslog(void **state)
{
	static struct child c;

	run(talk_to_syslog, "", &c);
	if (WIFEXITED(c.status) && WEXITSTATUS(c.status) == CANNOT)
		skip();
	assert_int_equal(c.status, 0);
	/* <30>: daemon.info, <28>: daemon.warning (RFC 3164) */
	assert_ptr_equal(strstr(c.said, "<30>"), c.said);
	assert_non_null(strstr(c.said, "]: news of 7\n<28>"));
	assert_non_null(strstr(c.said, "]: warning: trouble\n"));
}

/* Standard error is a pipe that nobody reads, as a log daemon may be that hangs. */
static void talk_to_nobody(const char *arg)
{
	int fds[2], i;

	if (pipe(fds) < 0 || dup2(fds[1], 2) < 0)
		_exit(CANNOT);
	daemon_log_open(true, false);
	alarm(20);
	for (i = 0; i < 20000; i++)
		log_info("line %d of a daemon that has a lease to renew", i);
	daemon_log_close();
	printf("still here\n");
}

static void test_a_log_that_nobody_reads_holds_nobody_up(void **state)
{
	static struct child c;

	run(talk_to_nobody, "", &c);
	assert_int_equal(c.status, 0);
	assert_string_equal(c.said, "still here\n");
}

static void write_all(const char *buf, ssize_t len)
{
	ssize_t n;

	for (; len > 0; buf += n, len -= n) {
		n = write(1, buf, (size_t)len);
		if (n < 0)
			_exit(1);
	}
}

/* The reader comes late. */
static void talk_too_much(const char *arg)
{
	char buf[4096];
	int fds[2], i;
	ssize_t n;

	if (pipe(fds) < 0 || dup2(fds[1], 2) < 0)
		_exit(CANNOT);
	close(fds[1]);
	daemon_log_open(true, false);
	alarm(20);
	for (i = 0; i < 5000; i++)
		log_info("line %d of too many", i);
	if (fork() == 0) {
		close(2);
		while ((n = read(fds[0], buf, sizeof(buf))) > 0)
			write_all(buf, n);
		_exit(0);
	}
	daemon_log_close();
	close(2);
	wait(NULL);
}

static void test_lines_that_are_lost_are_counted(void **state)
{
	static struct child c;
	unsigned int lost = 0, kept = 0, n;
	char *p, *save;

	run(talk_too_much, "", &c);
	assert_int_equal(c.status, 0);
	for (p = strtok_r(c.said, "\n", &save); p; p = strtok_r(NULL, "\n", &save)) {
		if (sscanf(p, "droverd: warning: %u lines lost", &n) == 1) {
			lost += n;
			continue;
		}
		assert_int_equal(sscanf(p, "droverd: line %u of too many", &n), 1);
		assert_int_equal(n, kept + lost); /* what is missing is missing here */
		kept++;
	}
	assert_true(lost > 0);
	assert_int_equal(kept + lost, 5000);
}

static void print_blackbox(const char *path)
{
	qb_log_blackbox_print_from_file(path); /* -EIO at the end of a good one, too */
}

static void read_blackbox(const char *dir, const char *name, struct child *out)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	run(print_blackbox, path, out);
}

static void ask(const char *dir)
{
	daemon_log_open(true, false);
	if (daemon_log_write(DAEMON_LOG_ASKED) != -ENOENT)
		_exit(1);
	daemon_log_keep_in(dir);
	say_something();
	if (daemon_log_write(DAEMON_LOG_ASKED) || daemon_log_write(DAEMON_LOG_ASKED))
		_exit(2);
	daemon_log_close();
}

static void crash(const char *dir)
{
	daemon_log_open(true, false);
	daemon_log_keep_in(dir);
	say_something();
	abort();
}

static size_t overflow(const char *dir, size_t depth)
{
	volatile char stack[4096];

	stack[0] = *dir;
	return depth ? overflow(dir, depth - 1) + (size_t)stack[0] : 0;
}

static void crash_without_stack(const char *dir)
{
	daemon_log_open(true, false);
	daemon_log_keep_in(dir);
	say_something();
	if (overflow(dir, SIZE_MAX))
		_exit(1);
}

static int in_dev_shm(void)
{
	DIR *d = opendir("/dev/shm");
	struct dirent *f;
	int n = 0;

	assert_non_null(d);
	while ((f = readdir(d)) != NULL)
		n += strncmp(f->d_name, "qb-droverd-", 11) == 0;
	closedir(d);
	return n;
}

static void kill_me(const char *dir)
{
	daemon_log_open(true, false);
	raise(SIGKILL);
}

static int make_dir(void **state)
{
	char *dir = strdup("/tmp/drover-log.XXXXXX");

	*state = dir;
	return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
	static const char *const names[] = { "asked", "error", "crash" };
	char path[128];
	size_t i;

	for (i = 0; i < 3; i++) {
		snprintf(path, sizeof(path), "%s/blackbox-%s", (char *)*state, names[i]);
		unlink(path);
	}
	rmdir(*state); /* fails, and leaves it to be seen, when there is more */
	free(*state);
	return 0;
}

static void test_the_blackbox_keeps_debug_lines_and_is_written_when_asked(void **state)
{
	static struct child c;

	run(ask, *state, &c);
	assert_int_equal(c.status, 0);
	assert_null(strstr(c.said, "detail"));
	read_blackbox(*state, "blackbox-asked", &c);
	assert_non_null(strstr(c.said, "debug: detail"));
	assert_non_null(strstr(c.said, "warning: trouble"));
}

static void test_a_failed_assertion_writes_the_blackbox_and_ends_the_process(void **state)
{
	static struct child c;

	run_crash(crash, *state, &c);
	assert_true(WIFSIGNALED(c.status) && WTERMSIG(c.status) == SIGABRT);
	read_blackbox(*state, "blackbox-crash", &c);
	assert_non_null(strstr(c.said, "debug: detail"));
}

static void test_a_stack_overflow_writes_it_too(void **state)
{
	static struct child c;

	run_crash(crash_without_stack, *state, &c);
	assert_true(WIFSIGNALED(c.status) && WTERMSIG(c.status) == SIGSEGV);
	read_blackbox(*state, "blackbox-crash", &c);
	assert_non_null(strstr(c.said, "warning: trouble"));
}

static void test_a_killed_daemon_leaves_nothing_in_shared_memory(void **state)
{
	static struct child c;
	int before = in_dev_shm();

	run(kill_me, *state, &c);
	assert_true(WIFSIGNALED(c.status) && WTERMSIG(c.status) == SIGKILL);
	assert_int_equal(in_dev_shm(), before);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lines_go_to_standard_error_with_their_level),
		cmocka_unit_test(test_a_long_line_is_not_lost),
		cmocka_unit_test(test_without_a_terminal_lines_go_to_syslog),
		cmocka_unit_test(test_a_log_that_nobody_reads_holds_nobody_up),
		cmocka_unit_test(test_lines_that_are_lost_are_counted),
		cmocka_unit_test_setup_teardown(test_the_blackbox_keeps_debug_lines_and_is_written_when_asked,
						make_dir, remove_dir),
		cmocka_unit_test_setup_teardown(test_a_failed_assertion_writes_the_blackbox_and_ends_the_process,
						make_dir, remove_dir),
		cmocka_unit_test_setup_teardown(test_a_stack_overflow_writes_it_too, make_dir, remove_dir),
		cmocka_unit_test(test_a_killed_daemon_leaves_nothing_in_shared_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
