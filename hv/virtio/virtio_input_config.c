/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio_input_config - what an input device says of itself (VIRTIO 1.2 5.8.4, 5.8.5): the driver writes what it
 * wants to know into two bytes, and reads the answer behind them.
 *
 *     0         1         2         3             8
 *     +---------+---------+---------+-------------+------------------------+
 *     | select  | subsel  | size    | reserved    | answer, `size` bytes   |
 *     +---------+---------+---------+-------------+------------------------+
 */
#include "hv/virtio/virtio_input_int.h"

#include "base/lock.h"

#include <assert.h>
#include <linux/input.h>
#include <string.h>

#define AT_SELECT 0
#define AT_SUBSEL 1
#define AT_SIZE 2
#define AT_ANSWER 8
#define ANSWER_MAX 128u

/* VIRTIO 1.2 5.8.4 */
#define CFG_ID_NAME 0x01
#define CFG_ID_DEVIDS 0x03
#define CFG_EV_BITS 0x11
#define CFG_ABS_INFO 0x12

static void put_u16(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)v;
	p[1] = (uint8_t)(v >> 8);
}

static unsigned int answer_ids(const struct input_model *m, uint8_t *a)
{
	put_u16(a, BUS_VIRTUAL);
	put_u16(a + 2, 0x1af4); /* the vendor of virtio devices on PCI */
	put_u16(a + 4, m->product);
	put_u16(a + 6, 1);
	return 8;
}

/* As many bytes as there are up to the last bit. */
static unsigned int answer_events(const struct input_model *m, uint8_t type, uint8_t *a)
{
	unsigned int n = ANSWER_MAX;

	m->events(type, a);
	while (n && !a[n - 1])
		n--;
	return n;
}

/* Minimum, maximum, fuzz, flat, resolution. */
static unsigned int answer_axis(const struct input_model *m, uint8_t axis, uint8_t *a)
{
	if (axis >= m->n_axes)
		return 0;
	put_u16(a + 4, (uint16_t)m->abs_max);
	put_u16(a + 6, (uint16_t)(m->abs_max >> 16));
	return 20;
}

static unsigned int answer(const struct virtio_input *d, uint8_t *a)
{
	const struct input_model *m = d->model;

	switch (d->select) {
	case CFG_ID_NAME:
		memcpy(a, m->title, strlen(m->title));
		return (unsigned int)strlen(m->title);
	case CFG_ID_DEVIDS:
		return answer_ids(m, a);
	case CFG_EV_BITS:
		return answer_events(m, d->subsel, a);
	case CFG_ABS_INFO:
		return answer_axis(m, d->subsel, a);
	default:
		return 0;
	}
}

void virtio_input_config(struct virtio_input *d)
{
	uint8_t *c = d->v.config;

	assert(lock_is_held(&d->v.lock));
	memset(c, 0, AT_ANSWER + ANSWER_MAX);
	c[AT_SELECT] = d->select;
	c[AT_SUBSEL] = d->subsel;
	c[AT_SIZE] = (uint8_t)answer(d, c + AT_ANSWER);
	d->v.config_len = AT_ANSWER + ANSWER_MAX;
}

void virtio_input_config_write(struct virtio_dev *v, unsigned int at, unsigned int len, uint64_t value)
{
	struct virtio_input *d = (struct virtio_input *)v;

	if (at > AT_SUBSEL)
		return;
	if (at == AT_SELECT)
		d->select = (uint8_t)value;
	if (at == AT_SUBSEL)
		d->subsel = (uint8_t)value;
	else if (len > 1)
		d->subsel = (uint8_t)(value >> 8);
	virtio_input_config(d);
}
