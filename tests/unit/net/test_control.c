/* SPDX-License-Identifier: Apache-2.0 */
/* test_control - the loop and the control socket, with an owner that is a few numbers (net/control/). */
#include "net/control/ctl.h"
#include "net/control/loop.h"
#include "net/control/protocol.h"

#include "base/clock.h"
#include "base/unix_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define WAIT_S 20

struct owner {
	struct loop *loop;
	struct ctl *ctl;
	char dir[32], path[64];
	pthread_t thread;
	unsigned int posted;
	char order[8]; /* of what was posted */
};

struct client {
	int fd;
	char buf[CTL_LINE_MAX];
	size_t len;
};

static json_t *greeting(void *owner)
{
	return json_pack("{s:i}", "protocol", CTL_PROTOCOL);
}

static int cmd_add(void *owner, const json_t *args, json_t **ret, struct err *e)
{
	json_int_t a = json_integer_value(json_object_get(args, "a")), b = json_integer_value(json_object_get(args, "b"));

	if (json_is_true(json_object_get(args, "refuse")))
		return err_set(e, -EPERM, "not today");
	*ret = json_pack("{s:I}", "sum", a + b);
	return 0;
}

static int cmd_shout(void *owner, const json_t *args, json_t **ret, struct err *e)
{
	struct owner *o = owner;

	ctl_event(o->ctl, "shout", json_pack("{s:O}", "what", json_object_get(args, "what")));
	return 0;
}

static const struct ctl_command commands[] = {
	{ "add", "a:i! b:i refuse:b", cmd_add },
	{ "shout", "what:s!", cmd_shout },
	{ NULL, NULL, NULL },
};

static void *run(void *arg)
{
	struct owner *o = arg;

	loop_run(o->loop);
	return NULL;
}

static int begin(void **state)
{
	struct owner *o = calloc(1, sizeof(*o));
	struct ctl_conf conf = { .program = "test", .greeting = greeting, .owner = o };
	struct err e;

	strcpy(o->dir, "/tmp/control.XXXXXX");
	assert_non_null(mkdtemp(o->dir));
	snprintf(o->path, sizeof(o->path), "%s/socket", o->dir);
	assert_int_equal(loop_create(&o->loop, &e), 0);
	conf.loop = o->loop;
	conf.path = o->path;
	assert_int_equal(ctl_create(&o->ctl, &conf, &e), 0);
	ctl_add(o->ctl, commands);
	assert_int_equal(pthread_create(&o->thread, NULL, run, o), 0);
	*state = o;
	return 0;
}

static void quit(void *arg)
{
	struct owner *o = arg;

	ctl_destroy(o->ctl);
	loop_quit(o->loop);
}

static int end(void **state)
{
	struct owner *o = *state;

	assert_int_equal(loop_post(o->loop, quit, o), 0);
	pthread_join(o->thread, NULL);
	loop_destroy(o->loop);
	assert_int_equal(rmdir(o->dir), 0); /* the socket is gone */
	free(o);
	return 0;
}

static int recv_greeting(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	char c;

	return poll(&p, 1, WAIT_S * 1000) == 1 ? (int)recv(fd, &c, 1, 0) : -1;
}

static void connect_fd(int fd, const char *path)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };

	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", path);
	assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
}

/* --- a client --- */

/* The next line as an object; NULL: it was dropped. */
static json_t *next(struct client *c)
{
	char *nl;
	json_t *o;

	while (!(nl = memchr(c->buf, '\n', c->len))) {
		ssize_t n = recv(c->fd, c->buf + c->len, sizeof(c->buf) - c->len, 0);

		assert_true(n >= 0 || errno == ECONNRESET);
		if (n <= 0)
			return NULL;
		c->len += (size_t)n;
	}
	o = json_loadb(c->buf, (size_t)(nl - c->buf), 0, NULL);
	assert_non_null(o);
	c->len -= (size_t)(nl + 1 - c->buf);
	memmove(c->buf, nl + 1, c->len);
	return o;
}

static struct client *come(struct owner *o)
{
	struct client *c = calloc(1, sizeof(*c));
	struct timeval t = { .tv_sec = WAIT_S };
	struct err e;
	json_t *hello;

	c->fd = unix_socket_connect(o->path, &e);
	assert_true(c->fd >= 0);
	fcntl(c->fd, F_SETFL, 0); /* here is waited */
	setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t));
	hello = next(c);
	assert_int_equal(json_integer_value(json_object_get(hello, "protocol")), CTL_PROTOCOL);
	json_decref(hello);
	return c;
}

static void leave(struct client *c)
{
	close(c->fd);
	free(c);
}

static void say(struct client *c, const char *line)
{
	assert_int_equal(send(c->fd, line, strlen(line), MSG_NOSIGNAL), strlen(line));
}

static void expect(struct client *c, const char *answer)
{
	json_t *o = next(c);
	char *text;

	assert_non_null(o);
	json_object_del(o, "time_ns");
	text = json_dumps(o, JSON_COMPACT);
	assert_string_equal(text, answer);
	free(text);
	json_decref(o);
}

