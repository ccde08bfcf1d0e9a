/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio_device - virtio devices as rows of a machine's table (hv/device/device.h): the hooks
 * that are the same for all of them.  create() and wanted() are each device's own.
 */
#include "hv/virtio/virtio_int.h"

int virtio_device_plug(void *dev, struct err *e)
{
	(void)e;
	virtio_dev_plug(dev);
	return 0;
}

void virtio_device_destroy(void *dev)
{
	virtio_dev_destroy(dev);
}

size_t virtio_device_state(void *dev, struct state_entry *out)
{
	return virtio_dev_state(dev, out);
}

unsigned int virtio_device_slot(void *dev)
{
	return ((const struct virtio_dev *)dev)->pci.slot;
}

json_t *virtio_device_stats(void *dev)
{
	return virtio_dev_stats(dev);
}

int virtio_device_start(void *dev, struct err *e)
{
	return virtio_dev_start(dev, e);
}

void virtio_device_quiesce_begin(void *dev)
{
	virtio_dev_quiesce_begin(dev);
}

int virtio_device_quiesce(void *dev, unsigned int timeout_ms, struct err *e)
{
	return virtio_dev_quiesce(dev, timeout_ms, e);
}
