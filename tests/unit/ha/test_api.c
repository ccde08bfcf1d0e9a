/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The API's socket: what a client of its own making can do to it.  The server is the real one, in a
 * process of its own; the cluster behind it is a core that has not been started.
 */
#include "base/clock.h"
#include "base/reserve.h"
#include "ha/api/api.h"
#include "ha/shell/history.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#define CROWD 120

static char dir[64], path[96];
static pid_t server;

/* ------------------------------------------------- the shell that api.c sees */

static struct ha_core *core;

/* Seen by both processes. */
static struct shared {
	_Atomic unsigned int view_ms; /* what a view takes */
	_Atomic unsigned int views;   /* since the server's loop came round */
	_Atomic unsigned int most;    /* ... at most so far */
} * shared;

const struct ha_core *shell_core(const struct shell *s)
{
	usleep(shared->view_ms * 1000);
	if (++shared->views > shared->most)
		shared->most = shared->views;
	return core;
}

struct executor *shell_executor(const struct shell *s)
{
	return NULL;
}

/* Three things have happened to this droverd. */
const struct history *shell_history(const struct shell *s)
{
	static struct history h;

	while (h.next_seq < 4)
		history_add(&h, "info", "something");
	return &h;
}

const struct progress *shell_progress(const struct shell *s)
{
	return NULL;
}

bool shell_connected(const struct shell *s)
{
	return false;
}

bool shell_fencing(const struct shell *s, uint32_t node)
{
	return false;
}

uint64_t shell_witness_id(const struct shell *s)
{
	return 0;
}

const char *shell_witness_problem(const struct shell *s)
{
	return "";
}

enum fence_ready shell_fence_ready(const struct shell *s, const char *name, const char **text)
{
	return FENCE_NO_DEVICE;
}

bool shell_problem(const struct shell *s, size_t i, char *text, size_t size)
{
	return false;
}

uint32_t shell_node_id(const struct shell *s, const char *name)
{
	return 0;
}

/* The cluster never answers. */
uint64_t shell_command(struct shell *s, const struct ha_command *cmd, shell_reply reply, void *arg)
{
	static uint64_t n;

	return ++n;
}

/* One VMM that obeys, one that does not, and nobody else. */
uint64_t shell_order(struct shell *s, const struct shell_order *o, shell_reply reply, void *arg)
{
	char text[160];

	if (strcmp(o->domain, "mute") == 0)
		return shell_command(s, NULL, reply, arg);
	snprintf(text, sizeof(text), "%s %s by %s within %u", o->what, o->domain, o->actor, o->timeout_ms);
	reply(arg, strcmp(o->domain, "web") == 0 && o->access >= HA_ACCESS_OPERATOR ? HA_OK : HA_REFUSED, text);
	return 0;
}

void shell_forget(struct shell *s, uint64_t request)
{
}

/* -------------------------------------------------------------------- client */

static int dial(void)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	struct timeval patience = { .tv_sec = 5 };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strcpy(sa.sun_path, path);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

/* Status of the answer to one request; 0 when there is none in five seconds. */
static int ask(int fd, const char *method, const char *target, char *answer, size_t size)
{
	char head[2048];
	int status = 0;
	ssize_t n;

	n = snprintf(head, sizeof(head), "%s %s HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", method, target);
	if (send(fd, head, (size_t)n, MSG_NOSIGNAL) < 0)
		return 0;
	n = recv(fd, answer, size - 1, 0);
	answer[n > 0 ? n : 0] = '\0';
	sscanf(answer, "HTTP/1.1 %d", &status);
	return status;
}

static int ask_once(const char *method, const char *target, char *answer, size_t size)
{
	int fd = dial(), status = fd < 0 ? 0 : ask(fd, method, target, answer, size);

	if (fd >= 0)
		close(fd);
	return status;
}

/* What renews leases in droverd. */
static void on_tick(void *data)
{
	qb_loop_timer_handle timer;

	shared->views = 0;
	qb_loop_timer_add(data, QB_LOOP_HIGH, 2 * QB_TIME_NS_IN_MSEC, data, on_tick, &timer);
}

static void serve(void)
{
	qb_loop_t *loop = qb_loop_create();
	struct api *a;

	on_tick(loop);

	core = reserve_make(ha_core_size());
	ha_core_init(core);
	if (api_open(loop, NULL, path, &a, NULL) < 0)
		_exit(1);
	qb_loop_run(loop);
	_exit(0);
}

