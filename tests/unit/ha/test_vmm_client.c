/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vmm_client: answers find their questions, and a VMM that talks nonsense or does
 * not listen ends its connection, nothing more (rule S).
 */
#include "ha/vmm/vmm_client.h"

#include "base/clock.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdatomic.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <cmocka.h>

struct bed {
	qb_loop_t *loop;
	char path[64];
	int listener, fd; /* the VMM's side */
	struct vmm_client *c;
	int hellos, events, replies, closes;
	int code;
	char text[128];
};

static void on_hello(void *arg, json_t *o)
{
	((struct bed *)arg)->hellos++;
}

static void on_event(void *arg, const char *name, json_t *data)
{
	struct bed *b = arg;

	b->events++;
	snprintf(b->text, sizeof(b->text), "%s", name);
}

static void on_closed(void *arg, const char *why)
{
	struct bed *b = arg;

	b->closes++;
	snprintf(b->text, sizeof(b->text), "%s", why);
}

static void on_reply(void *arg, int code, json_t *ret, const char *text)
{
	struct bed *b = arg;

	b->replies++;
	b->code = code;
	snprintf(b->text, sizeof(b->text), "%s", code ? text : json_string_value(json_object_get(ret, "state")));
}

static const struct vmm_client_ops ops = { on_hello, on_event, on_closed };

static void stop(void *data)
{
	qb_loop_stop(data);
}

/* Let the client do all that is due. */
static void turn(struct bed *b)
{
	qb_loop_timer_handle t;

	qb_loop_timer_add(b->loop, QB_LOOP_LOW, 30 * QB_TIME_NS_IN_MSEC, b->loop, stop, &t);
	qb_loop_run(b->loop);
}

static int setup(void **state)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	struct bed *b = calloc(1, sizeof(*b));

	snprintf(b->path, sizeof(b->path), "/tmp/drover-client-%d.sock", getpid());
	strcpy(sa.sun_path, b->path);
	unlink(b->path);
	b->loop = qb_loop_create();
	b->listener = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(bind(b->listener, (struct sockaddr *)&sa, sizeof(sa)), 0);
	assert_int_equal(listen(b->listener, 1), 0);
	assert_int_equal(vmm_client_connect(b->loop, b->path, &ops, b, &b->c, NULL), 0);
	b->fd = accept(b->listener, NULL, NULL);
	*state = b;
	return 0;
}

static int teardown(void **state)
{
	struct bed *b = *state;

	vmm_client_close(b->c);
	close(b->fd);
	close(b->listener);
	unlink(b->path);
	qb_loop_destroy(b->loop);
	free(b);
	return 0;
}

