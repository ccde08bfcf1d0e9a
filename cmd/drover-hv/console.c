/* SPDX-License-Identifier: Apache-2.0 */
/*
 * console - the guest's serial port, on our terminal or behind a socket.
 *
 *   stdio    output waits for whoever reads our standard output, and the guest
 *            waits with it (back-pressure, serial.h).  On a terminal keys go to
 *            the guest raw; Ctrl-] ends drover-hv.
 *   socket   any number of clients (CLIENTS_MAX) see the same output and may type.
 *            A new one first gets the last SCROLLBACK bytes.  One that does not
 *            read is late by KEPT bytes, then misses some: a forgotten terminal must not stop a server.  One that
 *            hung up while its typing waits for the guest gives its place to who comes.
 */
#include "cmd/drover-hv/vmm.h"

#include "base/log.h"
#include "base/number.h"
#include "base/unix_socket.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

#define CLIENTS_MAX 8
#define BACKLOG 16            /* of connections nobody has taken yet */
#define SCROLLBACK 65536      /* that who comes is shown */
#define KEPT (4 * SCROLLBACK) /* that who does not read may be late, beside what his socket takes */
#define CHUNK 4096            /* a pipe that is ready takes that much without waiting (PIPE_BUF) */
#define TURNS 16              /* chunks per call: a guest that never stops writing must not keep the main thread */
#define QUIT_KEY 0x1d

struct console_client {
	struct console *console;
	int fd;           /* -1: free */
	uint64_t seen;    /* bytes of what the guest has said, all that came before him among them */
	uint32_t watched; /* events */
	bool deaf;        /* gone as a reader: what it typed before still counts */
	bool waiting;     /* hung up while others' typing waits: out of the loop until its turn */
};

struct console {
	struct drover_hv *vmm;
	char where[108];
	int notify_fd; /* the serial port has output, or room for input */
	int listen_fd;
	struct console_client clients[CLIENTS_MAX];
	char *kept;        /* ring: byte @n that the guest said is at n % KEPT */
	uint64_t said;     /* bytes */
	char typed[CHUNK]; /* read from somebody, not yet taken by the guest */
	size_t typed_len;
	bool stdio, stdin_watched, stdout_watched, raw;
	char held[CHUNK]; /* taken from the guest, not yet written to stdout */
	size_t held_len;
	struct termios saved;
};

static void on_serial(void *arg)
{
	struct console *c = arg;

	eventfd_write(c->notify_fd, 1); /* from a vCPU thread: nothing more */
}

/* --- input --- */

static void client_return(struct console_client *cl);

/* What he types, unless somebody's typing waits; room, when he is late. */
static uint32_t client_events(const struct console_client *cl)
{
	const struct console *c = cl->console;

	return (c->typed_len ? 0u : (uint32_t)EPOLLIN) | (!cl->deaf && cl->seen != c->said ? (uint32_t)EPOLLOUT : 0u);
}

static void client_watch(struct console_client *cl)
{
	uint32_t events = client_events(cl);

	if (events != cl->watched && !loop_change(cl->console->vmm->loop, cl->fd, events))
		cl->watched = events;
}

static void watch_input(struct console *c, bool on)
{
	for (size_t i = 0; i < CLIENTS_MAX; i++)
		if (c->clients[i].fd >= 0 && !c->clients[i].waiting)
			client_watch(&c->clients[i]);
		else if (on && c->clients[i].fd >= 0)
			client_return(&c->clients[i]);
	if (c->stdin_watched)
		loop_change(c->vmm->loop, STDIN_FILENO, on ? EPOLLIN : 0);
}

static void give_typed(struct console *c)
{
	size_t n = serial_give(machine_serial(c->vmm->machine), c->typed, c->typed_len);

	assert(n <= c->typed_len);
	memmove(c->typed, c->typed + n, c->typed_len - n);
	c->typed_len -= n;
}

static void take_typed(struct console *c, const char *buf, size_t len)
{
	assert(!c->typed_len && len <= sizeof(c->typed)); /* nothing is read while something waits */
	memcpy(c->typed, buf, len);
	c->typed_len = len;
	give_typed(c);
	if (c->typed_len)
		watch_input(c, false); /* until the guest has read some */
}

/* --- output --- */

static void remember(struct console *c, const char *buf, size_t len)
{
	for (size_t i = 0; i < len; i++)
		c->kept[c->said++ % KEPT] = buf[i];
}

static void client_close(struct console_client *cl)
{
	assert(cl->fd >= 0);
	if (!cl->waiting)
		loop_del(cl->console->vmm->loop, cl->fd);
	close(cl->fd);
	cl->fd = -1;
}

