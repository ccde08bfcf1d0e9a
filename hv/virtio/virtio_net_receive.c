/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio_net_receive - packets from the tap straight into the guest's buffers.
 *
 * How large a packet is shows only when it has been read.  So buffers are taken from the ring ahead, as many as packets
 * needed lately, and the tap is read into all of them and a buffer of our own at once:
 *
 *     ring ──pop──> | buffer | buffer | buffer | ...  | `packet` of ours |      one list for readv()
 *                     ^^^^^^^^^^^^^^^^  a packet that fits is not copied; given back with push, the list moves on
 *                     ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^  of a larger one the rest is copied, to buffers taken now
 *
 * What the guest has no buffers for yet waits in `packet`, the guest is asked for a kick, and the tap is not read
 * meanwhile.  It is not migrated: a network may lose packets.
 *
 * Buffers taken ahead go back into the ring when the card comes to rest, so nobody who looks at it sees them missing.
 *
 * A turn ends when the tap is empty, which costs a read to find out.  When one packet comes at a time, that read would be
 * every second one: so a turn reads as many as the last ones found, and more only after several that were full.
 */
#include "hv/virtio/virtio_net_int.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/uio.h>
#include <unistd.h>

#define FULL_TURNS 16 /* after so many full turns the next one may read twice as much */
#define GOAL_DECAY 8  /* a packet that needed less lowers what is taken ahead by so much of the difference */

static struct virtq *ring(const struct net_pair *p)
{
	return &p->card->v.queues[p->rx];
}

static bool works(const struct net_pair *p)
{
	return virtio_dev_works(&p->card->v, p->rx);
}

void net_listen(struct net_pair *p)
{
	const struct virtio_net *d = p->card;
	bool want = d->running && p->index < d->pairs && !p->packet_len && works(p);

	if (p->tap < 0 || want == p->listening)
		return;
	p->listening = want;
	virtio_dev_watch(&p->card->v, p->index, p->tap, want ? EPOLLIN : 0);
}

/* --- buffers taken ahead --- */

void net_forget(struct net_pair *p)
{
	p->n = p->n_iov = 0;
	p->room = 0;
	p->packet_len = 0;
}

void net_put_back(struct net_pair *p)
{
	while (p->n) {
		virtq_unpop(ring(p));
		p->n--;
	}
	p->n_iov = 0;
	p->room = 0;
}

static void append(struct net_pair *p, const struct virtq_elem *el)
{
	unsigned int at;

	/* With room for one more, of ours. */
	if (p->iov_first + p->n_iov + el->n_in >= 2 * NET_IOV_MAX) {
		memmove(p->iov, p->iov + p->iov_first, p->n_iov * sizeof(p->iov[0]));
		memmove(p->gpa, p->gpa + p->iov_first, p->n_iov * sizeof(p->gpa[0]));
		p->iov_first = 0;
	}
	at = p->iov_first + p->n_iov;
	memcpy(p->iov + at, el->iov + el->n_out, el->n_in * sizeof(p->iov[0]));
	memcpy(p->gpa + at, el->gpa + el->n_out, el->n_in * sizeof(p->gpa[0]));
	p->ahead[(p->first + p->n) % NET_QUEUE_SIZE] = (struct net_buffer){ el->head, el->n_in, el->in_len };
	p->n_iov += el->n_in;
	p->room += el->in_len;
	p->n++;
}

/*
 * Take buffers until there is room for @need bytes; false when there is not.
 * Never more than the ring has room for: a guest that adds while we take could keep us at it.
 */
static bool take(struct net_pair *p, size_t need)
{
	struct virtio_dev *v = &p->card->v;
	unsigned int max = v->features & NET_F_MRG_RXBUF ? ring(p)->size : 1;
	struct virtq_elem *el = &p->taken;

	assert(max && max <= NET_QUEUE_SIZE);
	while (p->room < need && p->n < max && p->n_iov < NET_IOV_MAX - VIRTQ_SEGS_MAX) {
		if (!virtio_dev_pop(v, p->rx, el))
			break;
		if (el->in_len < TAP_HEADER) { /* VIRTIO 1.2 5.1.6.3.1 */
			virtio_dev_broken(v, p->rx, "a receive buffer without room for the header");
			break;
		}
		append(p, el);
	}
	return p->room >= need;
}

/* As many as the ring holds, or one where one must do: more will not come for this packet. */
static bool took_all(const struct net_pair *p)
{
	unsigned int max = p->card->v.features & NET_F_MRG_RXBUF ? ring(p)->size : 1;

	return p->n == max || p->n_iov >= NET_IOV_MAX - VIRTQ_SEGS_MAX;
}

/* --- one packet --- */

/* @len bytes are in the list's pieces from @i on, or get there from @from. */
static void fill(struct net_pair *p, unsigned int i, const uint8_t *from, size_t len)
{
	for (size_t part; len; len -= part, i++) {
		part = len < p->iov[i].iov_len ? len : p->iov[i].iov_len;
		if (from) {
			memcpy(p->iov[i].iov_base, from, part);
			from += part;
		}
		gmem_dirty(p->card->v.env->mem, p->gpa[i], part);
	}
}

