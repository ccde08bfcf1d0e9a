/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzz the virtqueue walker: the input is guest memory, rings and all.
 *
 *   byte 0    bits 0-3 log2 of the queue size, bit 4 event index, bit 5 indirect
 *   byte 1-2  last_avail
 *   rest      guest memory from address 0: descriptor table, available ring, used ring
 *             one behind the other, then whatever is left
 *
 * Whatever it says, every buffer of every chain must lie in RAM and the
 * lengths must add up.
 */
#include "base/log.h"
#include "hv/virtio/virtqueue.h"

#include <stdlib.h>
#include <string.h>

#define MEMORY (2u << 20)
#define POPS_MAX 64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct gmem *mem;

static void check(bool ok)
{
	if (!ok)
		abort();
}

static void check_elem(const struct virtq_elem *el)
{
	const uint8_t *ram = mem->regions[0].host;
	uint64_t out = 0, in = 0;
	unsigned int i;

	check(el->n_out + el->n_in <= VIRTQ_SEGS_MAX);
	for (i = 0; i < (unsigned int)el->n_out + el->n_in; i++) {
		const uint8_t *p = el->iov[i].iov_base;

		check(p >= ram && el->iov[i].iov_len <= MEMORY &&
		      (size_t)(p - ram) <= MEMORY - el->iov[i].iov_len);
		check((uint64_t)(p - ram) == el->gpa[i]);
		*(i < el->n_out ? &out : &in) += el->iov[i].iov_len;
	}
	check(out == el->out_len && in == el->in_len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct virtq_elem el;
	struct virtq q = { .size_max = VIRTQ_SIZE_MAX };
	uint8_t buf[512];
	unsigned int n;
	struct err e;
	int ret;

	if (size < 3 || size - 3 > MEMORY)
		return 0;
	if (!mem && gmem_create(&mem, MEMORY, BACKING_MEMFD, &e))
		abort();
	mem->tracking = true;
	virtq_reset(&q);
	q.size = (uint16_t)(1u << (data[0] & 15));
	q.event_idx = data[0] & 16;
	q.indirect = data[0] & 32;
	q.last_avail = (uint16_t)(data[1] | data[2] << 8);
	q.desc = 0;
	q.avail = 16ull * q.size;
	q.used = (q.avail + 6 + 2ull * q.size + 3) & ~3ull;
	memset(mem->regions[0].host, 0, 65536);
	memcpy(mem->regions[0].host, data + 3, size - 3);
	if (virtq_map(&q, mem, &e))
		return 0;
	for (n = 0; n < POPS_MAX; n++) {
		ret = virtq_pop(&q, mem, &el, &e);
		check(ret <= 1);
		if (ret < 1)
			break;
		check_elem(&el);
		check(virtq_read(&el, data[0], buf, sizeof(buf)) <= sizeof(buf));
		check(virtq_write(&el, mem, data[1], buf, sizeof(buf)) <= el.in_len);
		virtq_push(&q, mem, el.head, el.in_len);
		virtq_should_interrupt(&q);
		virtq_kicks(&q, mem, n & 1);
		virtq_empty(&q);
	}
	return 0;
}
