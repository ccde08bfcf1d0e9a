/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pci_device - the PCI bus and its host bridge as a row of a machine's table (hv/device/device.h).
 * Devices of rows below it find the bus in the environment.
 */
#include "hv/pci/pci.h"

static void port_reset(void *arg)
{
	struct device_env *env = arg;

	env->reset(env->arg, "PCI reset control (port 0xcf9)");
}

static int device_create(struct device_env *env, const struct domain_conf *conf, unsigned int index,
			 void **dev, struct err *e)
{
	int ret = pci_bus_create(&env->pci, env->pio, env->mmio, env->irq, e);

	(void)index;
	if (ret)
		return ret;
	if (device_with_firmware(conf))
		pci_bus_be_q35(env->pci);
	pci_bus_on_reset(env->pci, port_reset, env);
	*dev = env->pci;
	return 0;
}

static int device_plug(void *dev, struct err *e)
{
	return pci_bus_plug(dev, e);
}

static void device_destroy(void *dev)
{
	pci_bus_destroy(dev);
}

static size_t device_state(void *dev, struct state_entry *out)
{
	out[0] = pci_bus_state(dev);
	return 1;
}

const struct device_kind pci_device = {
	.name = "pci", .create = device_create, .plug = device_plug, .destroy = device_destroy, .state = device_state, DEVICE_PLATFORM
};