/* How many buffers a packet is in, in its header: the list's first @pieces hold that. */
static void fill_count(struct net_pair *p, unsigned int pieces, uint16_t count)
{
	const uint8_t bytes[2] = { (uint8_t)count, (uint8_t)(count >> 8) };
	size_t at = HEADER_NUM_BUFFERS;
	unsigned int i, k;

	for (i = p->iov_first, k = 0; k < sizeof(bytes) && i < p->iov_first + pieces; i++) {
		for (; k < sizeof(bytes) && at < p->iov[i].iov_len; at++, k++) {
			((uint8_t *)p->iov[i].iov_base)[at] = bytes[k];
			gmem_dirty(p->card->v.env->mem, p->gpa[i] + at, 1);
		}
		at -= at < p->iov[i].iov_len ? at : p->iov[i].iov_len;
	}
}

/*
 * The oldest buffers get a packet of @len bytes and are given back.
 * @direct: bytes of it that are in them already, a whole number of buffers unless it is all; the rest is in `packet`
 */
static void give(struct net_pair *p, size_t direct, size_t len)
{
	struct virtq_used used[NET_QUEUE_SIZE];
	unsigned int n = 0, pieces = 0;
	size_t at = 0, part, room = 0;

	assert(len > TAP_HEADER && len <= p->room);
	while (at < len) {
		const struct net_buffer *b = &p->ahead[(p->first + n) % NET_QUEUE_SIZE];

		part = len - at < b->len ? len - at : b->len;
		fill(p, p->iov_first + pieces, at < direct ? NULL : p->packet + at, part);
		used[n++] = (struct virtq_used){ b->head, (uint32_t)part };
		pieces += b->pieces;
		room += b->len;
		at += part;
	}
	fill_count(p, p->ahead[p->first].pieces, (uint16_t)n);
	p->iov_first += pieces;
	p->n_iov -= pieces;
	p->room -= room;
	p->first = (p->first + n) % NET_QUEUE_SIZE;
	p->n -= n;
	virtq_push_many(ring(p), p->card->v.env->mem, used, n);
	p->rx_packets++;
	p->rx_bytes += len - TAP_HEADER;
}

/* All that may be used for one packet, and it does not fit (5.1.6.3.1: the driver must make it so). */
static void drop(struct net_pair *p)
{
	uint16_t head = p->ahead[p->first].head;

	while (p->n > 1) {
		virtq_unpop(ring(p));
		p->n--;
	}
	virtq_push(ring(p), p->card->v.env->mem, head, 0);
	net_forget(p);
	p->rx_dropped++;
}

/* The packet that waits: true when it is gone, one way or the other. */
static bool deliver(struct net_pair *p)
{
	if (!take(p, p->packet_len)) {
		if (!works(p) || !took_all(p))
			return false;
		drop(p);
		return true;
	}
	give(p, 0, p->packet_len);
	p->packet_len = 0;
	return true;
}

/* A packet for which there are too few buffers: its beginning, which lies in these, goes to where the rest is. */
static void keep(struct net_pair *p, size_t direct, size_t len)
{
	size_t at = 0;
	unsigned int i;

	for (i = p->iov_first; at < direct; at += p->iov[i++].iov_len)
		memcpy(p->packet + at, p->iov[i].iov_base, p->iov[i].iov_len);
	assert(at == direct);
	p->packet_len = len;
}

/* False when the tap has nothing more.  #syscalls:device readv */
static bool fetch(struct net_pair *p)
{
	size_t direct;
	ssize_t n;

	assert(!p->packet_len); /* one at a time */
	take(p, p->goal);
	direct = p->room < NET_PACKET_MAX ? p->room : NET_PACKET_MAX;
	p->iov[p->iov_first + p->n_iov] = (struct iovec){ p->packet + direct, NET_PACKET_MAX - direct };
	do {
		n = readv(p->tap, p->iov + p->iov_first, (int)p->n_iov + 1);
	} while (n < 0 && errno == EINTR);
	if (n <= (ssize_t)TAP_HEADER) {
		p->rx_dropped += n >= 0;
		return n >= 0;
	}
	n = n < (ssize_t)NET_PACKET_MAX ? n : (ssize_t)NET_PACKET_MAX;
	p->goal = (size_t)n > p->goal ? (size_t)n : p->goal - (p->goal - (size_t)n) / GOAL_DECAY;
	if ((size_t)n <= direct)
		give(p, (size_t)n, (size_t)n);
	else if (take(p, (size_t)n))
		give(p, direct, (size_t)n);
	else
		keep(p, direct, (size_t)n);
	return true;
}

/* --- a turn --- */

/* How many packets the next turn may read: virtio_net_receive.c's beginning says why. */
static void learn(struct net_pair *p, unsigned int found)
{
	if (found < p->budget) {
		p->budget = found ? found : 1;
		p->full = 0;
	} else if (++p->full >= FULL_TURNS) {
		p->budget = p->budget < NET_BATCH / 2 ? 2 * p->budget : NET_BATCH;
		p->full = 0;
	}
}

void net_receive(struct net_pair *p)
{
	struct gmem *m = p->card->v.env->mem;
	struct virtq *q = ring(p);
	unsigned int n;

	/* The tap may have woken us just before a reset or a pause. */
	if (!works(p) || p->index >= p->card->pairs) {
		net_listen(p);
		return;
	}
	/* No kicks for buffers while there are some. */
	virtq_kicks(q, m, false);
	for (n = 0; n < p->budget && works(p); n++) {
		if (!p->packet_len && (p->tap < 0 || !fetch(p)))
			break;
		if (!p->packet_len || deliver(p))
			continue;
		/* Out of buffers: ask for a kick, and look once more in case it came just now. */
		if (!works(p))
			break;
		virtq_kicks(q, m, true);
		if (!deliver(p))
			break;
	}
	learn(p, n);
	net_listen(p);
	virtio_dev_interrupt(&p->card->v, p->rx);
}