static int setup(void **state)
{
	char answer[4096];
	int i;

	snprintf(dir, sizeof(dir), "/tmp/drover-api.XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	snprintf(path, sizeof(path), "%s/sock", dir);
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		return -1;
	server = fork();
	if (server == 0)
		serve();
	for (i = 0; i < 500 && ask_once("GET", "/v1/timings", answer, sizeof(answer)) != 200; i++)
		usleep(10000);
	return i < 500 ? 0 : -1;
}

static int teardown(void **state)
{
	kill(server, SIGKILL);
	waitpid(server, NULL, 0);
	unlink(path);
	rmdir(dir);
	return 0;
}

/* Opens @n connections that begin with @text and go no further. */
static void crowd(int fds[], int n, const char *text)
{
	int i;

	for (i = 0; i < n; i++) {
		fds[i] = dial();
		if (fds[i] >= 0 && *text)
			send(fds[i], text, strlen(text), MSG_NOSIGNAL);
	}
}

static void leave(int fds[], int n)
{
	while (n-- > 0)
		if (fds[n] >= 0)
			close(fds[n]);
}

static void a_crowd_keeps_nobody_out(const char *text)
{
	uint64_t begin = clock_ms();
	char answer[4096];
	int fds[CROWD];

	crowd(fds, CROWD, text);
	assert_int_equal(ask_once("GET", "/v1/timings", answer, sizeof(answer)), 200);
	assert_true(clock_ms() - begin < 4000);
	leave(fds, CROWD);
}

static void those_who_say_nothing_keep_nobody_out(void **state)
{
	a_crowd_keeps_nobody_out("");
}

static void those_who_begin_and_do_not_end_keep_nobody_out(void **state)
{
	a_crowd_keeps_nobody_out("POST /v1/domains HTTP/1.1\r\nHost: x\r\nContent-Le");
}

/* Commands that the cluster does not answer take their places, not everybody's. */
static void those_who_wait_for_the_cluster_keep_nobody_out(void **state)
{
	a_crowd_keeps_nobody_out("POST /v1/domains/web/clear HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
}

static void whoever_is_served_stays_while_the_idle_go(void **state)
{
	char answer[4096];
	int fds[CROWD], mine = dial(), i;

	for (i = 0; i < CROWD; i++) {
		crowd(fds + i, 1, "");
		assert_int_equal(ask(mine, "GET", "/v1/timings", answer, sizeof(answer)), 200);
	}
	leave(fds, CROWD);
	close(mine);
}

static void a_target_is_decoded_once(void **state)
{
	static const struct {
		const char *target;
		int status;
	} rows[] = {
		{ "/v1/tim%69ngs", 200 },
		{ "/v1/tim%2569ngs", 404 },
		{ "/v1/domains/a%2Fconf", 400 },
		{ "/v1/domains/a%00b", 400 },
		{ "/v1/domains/", 400 },
		{ "/v1/domains//conf", 400 },
		{ "/v1/domains/..%2Ftimings", 400 },
		{ "/v1/timings/", 404 },
		{ "/v1/timings?", 200 },
		{ "/v1/timings?x=1", 400 },
		{ "/v1/history?after=1&after=2", 400 },
		/* what is told of it is text whatever it was */
		{ "/v1/history?%ff", 400 },
		{ "/v1/timings?%1b%9b", 400 },
		{ "/v1/timings?aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa%C3%A4", 400 },
	};
	char answer[8192];
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		int status = ask_once("GET", rows[i].target, answer, sizeof(answer));

		if (status != rows[i].status)
			fail_msg("%s: %d, expected %d", rows[i].target, status, rows[i].status);
	}
}

static void who_follows_the_history_misses_nothing_of_a_new_droverd(void **state)
{
	static const struct {
		const char *target;
		int lines;
	} rows[] = {
		{ "/v1/history", 3 },
		{ "/v1/history?after=0", 3 },
		{ "/v1/history?after=1", 2 },
		{ "/v1/history?after=3", 0 },
		/* not given out yet: an earlier one's */
		{ "/v1/history?after=4", 3 },
		{ "/v1/history?after=57", 3 },
	};
	char answer[8192];

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		int n = 0;

		assert_int_equal(ask_once("GET", rows[i].target, answer, sizeof(answer)), 200);
		for (const char *p = answer; (p = strstr(p, "\"seq\"")); p++)
			n++;
		if (n != rows[i].lines)
			fail_msg("%s: %d lines, expected %d", rows[i].target, n, rows[i].lines);
	}
}

