/* SPDX-License-Identifier: Apache-2.0 */
/* pm_block - see pm_block.h.  Registers may be read and written in any pieces, so they are handled byte by byte. */
#include "hv/platform/pm_block.h"

#include "base/clock.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#define PM1_STS 0x00
#define PM1_EN 0x02
#define POWER_BUTTON 0x01 /* PWRBTN_STS, PWRBTN_EN: bit 8, so of the second byte */
#define PM1_CNT 0x04
#define PM1_TMR 0x08
#define SMI_EN 0x30
#define SMI_EN_APMC 0x20
#define TIMER_HZ 3579545ull
#define TIMER_BITS 0xffffffu
/* PM1_CNT (ACPI 6.4, 4.8.3.2.1), its second byte */
#define CNT_SLEEP_TYPE 0x1c
#define CNT_SLEEP_ENABLE 0x20
#define CNT_SCI_ENABLE 0x01
#define CNT_LOW_BITS 0x02 /* BM_RLD */

struct pm_block {
	pthread_mutex_t lock;
	struct bus *pio;
	struct irq *irq;
	uint64_t (*now)(void);
	void (*off)(void *arg);
	void *arg;
	uint64_t started; /* on `now`, when the timer was at `ticks` */

	/* saved */
	uint8_t status[2], enable[2], control[2];
	uint64_t ticks;
};

/* Whole seconds apart, so that nothing overflows in a guest's life. */
static uint64_t timer(const struct pm_block *p)
{
	uint64_t ns = p->now() - p->started;

	return p->ticks + ns / NS_PER_SEC * TIMER_HZ + ns % NS_PER_SEC * TIMER_HZ / NS_PER_SEC;
}

static uint8_t byte_at(const struct pm_block *p, uint64_t offset, uint32_t ticks)
{
	if (offset < PM1_STS + 2)
		return p->status[offset - PM1_STS];
	if (offset >= PM1_EN && offset < PM1_EN + 2)
		return p->enable[offset - PM1_EN];
	if (offset >= PM1_CNT && offset < PM1_CNT + 2)
		return p->control[offset - PM1_CNT];
	if (offset >= PM1_TMR && offset < PM1_TMR + 4)
		return (uint8_t)(ticks >> 8 * (offset - PM1_TMR));
	return offset == SMI_EN ? SMI_EN_APMC : 0;
}

static uint64_t pm_read(void *dev, uint64_t offset, unsigned int len)
{
	struct pm_block *p = dev;
	uint64_t v = 0;
	uint32_t ticks;

	pthread_mutex_lock(&p->lock);
	ticks = timer(p) & TIMER_BITS;
	for (unsigned int i = 0; i < len; i++)
		v |= (uint64_t)byte_at(p, offset + i, ticks) << 8 * i;
	pthread_mutex_unlock(&p->lock);
	return v;
}

static void interrupt(struct pm_block *p)
{
	irq_line(p->irq, PM_BLOCK_GSI, p->status[1] & p->enable[1] & POWER_BUTTON);
}

/* True when the guest powers off. */
static bool write_byte(struct pm_block *p, uint64_t offset, uint8_t v)
{
	switch (offset) {
	case PM1_STS:
	case PM1_STS + 1:
		p->status[offset - PM1_STS] &= (uint8_t)~v;
		return false;
	case PM1_EN:
	case PM1_EN + 1:
		p->enable[offset - PM1_EN] = v;
		return false;
	case PM1_CNT:
		p->control[0] = (v & CNT_LOW_BITS) | CNT_SCI_ENABLE;
		return false;
	case PM1_CNT + 1:
		p->control[1] = v & CNT_SLEEP_TYPE;
		return (v & CNT_SLEEP_ENABLE) && (v & CNT_SLEEP_TYPE) >> 2 == PM_BLOCK_SLEEP_TYPE_S5;
	default:
		return false;
	}
}

static void pm_write(void *dev, uint64_t offset, unsigned int len, uint64_t value)
{
	struct pm_block *p = dev;
	bool off = false;

	pthread_mutex_lock(&p->lock);
	for (unsigned int i = 0; i < len; i++)
		off |= write_byte(p, offset + i, (uint8_t)(value >> 8 * i));
	interrupt(p);
	pthread_mutex_unlock(&p->lock);
	if (off)
		p->off(p->arg);
}

