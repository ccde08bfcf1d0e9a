/* SPDX-License-Identifier: Apache-2.0 */
/* acpi_pm - see acpi_pm.h: sleep and reset registers, Generic Event Device, the 8042's reset. */
#include "hv/platform/acpi_pm.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#define KBD_DATA 0x60
#define KBD_COMMAND 0x64
#define KBD_STATUS_FULL 0x01 /* output buffer holds a byte */
#define KBD_STATUS_SYSTEM 0x04
#define SLEEP_ENABLE 0x20
#define SLEEP_TYPE_SHIFT 2

struct acpi_pm {
	pthread_mutex_t lock;
	struct bus *pio, *mmio;
	struct irq *irq;
	const struct acpi_pm_ops *ops;
	void *arg;

	/* saved */
	uint32_t selector;
	uint8_t kbd_data, kbd_full; /* what the 8042 answers next */
	uint8_t kbd_control;        /* its command byte */
	uint8_t kbd_expect;         /* the next write to 0x60 is that byte */
};

static uint64_t acpi_pm_read(void *dev, uint64_t offset, unsigned int len)
{
	struct acpi_pm *p = dev;
	uint64_t v = 0;

	(void)len;
	pthread_mutex_lock(&p->lock);
	if (offset == 0) {
		v = p->selector;
		p->selector = 0;
		irq_line(p->irq, ACPI_PM_GSI, false);
	}
	pthread_mutex_unlock(&p->lock);
	return v;
}

static void acpi_pm_write(void *dev, uint64_t offset, unsigned int len, uint64_t value)
{
	struct acpi_pm *p = dev;

	(void)len;
	if (offset == ACPI_PM_SLEEP_CONTROL - ACPI_PM_BASE) {
		if (value & SLEEP_ENABLE && (value >> SLEEP_TYPE_SHIFT & 7) == ACPI_PM_SLEEP_TYPE_S5)
			p->ops->off(p->arg);
	} else if (offset == ACPI_PM_RESET - ACPI_PM_BASE) {
		if ((value & 0xff) == ACPI_PM_RESET_VALUE)
			p->ops->reset(p->arg, "ACPI reset register");
	}
}

static const struct bus_ops acpi_pm_bus_ops = { .read = acpi_pm_read, .write = acpi_pm_write };

static uint64_t kbd_read(void *dev, uint64_t offset, unsigned int len)
{
	struct acpi_pm *p = dev;
	uint64_t v;

	(void)len;
	pthread_mutex_lock(&p->lock);
	if (offset == KBD_DATA - KBD_DATA) {
		v = p->kbd_data;
		p->kbd_full = 0;
	} else {
		v = KBD_STATUS_SYSTEM | (p->kbd_full ? KBD_STATUS_FULL : 0);
	}
	pthread_mutex_unlock(&p->lock);
	return v;
}

static void kbd_answer(struct acpi_pm *p, uint8_t v)
{
	p->kbd_data = v;
	p->kbd_full = 1;
}

static void kbd_write(void *dev, uint64_t offset, unsigned int len, uint64_t value)
{
	struct acpi_pm *p = dev;
	uint8_t v = (uint8_t)value;

	(void)len;
	if (offset == KBD_COMMAND - KBD_DATA && v == 0xfe) {
		p->ops->reset(p->arg, "keyboard controller");
		return;
	}
	pthread_mutex_lock(&p->lock);
	if (offset == KBD_DATA - KBD_DATA) {
		if (p->kbd_expect)
			p->kbd_control = v;
		p->kbd_expect = 0;
	} else if (v == 0x20) {
		kbd_answer(p, p->kbd_control);
	} else if (v == 0x60) {
		p->kbd_expect = 1;
	} else if (v == 0xaa) { /* self test: passed */
		kbd_answer(p, 0x55);
	} else if (v == 0xab) { /* keyboard port: clock line stuck, so nobody waits for a keyboard */
		kbd_answer(p, 0x01);
	} else if (v == 0xa9) { /* mouse port: the same */
		kbd_answer(p, 0x01);
	}
	pthread_mutex_unlock(&p->lock);
}

static const struct bus_ops kbd_data_ops = { .read = kbd_read, .write = kbd_write };

static uint64_t kbd_command_read(void *dev, uint64_t offset, unsigned int len)
{
	return kbd_read(dev, offset + (KBD_COMMAND - KBD_DATA), len);
}

static void kbd_command_write(void *dev, uint64_t offset, unsigned int len, uint64_t value)
{
	kbd_write(dev, offset + (KBD_COMMAND - KBD_DATA), len, value);
}