/* Show him what he has not seen, as far as he takes it; what is not kept any more he misses. */
static void client_show(struct console_client *cl)
{
	struct console *c = cl->console;
	ssize_t n = 1;

	if (c->said - cl->seen > KEPT)
		cl->seen = c->said - KEPT;
	while (!cl->deaf && cl->seen != c->said && n > 0) {
		size_t at = cl->seen % KEPT, len = KEPT - at;

		if (len > c->said - cl->seen)
			len = (size_t)(c->said - cl->seen);
		n = send(cl->fd, c->kept + at, len, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n > 0)
			cl->seen += (uint64_t)n;
		else if (errno != EAGAIN)
			cl->deaf = true; /* he may have typed before he went: reading finds his end, and closes */
	}
	client_watch(cl);
}

static void broadcast(struct console *c)
{
	char buf[CHUNK];
	size_t n;

	for (int turn = 0; turn < TURNS; turn++) {
		n = serial_take(machine_serial(c->vmm->machine), buf, sizeof(buf));
		if (!n)
			return;
		remember(c, buf, n);
		for (size_t i = 0; i < CLIENTS_MAX; i++)
			if (c->clients[i].fd >= 0 && !c->clients[i].waiting)
				client_show(&c->clients[i]);
	}
	on_serial(c); /* more later */
}

/* Writes only what standard output takes at once; the rest waits in `held` and in the guest. */
static void write_stdout(struct console *c)
{
	struct pollfd p = { .fd = STDOUT_FILENO, .events = POLLOUT };
	ssize_t n;
	int turn;

	for (turn = 0; turn < TURNS; turn++) {
		if (!c->held_len)
			c->held_len = serial_take(machine_serial(c->vmm->machine), c->held,
						  sizeof(c->held));
		if (!c->held_len || (c->stdout_watched && poll(&p, 1, 0) != 1))
			break;
		n = write(STDOUT_FILENO, c->held, c->held_len);
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			n = (ssize_t)c->held_len; /* nobody will ever read it */
		if (n <= 0)
			break;
		memmove(c->held, c->held + n, c->held_len - (size_t)n);
		c->held_len -= (size_t)n;
	}
	if (turn == TURNS)
		on_serial(c); /* more later */
	if (c->stdout_watched)
		loop_change(c->vmm->loop, STDOUT_FILENO, c->held_len ? EPOLLOUT : 0);
}

static void on_notify(void *arg, uint32_t events)
{
	struct console *c = arg;
	eventfd_t count;

	(void)events;
	eventfd_read(c->notify_fd, &count);
	if (c->stdio)
		write_stdout(c);
	else
		broadcast(c);
	if (c->typed_len) {
		give_typed(c);
		if (!c->typed_len)
			watch_input(c, true);
	}
}

/* --- socket --- */

/* #syscalls:main recvfrom sendto shutdown */
static void on_client(void *arg, uint32_t events)
{
	struct console_client *cl = arg;
	char buf[CHUNK];
	ssize_t n;

	if (events & EPOLLOUT)
		client_show(cl);
	if (!(events & EPOLLIN) && !(events & (EPOLLHUP | EPOLLERR)))
		return;
	if (cl->console->typed_len) { /* somebody's typing waits; a hang-up must not spin */
		if (events & (EPOLLHUP | EPOLLERR)) {
			loop_del(cl->console->vmm->loop, cl->fd);
			cl->waiting = true;
		}
		return;
	}
	n = recv(cl->fd, buf, sizeof(buf), MSG_DONTWAIT);
	if (n > 0)
		take_typed(cl->console, buf, (size_t)n);
	else if (n == 0 || errno != EAGAIN)
		client_close(cl);
}

static void client_return(struct console_client *cl)
{
	cl->watched = client_events(cl);
	if (loop_add(cl->console->vmm->loop, cl->fd, cl->watched, on_client, cl, NULL))
		client_close(cl);
	else
		cl->waiting = false;
}

/* A guest that never reads would keep the places of all who typed and went. */
static struct console_client *find_place(struct console *c)
{
	for (size_t i = 0; i < CLIENTS_MAX; i++)
		if (c->clients[i].fd < 0)
			return &c->clients[i];
	for (size_t i = 0; i < CLIENTS_MAX; i++)
		if (c->clients[i].waiting) {
			client_close(&c->clients[i]);
			return &c->clients[i];
		}
	return NULL;
}

