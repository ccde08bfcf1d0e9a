/* SPDX-License-Identifier: Apache-2.0 */
/* seat - see seat.h. */
#include "hv/display/seat.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

struct seated {
	const struct seat_device *ops;
	void *dev; /* NULL: nobody */
};

struct seat {
	pthread_mutex_t lock;
	struct seated devices[SEAT_DEVICES_MAX]; /* in the order in which they have joined */
	uint8_t down_at[SEAT_KEYS];              /* 1 + which of them a key is down at, 0: it is up */
};

int seat_create(struct seat **out)
{
	struct seat *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	pthread_mutex_init(&s->lock, NULL);
	*out = s;
	return 0;
}

void seat_destroy(struct seat *s)
{
	if (!s)
		return;
	pthread_mutex_destroy(&s->lock);
	free(s);
}

int seat_join(struct seat *s, const struct seat_device *ops, void *dev)
{
	int ret = -ENOSPC;

	pthread_mutex_lock(&s->lock);
	for (unsigned int i = 0; i < SEAT_DEVICES_MAX && ret; i++)
		if (!s->devices[i].dev) {
			s->devices[i] = (struct seated){ ops, dev };
			ret = 0;
		}
	pthread_mutex_unlock(&s->lock);
	return ret;
}

void seat_leave(struct seat *s, void *dev)
{
	pthread_mutex_lock(&s->lock);
	for (unsigned int i = 0; i < SEAT_DEVICES_MAX; i++) {
		if (s->devices[i].dev != dev)
			continue;
		s->devices[i].dev = NULL;
		for (unsigned int code = 0; code < SEAT_KEYS; code++)
			if (s->down_at[code] == i + 1)
				s->down_at[code] = 0;
	}
	pthread_mutex_unlock(&s->lock);
}

static bool key_to(const struct seated *d, uint16_t code, bool down)
{
	return d->dev && d->ops->key && d->ops->key(d->dev, code, down);
}

static bool key_up(struct seat *s, uint16_t code)
{
	unsigned int at = s->down_at[code];

	s->down_at[code] = 0;
	return at && key_to(&s->devices[at - 1], code, false);
}

/* Also a key that is down already: it repeats. */
static bool key_down(struct seat *s, uint16_t code)
{
	for (unsigned int i = 0; i < SEAT_DEVICES_MAX; i++)
		if (key_to(&s->devices[i], code, true)) {
			s->down_at[code] = (uint8_t)(i + 1);
			return true;
		}
	return false;
}

bool seat_key(struct seat *s, uint16_t code, bool down)
{
	bool heard;

	if (code >= SEAT_KEYS)
		return false;
	pthread_mutex_lock(&s->lock);
	heard = down ? key_down(s, code) : key_up(s, code);
	pthread_mutex_unlock(&s->lock);
	return heard;
}

bool seat_pointer(struct seat *s, const struct seat_pointer *p)
{
	bool heard = false;

	if (p->x > SEAT_SIDE || p->y > SEAT_SIDE)
		return false;
	pthread_mutex_lock(&s->lock);
	for (unsigned int i = 0; i < SEAT_DEVICES_MAX && !heard; i++)
		if (s->devices[i].dev && s->devices[i].ops->pointer)
			heard = s->devices[i].ops->pointer(s->devices[i].dev, p);
	pthread_mutex_unlock(&s->lock);
	return heard;
}

bool seat_has_keyboard(struct seat *s)
{
	bool has = false;

	pthread_mutex_lock(&s->lock);
	for (unsigned int i = 0; i < SEAT_DEVICES_MAX && !has; i++)
		if (s->devices[i].dev && s->devices[i].ops->key)
			has = s->devices[i].ops->listens(s->devices[i].dev);
	pthread_mutex_unlock(&s->lock);
	return has;
}
