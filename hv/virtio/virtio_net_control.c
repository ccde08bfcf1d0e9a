/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio_net_control - the control queue (VIRTIO 1.2 5.1.6.5): receive modes (we pass everything the bridge sends),
 * how many pairs of queues the driver uses, and that it has announced itself.
 */
#include "hv/virtio/virtio_net_int.h"

#include "base/log_limit.h"

#include <errno.h>

/* Only those that are new, or are no more: a queue that is attached twice is refused by the kernel. */
int net_use_pairs(struct virtio_net *d, uint16_t pairs, struct err *e)
{
	unsigned int i, from = pairs < d->pairs ? pairs : d->pairs, to = pairs < d->pairs ? d->pairs : pairs;
	int ret = 0;

	for (i = from; i < to && !ret; i++)
		if (d->port && d->pair[i]->tap >= 0)
			ret = tap_attach_queue(d->pair[i]->tap, pairs > d->pairs, e);
	if (ret)
		return ret;
	d->pairs = pairs;
	for (i = 0; i < d->n_pairs; i++) {
		if (i >= pairs)
			d->pair[i]->packet_len = 0;
		net_listen(d->pair[i]);
	}
	return 0;
}

static uint8_t set_pairs(struct virtio_net *d, const struct virtq_elem *el)
{
	struct err e;
	uint8_t n[2];
	uint16_t pairs;
	int ret;

	if (!(d->v.features & NET_F_MQ) || el->out_len != 4 || virtq_read(el, 2, n, sizeof(n)) != sizeof(n))
		return CTRL_ERR;
	pairs = (uint16_t)(n[0] | n[1] << 8);
	if (pairs < 1 || pairs > d->n_pairs)
		return CTRL_ERR;
	if (pairs == d->pairs)
		return CTRL_OK;
	virtio_workers_lock(&d->v);
	ret = net_use_pairs(d, pairs, &e);
	virtio_workers_unlock(&d->v);
	if (ret)
		log_of_guest(LOG_LEVEL_WARN, "%s: %s", d->v.name, e.text);
	return ret ? CTRL_ERR : CTRL_OK;
}

static uint8_t obey(struct virtio_net *d, const struct virtq_elem *el)
{
	uint8_t c[2]; /* class, command */

	if (virtq_read(el, 0, c, sizeof(c)) != sizeof(c))
		return CTRL_ERR;
	switch (c[0]) {
	case CTRL_RX_MODE:
		return c[1] < CTRL_RX_MODES && el->out_len == 3 ? CTRL_OK : CTRL_ERR;
	case CTRL_MAC:
		return c[1] == CTRL_MAC_TABLE_SET ? CTRL_OK : CTRL_ERR;
	case CTRL_ANNOUNCE:
		d->link &= (uint16_t)~NET_S_ANNOUNCE;
		net_publish(d);
		return CTRL_OK;
	case CTRL_MQ:
		return c[1] == CTRL_MQ_PAIRS_SET ? set_pairs(d, el) : CTRL_ERR;
	}
	return CTRL_ERR;
}

void net_control(struct virtio_net *d)
{
	unsigned int ctrl = net_ctrl_queue(d);
	struct virtq *q = &d->v.queues[ctrl];
	struct gmem *m = d->v.env->mem;
	unsigned int n = NET_BATCH;
	uint8_t answer;

	while (n && virtio_dev_works(&d->v, ctrl) && virtio_dev_pop(&d->v, ctrl, &d->command)) {
		answer = obey(d, &d->command);
		virtq_push(q, m, d->command.head, (uint32_t)virtq_write(&d->command, m, 0, &answer, 1));
		n--;
	}
	virtq_kicks(q, m, true);
	if (virtio_dev_works(&d->v, ctrl) && !virtq_empty(q))
		virtio_dev_again(&d->v, ctrl);
	virtio_dev_interrupt(&d->v, ctrl);
}
