/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio_tablet - a pointer that is where the person's is, as an input device (virtio_input.c) and as a row.
 *
 * Places are absolute, so that two pointers never drift apart; the wheel is relative, as mice have it.
 */
#include "hv/virtio/virtio_input_int.h"

#include <linux/input-event-codes.h>

static const struct {
	uint8_t bit;
	uint16_t code;
} buttons[] = {
	{ SEAT_LEFT, BTN_LEFT },
	{ SEAT_MIDDLE, BTN_MIDDLE },
	{ SEAT_RIGHT, BTN_RIGHT },
};

#define N_BUTTONS (sizeof(buttons) / sizeof(buttons[0]))

static void bit_set(uint8_t *bits, unsigned int n)
{
	bits[n / 8] |= (uint8_t)(1u << n % 8);
}

static void tablet_events(uint8_t type, uint8_t bits[128])
{
	if (type == EV_KEY)
		for (unsigned int i = 0; i < N_BUTTONS; i++)
			bit_set(bits, buttons[i].code);
	if (type == EV_REL)
		bit_set(bits, REL_WHEEL);
	if (type == EV_ABS) {
		bit_set(bits, ABS_X);
		bit_set(bits, ABS_Y);
	}
}

/* All buttons each time: a driver drops what has not changed. */
static bool tablet_pointer(void *dev, const struct seat_pointer *p)
{
	struct virtio_input_event report[INPUT_REPORT_MAX - 1] = {
		{ .type = EV_ABS, .code = ABS_X, .value = p->x },
		{ .type = EV_ABS, .code = ABS_Y, .value = p->y },
	};
	unsigned int n = 2;

	for (unsigned int i = 0; i < N_BUTTONS; i++)
		report[n++] = (struct virtio_input_event){ .type = EV_KEY, .code = buttons[i].code, .value = !!(p->buttons & buttons[i].bit) };
	if (p->wheel)
		report[n++] = (struct virtio_input_event){ .type = EV_REL, .code = REL_WHEEL, .value = p->wheel };
	return virtio_input_report(dev, report, n);
}

static const struct seat_device tablet_seat = { .pointer = tablet_pointer, .listens = virtio_input_listens };

static const struct virtio_ops tablet_ops = { .kind = "tablet", .pci_class = 0x098000, VIRTIO_INPUT };

static const struct input_model tablet_model = {
	.ops = &tablet_ops,
	.title = "Drover tablet",
	.product = 2,
	.events = tablet_events,
	.abs_max = SEAT_SIDE,
	.n_axes = 2,
	.seat = &tablet_seat,
};

int virtio_tablet_create(struct device_env *env, struct virtio_dev **out, struct err *e)
{
	return virtio_input_create(env, &tablet_model, 0, out, e);
}

static unsigned int device_wanted(const struct domain_conf *conf)
{
	return conf->display.present;
}

static int device_create(struct device_env *env, const struct domain_conf *conf, unsigned int index, void **dev, struct err *e)
{
	struct virtio_dev *v;
	int ret = virtio_tablet_create(env, &v, e);

	(void)conf;
	(void)index;
	if (!ret)
		*dev = v;
	return ret;
}

const struct device_kind virtio_tablet_device = {
	.name = "tablet", .figures = "tablets", .wanted = device_wanted, .create = device_create, VIRTIO_DEVICE
};
