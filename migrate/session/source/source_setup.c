/* SPDX-License-Identifier: Apache-2.0 */
/*
 * source_setup - the source's part of the conversation before the first page:
 * who are you, does the domain fit, here are the data connections
 * (docs/stream.md, HELLO to START).
 */
#include "migrate/session/source/source_int.h"

#include "base/clock.h"
#include "base/counted.h"
#include "migrate/wire/hello.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

#define CONNECT_MS 5000
#define SETUP_MS 10000u /* the other side builds a machine and compares it */

/*
 * One for each core that we may use; sysconf(3) would open a file to find out how many there are.
 * #syscalls:engine sched_getaffinity
 */
static uint32_t pick_channels(uint32_t asked)
{
	cpu_set_t set;
	int cores;

	if (asked)
		return asked < WIRE_CHANNELS_MAX ? asked : WIRE_CHANNELS_MAX;
	/* More than fit into the set: more than enough. */
	cores = sched_getaffinity(0, sizeof(set), &set) ? (int)MIGRATE_CHANNELS_AUTO_MAX : CPU_COUNT(&set);
	return cores < (int)MIGRATE_CHANNELS_AUTO_MAX ? (uint32_t)cores : MIGRATE_CHANNELS_AUTO_MAX;
}

static int open_channel(struct source *src, struct channel *ch, enum wire_role role,
			uint32_t index, struct err *e)
{
	struct session *s = &src->s;
	struct wire_hello h = {
		.version = WIRE_VERSION,
		.role = (uint16_t)role,
		.channel = (uint16_t)index,
		.n_channels = pick_channels(src->p.channels),
	};
	struct stream *stream;
	char name[32];
	int rc;

	rc = src->p.link.open(src->p.link.arg, CONNECT_MS, &stream, e);
	if (rc)
		return rc;
	channel_init(ch, stream, CONTROL_TO_SRC);
	snprintf(name, sizeof(name), role == ROLE_CONTROL ? "control.src" : "data%u.src", index);
	session_capture(s, ch, name);
	memcpy(h.id, s->id, sizeof(h.id));
	return hello_send(ch, &h, CONNECT_MS, e);
}

static int send_caps(struct source *src, struct err *e)
{
	uint8_t buf[WIRE_SMALL_MAX];
	struct writer w = writer_make(buf, sizeof(buf));
	struct wire_caps c = {
		.offered = page_transport_features() | (src->p.compress == COMPRESS_OFF ? 0 : WIRE_FEATURE_LZ4),
		.page_size = GUEST_PAGE,
		.arbiter = src->p.arbiter.ops->wire,
		.incarnation = src->p.incarnation,
		.dead_ms = src->s.dead_ms,
		.flags = src->p.dry_run ? WIRE_CAPS_DRY_RUN : 0,
	};

	wire_put_caps(&w, &c);
	return session_send(&src->s, WIRE_CAPS, buf, (uint32_t)writer_len(&w), e);
}

static int send_description(struct source *src, struct err *e)
{
	uint8_t map[COUNTED_HEAD + WIRE_MEM_MAP_ENTRY * GUEST_REGIONS_MAX];
	struct writer w = writer_make(map, sizeof(map));
	char *json;
	int rc;

	rc = ops(src)->describe(self(src), &json, e);
	if (rc)
		return rc;
	if (strlen(json) > wire_rule(WIRE_DESCRIBE)->max)
		rc = err_set(e, -E2BIG, "the machine's description has %zu bytes, a record at most %u", strlen(json),
			     wire_rule(WIRE_DESCRIBE)->max);
	else
		rc = session_send(&src->s, WIRE_DESCRIBE, json, (uint32_t)strlen(json), e);
	free(json);
	if (rc)
		return rc;
	wire_put_mem_map(&w, src->s.regions, src->s.n_regions);
	return session_send(&src->s, WIRE_MEM_MAP, map, (uint32_t)writer_len(&w), e);
}

static int recv_caps(struct source *src, struct err *e)
{
	struct session_record *rec;
	struct wire_caps c;
	struct reader r;
	int rc;

	rc = session_expect(&src->s, WIRE_CAPS, SETUP_MS, &rec, e);
	if (rc)
		return rc;
	r = reader_make(rec->payload, rec->len);
	rc = wire_get_caps(&r, &c, e);
	free(rec);
	if (rc)
		return rc;
	if (c.incarnation != src->p.incarnation || c.arbiter != src->p.arbiter.ops->wire)
		return err_set(e, -EPROTO, "destination answered for incarnation %llu, arbiter %u",
			       (unsigned long long)c.incarnation, c.arbiter);
	src->pool.out.may_pack = c.offered & WIRE_FEATURE_LZ4;
	src->pool.transport = page_transport_pick(c.offered);
	return 0;
}

static int open_control(struct source *src, struct err *e)
{
	struct wire_hello answer;
	struct session *s = &src->s;
	int rc;

	if (getrandom(s->id, sizeof(s->id), 0) != sizeof(s->id))
		return err_errno(e, "random numbers");
	rc = open_channel(src, &s->control, ROLE_CONTROL, 0, e);
	if (!rc)
		rc = hello_recv(&s->control, &answer, CONNECT_MS, e);
	if (rc)
		return rc;
	if (answer.role != ROLE_ANSWER || memcmp(answer.id, s->id, sizeof(s->id)))
		return err_set(e, -EPROTO, "HELLO: an answer to somebody else");
	return session_start(s, e);
}

int source_setup(struct source *src, struct err *e)
{
	struct session *s = &src->s;
	struct session_record *rec;
	uint32_t i, n = pick_channels(src->p.channels);
	int rc;

	rc = sender_pool_init(&src->pool, s, e);
	src->pool_ok = true;
	if (!rc)
		rc = open_control(src, e);
	if (!rc)
		rc = send_caps(src, e);
	if (!rc)
		rc = send_description(src, e);
	if (!rc)
		rc = recv_caps(src, e);
	if (!rc && src->p.dry_run)
		return -ECANCELED;
	for (i = 0; !rc && i < n; i++) {
		rc = open_channel(src, &s->data[i], ROLE_DATA, i, e);
		if (s->data[i].stream)
			s->n_data = i + 1;
	}
	if (!rc)
		rc = sender_pool_start(&src->pool, e);
	if (!rc)
		rc = session_expect(&src->s, WIRE_START, SETUP_MS, &rec, e);
	if (rc)
		return rc;
	free(rec);
	pthread_mutex_lock(&s->lock);
	s->stats.channels = n;
	pthread_mutex_unlock(&s->lock);
	return 0;
}
