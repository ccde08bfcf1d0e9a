/* SPDX-License-Identifier: Apache-2.0 */
/*
 * console - the serial port of a domain that runs on this host.
 *
 * Bytes go both ways between the terminal (raw) and the VMM's console socket.
 * Escape: ^] as in virsh and telnet.
 */
#include "cmd/drover/drover.h"

#include "base/unix_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#define ESCAPE 0x1d /* ^] */

static int console_connect(const char *path, int *out)
{
	struct err e = { 0 };
	int fd = unix_socket_connect(path, &e);

	if (fd < 0)
		return say_error(EXIT_ERROR, "console: %s", e.text);
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK); /* what is typed waits for the guest */
	*out = fd;
	return EXIT_OK;
}

static int write_all(int fd, const char *buf, ssize_t len)
{
	ssize_t n;

	while (len > 0) {
		n = write(fd, buf, (size_t)len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		buf += n;
		len -= n;
	}
	return 0;
}

/* Return: true to go on. */
static bool from_terminal(int fd, bool *eof)
{
	char buf[512], *esc;
	ssize_t n = read(STDIN_FILENO, buf, sizeof(buf));

	if (n <= 0) {
		*eof = true; /* input ended: go on showing */
		return true;
	}
	esc = memchr(buf, ESCAPE, (size_t)n);
	if (esc)
		n = esc - buf;
	return write_all(fd, buf, n) == 0 && !esc;
}

/* Return: 1 to go on, 0 when the domain's side ended, an -errno of standard output. */
static int from_domain(int fd)
{
	char buf[4096];
	ssize_t n = read(fd, buf, sizeof(buf));

	return n > 0 ? write_all(STDOUT_FILENO, buf, n) ?: 1 : 0;
}

static int console_run(int fd)
{
	struct pollfd p[2] = { { .fd = fd, .events = POLLIN },
			       { .fd = STDIN_FILENO, .events = POLLIN } };
	bool eof = false;
	int rc = 1;

	while (rc > 0) {
		p[1].fd = eof ? -1 : STDIN_FILENO;
		if (poll(p, 2, -1) < 0) {
			if (errno == EINTR)
				continue;
			return -errno;
		}
		if (p[0].revents)
			rc = from_domain(fd);
		if (rc > 0 && p[1].revents && !from_terminal(fd, &eof))
			return 0;
	}
	return rc;
}

int verb_console(struct drover *d)
{
	struct termios old, raw;
	bool tty = isatty(STDIN_FILENO) && tcgetattr(STDIN_FILENO, &old) == 0;
	json_t *vmm;
	int fd = -1, code, rc;

	code = vmm_find(d, d->argv[0], "console", &vmm);
	if (code)
		return code;
	code = console_connect(str_of(vmm, "console"), &fd);
	json_decref(vmm);
	if (code)
		return code;
	if (tty) {
		fprintf(stderr, "connected to '%s', escape is ^]\n", d->argv[0]);
		raw = old;
		cfmakeraw(&raw);
		tcsetattr(STDIN_FILENO, TCSANOW, &raw);
	}
	rc = console_run(fd);
	if (tty) {
		tcsetattr(STDIN_FILENO, TCSANOW, &old);
		fputc('\n', stderr);
	}
	close(fd);
	return rc < 0 ? say_error(EXIT_ERROR, "standard output: %s", strerror(-rc)) : EXIT_OK;
}
