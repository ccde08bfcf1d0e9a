/* SPDX-License-Identifier: Apache-2.0 */
/*
 * net.c - load on a virtio network card (VIRTIO 1.2, 5.1), for measuring what is behind it (tests/perf/net).
 *
 *     net=1  sends frames of net_size bytes as fast as they are taken
 *     net=2  takes frames as fast as they come
 *     net=3  sends each frame that comes back to where it came from, one at a time
 *
 * Polled, without interrupts, with the event index (2.7.7): kicks are what the device asks for, as from Linux.
 * Frames larger than an Ethernet frame are TCP over IPv4 that the host is to cut (5.1.6.2).
 */
#include "virtio.h"

#define QUEUE 256
#define BUFFER 2048u
#define BIG 65536u
#define HEADER 12u /* struct virtio_net_hdr */
#define DEVICE_NET 1
#define F_CSUM (1ull << 0)
#define F_GUEST_CSUM (1ull << 1)
#define F_MTU (1ull << 3)
#define F_GUEST_TSO4 (1ull << 7)
#define F_HOST_TSO4 (1ull << 11)
#define F_MRG_RXBUF (1ull << 15)
#define F_EVENT_IDX (1ull << 29)
#define ETHERNET_MAX 1514u
#define TCP_HEADERS 54u /* Ethernet 14, IPv4 20, TCP 20 */

enum {
	NET_NONE,
	NET_SEND,
	NET_TAKE,
	NET_ECHO
};

struct ring {
	struct vdesc desc[QUEUE];
	struct {
		uint16_t flags, idx, ring[QUEUE], used_event;
	} avail;
	struct {
		uint16_t flags, idx;
		struct {
			uint32_t id, len;
		} ring[QUEUE];
		uint16_t avail_event;
	} used __attribute__((aligned(4096)));
	uint64_t doorbell;
	uint16_t added, kicked, seen;
} __attribute__((aligned(4096)));

static struct ring rx, tx;
static uint8_t rx_buffers[QUEUE][BUFFER], tx_buffer[HEADER + BIG];
static bool open;

static void add(struct ring *r, uint16_t id, void *buf, uint32_t len, uint16_t flags)
{
	r->desc[id] = (struct vdesc){ (uintptr_t)buf, len, flags, 0 };
	r->avail.ring[r->added++ % QUEUE] = id;
}

/* Tell the device if it waits for one of those that were added since (2.7.10.1). */
static void kick(struct ring *r, unsigned int queue)
{
	uint16_t event;

	if (r->added == r->kicked)
		return;
	__atomic_store_n(&r->avail.idx, r->added, __ATOMIC_SEQ_CST);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	event = __atomic_load_n(&r->used.avail_event, __ATOMIC_RELAXED);
	if ((uint16_t)(r->added - event - 1) < (uint16_t)(r->added - r->kicked))
		mmio_w16(r->doorbell, queue);
	r->kicked = r->added;
}

/* One that came back; no interrupt is wanted for a long way to go. */
static bool take(struct ring *r, uint16_t *id, uint32_t *len)
{
	if (__atomic_load_n(&r->used.idx, __ATOMIC_ACQUIRE) == r->seen)
		return false;
	*id = r->used.ring[r->seen % QUEUE].id;
	*len = r->used.ring[r->seen % QUEUE].len;
	r->seen++;
	r->avail.used_event = r->seen + 0x7fff;
	return true;
}

static void put16(uint8_t *p, uint16_t v)
{
	p[0] = v >> 8;
	p[1] = v;
}

/* To nobody: what the host's end of the wire drops, after it was counted. */
static void make_frame(uint64_t size)
{
	uint8_t *f = tx_buffer + HEADER;

	for (int i = 0; i < 6; i++)
		f[i] = 0xff;
	f[6] = 0x02;
	put16(f + 12, 0x88b5); /* local experimental */
	if (size <= ETHERNET_MAX)
		return;
	/* VIRTIO 1.2, 5.1.6: needs checksum, GSO TCPv4, lengths of headers and segments. */
	tx_buffer[0] = 1;
	tx_buffer[1] = 1;
	tx_buffer[2] = TCP_HEADERS;
	tx_buffer[4] = (ETHERNET_MAX - TCP_HEADERS) & 0xff;
	tx_buffer[5] = (ETHERNET_MAX - TCP_HEADERS) >> 8;
	tx_buffer[6] = 34;
	tx_buffer[8] = 16;
	put16(f + 12, 0x0800);
	f[14] = 0x45;
	put16(f + 16, size - 14);
	f[22] = 64;
	f[23] = 6;
	f[26] = f[30] = 10;
	f[29] = 1;
	f[33] = 2;
	f[46] = 0x50;
	f[47] = 0x10;
}

void net_init(void)
{
	struct vdev v;

	if (!opt.net || !vdev_find(&v, DEVICE_NET) ||
	    !vdev_agree(&v, F_CSUM | F_GUEST_CSUM | F_MTU | F_GUEST_TSO4 | F_HOST_TSO4 | F_MRG_RXBUF | F_EVENT_IDX))
		return;
	rx.avail.used_event = tx.avail.used_event = 0x7fff;
	if (vdev_queue(&v, 0, QUEUE, rx.desc, &rx.avail, &rx.used, &rx.doorbell) != QUEUE ||
	    vdev_queue(&v, 1, QUEUE, tx.desc, &tx.avail, &tx.used, &tx.doorbell) != QUEUE)
		return;
	vdev_go(&v);
	make_frame(opt.net_size);
	for (uint16_t i = 0; i < QUEUE; i++)
		add(&rx, i, rx_buffers[i], BUFFER, VDESC_WRITE);
	kick(&rx, 0);
	open = true;
	put_str("D: net");
	put_kv("mode", opt.net);
	put_kv("size", opt.net_size);
	put_str("\n");
}

static void work_send(void)
{
	uint16_t id;
	uint32_t len;

	while (take(&tx, &id, &len))
		;
	while ((uint16_t)(tx.added - tx.seen) < QUEUE)
		add(&tx, tx.added % QUEUE, tx_buffer, HEADER + opt.net_size, 0);
	kick(&tx, 1);
}

static void work_take(void)
{
	uint16_t id;
	uint32_t len;

	while (take(&rx, &id, &len))
		add(&rx, id, rx_buffers[id], BUFFER, VDESC_WRITE);
	kick(&rx, 0);
}

static void work_echo(void)
{
	static const uint8_t none[HEADER];
	uint16_t id;
	uint32_t len;

	while (take(&tx, &id, &len))
		add(&rx, id, rx_buffers[id], BUFFER, VDESC_WRITE);
	while (take(&rx, &id, &len)) {
		for (unsigned int i = 0; i < HEADER; i++)
			rx_buffers[id][i] = none[i];
		add(&tx, id, rx_buffers[id], len, 0);
	}
	kick(&tx, 1);
	kick(&rx, 0);
}

bool net_work(uint64_t us)
{
	uint64_t end = rdtsc() + tsc_of_us(us);

	if (!open)
		return false;
	while (rdtsc() < end) {
		if (opt.net == NET_SEND)
			work_send();
		else if (opt.net == NET_TAKE)
			work_take();
		else
			work_echo();
		cpu_relax();
	}
	return true;
}