static const struct bus_ops pm_ops = { .read = pm_read, .write = pm_write };

void pm_block_button(struct pm_block *p)
{
	pthread_mutex_lock(&p->lock);
	p->status[1] |= POWER_BUTTON;
	interrupt(p);
	pthread_mutex_unlock(&p->lock);
}

int pm_block_create(struct pm_block **out, struct bus *pio, struct irq *irq, uint64_t (*now)(void),
		    void (*off)(void *arg), void *arg, struct err *e)
{
	struct pm_block *p = calloc(1, sizeof(*p));

	if (!p)
		return err_set(e, -ENOMEM, "pm: out of memory");
	pthread_mutex_init(&p->lock, NULL);
	p->pio = pio;
	p->irq = irq;
	p->control[0] = CNT_SCI_ENABLE;
	p->now = now ? now : clock_ns;
	p->off = off;
	p->arg = arg;
	p->started = p->now();
	*out = p;
	return 0;
}

int pm_block_plug(struct pm_block *p, struct err *e)
{
	int ret = bus_add(p->pio, PM_BLOCK_PORT, PM_BLOCK_SIZE, &pm_ops, p);

	return ret ? err_set(e, ret, "pm: ports 0x%x+%u are taken", PM_BLOCK_PORT, PM_BLOCK_SIZE) : 0;
}

void pm_block_destroy(struct pm_block *p)
{
	if (!p)
		return;
	bus_remove(p->pio, PM_BLOCK_PORT, p);
	bus_wait(p->pio);
	pthread_mutex_destroy(&p->lock);
	free(p);
}

/* The count of this moment is what the other host begins with. */
static int pm_pre_save(void *dev, struct err *e)
{
	struct pm_block *p = dev;
	uint64_t now;

	(void)e;
	pthread_mutex_lock(&p->lock);
	now = p->now();
	p->ticks = timer(p) & TIMER_BITS;
	p->started = now;
	pthread_mutex_unlock(&p->lock);
	return 0;
}

static int pm_post_load(void *dev, struct err *e)
{
	struct pm_block *p = dev;

	if (p->ticks > TIMER_BITS)
		return err_set(e, -EINVAL, "ticks: 0x%llx, expected 24 bits", (unsigned long long)p->ticks);
	p->status[0] = 0;
	p->status[1] &= POWER_BUTTON;
	p->control[0] = (p->control[0] & CNT_LOW_BITS) | CNT_SCI_ENABLE;
	p->control[1] &= CNT_SLEEP_TYPE;
	p->started = p->now();
	interrupt(p);
	return 0;
}

static const struct state_field pm_fields[] = {
	STATE_ARRAY(struct pm_block, status, sizeof(uint8_t)),
	STATE_ARRAY(struct pm_block, enable, sizeof(uint8_t)),
	STATE_ARRAY(struct pm_block, control, sizeof(uint8_t)),
	STATE_U64(struct pm_block, ticks),
	STATE_END,
};

static const struct state_desc pm_state = {
	.name = "pm",
	.version = 1,
	.min_version = 1,
	.fields = pm_fields,
	.pre_save = pm_pre_save,
	.post_load = pm_post_load,
};

struct state_entry pm_block_state_entry(struct pm_block *p)
{
	return (struct state_entry){ .desc = &pm_state, .instance = "pm", .dev = p };
}

/* --- the row --- */

static int device_create(struct device_env *env, const struct domain_conf *conf, unsigned int index,
			 void **dev, struct err *e)
{
	struct pm_block *p;
	int ret = pm_block_create(&p, env->pio, env->irq, NULL, env->off, env->arg, e);

	(void)conf;
	(void)index;
	if (!ret)
		*dev = p;
	return ret;
}

static int device_plug(void *dev, struct err *e)
{
	return pm_block_plug(dev, e);
}

static void device_destroy(void *dev)
{
	pm_block_destroy(dev);
}

static size_t device_state(void *dev, struct state_entry *out)
{
	out[0] = pm_block_state_entry(dev);
	return 1;
}

const struct device_kind pm_block_device = {
	.name = "pm", .create = device_create, .plug = device_plug, .destroy = device_destroy, .state = device_state, DEVICE_FIRMWARE
};
