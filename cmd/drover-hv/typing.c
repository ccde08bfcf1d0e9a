/* SPDX-License-Identifier: Apache-2.0 */
/*
 * typing - keys that somebody sends by a command: pressed and let go one after the other, no faster than a guest
 * takes them.
 *
 * Strokes wait in a list; every STEP one goes down, or up again.  A guest that reads its keyboard by looking at it
 * from time to time (a boot loader) needs a key to be down for a while.
 */
#include "cmd/drover-hv/vmm.h"

#include "base/clock.h"
#include "hv/display/keys.h"
#include "hv/display/seat.h"

#include <errno.h>
#include <linux/input-event-codes.h>
#include <stdlib.h>
#include <string.h>

#define STEP_NS (15 * NS_PER_MS)
#define STROKES_MAX 1024

struct stroke {
	uint16_t keys[KEYS_AT_ONCE];
	uint8_t n;
};

struct typing {
	struct seat *seat;
	struct loop_timer *timer;
	struct stroke strokes[STROKES_MAX]; /* a ring */
	unsigned int first, n;
	bool down; /* the first one is */
};

static void press(struct typing *t, const struct stroke *s)
{
	for (unsigned int i = 0; i < s->n; i++)
		seat_key(t->seat, s->keys[i], true);
}

static void let_go(struct typing *t, const struct stroke *s)
{
	for (unsigned int i = s->n; i > 0; i--)
		seat_key(t->seat, s->keys[i - 1], false);
}

static void step(void *arg)
{
	struct typing *t = arg;
	const struct stroke *s = &t->strokes[t->first];

	if (!t->n)
		return;
	if (t->down) {
		let_go(t, s);
		t->first = (t->first + 1) % STROKES_MAX;
		t->n--;
	} else {
		press(t, s);
	}
	t->down = !t->down;
	if (t->n)
		loop_timer_set(t->timer, clock_ns() + STEP_NS);
}

int typing_create(struct typing **out, struct drover_hv *v, struct err *e)
{
	struct typing *t = calloc(1, sizeof(*t));
	int ret;

	if (!t)
		return err_set(e, -ENOMEM, "out of memory");
	t->seat = machine_seat(v->machine);
	ret = loop_timer_create(v->loop, step, t, &t->timer, e);
	if (ret)
		free(t);
	else
		*out = t;
	return ret;
}

void typing_destroy(struct typing *t)
{
	if (!t)
		return;
	loop_timer_destroy(t->timer);
	free(t);
}

static void add(struct typing *t, const struct stroke *s)
{
	t->strokes[(t->first + t->n) % STROKES_MAX] = *s;
	t->n++;
	if (t->n == 1)
		step(t);
}

static int check_room(const struct typing *t, size_t n, struct err *e)
{
	if (!seat_has_keyboard(t->seat))
		return err_set(e, -EPERM, "the guest has no keyboard that its drivers listen to ('display' in the domain's file)");
	if (n <= STROKES_MAX - t->n)
		return 0;
	return err_set(e, -EBUSY, "%zu keys and %u that wait are more than %d", n, t->n, STROKES_MAX);
}

static int add_keys(struct typing *t, const char *names, struct err *e)
{
	struct stroke s = { 0 };
	int n = keys_by_names(names, s.keys, e), ret;

	if (n < 0)
		return n;
	s.n = (uint8_t)n;
	ret = check_room(t, 1, e);
	if (!ret)
		add(t, &s);
	return ret;
}

static struct stroke stroke_of(char c)
{
	struct stroke s = { 0 };
	bool shift;
	uint16_t key = key_by_char(c, &shift);

	if (key && shift)
		s.keys[s.n++] = KEY_LEFTSHIFT;
	if (key)
		s.keys[s.n++] = key;
	return s;
}

/* All of a text or nothing. */
static int add_text(struct typing *t, const char *text, struct err *e)
{
	int ret;

	for (const char *c = text; *c; c++)
		if (!stroke_of(*c).n)
			return err_set(e, -EINVAL, "text: byte 0x%02x at %td is on no key of a US keyboard", (unsigned char)*c, c - text);
	ret = check_room(t, strlen(text), e);
	for (const char *c = text; !ret && *c; c++) {
		struct stroke s = stroke_of(*c);

		add(t, &s);
	}
	return ret;
}

int cmd_send_key(void *owner, const json_t *args, json_t **ret, struct err *e)
{
	struct drover_hv *v = owner;
	const char *keys = json_string_value(json_object_get(args, "keys"));
	const char *text = json_string_value(json_object_get(args, "text"));

	(void)ret;
	if (!keys == !text)
		return err_set(e, -EINVAL, "arguments: expected one of keys and text");
	return keys ? add_keys(v->typing, keys, e) : add_text(v->typing, text, e);
}
