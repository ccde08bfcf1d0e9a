/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio_state - what a migration carries of every virtio device: features,
 * status, rings, and its place on the PCI bus.
 *
 * The state crosses in struct virtio_saved: pre_save fills it from the device,
 * post_load checks it (rule S: every value is hostile) and puts it in force.
 * Rings are mapped anew, so their addresses are checked against this host's RAM.
 */
#include "hv/virtio/virtio_int.h"

#include <errno.h>
#include <stdio.h>

static struct virtio_dev *of_saved(void *dev)
{
	return (struct virtio_dev *)((char *)dev - offsetof(struct virtio_dev, saved));
}

static int dev_pre_save(void *dev, struct err *e)
{
	struct virtio_dev *v = of_saved(dev);
	struct virtio_saved *s = &v->saved;
	unsigned int q;

	pci_dev_save(&v->pci, &s->pci);
	pthread_mutex_lock(&v->lock);
	s->features = v->features;
	s->feature_select = v->feature_select;
	s->driver_feature_select = v->driver_feature_select;
	s->status = v->status;
	s->isr = v->isr;
	s->generation = v->generation;
	s->queue_select = v->queue_select;
	s->config_vector = v->config_vector;
	s->n_queues = (uint16_t)v->n_queues;
	for (q = 0; q < v->n_queues; q++) {
		const struct virtq *vq = &v->queues[q];

		s->q_size[q] = vq->size;
		s->q_vector[q] = vq->vector;
		s->q_enabled[q] = vq->enabled;
		s->q_desc[q] = vq->desc;
		s->q_avail[q] = vq->avail;
		s->q_used[q] = vq->used;
		s->q_last_avail[q] = vq->last_avail;
		s->q_used_idx[q] = vq->used_idx;
	}
	pthread_mutex_unlock(&v->lock);
	return 0;
}

static int load_check(const struct virtio_dev *v, const struct virtio_saved *s, struct err *e)
{
	/* Before FEATURES_OK they are what the driver has written, whatever that is. */
	if ((s->status & VIRTIO_S_FEATURES_OK) && (s->features & ~v->offered))
		return err_set(e, -EINVAL, "features: 0x%llx, this host offers 0x%llx",
			       (unsigned long long)s->features, (unsigned long long)v->offered);
	if ((s->status & VIRTIO_S_FEATURES_OK) && !(s->features & VIRTIO_F_VERSION_1))
		return err_set(e, -EINVAL, "status: 0x%02x without VERSION_1", s->status);
	if ((s->status & VIRTIO_S_DRIVER_OK) && !(s->status & VIRTIO_S_FEATURES_OK))
		return err_set(e, -EINVAL, "status: 0x%02x: DRIVER_OK without FEATURES_OK",
			       s->status);
	if (s->n_queues != v->n_queues)
		return err_set(e, -EINVAL, "%u queues there, %u here", s->n_queues, v->n_queues);
	return 0;
}

static void load_queue(struct virtq *vq, const struct virtio_saved *s, unsigned int q)
{
	virtq_reset(vq);
	vq->size = s->q_size[q];
	vq->vector = s->q_vector[q];
	vq->enabled = s->q_enabled[q];
	vq->desc = s->q_desc[q];
	vq->avail = s->q_avail[q];
	vq->used = s->q_used[q];
	vq->last_avail = s->q_last_avail[q];
	vq->used_idx = s->q_used_idx[q];
}

static int dev_post_load(void *dev, struct err *e)
{
	struct virtio_dev *v = of_saved(dev);
	const struct virtio_saved *s = &v->saved;
	unsigned int q;
	int ret;

	pthread_mutex_lock(&v->lock);
	ret = load_check(v, s, e);
	if (ret)
		goto out;
	/* Also a machine that resets loads: what the device has begun belongs to the past. */
	v->ops->reset(v);
	v->features = s->features;
	v->feature_select = s->feature_select;
	v->driver_feature_select = s->driver_feature_select;
	v->status = s->status;
	v->isr = s->isr;
	v->generation = s->generation;
	v->queue_select = s->queue_select;
	v->config_vector = s->config_vector;
	for (q = 0; q < v->n_queues; q++) {
		load_queue(&v->queues[q], s, q);
		if (!v->queues[q].enabled)
			continue;
		ret = virtq_map(&v->queues[q], v->env->mem, e);
		if (ret) {
			err_prefix(e, "queue %u", q);
			v->queues[q].enabled = false;
			goto out;
		}
	}
	virtio_dev_negotiated(v);
	v->loaded = true;
out:
	pthread_mutex_unlock(&v->lock);
	if (!ret)
		ret = pci_dev_load(&v->pci, &s->pci, e);
	/* Not before the device's own state is there as well, where it has any. */
	if (!ret && !v->ops->state && (v->status & VIRTIO_S_DRIVER_OK)) {
		pthread_mutex_lock(&v->lock);
		v->ops->ready(v);
		pthread_mutex_unlock(&v->lock);
	}
	return ret;
}

static const struct state_field dev_fields[] = {
	STATE_U64(struct virtio_saved, features),
	STATE_U32(struct virtio_saved, feature_select),
	STATE_U32(struct virtio_saved, driver_feature_select),
	STATE_U8(struct virtio_saved, status),
	STATE_U8(struct virtio_saved, isr),
	STATE_U8(struct virtio_saved, generation),
	STATE_U16(struct virtio_saved, queue_select),
	STATE_U16(struct virtio_saved, config_vector),
	STATE_COUNTED(struct virtio_saved, q_size, sizeof(uint16_t), n_queues),
	STATE_COUNTED(struct virtio_saved, q_vector, sizeof(uint16_t), n_queues),
	STATE_COUNTED(struct virtio_saved, q_enabled, sizeof(uint8_t), n_queues),
	STATE_COUNTED(struct virtio_saved, q_desc, sizeof(uint64_t), n_queues),
	STATE_COUNTED(struct virtio_saved, q_avail, sizeof(uint64_t), n_queues),
	STATE_COUNTED(struct virtio_saved, q_used, sizeof(uint64_t), n_queues),
	STATE_COUNTED(struct virtio_saved, q_last_avail, sizeof(uint16_t), n_queues),
	STATE_COUNTED(struct virtio_saved, q_used_idx, sizeof(uint16_t), n_queues),
	STATE_ARRAY(struct virtio_saved, pci.config, sizeof(uint8_t)),
	STATE_COUNTED(struct virtio_saved, pci.msix_addr, sizeof(uint64_t), pci.n_vectors),
	STATE_COUNTED(struct virtio_saved, pci.msix_data, sizeof(uint32_t), pci.n_vectors),
	STATE_COUNTED(struct virtio_saved, pci.msix_mask, sizeof(uint32_t), pci.n_vectors),
	STATE_COUNTED(struct virtio_saved, pci.msix_pending, sizeof(uint8_t), pci.n_vectors),
	STATE_END
};

static const struct state_desc dev_state = {
	.name = "virtio",
	.version = 1,
	.min_version = 1,
	.fields = dev_fields,
	.pre_save = dev_pre_save,
	.post_load = dev_post_load,
};

size_t virtio_dev_state(struct virtio_dev *v, struct state_entry *out)
{
	out[0] = (struct state_entry){ .desc = &dev_state, .dev = &v->saved };
	snprintf(out[0].instance, sizeof(out[0].instance), "%s", v->name);
	if (!v->ops->state)
		return 1;
	out[1] = (struct state_entry){ .desc = v->ops->state, .dev = v };
	snprintf(out[1].instance, sizeof(out[1].instance), "%s.%s", v->name, v->ops->kind);
	return 2;
}