static const struct bus_ops kbd_command_ops = { .read = kbd_command_read,
						.write = kbd_command_write };

int acpi_pm_create(struct acpi_pm **out, struct bus *pio, struct bus *mmio, struct irq *irq,
		   const struct acpi_pm_ops *ops, void *arg, struct err *e)
{
	struct acpi_pm *p = calloc(1, sizeof(*p));

	if (!p)
		return err_set(e, -ENOMEM, "power: out of memory");
	pthread_mutex_init(&p->lock, NULL);
	p->pio = pio;
	p->mmio = mmio;
	p->irq = irq;
	p->ops = ops;
	p->arg = arg;
	*out = p;
	return 0;
}

static void acpi_pm_unplug(struct acpi_pm *p)
{
	bus_remove(p->mmio, ACPI_PM_BASE, p);
	bus_remove(p->pio, KBD_DATA, p);
	bus_remove(p->pio, KBD_COMMAND, p);
	bus_wait(p->mmio);
	bus_wait(p->pio);
}

int acpi_pm_plug(struct acpi_pm *p, struct err *e)
{
	int ret;

	ret = bus_add(p->mmio, ACPI_PM_BASE, ACPI_PM_SIZE, &acpi_pm_bus_ops, p);
	if (!ret)
		ret = bus_add(p->pio, KBD_DATA, 1, &kbd_data_ops, p);
	if (!ret)
		ret = bus_add(p->pio, KBD_COMMAND, 1, &kbd_command_ops, p);
	if (ret) {
		err_set(e, ret, "power: its addresses are taken");
		acpi_pm_unplug(p);
	}
	return ret;
}

void acpi_pm_destroy(struct acpi_pm *p)
{
	if (!p)
		return;
	acpi_pm_unplug(p);
	pthread_mutex_destroy(&p->lock);
	free(p);
}

void acpi_pm_button(struct acpi_pm *p)
{
	pthread_mutex_lock(&p->lock);
	p->selector |= ACPI_PM_SELECT_BUTTON;
	irq_line(p->irq, ACPI_PM_GSI, true); /* edge; taken down when the guest reads why */
	pthread_mutex_unlock(&p->lock);
}

static int acpi_pm_pre_save(void *dev, struct err *e)
{
	(void)dev;
	(void)e;
	return 0;
}

static int acpi_pm_post_load(void *dev, struct err *e)
{
	struct acpi_pm *p = dev;

	(void)e;
	p->selector &= ACPI_PM_SELECT_BUTTON;
	irq_line(p->irq, ACPI_PM_GSI, p->selector != 0);
	return 0;
}

static const struct state_field acpi_pm_fields[] = {
	STATE_U32(struct acpi_pm, selector),
	STATE_U8(struct acpi_pm, kbd_data),
	STATE_U8(struct acpi_pm, kbd_full),
	STATE_U8(struct acpi_pm, kbd_control),
	STATE_U8(struct acpi_pm, kbd_expect),
	STATE_END,
};

static const struct state_desc acpi_pm_state = {
	.name = "power",
	.version = 1,
	.min_version = 1,
	.fields = acpi_pm_fields,
	.pre_save = acpi_pm_pre_save,
	.post_load = acpi_pm_post_load,
};

struct state_entry acpi_pm_state_entry(struct acpi_pm *p)
{
	return (struct state_entry){ .desc = &acpi_pm_state, .instance = "power", .dev = p };
}

/* --- the row --- */

static void env_off(void *arg)
{
	struct device_env *env = arg;

	env->off(env->arg);
}

static void env_reset(void *arg, const char *how)
{
	struct device_env *env = arg;

	env->reset(env->arg, how);
}

static const struct acpi_pm_ops env_ops = { .off = env_off, .reset = env_reset };

static int device_create(struct device_env *env, const struct domain_conf *conf, unsigned int index,
			 void **dev, struct err *e)
{
	struct acpi_pm *p;
	int ret = acpi_pm_create(&p, env->pio, env->mmio, env->irq, &env_ops, env, e);

	(void)conf;
	(void)index;
	if (!ret)
		*dev = p;
	return ret;
}

static int device_plug(void *dev, struct err *e)
{
	return acpi_pm_plug(dev, e);
}

static void device_destroy(void *dev)
{
	acpi_pm_destroy(dev);
}

static size_t device_state(void *dev, struct state_entry *out)
{
	out[0] = acpi_pm_state_entry(dev);
	return 1;
}

const struct device_kind acpi_pm_device = {
	.name = "power", .create = device_create, .plug = device_plug, .destroy = device_destroy, .state = device_state, DEVICE_PLATFORM
};