static void turn_away(int fd)
{
	static const char full[] = NUMBER_TEXT(CLIENTS_MAX) " consoles of this domain are open already\r\n";

	send(fd, full, sizeof(full) - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
	close(fd);
}

static void on_connect(void *arg, uint32_t events)
{
	struct console *c = arg;
	struct console_client *cl;
	int fd = unix_socket_accept(c->listen_fd);

	(void)events;
	if (fd < 0)
		return;
	cl = find_place(c);
	if (!cl) {
		turn_away(fd);
		return;
	}
	cl->deaf = cl->waiting = false;
	cl->seen = c->said > SCROLLBACK ? c->said - SCROLLBACK : 0;
	cl->watched = client_events(cl);
	if (loop_add(c->vmm->loop, fd, cl->watched, on_client, cl, NULL)) {
		close(fd);
		return;
	}
	cl->fd = fd;
	client_show(cl);
}

static int open_socket(struct console *c, struct err *e)
{
	c->kept = malloc(KEPT);
	if (!c->kept)
		return err_set(e, -ENOMEM, "console: out of memory");
	c->listen_fd = unix_socket_listen(c->where, 0600, BACKLOG, "drover-hv", e);
	if (c->listen_fd < 0) {
		err_prefix(e, "console");
		return c->listen_fd;
	}
	return loop_add(c->vmm->loop, c->listen_fd, EPOLLIN, on_connect, c, e);
}

/* --- stdio --- */

static void on_stdin(void *arg, uint32_t events)
{
	struct console *c = arg;
	char buf[CHUNK];
	ssize_t n;

	(void)events;
	if (c->typed_len)
		return;
	n = read(STDIN_FILENO, buf, sizeof(buf));
	if (n > 0 && c->raw && memchr(buf, QUIT_KEY, (size_t)n)) {
		vmm_end(c->vmm, VMM_END_STOPPED, EXIT_OK, "ended on the terminal");
	} else if (n > 0) {
		take_typed(c, buf, (size_t)n);
	} else if (n == 0 || errno != EAGAIN) {
		c->stdin_watched = false;
		loop_del(c->vmm->loop, STDIN_FILENO);
	}
}

static void on_stdout(void *arg, uint32_t events)
{
	(void)events;
	write_stdout(arg);
}

static void open_stdio(struct console *c)
{
	struct termios t;

	/* epoll refuses plain files and /dev/null: then there is no input, and output never waits */
	c->stdin_watched = loop_add(c->vmm->loop, STDIN_FILENO, EPOLLIN, on_stdin, c, NULL) == 0;
	c->stdout_watched = loop_add(c->vmm->loop, STDOUT_FILENO, 0, on_stdout, c, NULL) == 0;
	if (isatty(STDIN_FILENO) && tcgetattr(STDIN_FILENO, &c->saved) == 0) {
		t = c->saved;
		cfmakeraw(&t);
		t.c_oflag |= OPOST | ONLCR; /* our own messages share the terminal */
		c->raw = tcsetattr(STDIN_FILENO, TCSANOW, &t) == 0;
		log_info("console on this terminal; Ctrl-] ends it and the domain");
	}
}

int console_create(struct console **out, struct drover_hv *v, const char *where, struct err *e)
{
	struct console *c = calloc(1, sizeof(*c));
	int ret;

	if (!c)
		return err_set(e, -ENOMEM, "console: out of memory");
	c->vmm = v;
	c->listen_fd = -1;
	for (size_t i = 0; i < CLIENTS_MAX; i++)
		c->clients[i] = (struct console_client){ c, -1 };
	c->notify_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (strlen(where) >= sizeof(c->where)) {
		ret = err_set(e, -EINVAL, "console: %s: path too long", where);
		goto fail;
	}
	strcpy(c->where, where);
	c->stdio = strcmp(where, "stdio") == 0;
	ret = c->notify_fd < 0 ? err_errno(e, "console: eventfd") : loop_add(v->loop, c->notify_fd, EPOLLIN, on_notify, c, e);
	if (ret)
		goto fail;
	if (c->stdio)
		open_stdio(c);
	else
		ret = open_socket(c, e);
	if (ret)
		goto fail;
	serial_set_notify(machine_serial(v->machine), on_serial, c);
	*out = c;
	return 0;

fail:
	console_destroy(c);
	return ret;
}

/*
 * The machine is gone by now: nobody calls on_serial() any more.
 * glibc 2.42 does it by TCSETS2 and TCGETS2, which the kernel's headers name only where termios.h is not.
 * #syscalls:main ioctl(1=TCSETS) ioctl(1=TCGETS) ioctl(1=0x402c542b) ioctl(1=0x802c542a)
 */
void console_destroy(struct console *c)
{
	if (!c)
		return;
	if (c->raw)
		tcsetattr(STDIN_FILENO, TCSANOW, &c->saved);
	for (size_t i = 0; i < CLIENTS_MAX; i++)
		if (c->clients[i].fd >= 0)
			client_close(&c->clients[i]);
	if (c->listen_fd >= 0) {
		loop_del(c->vmm->loop, c->listen_fd);
		close(c->listen_fd);
		porter_remove(c->vmm->porter, PORTER_CONSOLE);
	}
	if (c->stdin_watched)
		loop_del(c->vmm->loop, STDIN_FILENO);
	if (c->stdout_watched)
		loop_del(c->vmm->loop, STDOUT_FILENO);
	if (c->notify_fd >= 0) {
		loop_del(c->vmm->loop, c->notify_fd);
		close(c->notify_fd);
	}
	free(c->kept);
	free(c);
}

void console_flush(struct console *c)
{
	on_notify(c, 0);
}

const char *console_where(const struct console *c)
{
	return c->where;
}