/* --- the tests --- */

static const struct {
	const char *line, *answer;
} talks[] = {
	{ "{\"execute\":\"add\",\"arguments\":{\"a\":1,\"b\":2},\"id\":7}\n", "{\"return\":{\"sum\":3},\"id\":7}" },
	{ "{\"execute\":\"add\",\"arguments\":{\"a\":1},\"id\":[null]}\n", "{\"return\":{\"sum\":1},\"id\":[null]}" },
	{ "{\"execute\":\"add\",\"arguments\":{\"a\":1,\"refuse\":true}}\n", "{\"error\":{\"code\":5,\"text\":\"not today\"}}" },
	{ "{\"execute\":\"add\"}\n", "{\"error\":{\"code\":2,\"text\":\"arguments: a is missing\"}}" },
	{ "{\"execute\":\"add\",\"arguments\":{\"a\":\"1\"}}\n",
	  "{\"error\":{\"code\":2,\"text\":\"arguments: a: expected a whole number\"}}" },
	{ "{\"execute\":\"add\",\"arguments\":{\"a\":1,\"c\":2}}\n",
	  "{\"error\":{\"code\":2,\"text\":\"arguments: one is not known\"}}" },
	{ "{\"execute\":\"add\",\"arguments\":[1]}\n", "{\"error\":{\"code\":2,\"text\":\"arguments: expected an object\"}}" },
	{ "{\"execute\":\"ad\"}\n", "{\"error\":{\"code\":2,\"text\":\"ad: no such command\"}}" },
	{ "[1]\n", "{\"error\":{\"code\":2,\"text\":\"expected {\\\"execute\\\": \\\"command\\\", ...}\"}}" },
};

static void each_line_has_its_answer(void **state)
{
	struct client *c = come(*state);

	for (size_t i = 0; i < sizeof(talks) / sizeof(talks[0]); i++) {
		say(c, talks[i].line);
		expect(c, talks[i].answer);
	}
	say(c, "{\n"); /* what is said of it is jansson's */
	json_decref(next(c));
	leave(c);
}

static void lines_come_in_any_pieces(void **state)
{
	struct client *c = come(*state);

	for (const char *p = talks[0].line; *p; p++) {
		assert_int_equal(send(c->fd, p, 1, 0), 1);
		usleep(100);
	}
	expect(c, talks[0].answer);
	say(c, "\n\n{\"execute\":\"add\",\"arguments\":{\"a\":1}}\n{\"execute\":\"add\",\"arguments\":{\"a\":2}}\n");
	expect(c, "{\"return\":{\"sum\":1}}");
	expect(c, "{\"return\":{\"sum\":2}}");
	leave(c);
}

static void everybody_hears_an_event(void **state)
{
	struct client *a = come(*state), *b = come(*state);

	say(a, "{\"execute\":\"shout\",\"arguments\":{\"what\":\"now\"}}\n");
	expect(b, "{\"event\":\"shout\",\"data\":{\"what\":\"now\"}}");
	expect(a, "{\"event\":\"shout\",\"data\":{\"what\":\"now\"}}");
	expect(a, "{\"return\":{}}");
	leave(a);
	leave(b);
}

static void a_line_without_an_end_costs_the_connection(void **state)
{
	struct client *c = come(*state), *other = come(*state);
	char *line = calloc(1, CTL_LINE_MAX + 1);

	memset(line, ' ', CTL_LINE_MAX);
	say(c, line);
	assert_null(next(c));
	say(other, talks[0].line);
	expect(other, talks[0].answer);
	free(line);
	leave(c);
	leave(other);
}

static void the_one_that_asked_longest_ago_makes_room(void **state)
{
	struct client *c[CTL_CLIENTS_MAX + 1];

	for (size_t i = 0; i < CTL_CLIENTS_MAX; i++) {
		c[i] = come(*state);
		say(c[i], talks[0].line);
		expect(c[i], talks[0].answer);
	}
	say(c[0], talks[0].line); /* then c[1] is the one */
	expect(c[0], talks[0].answer);
	c[CTL_CLIENTS_MAX] = come(*state);
	assert_null(next(c[1]));
	for (size_t i = 0; i <= CTL_CLIENTS_MAX; i++) {
		if (i != 1) {
			say(c[i], talks[0].line);
			expect(c[i], talks[0].answer);
		}
		leave(c[i]);
	}
}

static void who_lives_there_is_not_pushed_out(void **state)
{
	struct owner *o = *state;
	struct ctl_conf conf = { .loop = o->loop, .path = o->path, .program = "test", .greeting = greeting };
	struct ctl *second;
	struct err e;

	assert_int_equal(ctl_create(&second, &conf, &e), -EBUSY);
	assert_non_null(strstr(e.text, o->path));
	leave(come(o));
}

