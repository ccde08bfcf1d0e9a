/* SPDX-License-Identifier: Apache-2.0 */
/*
 * agent - see agent.h.
 *
 * Whoever spoke to the agent before may have left half a question or not waited for his answer.  So the first
 * thing said is 0xff, at which the agent forgets what it has half read, and guest-sync-delimited with a number; what
 * comes before 0xff and that number is not for us.
 */
#include "cmd/drover/agent.h"

#include "base/clock.h"
#include "base/unix_socket.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define SENTINEL 0xff

struct agent_link {
	int fd;
	char in[AGENT_ANSWER_MAX]; /* what has come: `len` bytes, the first `used` of which have been dealt with */
	size_t len, used;
};

/* Return: 0; -errno with @e. */
static int wait_for(struct agent_link *l, short events, uint64_t until_ms, struct err *e)
{
	struct pollfd p = { .fd = l->fd, .events = events };
	uint64_t now = clock_ms();
	int n = now < until_ms ? poll(&p, 1, (int)(until_ms - now)) : 0;

	if (n < 0 && errno != EINTR)
		return err_errno(e, "the guest's agent");
	if (!n)
		return err_set(e, -ETIMEDOUT, "the guest's agent does not answer");
	return 0;
}

static int put(struct agent_link *l, const char *text, size_t len, uint64_t until_ms, struct err *e)
{
	ssize_t n;
	int ret = 0;

	while (len && !ret) {
		n = send(l->fd, text, len, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0 && errno == EAGAIN) {
			ret = wait_for(l, POLLOUT, until_ms, e);
		} else if (n < 0) {
			ret = err_set(e, errno == EPIPE ? -EBUSY : -errno, "the guest's agent: %s",
				      errno == EPIPE ? "somebody else speaks to it" : strerror(errno));
		} else {
			text += n;
			len -= (size_t)n;
		}
	}
	return ret;
}

/* More bytes, behind those that are there. */
static int get_some(struct agent_link *l, uint64_t until_ms, struct err *e)
{
	ssize_t n;
	int ret;

	memmove(l->in, l->in + l->used, l->len - l->used);
	l->len -= l->used;
	l->used = 0;
	if (l->len == sizeof(l->in))
		return err_set(e, -EPROTO, "the guest's agent: an answer of more than %u bytes", AGENT_ANSWER_MAX);
	ret = wait_for(l, POLLIN, until_ms, e);
	if (ret)
		return ret;
	n = recv(l->fd, l->in + l->len, sizeof(l->in) - l->len, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n < 0 && errno != ECONNRESET)
		return err_errno(e, "the guest's agent");
	if (n <= 0)
		return err_set(e, -EBUSY, "the guest's agent: hung up: somebody else speaks to it, or the guest is gone");
	l->len += (size_t)n;
	return 0;
}

/* The next line; it ends at the '\n' that is made '\0', and stays until more is got. */
static int get_line(struct agent_link *l, uint64_t until_ms, char **line, size_t *len, struct err *e)
{
	size_t seen = 0;
	char *end;
	int ret;

	while (!(end = memchr(l->in + l->used + seen, '\n', l->len - l->used - seen))) {
		seen = l->len - l->used;
		ret = get_some(l, until_ms, e);
		if (ret)
			return ret;
	}
	*end = '\0';
	*line = l->in + l->used;
	*len = (size_t)(end - *line);
	l->used += *len + 1;
	return 0;
}

static int say(struct agent_link *l, const char *command, json_t *args, uint64_t until_ms, struct err *e)
{
	json_t *o = json_pack("{s:s, s:o*}", "execute", command, "arguments", args);
	char *text = json_dumps(o, JSON_COMPACT);
	int ret;

	json_decref(o);
	if (!text)
		return err_set(e, -ENOMEM, "out of memory");
	ret = put(l, text, strlen(text), until_ms, e);
	if (!ret)
		ret = put(l, "\n", 1, until_ms, e);
	free(text);
	return ret;
}

/* Is this line, behind its last 0xff, the answer to our sync? */
static bool is_synced(char *line, size_t len, json_int_t number)
{
	char *from = memrchr(line, SENTINEL, len);
	json_t *o;
	bool is;

	if (!from)
		return false;
	o = json_loadb(from + 1, len - (size_t)(from + 1 - line), 0, NULL);
	is = json_is_integer(json_object_get(o, "return")) && json_integer_value(json_object_get(o, "return")) == number;
	json_decref(o);
	return is;
}

static int sync_with(struct agent_link *l, uint64_t until_ms, struct err *e)
{
	json_int_t number = (json_int_t)((clock_ns() ^ (uint64_t)getpid() << 20) & 0x7fffffff);
	size_t len, total = 0;
	char *line;
	int ret;

	ret = put(l, "\xff", 1, until_ms, e);
	if (!ret)
		ret = say(l, "guest-sync-delimited", json_pack("{s:I}", "id", number), until_ms, e);
	while (!ret) {
		ret = get_line(l, until_ms, &line, &len, e);
		if (!ret && is_synced(line, len, number))
			return 0;
		total += ret ? 0 : len;
		if (total > AGENT_ANSWER_MAX)
			ret = err_set(e, -EPROTO, "the guest's agent: %zu bytes, and no answer among them", total);
	}
	return ret;
}

int agent_link_open(struct agent_link **out, const char *path, unsigned int timeout_ms, struct err *e)
{
	struct agent_link *l = malloc(sizeof(*l));
	int ret;

	if (!l)
		return err_set(e, -ENOMEM, "out of memory");
	l->len = l->used = 0;
	l->fd = unix_socket_connect(path, e);
	if (l->fd < 0) {
		ret = l->fd;
		free(l);
		return ret;
	}
	ret = sync_with(l, clock_ms() + timeout_ms, e);
	if (ret)
		agent_link_close(l);
	else
		*out = l;
	return ret;
}

void agent_link_close(struct agent_link *l)
{
	if (!l)
		return;
	close(l->fd);
	free(l);
}

static int answer_of(json_t *answer, json_t **out, struct err *e)
{
	json_t *error = json_object_get(answer, "error"), *value = json_object_get(answer, "return");
	const char *text = json_string_value(json_object_get(error, "desc"));

	if (error)
		return err_set(e, -EREMOTEIO, "the guest's agent refuses: %.300s", text ? text : "it does not say why");
	if (!value)
		return err_set(e, -EPROTO, "the guest's agent: what it says is no answer");
	*out = json_incref(value);
	return 0;
}

int agent_link_ask(struct agent_link *l, const char *command, json_t *args, unsigned int timeout_ms, json_t **out, struct err *e)
{
	uint64_t until_ms = clock_ms() + timeout_ms;
	json_t *answer;
	size_t len;
	char *line;
	int ret;

	ret = say(l, command, args, until_ms, e);
	if (!ret)
		ret = get_line(l, until_ms, &line, &len, e);
	if (ret)
		return ret;
	answer = json_loadb(line, len, JSON_REJECT_DUPLICATES, NULL);
	ret = answer_of(answer, out, e);
	json_decref(answer);
	return ret;
}
