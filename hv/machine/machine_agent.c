/* SPDX-License-Identifier: Apache-2.0 */
/* machine_agent - the port of the guest's agent, for whoever speaks to it.  The device may leave: it is looked up each time. */
#include "hv/machine/machine_int.h"

#include <errno.h>

int machine_agent_attach(struct machine *m, int fd, struct err *e)
{
	struct machine_device *d;
	int ret;

	pthread_rwlock_rdlock(&m->devices_lock);
	d = machine_device_next(m, &virtio_console_device, NULL);
	ret = d ? virtio_console_attach(d->dev, fd, e) : err_set(e, -ENOENT, "the domain has no port for an agent");
	pthread_rwlock_unlock(&m->devices_lock);
	return ret;
}

bool machine_agent_is_open(struct machine *m)
{
	struct machine_device *d;
	bool open;

	pthread_rwlock_rdlock(&m->devices_lock);
	d = machine_device_next(m, &virtio_console_device, NULL);
	open = d && virtio_console_is_open(d->dev);
	pthread_rwlock_unlock(&m->devices_lock);
	return open;
}