static void note(void *arg)
{
	struct owner *o = arg;

	o->order[o->posted] = (char)('a' + o->posted);
	o->posted++;
}

static void tell(void *arg)
{
	sem_post(arg);
}

static void what_is_posted_runs_in_its_order(void **state)
{
	struct owner *o = *state;
	sem_t done;

	sem_init(&done, 0, 0);
	for (int i = 0; i < 3; i++)
		assert_int_equal(loop_post(o->loop, note, o), 0);
	assert_int_equal(loop_post(o->loop, tell, &done), 0);
	sem_wait(&done);
	assert_string_equal(o->order, "abc");
	sem_destroy(&done);
}

struct letter {
	struct owner *to;
	char text[4];
	sem_t *read;
};

static void read_letter(void *arg)
{
	const struct letter *l = arg;

	memcpy(l->to->order, l->text, sizeof(l->text));
	sem_post(l->read);
}

static void what_is_posted_as_a_copy_is_the_loops_own(void **state)
{
	struct owner *o = *state;
	struct letter l = { .to = o, .text = "xyz" };
	sem_t done;

	sem_init(&done, 0, 0);
	l.read = &done;
	assert_int_equal(loop_post_copy(o->loop, read_letter, &l, sizeof(l)), 0);
	memset(&l, 0, sizeof(l));
	sem_wait(&done);
	assert_string_equal(o->order, "xyz");
	sem_destroy(&done);
}

/* The end of a VMM: what its other threads had to tell ends with its loop (a checker of leaks looks on). */
static void what_a_loop_never_gets_to_ends_with_it(void **state)
{
	struct letter l = { .to = *state };
	struct loop *loop;
	struct err e;

	assert_int_equal(loop_create(&loop, &e), 0);
	for (int i = 0; i < 3; i++)
		assert_int_equal(loop_post_copy(loop, read_letter, &l, sizeof(l)), 0);
	loop_destroy(loop);
	assert_string_equal(l.to->order, "");
}

struct late {
	struct loop *loop;
	struct loop_timer *timer, *never;
	uint64_t at_ns, fired_ns;
	unsigned int times;
	sem_t done;
};

static void fire(void *arg)
{
	struct late *l = arg;

	l->fired_ns = clock_ns();
	l->times++;
	loop_timer_destroy(l->never);
	loop_timer_destroy(l->timer); /* in its own callback */
	sem_post(&l->done);
}

/* Timers are the main thread's. */
static void arm(void *arg)
{
	struct late *l = arg;
	struct err e;

	assert_int_equal(loop_timer_create(l->loop, fire, l, &l->timer, &e), 0);
	assert_int_equal(loop_timer_create(l->loop, fire, NULL, &l->never, &e), 0); /* would crash */
	l->at_ns = clock_ns() + 30000000;
	loop_timer_set(l->never, l->at_ns - 10000000);
	loop_timer_set(l->never, 0);
	loop_timer_set(l->timer, l->at_ns);
}

static void a_timer_fires_once_and_not_before_its_time(void **state)
{
	struct owner *o = *state;
	struct late l = { .loop = o->loop };

	sem_init(&l.done, 0, 0);
	assert_int_equal(loop_post(o->loop, arm, &l), 0);
	sem_wait(&l.done);
	assert_true(l.fired_ns >= l.at_ns);
	assert_int_equal(l.times, 1);
	sem_destroy(&l.done);
}

static uint64_t process_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void who_comes_while_no_descriptor_is_left_is_hung_up_on(void **state)
{
	struct rlimit was, none;
	struct owner *o = *state;
	int fd = unix_socket_connect(o->path, NULL), other;
	uint64_t before;
	char c;

	/* Ours is made before there is none, and its end is what is waited for. */
	assert_true(fd >= 0);
	other = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(recv_greeting(fd), 1);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &was), 0);
	none = (struct rlimit){ (rlim_t)other + 1, was.rlim_max }; /* the lowest that was free */
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	before = process_ms();
	connect_fd(other, o->path);
	usleep(300000);
	assert_in_range(process_ms() - before, 0, 60);
	assert_int_equal(recv(other, &c, 1, MSG_DONTWAIT), 0);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &was), 0);
	close(other);
	close(fd);
	fd = unix_socket_connect(o->path, NULL);
	assert_int_equal(recv_greeting(fd), 1);
	close(fd);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(each_line_has_its_answer),
		TEST(lines_come_in_any_pieces),
		TEST(everybody_hears_an_event),
		TEST(a_line_without_an_end_costs_the_connection),
		TEST(the_one_that_asked_longest_ago_makes_room),
		TEST(who_lives_there_is_not_pushed_out),
		TEST(who_comes_while_no_descriptor_is_left_is_hung_up_on),
		TEST(what_is_posted_runs_in_its_order),
		TEST(what_is_posted_as_a_copy_is_the_loops_own),
		TEST(what_a_loop_never_gets_to_ends_with_it),
		TEST(a_timer_fires_once_and_not_before_its_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
