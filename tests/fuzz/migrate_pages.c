/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzz what the destination reads: every payload parser, and PAGES down into
 * guest memory, with a checksum that is always right (else nothing behind it
 * would be reached).
 */
#include "base/crc32c.h"
#include "migrate/session/destination/receiver.h"
#include "migrate/transport/stream_pages.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct memory_stream {
	struct stream s;
	const uint8_t *p, *end;
};

static ssize_t mem_readv(struct stream *s, const struct iovec *iov, int n, int timeout_ms,
			 struct err *e)
{
	struct memory_stream *m = (struct memory_stream *)s;
	size_t take = (size_t)(m->end - m->p);

	if (take > iov[0].iov_len)
		take = iov[0].iov_len;
	memcpy(iov[0].iov_base, m->p, take);
	m->p += take;
	return (ssize_t)take;
}

static int mem_writev(struct stream *s, struct iovec *iov, int n, int timeout_ms, struct err *e)
{
	return 0;
}

static void mem_nothing(struct stream *s)
{
}

static uint64_t mem_wait(struct stream *s)
{
	return 0;
}

static void mem_dead(struct stream *s, unsigned int ms)
{
}

static const struct stream_ops mem_ops = {
	.writev = mem_writev,
	.readv = mem_readv,
	.shutdown = mem_nothing,
	.close = mem_nothing,
	.send_wait_ns = mem_wait,
	.set_dead_ms = mem_dead,
};

/* Two regions with forbidden pages behind each: a write past the end dies at once. */
static void make_session(struct session *s)
{
	static const uint64_t sizes[] = { 3 << 20, 64 * 4096 };
	static struct migrate_params params;
	size_t i;

	memset(s, 0, sizeof(*s));
	s->p = &params;
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->cond, NULL);
	s->dead_ms = 1000;
	for (i = 0; i < 2; i++) {
		uint8_t *p = mmap(NULL, sizes[i] + 2 * 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		if (p == MAP_FAILED || mprotect(p + 4096, sizes[i], PROT_READ | PROT_WRITE))
			abort();
		s->regions[i] = (struct guest_region){
			.id = (uint32_t)i,
			.gpa = i << 30,
			.size = sizes[i],
			.host = p + 4096,
			.page_size = 4096,
			.fd = -1,
		};
	}
	s->n_regions = 2;
	s->n_data = 1;
}

static void parse_small(const uint8_t *data, size_t size, const struct session *s)
{
	struct wire_hello hello;
	struct wire_caps caps;
	struct wire_progress progress;
	struct wire_final final;
	struct wire_header h;
	struct reader r;
	struct err e;
	char text[64];

	r = reader_make(data, size);
	wire_get_hello(&r, &hello, &e);
	r = reader_make(data, size);
	wire_get_caps(&r, &caps, &e);
	r = reader_make(data, size);
	wire_match_mem_map(&r, s->regions, s->n_regions, &e);
	r = reader_make(data, size);
	wire_get_progress(&r, &progress);
	r = reader_make(data, size);
	wire_get_final(&r, &final);
	r = reader_make(data, size);
	wire_get_abort(&r, text, sizeof(text));
	if (size >= WIRE_HEADER_SIZE && !wire_get_header(data, &h, &e))
		wire_check(&h, CONTROL_TO_DST, IN_PRECOPY, &e);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct session s;
	static struct receiver_pool pool;
	static struct page_receiver *receiver;
	static struct channel ch;
	struct memory_stream m = { .s.ops = &mem_ops, .p = data, .end = data + size };
	uint32_t round;
	struct err e;

	if (!receiver) {
		make_session(&s);
		if (receiver_pool_init(&pool, &s, &e))
			abort();
		pool.sink.dead_ms = 1000;
		receiver = stream_receiver_create(&pool.sink, &ch, 0);
	}
	parse_small(data, size, &s);
	if (size < PAGES_HEAD_SIZE + 4)
		return 0;
	round = (uint32_t)data[4] | (uint32_t)data[5] << 8 | (uint32_t)data[6] << 16 | (uint32_t)data[7] << 24;
	ch = (struct channel){ .stream = &m.s, .rx_way = DATA_TO_DST };
	ch.rx_left = (uint32_t)size;
	ch.rx_want = crc32c(0, data, size);
	stream_receiver_take_pages(receiver, round, (uint32_t)size, &e);
	return 0;
}
