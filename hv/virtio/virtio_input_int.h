/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio_input_int - what the files of input devices share (VIRTIO 1.2 5.8).
 *
 *     virtio_input.c         events on their way to the guest
 *     virtio_input_config.c  what the device says of itself
 *     virtio_keyboard.c, virtio_tablet.c
 */
#ifndef DROVER_HV_VIRTIO_VIRTIO_INPUT_INT_H
#define DROVER_HV_VIRTIO_VIRTIO_INPUT_INT_H

#include "hv/display/seat.h"
#include "hv/virtio/virtio_int.h"

#define INPUT_WAITING_MAX 256u /* events; one report has INPUT_REPORT_MAX at most, and is given as a whole or not at all */
#define INPUT_REPORT_MAX 8u
#define INPUT_DOWN_MAX 32u /* keys that can be down at once: all of them are let go after a move */

/* VIRTIO 1.2 5.8.6 */
struct virtio_input_event {
	uint16_t type, code; /* EV_KEY, KEY_A, ... */
	int32_t value;
};

/* A kind of input device. */
struct input_model {
	const struct virtio_ops *ops;
	const char *title; /* what it calls itself */
	uint16_t product;
	/* Bits that a driver may ask for: those of event type @type into @bits, 128 bytes of zeros. */
	void (*events)(uint8_t type, uint8_t bits[128]);
	uint32_t abs_max;    /* of its absolute axes, which begin at 0; 0: it has none */
	unsigned int n_axes; /* that many, from ABS_X on */
	const struct seat_device *seat;
};

struct virtio_input {
	struct virtio_dev v;
	const struct input_model *model;
	struct virtq_elem el;
	uint8_t select, subsel;                               /* what the driver asks of the configuration */
	struct virtio_input_event waiting[INPUT_WAITING_MAX]; /* the first `n_waiting`: not yet with the guest */
	uint16_t n_waiting;
	uint16_t down[INPUT_DOWN_MAX]; /* the first `n_down`: keys and buttons that are down for the guest */
	uint8_t n_down;
	uint64_t given, lost; /* events */
};

/** virtio_input_create() - one of @model, unplugged, at its seat; virtio_dev_destroy() it */
int virtio_input_create(struct device_env *env, const struct input_model *model, unsigned int index,
			struct virtio_dev **out, struct err *e);
/**
 * virtio_input_report() - what happened at once, to the guest; any thread, without v->lock
 * @n: 1 to INPUT_REPORT_MAX - 1; the end of the report (EV_SYN) is added
 * Return: false: no driver listens, or it does not take what waits already.
 */
bool virtio_input_report(struct virtio_input *d, const struct virtio_input_event *events, unsigned int n);
/** virtio_input_listens() - is there a driver? any thread, without v->lock */
bool virtio_input_listens(void *dev);

/** virtio_input_config() - v->config as the driver's selection wants it; with v->lock */
void virtio_input_config(struct virtio_input *d);

/* The hooks of struct virtio_ops that are the same for all of them. */
void virtio_input_kick(struct virtio_dev *v, unsigned int q);
void virtio_input_config_write(struct virtio_dev *v, unsigned int at, unsigned int len, uint64_t value);
void virtio_input_reset(struct virtio_dev *v);
void virtio_input_nothing(struct virtio_dev *v);
void virtio_input_woken(struct virtio_dev *v, unsigned int s, uint32_t events);
void virtio_input_run(struct virtio_dev *v, bool on);
unsigned int virtio_input_in_flight(struct virtio_dev *v);
json_t *virtio_input_stats(struct virtio_dev *v);
void virtio_input_leave(struct virtio_dev *v);
void virtio_input_free(struct virtio_dev *v);
extern const struct state_desc virtio_input_state;

#define VIRTIO_INPUT                                                                                                                       \
	.id = 18, .ready = virtio_input_nothing, .kick = virtio_input_kick, .event = virtio_input_woken,                                   \
	.run = virtio_input_run, .in_flight = virtio_input_in_flight, .reset = virtio_input_reset,                                         \
	.stats = virtio_input_stats, .leave = virtio_input_leave, .destroy = virtio_input_free, .config_write = virtio_input_config_write, \
	.state = &virtio_input_state

#endif
