/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzz the destination as a whole: an honest HELLO, then records that the input
 * chooses, in sequence and with right checksums, on control and data
 * connections.  Whatever comes, it must end by itself, and it may run the domain
 * only after a complete and granted migration, which no input of this size is
 * (region 0 has more pages than it could ever speak of without FINAL adding up).
 *
 * Input: {u8 connection, u8 type, u16 length, payload}...
 */
#include "base/crc32c.h"
#include "migrate/arbiter/none.h"
#include "migrate/migrate.h"
#include "migrate/wire/hello.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MEMORY (4u << 20)
#define N_STREAMS 2

struct bed {
	int far[N_STREAMS]; /* our end: control, data 0 */
	struct stream *near[N_STREAMS];
	unsigned int accepted;
	uint8_t *memory;
	bool ran;
};

/* --- a guest that accepts everything --- */

static int g_regions(void *self, struct guest_region *out, size_t max, size_t *n, struct err *e)
{
	struct bed *b = self;

	*n = 1;
	out[0] = (struct guest_region){ .size = MEMORY, .host = b->memory, .page_size = 4096, .fd = -1 };
	return 0;
}

static int g_describe(void *self, char **json, struct err *e)
{
	return -ENOSYS;
}

static int g_start(void *self, struct err *e)
{
	return 0;
}

static void g_void(void *self)
{
}

static int g_fetch(void *self, uint32_t id, uint64_t *bitmap, struct err *e)
{
	return 0;
}

static int g_clear(void *self, uint32_t id, uint64_t first, uint64_t count, const uint64_t *bitmap,
		   struct err *e)
{
	return 0;
}

static void g_throttle(void *self, unsigned int percent)
{
}

static int g_resume(void *self, struct err *e)
{
	((struct bed *)self)->ran = true;
	return 0;
}

static int g_save(void *self, uint8_t **buf, size_t *len, struct err *e)
{
	return -ENOSYS;
}

static int g_bytes(void *self, const uint8_t *buf, size_t len, struct err *e)
{
	return 0;
}

static int g_match(void *self, const char *theirs, size_t len, struct err *e)
{
	return 0;
}

static int g_commit(void *self, uint64_t incarnation, struct err *e)
{
	return 0;
}

static const struct guest_ops guest = {
	.regions = g_regions,
	.describe = g_describe,
	.dirty_start = g_start,
	.dirty_stop = g_void,
	.dirty_fetch = g_fetch,
	.dirty_clear = g_clear,
	.throttle = g_throttle,
	.pause = g_start,
	.resume = g_resume,
	.save = g_save,
	.release = g_start,
	.gone = g_void,
	.match = g_match,
	.load = g_bytes,
	.preflight = g_start,
	.prepare = g_start,
	.commit = g_commit,
	.let_go = g_start,
};

/* --- the source's side --- */

static int accept_next(void *arg, int timeout_ms, struct stream **out, struct err *e)
{
	struct bed *b = arg;

	if (b->accepted == N_STREAMS)
		return err_set(e, -ECONNABORTED, "nobody else");
	*out = b->near[b->accepted++];
	return 0;
}

static void put_record(int fd, uint32_t *seq, uint16_t type, const uint8_t *payload, uint32_t len)
{
	struct wire_header h = { .type = type, .length = len, .sequence = (*seq)++ };
	uint8_t header[WIRE_HEADER_SIZE];

	wire_put_header(header, &h);
	h.crc = crc32c(crc32c(0, header, 12), payload, len);
	wire_put_header(header, &h);
	/* What does not fit into the socket is lost: then the stream ends there. */
	if (send(fd, header, sizeof(header), MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ||
	    (len && send(fd, payload, len, MSG_DONTWAIT | MSG_NOSIGNAL) < 0))
		return;
}

static void put_hello(int fd, uint32_t *seq, enum wire_role role)
{
	struct wire_hello h = { .version = WIRE_VERSION, .role = (uint16_t)role, .n_channels = 1 };
	uint8_t buf[64];
	struct writer w = writer_make(buf, sizeof(buf));

	wire_put_hello(&w, &h);
	put_record(fd, seq, WIRE_HELLO, buf, (uint32_t)writer_len(&w));
}

static void put_setup(int fd, uint32_t *seq)
{
	struct wire_caps c = { .offered = 1, .page_size = GUEST_PAGE, .incarnation = 2, .dead_ms = 200 };
	struct guest_region r = { .size = MEMORY };
	uint8_t buf[64];
	struct writer w = writer_make(buf, sizeof(buf));

	wire_put_caps(&w, &c);
	put_record(fd, seq, WIRE_CAPS, buf, (uint32_t)writer_len(&w));
	put_record(fd, seq, WIRE_DESCRIBE, (const uint8_t *)"{}", 2);
	w = writer_make(buf, sizeof(buf));
	wire_put_mem_map(&w, &r, 1);
	put_record(fd, seq, WIRE_MEM_MAP, buf, (uint32_t)writer_len(&w));
}

static void play(struct bed *b, const uint8_t *data, size_t size)
{
	struct reader r = reader_make(data, size);
	uint32_t seq[N_STREAMS] = { 0 };
	const uint8_t *payload;
	unsigned int which, type, len;

	put_hello(b->far[0], &seq[0], ROLE_CONTROL);
	put_hello(b->far[1], &seq[1], ROLE_DATA);
	if (size && !(data[0] & 0x80))
		put_setup(b->far[0], &seq[0]);
	while (reader_left(&r) >= 4) {
		which = reader_u8(&r) & 1;
		type = reader_u8(&r);
		len = reader_u16(&r) % 2048;
		if (len > reader_left(&r))
			len = (unsigned int)reader_left(&r);
		payload = reader_take(&r, len);
		put_record(b->far[which], &seq[which], (uint16_t)(type % 18 | (type & 0x80) << 8), payload,
			   len);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arbiter_none none;
	struct bed b = { 0 };
	struct migrate_params p = {
		.guest = { &guest, &b },
		.link = { accept_next, &b },
		.arbiter = arbiter_none_make(&none),
		.dead_ms = 200,
		.timeout_ms = 1000,
	};
	struct destination *d;
	struct err e;
	int fds[2], i, rc;

	b.memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	for (i = 0; i < N_STREAMS; i++) {
		if (b.memory == MAP_FAILED || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) ||
		    stream_from_fd(fds[0], "fuzz", &b.near[i], &e))
			abort();
		b.far[i] = fds[1];
	}
	play(&b, data, size);
	for (i = 0; i < N_STREAMS; i++)
		shutdown(b.far[i], SHUT_WR);
	if (destination_create(&d, &p, &e))
		abort();
	rc = destination_run(d, &e);
	if (!rc || b.ran)
		abort();
	while (b.accepted < N_STREAMS)
		stream_close(b.near[b.accepted++]);
	destination_destroy(d);
	for (i = 0; i < N_STREAMS; i++)
		close(b.far[i]);
	munmap(b.memory, MEMORY);
	return 0;
}
