/* SPDX-License-Identifier: Apache-2.0 */
/* greeter - see greeter.h. */
#include "migrate/session/destination/greeter.h"

#include "base/confine.h"
#include "base/log_limit.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#define ACCEPT_SLICE_MS 50 /* how late a cancel may be noticed */
#define BUSY_SLICE_MS 2    /* ... and how late somebody who has said all, while somebody talks */
#define GOODBYE_MS 200

struct greeter {
	struct session *s;
	struct caller *callers[GREETER_MAX];
	unsigned int n;
	struct err damaged; /* what was wrong with the first HELLO that may have been a data connection's; code 0: none */
};

/* --- one caller's thread --- */

static int left_ms(const struct caller *c)
{
	uint64_t now = session_now_ms(), end = atomic_load(&c->deadline_ms);

	return now < end ? (int)(end - now) : 0;
}

/* It knows why, and is told nothing back: what it would hear from here is that it said so. */
static int hear_abort(struct caller *c, uint32_t len)
{
	char text[400];
	uint8_t buf[WIRE_SMALL_MAX];
	struct reader r = reader_make(buf, len);
	int rc;

	assert(len <= sizeof(buf));
	rc = channel_take(&c->ch, buf, len, left_ms(c), &c->why);
	if (!rc)
		rc = channel_end(&c->ch, &c->why);
	if (rc)
		return rc;
	c->gave_up = true;
	rc = wire_get_abort(&r, text, sizeof(text));
	return err_set(&c->why, rc, "source: %s", text);
}

/* Its next record must be @type; PING is what a source says while it waits. */
static int take(struct caller *c, uint16_t type, struct session_record **out)
{
	static const _Atomic int phase = IN_SETUP;
	struct wire_header h;
	int rc;

	do {
		rc = channel_begin(&c->ch, &phase, &h, left_ms(c), &c->why);
		if (rc)
			return rc;
	} while (h.type == WIRE_PING && !(rc = channel_end(&c->ch, &c->why)));
	if (rc)
		return rc;
	if (h.type == WIRE_ABORT)
		return hear_abort(c, h.length);
	if (h.type != type)
		return err_set(&c->why, -EPROTO, "source sent %s, expected %s", wire_type_name(h.type),
			       wire_type_name(type));
	*out = malloc(sizeof(**out) + h.length); /* the type's bounds were checked */
	if (!*out)
		return err_set(&c->why, -ENOMEM, "%s: out of memory", wire_type_name(type));
	(*out)->type = h.type;
	(*out)->len = h.length;
	rc = channel_take(&c->ch, (*out)->payload, h.length, left_ms(c), &c->why);
	return rc ? rc : channel_end(&c->ch, &c->why);
}

/* One of another version is told ours, so that it can say what is wrong. */
static int answer(struct caller *c, bool understood)
{
	struct wire_hello a = {
		.version = WIRE_VERSION,
		.role = ROLE_ANSWER,
		.n_channels = understood ? c->hello.n_channels : 1,
	};

	if (understood)
		memcpy(a.id, c->hello.id, sizeof(a.id));
	return hello_send(&c->ch, &a, GREETER_HELLO_MS, &c->why);
}

static int listen_to(struct caller *c)
{
	int rc = hello_recv(&c->ch, &c->hello, (int)GREETER_HELLO_MS, &c->why);
	struct err version = c->why;

	if (rc == -EPROTONOSUPPORT) {
		answer(c, false);
		c->why = version;
	}
	c->ch.rx_way = c->hello.role == ROLE_DATA ? DATA_TO_DST : CONTROL_TO_DST;
	if (rc || c->hello.role == ROLE_DATA)
		return rc;
	if (c->hello.role != ROLE_CONTROL)
		return err_set(&c->why, -EPROTO, "HELLO: role %u opens no connection", c->hello.role);
	atomic_store(&c->deadline_ms, session_now_ms() + GREETER_OFFER_MS);
	session_capture(c->g->s, &c->ch, "control.dst");
	rc = answer(c, true);
	if (!rc)
		rc = take(c, WIRE_CAPS, &c->caps);
	if (!rc)
		rc = take(c, WIRE_DESCRIBE, &c->describe);
	return rc ? rc : take(c, WIRE_MEM_MAP, &c->mem_map);
}

static void *caller_main(void *arg)
{
	struct caller *c = arg;

	confine(CONFINE_RECEIVE);
	c->rc = listen_to(c);
	atomic_store(&c->done, true);
	return NULL;
}

/* --- callers --- */

static void forget(struct greeter *g, const struct caller *c)
{
	unsigned int i;

	for (i = 0; i < g->n && g->callers[i] != c; i++)
		;
	assert(i < g->n); /* each caller is forgotten once */
	g->n--;
	memmove(&g->callers[i], &g->callers[i + 1], (g->n - i) * sizeof(g->callers[0]));
}

static void free_caller(struct caller *c)
{
	channel_destroy(&c->ch);
	free(c->caps);
	free(c->describe);
	free(c->mem_map);
	free(c);
}

/* A caller that has not been handed out. */
static void hang_up(struct greeter *g, struct caller *c)
{
	channel_cut(&c->ch);
	pthread_join(c->thread, NULL);
	forget(g, c);
	free_caller(c);
}

/* Anybody can connect, as often as he likes, and must not fill the disk by it. */
static void tell(const struct caller *c, const struct err *why)
{
	static struct log_limit strangers = LOG_LIMIT_INIT;
	const char *peer = c->ch.stream->peer;

	if (!strncmp(why->text, peer, strlen(peer))) /* what the stream itself says */
		log_limited(&strangers, LOG_LEVEL_WARN, "%s", why->text);
	else
		log_limited(&strangers, LOG_LEVEL_WARN, "%s: %s", peer, why->text);
}

