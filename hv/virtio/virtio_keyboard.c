/* SPDX-License-Identifier: Apache-2.0 */
/* virtio_keyboard - a keyboard, as an input device (virtio_input.c) and as a row. */
#include "hv/virtio/virtio_input_int.h"

#include <linux/input-event-codes.h>

static void bit_set(uint8_t *bits, unsigned int n)
{
	bits[n / 8] |= (uint8_t)(1u << n % 8);
}

/* The guest repeats what is held down; its lights are told, though nobody sees them. */
static void keyboard_events(uint8_t type, uint8_t bits[128])
{
	if (type == EV_KEY)
		for (unsigned int code = KEY_ESC; code < SEAT_KEYS; code++)
			bit_set(bits, code);
	if (type == EV_REP) {
		bit_set(bits, REP_DELAY);
		bit_set(bits, REP_PERIOD);
	}
	if (type == EV_LED)
		for (unsigned int led = LED_NUML; led <= LED_SCROLLL; led++)
			bit_set(bits, led);
}

static bool keyboard_key(void *dev, uint16_t code, bool down)
{
	struct virtio_input_event ev = { .type = EV_KEY, .code = code, .value = down };

	return virtio_input_report(dev, &ev, 1);
}

static const struct seat_device keyboard_seat = { .key = keyboard_key, .listens = virtio_input_listens };

static const struct virtio_ops keyboard_ops = { .kind = "keyboard", .pci_class = 0x090000, VIRTIO_INPUT };

static const struct input_model keyboard_model = {
	.ops = &keyboard_ops,
	.title = "Drover keyboard",
	.product = 1,
	.events = keyboard_events,
	.seat = &keyboard_seat,
};

int virtio_keyboard_create(struct device_env *env, struct virtio_dev **out, struct err *e)
{
	return virtio_input_create(env, &keyboard_model, 0, out, e);
}

static unsigned int device_wanted(const struct domain_conf *conf)
{
	return conf->display.present;
}

static int device_create(struct device_env *env, const struct domain_conf *conf, unsigned int index, void **dev, struct err *e)
{
	struct virtio_dev *v;
	int ret = virtio_keyboard_create(env, &v, e);

	(void)conf;
	(void)index;
	if (!ret)
		*dev = v;
	return ret;
}

const struct device_kind virtio_keyboard_device = {
	.name = "keyboard", .figures = "keyboards", .wanted = device_wanted, .create = device_create, VIRTIO_DEVICE
};
