/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio_input - keyboards and pointers (VIRTIO 1.2 5.8): events from a seat to the guest.
 *
 * What happens waits in a short list until the guest has given buffers for it, a report at a time: a guest that takes
 * none loses reports, whole ones, and nobody waits for it.  What it sends back (lights of a keyboard) is taken and
 * forgotten.
 *
 * Whoever holds a key down does so at one host.  After a move he is not there any more: what is down is let go.
 */
#include "hv/virtio/virtio_input_int.h"

#include "base/lock.h"

#include <assert.h>
#include <errno.h>
#include <linux/input-event-codes.h>
#include <stdlib.h>
#include <string.h>

#define QUEUES 2
#define Q_EVENTS 0
#define Q_STATUS 1
#define QUEUE_SIZE 64
#define STATUS_BATCH 64

static struct virtio_input *of_dev(struct virtio_dev *v)
{
	return (struct virtio_input *)v;
}

static bool listens(const struct virtio_dev *v)
{
	return (v->status & VIRTIO_S_DRIVER_OK) && !(v->status & VIRTIO_S_NEEDS_RESET) && v->queues[Q_EVENTS].enabled;
}

bool virtio_input_listens(void *dev)
{
	struct virtio_dev *v = dev;
	bool yes;

	pthread_mutex_lock(&v->lock);
	yes = listens(v);
	pthread_mutex_unlock(&v->lock);
	return yes;
}

/* --- what is down --- */

static unsigned int down_at(const struct virtio_input *d, uint16_t code)
{
	unsigned int i = 0;

	while (i < d->n_down && d->down[i] != code)
		i++;
	return i;
}

/* Return: false: too many are down for one more. */
static bool down_note(struct virtio_input *d, const struct virtio_input_event *ev)
{
	unsigned int at = down_at(d, ev->code);

	if (ev->type != EV_KEY)
		return true;
	if (ev->value && at == d->n_down) {
		if (d->n_down == INPUT_DOWN_MAX)
			return false;
		d->down[d->n_down++] = ev->code;
	} else if (!ev->value && at < d->n_down) {
		d->down[at] = d->down[--d->n_down];
	}
	return true;
}

static void wait_add(struct virtio_input *d, const struct virtio_input_event *ev)
{
	assert(d->n_waiting < INPUT_WAITING_MAX);
	d->waiting[d->n_waiting++] = *ev;
}

/* What waits is for a keyboard that nobody touches any more. */
static void let_go(struct virtio_input *d)
{
	d->n_waiting = 0;
	for (unsigned int i = 0; i < d->n_down; i++)
		wait_add(d, &(struct virtio_input_event){ .type = EV_KEY, .code = d->down[i] });
	if (d->n_down)
		wait_add(d, &(struct virtio_input_event){ .type = EV_SYN, .code = SYN_REPORT });
	d->n_down = 0;
}

/* --- to the guest --- */

static bool only_up(const struct virtio_input_event *events, unsigned int n)
{
	while (n && events[n - 1].type == EV_KEY && !events[n - 1].value)
		n--;
	return !n;
}

/* A key that went down always finds room to go up again: else it would repeat for ever. */
static bool has_room(const struct virtio_input *d, const struct virtio_input_event *events, unsigned int n)
{
	unsigned int kept = only_up(events, n) ? 0 : 2 * (d->n_down + n);

	return d->n_waiting + n + 1 + kept <= INPUT_WAITING_MAX;
}

bool virtio_input_report(struct virtio_input *d, const struct virtio_input_event *events, unsigned int n)
{
	static const struct virtio_input_event end = { .type = EV_SYN, .code = SYN_REPORT };
	bool taken;

	assert(n && n < INPUT_REPORT_MAX);
	pthread_mutex_lock(&d->v.lock);
	taken = listens(&d->v) && has_room(d, events, n);
	for (unsigned int i = 0; i < n && taken; i++)
		taken = down_note(d, &events[i]);
	if (taken) {
		for (unsigned int i = 0; i < n; i++)
			wait_add(d, &events[i]);
		wait_add(d, &end);
		virtio_dev_again(&d->v, Q_EVENTS);
	} else {
		d->lost += n;
	}
	pthread_mutex_unlock(&d->v.lock);
	return taken;
}

/* Return: false: there is no buffer for it. */
static bool give(struct virtio_input *d, const struct virtio_input_event *ev)
{
	struct virtio_dev *v = &d->v;
	size_t len;

	if (!virtio_dev_works(v, Q_EVENTS) || !virtio_dev_pop(v, Q_EVENTS, &d->el))
		return false;
	len = virtq_write(&d->el, v->env->mem, 0, ev, sizeof(*ev));
	virtq_push(&v->queues[Q_EVENTS], v->env->mem, d->el.head, (uint32_t)len);
	d->given++;
	return true;
}

