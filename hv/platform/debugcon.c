/* SPDX-License-Identifier: Apache-2.0 */
/* debugcon - see debugcon.h. */
#include "hv/platform/debugcon.h"

#include "base/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#define LINE 160

struct debugcon {
	pthread_mutex_t lock;
	struct bus *pio;
	char line[LINE];
	unsigned int len;

	/* saved */
	uint32_t said; /* bytes, up to DEBUGCON_BYTES_MAX */
};

static uint64_t debugcon_read(void *dev, uint64_t offset, unsigned int len)
{
	(void)dev;
	(void)offset;
	(void)len;
	return DEBUGCON_HERE;
}

/* log_line() makes harmless what a guest may put into a line. */
static void flush(struct debugcon *d)
{
	if (d->len)
		log_debug("firmware: %.*s", (int)d->len, d->line);
	d->len = 0;
}

static void debugcon_write(void *dev, uint64_t offset, unsigned int len, uint64_t value)
{
	struct debugcon *d = dev;
	char c = (char)value;

	(void)offset;
	(void)len;
	pthread_mutex_lock(&d->lock);
	if (d->said < DEBUGCON_BYTES_MAX) {
		if (c != '\n' && c != '\r' && c)
			d->line[d->len++] = c;
		if (c == '\n' || d->len == sizeof(d->line))
			flush(d);
		if (++d->said == DEBUGCON_BYTES_MAX) {
			flush(d);
			log_debug("firmware: it said %u bytes; more is not shown until the guest is reset", DEBUGCON_BYTES_MAX);
		}
	}
	pthread_mutex_unlock(&d->lock);
}

static const struct bus_ops debugcon_ops = { .read = debugcon_read, .write = debugcon_write };

int debugcon_create(struct debugcon **out, struct bus *pio, struct err *e)
{
	struct debugcon *d = calloc(1, sizeof(*d));

	if (!d)
		return err_set(e, -ENOMEM, "debugcon: out of memory");
	pthread_mutex_init(&d->lock, NULL);
	d->pio = pio;
	*out = d;
	return 0;
}

int debugcon_plug(struct debugcon *d, struct err *e)
{
	int ret = bus_add(d->pio, DEBUGCON_PORT, 1, &debugcon_ops, d);

	return ret ? err_set(e, ret, "debugcon: port 0x%x is taken", DEBUGCON_PORT) : 0;
}

void debugcon_destroy(struct debugcon *d)
{
	if (!d)
		return;
	bus_remove(d->pio, DEBUGCON_PORT, d);
	bus_wait(d->pio);
	flush(d);
	pthread_mutex_destroy(&d->lock);
	free(d);
}

static int debugcon_pre_save(void *dev, struct err *e)
{
	(void)dev;
	(void)e;
	return 0;
}

static int debugcon_post_load(void *dev, struct err *e)
{
	struct debugcon *d = dev;

	if (d->said > DEBUGCON_BYTES_MAX)
		return err_set(e, -EINVAL, "said: %u bytes, expected at most %u", d->said, DEBUGCON_BYTES_MAX);
	return 0;
}

static const struct state_field debugcon_fields[] = {
	STATE_U32(struct debugcon, said),
	STATE_END,
};

static const struct state_desc debugcon_state = {
	.name = "debugcon",
	.version = 1,
	.min_version = 1,
	.fields = debugcon_fields,
	.pre_save = debugcon_pre_save,
	.post_load = debugcon_post_load,
};

struct state_entry debugcon_state_entry(struct debugcon *d)
{
	return (struct state_entry){ .desc = &debugcon_state, .instance = "debugcon", .dev = d };
}

/* --- the row --- */

static int device_create(struct device_env *env, const struct domain_conf *conf, unsigned int index,
			 void **dev, struct err *e)
{
	struct debugcon *d;
	int ret = debugcon_create(&d, env->pio, e);

	(void)conf;
	(void)index;
	if (!ret)
		*dev = d;
	return ret;
}

static int device_plug(void *dev, struct err *e)
{
	return debugcon_plug(dev, e);
}

static void device_destroy(void *dev)
{
	debugcon_destroy(dev);
}

static size_t device_state(void *dev, struct state_entry *out)
{
	out[0] = debugcon_state_entry(dev);
	return 1;
}

const struct device_kind debugcon_device = {
	.name = "debugcon", .create = device_create, .plug = device_plug, .destroy = device_destroy, .state = device_state, DEVICE_FIRMWARE
};
