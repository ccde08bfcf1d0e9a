/* SPDX-License-Identifier: Apache-2.0 */
/* power - see power.h: sleep and reset registers, Generic Event Device, the 8042's reset. */
#include "hv/power.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#define KBD_DATA 0x60
#define KBD_COMMAND 0x64
#define KBD_STATUS_FULL 0x01 /* output buffer holds a byte */
#define KBD_STATUS_SYSTEM 0x04
#define SLEEP_ENABLE 0x20
#define SLEEP_TYPE_SHIFT 2

struct power {
	pthread_mutex_t lock;
	struct bus *pio, *mmio;
	struct irq *irq;
	const struct power_ops *ops;
	void *arg;

	/* saved */
	uint32_t selector;
	uint8_t kbd_data, kbd_full; /* what the 8042 answers next */
	uint8_t kbd_control;        /* its command byte */
	uint8_t kbd_expect;         /* the next write to 0x60 is that byte */
};

static uint64_t power_read(void *dev, uint64_t offset, unsigned int len)
{
	struct power *p = dev;
	uint64_t v = 0;

	(void)len;
	pthread_mutex_lock(&p->lock);
	if (offset == 0) {
		v = p->selector;
		p->selector = 0;
		irq_line(p->irq, POWER_GSI, false);
	}
	pthread_mutex_unlock(&p->lock);
	return v;
}

static void power_write(void *dev, uint64_t offset, unsigned int len, uint64_t value)
{
	struct power *p = dev;

	(void)len;
	if (offset == POWER_SLEEP_CONTROL - POWER_BASE) {
		if (value & SLEEP_ENABLE && (value >> SLEEP_TYPE_SHIFT & 7) == POWER_SLEEP_TYPE_S5)
			p->ops->off(p->arg);
	} else if (offset == POWER_RESET - POWER_BASE) {
		if ((value & 0xff) == POWER_RESET_VALUE)
			p->ops->reset(p->arg, "ACPI reset register");
	}
}

static const struct bus_ops power_bus_ops = { .read = power_read, .write = power_write };

static uint64_t kbd_read(void *dev, uint64_t offset, unsigned int len)
{
	struct power *p = dev;
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

static void kbd_answer(struct power *p, uint8_t v)
{
	p->kbd_data = v;
	p->kbd_full = 1;
}

static void kbd_write(void *dev, uint64_t offset, unsigned int len, uint64_t value)
{
	struct power *p = dev;
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
	} else if (v == 0xaa) {  /* self test: passed */
		kbd_answer(p, 0x55);
	} else if (v == 0xab) {  /* keyboard port: clock line stuck, so nobody waits for a keyboard */
		kbd_answer(p, 0x01);
	} else if (v == 0xa9) {  /* mouse port: the same */
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

int power_create(struct power **out, struct bus *pio, struct bus *mmio, struct irq *irq,
		 const struct power_ops *ops, void *arg, struct err *e)
{
	struct power *p = calloc(1, sizeof(*p));
	int ret;

	if (!p)
		return err_set(e, -ENOMEM, "power: out of memory");
	pthread_mutex_init(&p->lock, NULL);
	p->pio = pio;
	p->mmio = mmio;
	p->irq = irq;
	p->ops = ops;
	p->arg = arg;
	ret = bus_add(mmio, POWER_BASE, POWER_SIZE, &power_bus_ops, p, "power");
	if (!ret)
		ret = bus_add(pio, KBD_DATA, 1, &kbd_data_ops, p, "8042 data");
	if (!ret)
		ret = bus_add(pio, KBD_COMMAND, 1, &kbd_command_ops, p, "8042 command");
	if (ret) {
		err_set(e, ret, "power: its addresses are taken");
		power_destroy(p);
		return ret;
	}
	*out = p;
	return 0;
}

void power_destroy(struct power *p)
{
	if (!p)
		return;
	bus_remove(p->mmio, POWER_BASE);
	bus_remove(p->pio, KBD_DATA);
	bus_remove(p->pio, KBD_COMMAND);
	pthread_mutex_destroy(&p->lock);
	free(p);
}

void power_button(struct power *p)
{
	pthread_mutex_lock(&p->lock);
	p->selector |= POWER_SELECT_BUTTON;
	irq_line(p->irq, POWER_GSI, true); /* edge; taken down when the guest reads why */
	pthread_mutex_unlock(&p->lock);
}

static int power_pre_save(void *dev, struct err *e)
{
	(void)dev;
	(void)e;
	return 0;
}

static int power_post_load(void *dev, struct err *e)
{
	struct power *p = dev;

	(void)e;
	p->selector &= POWER_SELECT_BUTTON;
	irq_line(p->irq, POWER_GSI, p->selector != 0);
	return 0;
}

static const struct state_field power_fields[] = {
	STATE_U32(struct power, selector),
	STATE_U8(struct power, kbd_data),
	STATE_U8(struct power, kbd_full),
	STATE_U8(struct power, kbd_control),
	STATE_U8(struct power, kbd_expect),
	STATE_END,
};

static const struct state_desc power_state = {
	.name = "power",
	.version = 1,
	.min_version = 1,
	.fields = power_fields,
	.pre_save = power_pre_save,
	.post_load = power_post_load,
};

struct state_entry power_state_entry(struct power *p)
{
	return (struct state_entry){ .desc = &power_state, .instance = "power", .dev = p };
}
