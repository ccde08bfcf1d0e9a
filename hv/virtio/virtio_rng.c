/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio_rng - the entropy device (VIRTIO 1.2 5.4): fills what it is given from
 * the host's getrandom(2).
 *
 * A buffer gets RNG_CHUNK bytes at most, whatever its size: used.len tells how
 * many, and a guest that wants a gigabyte must not hold the thread.
 */
#include "hv/virtio/virtio_int.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

#define RNG_QUEUE_SIZE 64
#define RNG_CHUNK 256u /* getrandom(2) never returns less, nor EINTR, up to here */
#define RNG_BATCH 32

struct virtio_rng {
	struct virtio_dev v;
	struct virtq_elem el;
	uint64_t requests, bytes;
};

static struct virtio_rng *of_dev(struct virtio_dev *v)
{
	return (struct virtio_rng *)v;
}

static void rng_kick(struct virtio_dev *v, unsigned int q)
{
	struct virtio_rng *d = of_dev(v);
	unsigned int n = RNG_BATCH;
	uint8_t buf[RNG_CHUNK];
	size_t len;

	while (n && virtio_dev_works(v, q) && virtio_dev_pop(v, q, &d->el)) {
		len = d->el.in_len < sizeof(buf) ? d->el.in_len : sizeof(buf);
		if (getrandom(buf, len, 0) != (ssize_t)len)
			len = 0;
		len = virtq_write(&d->el, v->env->mem, 0, buf, len);
		virtq_push(&v->queues[q], v->env->mem, d->el.head, (uint32_t)len);
		d->requests++;
		d->bytes += len;
		n--;
	}
	virtq_kicks(&v->queues[q], v->env->mem, true);
	if (virtio_dev_works(v, q) && !virtq_empty(&v->queues[q]))
		virtio_dev_again(v, q);
	virtio_dev_interrupt(v, q);
}

static void rng_nothing(struct virtio_dev *v)
{
}

static void rng_event(struct virtio_dev *v, unsigned int s, uint32_t events)
{
}

static void rng_run(struct virtio_dev *v, bool on)
{
}

static unsigned int rng_in_flight(struct virtio_dev *v)
{
	return 0;
}

static json_t *rng_stats(struct virtio_dev *v)
{
	return json_pack("{s:I, s:I}", "requests", (json_int_t)of_dev(v)->requests,
			 "bytes", (json_int_t)of_dev(v)->bytes);
}

static void rng_free(struct virtio_dev *v)
{
	free(of_dev(v));
}

static const struct virtio_ops rng_ops = {
	.kind = "rng",
	.id = 4,
	.pci_class = 0x00ff00,
	.ready = rng_nothing,
	.kick = rng_kick,
	.event = rng_event,
	.run = rng_run,
	.in_flight = rng_in_flight,
	.reset = rng_nothing,
	.stats = rng_stats,
	.destroy = rng_free,
};

int virtio_rng_create(struct device_env *env, unsigned int index, struct virtio_dev **out,
		      struct err *e)
{
	struct virtio_rng *d = calloc(1, sizeof(*d));
	int ret;

	if (!d)
		return err_set(e, -ENOMEM, "rng%u: no memory", index);
	ret = virtio_dev_init(&d->v, env, &rng_ops, index, 0, 1, RNG_QUEUE_SIZE, e);
	if (ret) {
		free(d);
		return ret;
	}
	*out = &d->v;
	return 0;
}

/* --- the row --- */

static unsigned int device_wanted(const struct domain_conf *conf)
{
	return conf->rng;
}

static int device_create(struct device_env *env, const struct domain_conf *conf, unsigned int index,
			 void **dev, struct err *e)
{
	struct virtio_dev *v;
	int ret = virtio_rng_create(env, index, &v, e);

	(void)conf;
	if (!ret)
		*dev = v;
	return ret;
}

const struct device_kind virtio_rng_device = {
	.name = "rng", .figures = "rngs", .wanted = device_wanted, .create = device_create, VIRTIO_DEVICE
};
