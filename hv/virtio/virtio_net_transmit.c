/* SPDX-License-Identifier: Apache-2.0 */
/* virtio_net_transmit - the guest's chains to the tap as they stand: header first, no copy. */
#include "hv/virtio/virtio_net_int.h"

#include <errno.h>
#include <sys/uio.h>

/* #syscalls:device writev */
static void send_one(struct net_pair *p, const struct virtq_elem *el)
{
	ssize_t n;

	if (el->out_len <= TAP_HEADER || el->out_len > NET_PACKET_MAX || p->tap < 0) {
		p->tx_dropped++;
		return;
	}
	do {
		n = writev(p->tap, el->iov, el->n_out);
	} while (n < 0 && errno == EINTR);
	/* EAGAIN: the bridge does not keep up.  EINVAL: a header that makes no sense.  Lost, both. */
	if (n < 0) {
		p->tx_dropped++;
		return;
	}
	p->tx_packets++;
	p->tx_bytes += el->out_len - TAP_HEADER;
}

void net_transmit(struct net_pair *p)
{
	struct virtio_dev *v = &p->card->v;
	struct virtq *q = &v->queues[p->tx];
	struct virtq_used used[NET_BATCH];
	struct gmem *m = v->env->mem;
	unsigned int n = 0, max = q->size < NET_BATCH ? q->size : NET_BATCH;

	virtq_kicks(q, m, false);
	while (n < max && virtio_dev_works(v, p->tx) && virtio_dev_pop(v, p->tx, &p->sent)) {
		send_one(p, &p->sent);
		used[n++] = (struct virtq_used){ p->sent.head, 0 };
	}
	if (n)
		virtq_push_many(q, m, used, n);
	virtq_kicks(q, m, true);
	if (virtio_dev_works(v, p->tx) && !virtq_empty(q))
		virtio_dev_again(v, p->tx);
	virtio_dev_interrupt(v, p->tx);
}
