/* SPDX-License-Identifier: Apache-2.0 */
/* device - see device.h: the hooks of devices that do nothing by themselves. */
#include "hv/device/device.h"

#include "conf/domain.h"

int device_passive_start(void *dev, struct err *e)
{
	(void)dev;
	(void)e;
	return 0;
}

void device_passive_quiesce_begin(void *dev)
{
	(void)dev;
}

int device_passive_quiesce(void *dev, unsigned int timeout_ms, struct err *e)
{
	(void)dev;
	(void)timeout_ms;
	(void)e;
	return 0;
}

json_t *device_passive_stats(void *dev)
{
	(void)dev;
	return NULL;
}

unsigned int device_no_slot(void *dev)
{
	(void)dev;
	return 0;
}

unsigned int device_one(const struct domain_conf *conf)
{
	(void)conf;
	return 1;
}

unsigned int device_with_firmware(const struct domain_conf *conf)
{
	return domain_has_firmware(conf);
}

unsigned int device_vcpus(const struct domain_conf *conf)
{
	return conf->vcpus;
}
