/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vmm - the VMM of a domain that runs on this host, and its control socket (docs/control.md).
 *
 * What it says is not believed further than any other text: an answer has a bound and a deadline.
 */
#include "cmd/drover/drover.h"

#include "base/clock.h"
#include "base/unix_socket.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define ANSWER_MAX (8u << 20)
#define ANSWER_MS 20000
#define ROOM_FIRST 65536u

struct vmm_link {
	int fd;
	char *in; /* what has come: `len` of `size` bytes */
	size_t len, size;
	char name[DOMAIN_NAME_SIZE];
};

int vmm_find(struct drover *d, const char *name, const char *verb, json_t **vmm)
{
	json_t *o;
	int code = domain_get(d, name, &o);

	if (code)
		return code;
	*vmm = json_incref(json_object_get(o, "vmm"));
	if (*vmm)
		code = EXIT_OK;
	else if (*str_of(o, "node"))
		code = say_error(EXIT_REFUSED, "domain '%s' runs on %s: use drover %s there", name, str_of(o, "node"), verb);
	else
		code = say_error(EXIT_REFUSED, "domain '%s' is %s", name, str_of(o, "state"));
	json_decref(o);
	return code;
}

int vmm_link_open(struct drover *d, const char *name, const char *verb, struct vmm_link **out)
{
	struct vmm_link *l;
	struct err e = { 0 };
	json_t *vmm;
	int fd, code = vmm_find(d, name, verb, &vmm);

	if (code)
		return code;
	fd = unix_socket_connect(str_of(vmm, "control"), &e);
	json_decref(vmm);
	if (fd < 0)
		return say_error(EXIT_ERROR, "%s: its VMM: %s", name, e.text);
	l = calloc(1, sizeof(*l));
	if (!l) {
		close(fd);
		return say_error(EXIT_ERROR, "out of memory");
	}
	l->fd = fd;
	snprintf(l->name, sizeof(l->name), "%s", name);
	*out = l;
	return EXIT_OK;
}

void vmm_link_close(struct vmm_link *l)
{
	if (!l)
		return;
	close(l->fd);
	free(l->in);
	free(l);
}

/* A control socket that takes nothing for so long has more than us waiting. */
static int send_all(struct vmm_link *l, const char *text, size_t len, uint64_t until_ms)
{
	struct pollfd p = { .fd = l->fd, .events = POLLOUT };
	ssize_t n;

	while (len) {
		n = send(l->fd, text, len, MSG_NOSIGNAL);
		if (n < 0 && errno != EAGAIN)
			return -errno;
		if (n < 0 && clock_ms() >= until_ms)
			return -ETIMEDOUT;
		if (n < 0)
			poll(&p, 1, (int)(until_ms - clock_ms()));
		if (n > 0) {
			text += n;
			len -= (size_t)n;
		}
	}
	return 0;
}

/* More bytes, for which there is room. */
static int receive_some(struct vmm_link *l, uint64_t until_ms)
{
	struct pollfd p = { .fd = l->fd, .events = POLLIN };
	uint64_t now = clock_ms();
	ssize_t n;

	if (l->len == l->size) {
		size_t size = l->size ? 2 * l->size : ROOM_FIRST;
		char *in = size > ANSWER_MAX ? NULL : realloc(l->in, size);

		if (!in)
			return -EMSGSIZE;
		l->in = in;
		l->size = size;
	}
	if (now >= until_ms || !poll(&p, 1, (int)(until_ms - now)))
		return -ETIMEDOUT;
	n = recv(l->fd, l->in + l->len, l->size - l->len, 0);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	if (!n)
		return -ECONNRESET;
	l->len += (size_t)n;
	return 0;
}

/* The next line, taken; greetings and events are lines as well. */
static int receive_line(struct vmm_link *l, uint64_t until_ms, json_t **out)
{
	char *end;
	size_t seen = 0;
	int ret;

	while (!(end = l->len > seen ? memchr(l->in + seen, '\n', l->len - seen) : NULL)) {
		seen = l->len;
		ret = receive_some(l, until_ms);
		if (ret)
			return ret;
	}
	*out = json_loadb(l->in, (size_t)(end - l->in), JSON_REJECT_DUPLICATES, NULL);
	l->len -= (size_t)(end + 1 - l->in);
	memmove(l->in, end + 1, l->len);
	if (json_is_object(*out))
		return 0;
	json_decref(*out);
	return -EPROTO;
}

static int answer_of(struct vmm_link *l, uint64_t until_ms, json_t **answer)
{
	int ret;

	for (;;) {
		ret = receive_line(l, until_ms, answer);
		if (ret || json_object_get(*answer, "return") || json_object_get(*answer, "error"))
			return ret;
		json_decref(*answer);
	}
}

/* The exit code that an error of theirs stands for. */
static int refused(const struct vmm_link *l, json_t *error)
{
	int code = (int)json_integer_value(json_object_get(error, "code"));

	return say_error(code >= EXIT_ERROR && code <= EXIT_REFUSED ? code : EXIT_ERROR, "%s: %s", l->name,
			 str_of(error, "text"));
}

int vmm_link_ask(struct vmm_link *l, const char *command, json_t *args, json_t **out)
{
	uint64_t until_ms = clock_ms() + ANSWER_MS;
	json_t *request = json_pack("{s:s, s:o*}", "execute", command, "arguments", args), *answer = NULL, *error;
	char *text = json_dumps(request, JSON_COMPACT);
	int ret = -ENOMEM, code = EXIT_OK;

	json_decref(request);
	if (text)
		ret = send_all(l, text, strlen(text), until_ms);
	if (!ret)
		ret = send_all(l, "\n", 1, until_ms);
	free(text);
	if (!ret)
		ret = answer_of(l, until_ms, &answer);
	if (ret)
		return say_error(err_exit_code(ret), "%s: its VMM: %s", l->name,
				 ret == -ETIMEDOUT ? "it does not answer" : strerror(-ret));
	error = json_object_get(answer, "error");
	if (error)
		code = refused(l, error);
	else
		*out = json_incref(json_object_get(answer, "return"));
	json_decref(answer);
	return code;
}