static void say(struct bed *b, const char *text)
{
	assert_int_equal(send(b->fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

static void answers_find_their_questions_among_events(void **state)
{
	struct bed *b = *state;
	char line[256];
	ssize_t n;

	vmm_client_execute(b->c, "query", json_pack("{s:i}", "x", 1), on_reply, b);
	n = recv(b->fd, line, sizeof(line) - 1, 0);
	line[n] = '\0';
	assert_string_equal(line, "{\"execute\":\"query\",\"id\":1,\"arguments\":{\"x\":1}}\n");
	say(b, "{\"drover-hv\": {\"name\": \"web\"}}\n{\"event\": \"state\", \"data\": {}}\n");
	say(b, "{\"return\": {}, \"id\": 99}\n"); /* nobody asked */
	turn(b);
	assert_int_equal(b->hellos, 1);
	assert_int_equal(b->events, 1);
	assert_int_equal(b->replies, 0);
	say(b, "{\"return\": {\"state\": \"running\"}, \"id\": 1}\n");
	turn(b);
	assert_int_equal(b->replies, 1);
	assert_string_equal(b->text, "running");
	say(b, "{\"return\": {\"state\": \"twice\"}, \"id\": 1}\n");
	turn(b);
	assert_int_equal(b->replies, 1);
	assert_int_equal(b->closes, 0);
}

static void a_line_may_come_in_pieces(void **state)
{
	struct bed *b = *state;

	say(b, "{\"event\": \"st");
	turn(b);
	assert_int_equal(b->events, 0);
	say(b, "ate\"}\n{\"event\"");
	turn(b);
	assert_int_equal(b->events, 1);
}

static void a_refusal_gives_its_code_and_text(void **state)
{
	struct bed *b = *state;

	vmm_client_execute(b->c, "resume", NULL, on_reply, b);
	say(b, "{\"error\": {\"code\": 5, \"text\": \"no lease\"}, \"id\": 1}\n");
	turn(b);
	assert_int_equal(b->code, 5);
	assert_string_equal(b->text, "no lease");
}

static void nonsense_ends_the_connection(void **state)
{
	struct bed *b = *state;

	say(b, "hello there\n{\"event\": \"state\"}\n");
	turn(b);
	assert_int_equal(b->closes, 1);
	assert_int_equal(b->events, 0);
	assert_non_null(strstr(b->text, "not a JSON object"));
	assert_int_equal(vmm_client_execute(b->c, "query", NULL, on_reply, b), -ENOTCONN);
}

static void a_line_without_an_end_ends_the_connection(void **state)
{
	struct bed *b = *state;
	char piece[4097];
	int i;

	memset(piece, 'x', sizeof(piece) - 1);
	piece[sizeof(piece) - 1] = '\0';
	for (i = 0; i < 16; i++) {
		say(b, piece);
		turn(b);
	}
	assert_int_equal(b->closes, 1);
	assert_non_null(strstr(b->text, "longer than 64 KiB"));
}

static void an_end_is_told_once(void **state)
{
	struct bed *b = *state;

	shutdown(b->fd, SHUT_RDWR);
	turn(b);
	turn(b);
	assert_int_equal(b->closes, 1);
}

static void a_vmm_that_does_not_read_is_not_written_to_without_end(void **state)
{
	struct bed *b = *state;
	char *big = malloc(32769);
	int i, rc = 0;

	memset(big, 'x', 32768);
	big[32768] = '\0';
	for (i = 0; i < 100 && rc == 0; i++)
		rc = vmm_client_execute(b->c, "x", json_pack("{s:s}", "x", big), NULL, NULL);
	assert_int_equal(rc, -ENOBUFS);
	free(big);
}

/* ... nor remembered for without end: each hello, for one, asks a question. */
static void a_vmm_that_does_not_answer_is_not_asked_without_end(void **state)
{
	struct bed *b = *state;
	int i, rc = 0;

	for (i = 0; i < 1000 && rc == 0; i++)
		rc = vmm_client_execute(b->c, "query", NULL, on_reply, b);
	assert_int_equal(rc, -ENOBUFS);
	say(b, "{\"return\": {\"state\": \"running\"}, \"id\": 1}\n");
	turn(b);
	assert_int_equal(b->replies, 1);
	assert_int_equal(vmm_client_execute(b->c, "query", NULL, on_reply, b), 0);
}

struct flood {
	int fd;
	uint64_t end_ms;
	_Atomic uint64_t sent;
};

/* A VMM that its guest has taken over: it writes as fast as it can, and reads nothing. */
static void *flood(void *arg)
{
	struct flood *f = arg;
	char lines[64 << 10];
	ssize_t n;

	for (size_t i = 0; i < sizeof(lines); i += 4)
		memcpy(lines + i, "{ }\n", 4);
	while (clock_ms() < f->end_ms) {
		n = send(f->fd, lines, sizeof(lines), MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n > 0)
			f->sent += (uint64_t)n;
	}
	return NULL;
}

/* The loop renews leases: all domains of the host would stand. */
static void a_vmm_that_never_stops_talking_does_not_hold_the_loop(void **state)
{
	uint64_t began = clock_ms(), worst = 0, at;
	struct bed *b = *state;
	struct flood f = { .fd = b->fd, .end_ms = began + 2500 };
	pthread_t thread;
	int turns;

	assert_int_equal(pthread_create(&thread, NULL, flood, &f), 0);
	for (turns = 0; clock_ms() < began + 1500; turns++) {
		at = clock_ms();
		turn(b);
		if (clock_ms() - at > worst)
			worst = clock_ms() - at;
	}
	pthread_join(thread, NULL);
	if (worst >= 500 || turns < 3)
		fail_msg("%d turns, one of %llu ms", turns, (unsigned long long)worst);
	assert_int_equal(b->closes, 0);
	assert_true(f.sent > 64 << 10); /* it was listened to */
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(answers_find_their_questions_among_events),
		T(a_line_may_come_in_pieces),
		T(a_refusal_gives_its_code_and_text),
		T(nonsense_ends_the_connection),
		T(a_line_without_an_end_ends_the_connection),
		T(an_end_is_told_once),
		T(a_vmm_that_does_not_answer_is_not_asked_without_end),
		T(a_vmm_that_never_stops_talking_does_not_hold_the_loop),
		T(a_vmm_that_does_not_read_is_not_written_to_without_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