static void say_why(struct caller *c, const struct err *why)
{
	uint8_t buf[WIRE_SMALL_MAX];
	struct writer w = writer_make(buf, sizeof(buf));
	struct err ignored;

	wire_put_abort(&w, why->code, why->text);
	channel_send(&c->ch, WIRE_ABORT, buf, (uint32_t)writer_len(&w), GOODBYE_MS, &ignored);
}

void caller_take(struct caller *c, struct channel *ch)
{
	assert(c->ch.stream && !ch->stream);
	*ch = c->ch;
	pthread_mutex_init(&ch->tx_lock, NULL); /* it has moved */
	c->ch.stream = NULL;
}

void caller_drop(struct caller *c, const struct err *why)
{
	if (why && c->ch.stream) {
		tell(c, why);
		say_why(c, why);
	}
	free_caller(c);
}

static void displace_oldest(struct greeter *g)
{
	struct caller *oldest = g->callers[0];
	unsigned int i;

	assert(g->n);
	for (i = 1; i < g->n; i++)
		if (!atomic_load(&g->callers[i]->done) &&
		    (atomic_load(&oldest->done) || g->callers[i]->since_ms < oldest->since_ms))
			oldest = g->callers[i];
	hang_up(g, oldest);
}

static void greet(struct greeter *g, struct stream *stream)
{
	struct caller *c = calloc(1, sizeof(*c));

	if (!c) {
		stream_close(stream);
		return;
	}
	if (g->n == GREETER_MAX)
		displace_oldest(g);
	assert(g->n < GREETER_MAX);
	c->g = g;
	channel_init(&c->ch, stream, CONTROL_TO_DST | DATA_TO_DST);
	c->since_ms = session_now_ms();
	atomic_store(&c->deadline_ms, c->since_ms + GREETER_HELLO_MS);
	if (pthread_create(&c->thread, NULL, caller_main, c)) {
		free_caller(c);
		return;
	}
	g->callers[g->n++] = c;
}

/* --- the crowd --- */

struct greeter *greeter_create(struct session *s)
{
	struct greeter *g = calloc(1, sizeof(*g));

	if (g)
		g->s = s;
	return g;
}

void greeter_destroy(struct greeter *g)
{
	if (!g)
		return;
	while (g->n)
		hang_up(g, g->callers[0]);
	free(g);
}

/* Whoever said something that begins like a migration stream is told what was wrong with the rest. */
static void send_away(struct greeter *g, struct caller *c)
{
	if (c->rc && c->caps && !c->gave_up)
		say_why(c, &c->why);
	if (c->rc == -EPROTONOSUPPORT || (c->rc && c->caps))
		tell(c, &c->why);
	hang_up(g, c);
}

/*
 * A data connection's HELLO was damaged on its way.  Anybody can send such a one, but nobody else knows
 * what the source calls this migration.
 */
static bool damaged_link(struct greeter *g, const struct caller *c)
{
	if (c->rc != -EBADMSG || c->caps)
		return false;
	if (!g->damaged.code)
		g->damaged = c->why;
	return !memcmp(c->hello.id, g->s->id, sizeof(c->hello.id));
}

/* One who is of use, or NULL; whoever never will be goes.  -EBADMSG for a damaged link. */
static int sort_out(struct greeter *g, enum wire_role want, struct caller **out, struct err *e)
{
	uint64_t now = session_now_ms();
	struct caller *c;
	unsigned int i;

	*out = NULL;
	for (i = 0; i < g->n;) {
		c = g->callers[i];
		if (!atomic_load(&c->done)) {
			if (now >= atomic_load(&c->deadline_ms))
				hang_up(g, c);
			else
				i++;
			continue;
		}
		if (want == ROLE_DATA && damaged_link(g, c)) {
			*e = c->why;
			return c->rc;
		}
		if (!c->rc && c->hello.role == want) {
			pthread_join(c->thread, NULL);
			forget(g, c);
			*out = c;
			return 0;
		}
		if (!c->rc && want == ROLE_CONTROL && now < c->since_ms + GREETER_OFFER_MS)
			i++; /* a data connection that came before its source was heard */
		else
			send_away(g, c);
	}
	return 0;
}

static bool somebody_talks(const struct greeter *g)
{
	unsigned int i;

	for (i = 0; i < g->n; i++)
		if (!atomic_load(&g->callers[i]->done) || g->callers[i]->hello.role == ROLE_CONTROL)
			return true;
	return false;
}

static int over(struct greeter *g, struct err *e)
{
	int rc;

	pthread_mutex_lock(&g->s->lock);
	rc = session_over(g->s, e);
	pthread_mutex_unlock(&g->s->lock);
	return rc;
}

int greeter_next(struct greeter *g, enum wire_role want, uint64_t deadline_ms, struct caller **out,
		 struct err *e)
{
	const struct migrate_link *link = &g->s->p->link;
	struct stream *stream;
	int rc;

	for (;;) {
		rc = over(g, e);
		if (!rc)
			rc = sort_out(g, want, out, e);
		if (rc || *out)
			return rc;
		rc = link->open(link->arg, g->n ? BUSY_SLICE_MS : ACCEPT_SLICE_MS, &stream, e);
		if (!rc)
			greet(g, stream);
		else if (rc != -ETIMEDOUT && !somebody_talks(g))
			return rc;
		else if (rc != -ETIMEDOUT)
			poll(NULL, 0, BUSY_SLICE_MS); /* nobody can come any more: who is here may be the one */
		if (deadline_ms && session_now_ms() >= deadline_ms)
			return err_set(e, -ETIMEDOUT, "no source connected in time%s%s",
				       g->damaged.code ? "; one that may have been it: " : "",
				       g->damaged.code ? g->damaged.text : "");
	}
}