static void an_order_is_answered_by_its_vmm(void **state)
{
	char answer[4096];
	int fds[1];

	assert_int_equal(ask_once("POST", "/v1/domains/web/reset", answer, sizeof(answer)), 200);
	assert_non_null(strstr(answer, "reset web by "));
	assert_int_equal(ask_once("POST", "/v1/domains/mail/reboot", answer, sizeof(answer)), 409);
	assert_non_null(strstr(answer, "\"code\":5"));
	assert_int_equal(ask_once("GET", "/v1/domains/web/reset", answer, sizeof(answer)), 405);
	/* who waits for one that does not answer keeps nobody out, and may go */
	crowd(fds, 1, "POST /v1/domains/mute/reset HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
	assert_int_equal(ask_once("GET", "/v1/timings", answer, sizeof(answer)), 200);
	leave(fds, 1);
	assert_int_equal(ask_once("GET", "/v1/timings", answer, sizeof(answer)), 200);
}

/* All that @fd gets until @want answers are there, or five seconds have passed without any. */
static int count_answers(int fd, int want)
{
	static char buf[65536];
	int n = 0;

	while (n < want) {
		ssize_t got = recv(fd, buf, sizeof(buf) - 1, 0);

		if (got <= 0)
			break;
		buf[got] = '\0';
		for (const char *p = buf; (p = strstr(p, "HTTP/1.1 200")); p++)
			n++;
	}
	return n;
}

/* Many clients, each with many questions behind one another, and each answer costs: leases are renewed all the same. */
static void whoever_asks_much_does_not_stop_the_loop(void **state)
{
	enum {
		CLIENTS = 30,
		QUESTIONS = 4
	};
	static const char question[] = "GET /v1/ha/groups HTTP/1.1\r\nHost: x\r\n\r\n";
	char many[QUESTIONS * sizeof(question)] = "";
	int fds[CLIENTS], i;

	for (i = 0; i < QUESTIONS; i++)
		strcat(many, question);
	crowd(fds, CLIENTS, "");
	usleep(100000);
	shared->view_ms = 15;
	shared->most = 0;
	for (i = 0; i < CLIENTS; i++)
		assert_int_equal(send(fds[i], many, strlen(many), MSG_NOSIGNAL), strlen(many));
	for (i = 0; i < CLIENTS; i++)
		assert_int_equal(count_answers(fds[i], QUESTIONS), QUESTIONS);
	shared->view_ms = 0;
	leave(fds, CLIENTS);
	/* Two answers fit in a pass, and a pass or two between two turns of the loop; there are 120 in all. */
	assert_in_range(shared->most, 1, 10);
}

/* What an api_open() at @at says; in a process of its own, since one that waits would wait for ever. */
static void open_at(const char *at, int expected, const char *text)
{
	struct err e = { 0 };
	struct api *a;
	int status, rc;
	pid_t child;

	fflush(NULL);
	child = fork();
	if (child == 0) {
		alarm(5);
		rc = api_open(qb_loop_create(), NULL, at, &a, &e);
		if (rc == expected && (!*text || strstr(e.text, text)))
			_exit(0);
		fprintf(stderr, "%d: %s\n", rc, e.text);
		_exit(1);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

static void what_is_no_socket_is_not_removed(void **state)
{
	char file[128], link_to[128], text[8] = "";
	struct stat st;
	FILE *f;

	snprintf(file, sizeof(file), "%s/file", dir);
	snprintf(link_to, sizeof(link_to), "%s/link", dir);
	f = fopen(file, "w");
	fputs("kept", f);
	fclose(f);
	assert_int_equal(symlink("file", link_to), 0);
	open_at(file, -EBUSY, "exists and is not a socket");
	open_at(link_to, -EBUSY, "exists and is not a socket");
	assert_int_equal(lstat(link_to, &st), 0);
	assert_true(S_ISLNK(st.st_mode));
	f = fopen(file, "r");
	assert_non_null(f);
	assert_non_null(fgets(text, sizeof(text), f));
	assert_string_equal(text, "kept");
	fclose(f);
	unlink(file);
	unlink(link_to);
}

/* A droverd that is stopped (SIGSTOP, a debugger), and as many clients as its queue takes. */
static void one_that_takes_nobody_in_is_not_waited_for(void **state)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int listener = socket(AF_UNIX, SOCK_STREAM, 0), fds[8], i;

	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/full", dir);
	assert_int_equal(bind(listener, (struct sockaddr *)&sa, sizeof(sa)), 0);
	assert_int_equal(listen(listener, 0), 0);
	for (i = 0; i < 8; i++) {
		fds[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
		(void)connect(fds[i], (struct sockaddr *)&sa, sizeof(sa)); /* until the queue is full */
	}
	open_at(sa.sun_path, -EBUSY, "another droverd listens there");
	leave(fds, 8);
	open_at(sa.sun_path, -EBUSY, "another droverd listens there");
	close(listener);
	open_at(sa.sun_path, 0, "");
	unlink(sa.sun_path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_order_is_answered_by_its_vmm), /* while there is room to wait */
		cmocka_unit_test(those_who_say_nothing_keep_nobody_out),
		cmocka_unit_test(those_who_begin_and_do_not_end_keep_nobody_out),
		cmocka_unit_test(those_who_wait_for_the_cluster_keep_nobody_out),
		cmocka_unit_test(whoever_is_served_stays_while_the_idle_go),
		cmocka_unit_test(a_target_is_decoded_once),
		cmocka_unit_test(who_follows_the_history_misses_nothing_of_a_new_droverd),
		cmocka_unit_test(whoever_asks_much_does_not_stop_the_loop),
		cmocka_unit_test(what_is_no_socket_is_not_removed),
		cmocka_unit_test(one_that_takes_nobody_in_is_not_waited_for),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, setup, teardown);
}