/* The guest is asked for kicks only while something waits for its buffers. */
static void events_kick(struct virtio_input *d)
{
	struct virtio_dev *v = &d->v;
	unsigned int n = 0;

	while (n < d->n_waiting && give(d, &d->waiting[n]))
		n++;
	d->n_waiting = (uint16_t)(d->n_waiting - n);
	memmove(d->waiting, d->waiting + n, d->n_waiting * sizeof(d->waiting[0]));
	virtq_kicks(&v->queues[Q_EVENTS], v->env->mem, d->n_waiting > 0);
	if (d->n_waiting && virtio_dev_works(v, Q_EVENTS) && !virtq_empty(&v->queues[Q_EVENTS]))
		virtio_dev_again(v, Q_EVENTS);
	if (n)
		virtio_dev_interrupt(v, Q_EVENTS);
}

static void status_kick(struct virtio_input *d)
{
	struct virtio_dev *v = &d->v;
	unsigned int n = STATUS_BATCH;

	for (; n && virtio_dev_works(v, Q_STATUS) && virtio_dev_pop(v, Q_STATUS, &d->el); n--)
		virtq_push(&v->queues[Q_STATUS], v->env->mem, d->el.head, 0);
	virtq_kicks(&v->queues[Q_STATUS], v->env->mem, true);
	if (virtio_dev_works(v, Q_STATUS) && !virtq_empty(&v->queues[Q_STATUS]))
		virtio_dev_again(v, Q_STATUS);
	virtio_dev_interrupt(v, Q_STATUS);
}

void virtio_input_kick(struct virtio_dev *v, unsigned int q)
{
	if (q == Q_EVENTS)
		events_kick(of_dev(v));
	else
		status_kick(of_dev(v));
}

/* --- hooks --- */

void virtio_input_nothing(struct virtio_dev *v)
{
}

void virtio_input_woken(struct virtio_dev *v, unsigned int s, uint32_t events)
{
}

void virtio_input_run(struct virtio_dev *v, bool on)
{
}

unsigned int virtio_input_in_flight(struct virtio_dev *v)
{
	return 0;
}

void virtio_input_reset(struct virtio_dev *v)
{
	struct virtio_input *d = of_dev(v);

	d->n_waiting = 0;
	d->n_down = 0;
	d->select = d->subsel = 0;
	virtio_input_config(d);
}

json_t *virtio_input_stats(struct virtio_dev *v)
{
	return json_pack("{s:I, s:I}", "events", (json_int_t)of_dev(v)->given, "lost", (json_int_t)of_dev(v)->lost);
}

void virtio_input_leave(struct virtio_dev *v)
{
	seat_leave(v->env->seat, v);
}

void virtio_input_free(struct virtio_dev *v)
{
	free(of_dev(v));
}

/* --- state --- */

static int input_pre_save(void *dev, struct err *e)
{
	return 0;
}

static int input_post_load(void *dev, struct err *e)
{
	struct virtio_input *d = dev;

	pthread_mutex_lock(&d->v.lock);
	let_go(d);
	virtio_input_config(d);
	pthread_mutex_unlock(&d->v.lock);
	return 0;
}

static const struct state_field input_fields[] = {
	STATE_U8(struct virtio_input, select),
	STATE_U8(struct virtio_input, subsel),
	STATE_COUNTED(struct virtio_input, down, sizeof(uint16_t), n_down),
	STATE_END
};

const struct state_desc virtio_input_state = {
	.name = "virtio-input",
	.version = 1,
	.min_version = 1,
	.fields = input_fields,
	.pre_save = input_pre_save,
	.post_load = input_post_load,
};

int virtio_input_create(struct device_env *env, const struct input_model *model, unsigned int index,
			struct virtio_dev **out, struct err *e)
{
	struct virtio_input *d = calloc(1, sizeof(*d));
	int ret;

	if (!d)
		return err_set(e, -ENOMEM, "%s%u: no memory", model->ops->kind, index);
	d->model = model;
	ret = virtio_dev_init(&d->v, env, model->ops, index, 0, QUEUES, QUEUE_SIZE, e);
	if (ret) {
		free(d);
		return ret;
	}
	pthread_mutex_lock(&d->v.lock);
	virtio_input_config(d);
	pthread_mutex_unlock(&d->v.lock);
	if (seat_join(env->seat, model->seat, d)) {
		virtio_dev_destroy(&d->v);
		return err_set(e, -ENOSPC, "%s%u: no place at the seat", model->ops->kind, index);
	}
	*out = &d->v;
	return 0;
}
