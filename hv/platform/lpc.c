/* SPDX-License-Identifier: Apache-2.0 */
/* lpc - see lpc.h. */
#include "hv/platform/lpc.h"

#include "hv/platform/pm_block.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PMBASE 0x40
#define PMBASE_IO 0x01
#define ACPI_CNTL 0x44
#define ACPI_CNTL_ENABLE 0x80
#define PIRQ_A 0x60
#define PIRQ_E 0x68
#define PIRQ_BITS 0x8f /* off; which of IRQ 0-15 */
#define PORT_A_RESET 0x01
#define PORT_A_A20 0x02

struct lpc {
	struct pci_dev pci; /* its lock guards port_a as well */
	struct bus *pio;
	void (*reset)(void *arg, const char *how);
	void *arg;

	/* saved */
	uint8_t config[PCI_CONFIG_SIZE];
	uint8_t port_a;
};

static const struct pci_ident lpc_ident = {
	.vendor = 0x8086,
	.device = 0x2918,
	.subsystem_vendor = 0x1af4,
	.subsystem = 0x1100,
	.class_code = 0x060100, /* ISA bridge */
	.revision = 2,
};

/* --- port 0x92 --- */

static uint64_t port_read(void *dev, uint64_t offset, unsigned int len)
{
	struct lpc *l = dev;
	uint64_t v;

	(void)offset;
	(void)len;
	pthread_mutex_lock(&l->pci.lock);
	v = l->port_a;
	pthread_mutex_unlock(&l->pci.lock);
	return v;
}

static void port_write(void *dev, uint64_t offset, unsigned int len, uint64_t value)
{
	struct lpc *l = dev;

	(void)offset;
	(void)len;
	pthread_mutex_lock(&l->pci.lock);
	l->port_a = value & PORT_A_A20;
	pthread_mutex_unlock(&l->pci.lock);
	if (value & PORT_A_RESET)
		l->reset(l->arg, "system control port 0x92");
}

static const struct bus_ops port_ops = { .read = port_read, .write = port_write };

/* --- the function on the PCI bus --- */

static void bar_moved(struct pci_dev *d, unsigned int bar, uint64_t base)
{
	(void)d;
	(void)bar;
	(void)base;
}

static void config_touched(struct pci_dev *d, unsigned int offset, unsigned int len)
{
	(void)d;
	(void)offset;
	(void)len;
}

static const struct pci_dev_ops pci_ops = {
	.bar_moved = bar_moved,
	.config_read = config_touched,
	.config_write = config_touched,
};

int lpc_create(struct lpc **out, struct pci_bus *pci, struct bus *pio, void (*reset)(void *arg, const char *how),
	       void *arg, struct err *e)
{
	struct lpc *l = calloc(1, sizeof(*l));
	int ret;

	if (!l)
		return err_set(e, -ENOMEM, "lpc: out of memory");
	ret = pci_dev_init_at(&l->pci, pci, PCI_Q35_LPC_SLOT, &pci_ops, &lpc_ident, "lpc", e);
	if (ret) {
		free(l);
		return ret;
	}
	l->pio = pio;
	l->reset = reset;
	l->arg = arg;
	l->port_a = PORT_A_A20;
	l->pci.config[PMBASE] = (PM_BLOCK_PORT & 0xff) | PMBASE_IO;
	l->pci.config[PMBASE + 1] = PM_BLOCK_PORT >> 8;
	l->pci.config[ACPI_CNTL] = ACPI_CNTL_ENABLE;
	memset(l->pci.writable + PIRQ_A, PIRQ_BITS, 4);
	memset(l->pci.writable + PIRQ_E, PIRQ_BITS, 4);
	*out = l;
	return 0;
}

int lpc_plug(struct lpc *l, struct err *e)
{
	int ret = bus_add(l->pio, LPC_PORT_A, 1, &port_ops, l);

	if (ret)
		return err_set(e, ret, "lpc: port 0x%x is taken", LPC_PORT_A);
	pci_dev_plug(&l->pci);
	return 0;
}

void lpc_destroy(struct lpc *l)
{
	if (!l)
		return;
	bus_remove(l->pio, LPC_PORT_A, l);
	bus_wait(l->pio);
	pci_dev_fini(&l->pci);
	free(l);
}

/* --- state --- */

static int lpc_pre_save(void *dev, struct err *e)
{
	struct lpc *l = dev;
	struct pci_saved s;

	(void)e;
	pci_dev_save(&l->pci, &s);
	memcpy(l->config, s.config, sizeof(l->config));
	return 0;
}

static int lpc_post_load(void *dev, struct err *e)
{
	struct lpc *l = dev;
	struct pci_saved s = { 0 };

	if (l->port_a & ~PORT_A_A20)
		return err_set(e, -EINVAL, "port_a: 0x%02x, expected no bit but 0x%02x", l->port_a, PORT_A_A20);
	memcpy(s.config, l->config, sizeof(s.config));
	return pci_dev_load(&l->pci, &s, e);
}

static const struct state_field lpc_fields[] = {
	STATE_ARRAY(struct lpc, config, sizeof(uint8_t)),
	STATE_U8(struct lpc, port_a),
	STATE_END,
};

static const struct state_desc lpc_state = {
	.name = "lpc",
	.version = 1,
	.min_version = 1,
	.fields = lpc_fields,
	.pre_save = lpc_pre_save,
	.post_load = lpc_post_load,
};

struct state_entry lpc_state_entry(struct lpc *l)
{
	return (struct state_entry){ .desc = &lpc_state, .instance = "lpc", .dev = l };
}

/* --- the row --- */

static int device_create(struct device_env *env, const struct domain_conf *conf, unsigned int index,
			 void **dev, struct err *e)
{
	struct lpc *l;
	int ret = lpc_create(&l, env->pci, env->pio, env->reset, env->arg, e);

	(void)conf;
	(void)index;
	if (!ret)
		*dev = l;
	return ret;
}

static int device_plug(void *dev, struct err *e)
{
	return lpc_plug(dev, e);
}

static void device_destroy(void *dev)
{
	lpc_destroy(dev);
}

static size_t device_state(void *dev, struct state_entry *out)
{
	out[0] = lpc_state_entry(dev);
	return 1;
}

const struct device_kind lpc_device = {
	.name = "lpc", .create = device_create, .plug = device_plug, .destroy = device_destroy, .state = device_state, DEVICE_FIRMWARE
};
