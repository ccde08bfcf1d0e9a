/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio_console_control - how a driver learns of its port (VIRTIO 1.2 5.3.6.2):
 *
 *     driver                        device
 *     DEVICE_READY   ──────────>
 *                    <──────────    PORT_ADD
 *     PORT_READY     ──────────>
 *                    <──────────    PORT_NAME "org.qemu.guest_agent.0"
 *                    <──────────    PORT_OPEN 1 or 0: somebody is connected here, or nobody
 *     PORT_OPEN      ──────────>    somebody has opened the port in the guest, or closed it
 *
 * What is owed is three bits, so a driver that gives no buffers makes no list grow.
 */
#include "hv/virtio/virtio_console_int.h"

#include <endian.h>
#include <string.h>

#define TOLD_BATCH 32

/* VIRTIO 1.2 5.3.6.2 */
#define DEVICE_READY 0
#define PORT_ADD 1
#define PORT_READY 3
#define PORT_OPEN 6
#define PORT_NAME 7

struct console_message {
	uint32_t id;
	uint16_t event, value;
};

void console_owe(struct virtio_console *d, uint8_t what)
{
	d->owed |= what;
	console_tell(d);
}

/* Return: false: the driver has no buffer for it. */
static bool tell_one(struct virtio_console *d, uint16_t event, uint16_t value, const char *text)
{
	struct console_message m = { htole32(CONSOLE_PORT), htole16(event), htole16(value) };
	struct virtio_dev *v = &d->v;
	size_t len;

	if (!virtio_dev_works(v, CONSOLE_Q_CONTROL_IN) || !virtio_dev_pop(v, CONSOLE_Q_CONTROL_IN, &d->el))
		return false;
	len = virtq_write(&d->el, v->env->mem, 0, &m, sizeof(m));
	if (text)
		len += virtq_write(&d->el, v->env->mem, sizeof(m), text, strlen(text));
	virtq_push(&v->queues[CONSOLE_Q_CONTROL_IN], v->env->mem, d->el.head, (uint32_t)len);
	return true;
}

static bool tell_next(struct virtio_console *d)
{
	bool open = d->fd >= 0;

	if (d->owed & CONSOLE_OWED_ADD) {
		if (!tell_one(d, PORT_ADD, 1, NULL))
			return false;
		d->owed &= (uint8_t)~CONSOLE_OWED_ADD;
	} else if (d->owed & CONSOLE_OWED_NAME) {
		if (!tell_one(d, PORT_NAME, 1, d->port_name))
			return false;
		d->owed &= (uint8_t)~CONSOLE_OWED_NAME;
	} else if (d->owed & CONSOLE_OWED_OPEN) {
		if (d->told_open != open && !tell_one(d, PORT_OPEN, open, NULL))
			return false;
		d->told_open = open;
		d->owed &= (uint8_t)~CONSOLE_OWED_OPEN;
	}
	return d->owed;
}

void console_tell(struct virtio_console *d)
{
	struct virtio_dev *v = &d->v;

	if (!virtio_dev_works(v, CONSOLE_Q_CONTROL_IN))
		return; /* start looks at all queues */
	while (tell_next(d))
		;
	virtq_kicks(&v->queues[CONSOLE_Q_CONTROL_IN], v->env->mem, d->owed);
	if (d->owed && !virtq_empty(&v->queues[CONSOLE_Q_CONTROL_IN]))
		virtio_dev_again(v, CONSOLE_Q_CONTROL_IN);
	virtio_dev_interrupt(v, CONSOLE_Q_CONTROL_IN);
}

/* Of ports that there are not, and events that are not a driver's, nothing comes. */
static void told_one(struct virtio_console *d, const struct console_message *m)
{
	uint16_t value = le16toh(m->value);

	switch (le16toh(m->event)) {
	case DEVICE_READY:
		if (value)
			d->owed |= CONSOLE_OWED_ADD;
		return;
	case PORT_READY:
		if (le32toh(m->id) != CONSOLE_PORT || !value)
			return;
		d->port_ready = 1;
		d->told_open = 0;
		d->owed |= CONSOLE_OWED_NAME | CONSOLE_OWED_OPEN;
		return;
	case PORT_OPEN:
		if (le32toh(m->id) == CONSOLE_PORT)
			d->guest_open = value != 0;
		return;
	default:
		return;
	}
}

void console_told(struct virtio_console *d)
{
	struct virtq *q = &d->v.queues[CONSOLE_Q_CONTROL_OUT];
	struct virtio_dev *v = &d->v;
	struct console_message m;
	unsigned int n = TOLD_BATCH;

	for (; n && virtio_dev_works(v, CONSOLE_Q_CONTROL_OUT) && virtio_dev_pop(v, CONSOLE_Q_CONTROL_OUT, &d->el); n--) {
		if (virtq_read(&d->el, 0, &m, sizeof(m)) == sizeof(m))
			told_one(d, &m);
		virtq_push(q, v->env->mem, d->el.head, 0);
	}
	virtq_kicks(q, v->env->mem, true);
	if (virtio_dev_works(v, CONSOLE_Q_CONTROL_OUT) && !virtq_empty(q))
		virtio_dev_again(v, CONSOLE_Q_CONTROL_OUT);
	virtio_dev_interrupt(v, CONSOLE_Q_CONTROL_OUT);
	console_tell(d);
}
