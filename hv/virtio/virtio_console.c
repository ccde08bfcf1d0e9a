/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio_console - a port between the guest's agent and one program here (VIRTIO 1.2 5.3).
 *
 * Whoever is connected (virtio_console_attach()) gets what the guest writes to the port, and it gets what he says,
 * in pieces as both take them: who does not read holds the other up, and nothing else.  While nobody is
 * connected, what the guest writes is lost, as on a line without a listener; while nobody has the port open in the
 * guest, nothing is read from here.
 *
 * A connection belongs to a host.  After a move nobody is connected, and the guest is told so.
 */
#include "hv/virtio/virtio_console_int.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define QUEUE_SIZE 64
#define BATCH 16
#define F_MULTIPORT (1ull << 1) /* VIRTIO 1.2 5.3.3 */
#define AT_MAX_PORTS 4          /* 5.3.4: columns, rows, then this */
#define CONFIG_LEN 12

static struct virtio_console *of_dev(struct virtio_dev *v)
{
	return (struct virtio_console *)v;
}

/* --- from here to the guest --- */

static bool may_read(struct virtio_console *d)
{
	return d->guest_open && virtio_dev_works(&d->v, CONSOLE_Q_IN) && !virtq_empty(&d->v.queues[CONSOLE_Q_IN]);
}

/* Hear of what `fd` has for us, and of what it can take. */
static void console_watch(struct virtio_console *d)
{
	/* EPOLLRDHUP in any case: who has gone must leave his place. */
	uint32_t events = EPOLLRDHUP | (may_read(d) ? EPOLLIN : 0u) | (d->out_n ? EPOLLOUT : 0u);

	if (d->fd >= 0)
		virtio_dev_watch(&d->v, 0, d->fd, events);
}

/* Nobody is connected any more, and the driver is told. */
static void console_hang_up(struct virtio_console *d)
{
	if (d->fd < 0)
		return;
	virtio_dev_watch(&d->v, 0, d->fd, 0);
	close(d->fd);
	d->fd = -1;
	d->out_n = 0;
	console_owe(d, CONSOLE_OWED_OPEN);
	virtio_dev_again(&d->v, CONSOLE_Q_OUT); /* what waited for him is lost now */
}

/*
 * One buffer of the guest's.  Return: false: there is nothing more to be had now.
 * #syscalls:device recvfrom
 */
static bool fill_one(struct virtio_console *d)
{
	struct virtio_dev *v = &d->v;
	uint8_t buf[4096];
	ssize_t n;

	if (!may_read(d) || !virtio_dev_pop(v, CONSOLE_Q_IN, &d->el))
		return false;
	n = recv(d->fd, buf, d->el.in_len < sizeof(buf) ? d->el.in_len : sizeof(buf), MSG_DONTWAIT);
	if (n <= 0) {
		virtq_unpop(&v->queues[CONSOLE_Q_IN]);
		if (!n || errno != EAGAIN)
			console_hang_up(d);
		return false;
	}
	virtq_write(&d->el, v->env->mem, 0, buf, (size_t)n);
	virtq_push(&v->queues[CONSOLE_Q_IN], v->env->mem, d->el.head, (uint32_t)n);
	d->in_bytes += (uint64_t)n;
	return true;
}

static void fill(struct virtio_console *d)
{
	struct virtq *q = &d->v.queues[CONSOLE_Q_IN];
	unsigned int n = BATCH;

	while (n && d->fd >= 0 && fill_one(d))
		n--;
	if (virtio_dev_works(&d->v, CONSOLE_Q_IN))
		virtq_kicks(q, d->v.env->mem, d->fd >= 0);
	if (n < BATCH)
		virtio_dev_interrupt(&d->v, CONSOLE_Q_IN);
	console_watch(d);
}

/* --- from the guest to here --- */

/* Return: true when nothing waits any more. #syscalls:device sendto */
static bool send_out(struct virtio_console *d)
{
	ssize_t n;

	while (d->out_n) {
		n = send(d->fd, d->out + d->out_at, d->out_n, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0 && errno == EAGAIN)
			return false;
		if (n < 0) {
			console_hang_up(d);
			return true;
		}
		d->out_at += (size_t)n;
		d->out_n -= (size_t)n;
	}
	return true;
}

/* Return: false: the device is broken. */
static bool take_one(struct virtio_console *d)
{
	struct virtio_dev *v = &d->v;

	if (d->el.out_len > CONSOLE_CHUNK) {
		virtio_dev_broken(v, CONSOLE_Q_OUT, "more than 64 KiB at once");
		return false;
	}
	d->out_at = 0;
	d->out_n = d->fd >= 0 ? virtq_read(&d->el, 0, d->out, d->el.out_len) : 0;
	d->out_bytes += d->out_n;
	virtq_push(&v->queues[CONSOLE_Q_OUT], v->env->mem, d->el.head, 0);
	return true;
}

static void drain(struct virtio_console *d)
{
	struct virtq *q = &d->v.queues[CONSOLE_Q_OUT];
	struct virtio_dev *v = &d->v;
	unsigned int n = BATCH;

	while (send_out(d) && n && virtio_dev_works(v, CONSOLE_Q_OUT) && virtio_dev_pop(v, CONSOLE_Q_OUT, &d->el) && take_one(d))
		n--;
	if (virtio_dev_works(v, CONSOLE_Q_OUT)) {
		virtq_kicks(q, v->env->mem, true);
		if (!d->out_n && !virtq_empty(q))
			virtio_dev_again(v, CONSOLE_Q_OUT);
	}
	if (n < BATCH)
		virtio_dev_interrupt(v, CONSOLE_Q_OUT);
	console_watch(d);
}

/* --- hooks --- */

/* Port 0 is for drivers that know of no ports: what they write is lost. */
static void drop_all(struct virtio_dev *v, unsigned int q)
{
	struct virtio_console *d = of_dev(v);
	unsigned int n = BATCH;

	for (; n && virtio_dev_works(v, q) && virtio_dev_pop(v, q, &d->el); n--)
		virtq_push(&v->queues[q], v->env->mem, d->el.head, 0);
	virtq_kicks(&v->queues[q], v->env->mem, true);
	if (virtio_dev_works(v, q) && !virtq_empty(&v->queues[q]))
		virtio_dev_again(v, q);
	virtio_dev_interrupt(v, q);
}

static void console_kick(struct virtio_dev *v, unsigned int q)
{
	switch (q) {
	case CONSOLE_Q_CONTROL_IN:
		console_tell(of_dev(v));
		return;
	case CONSOLE_Q_CONTROL_OUT:
		console_told(of_dev(v));
		console_watch(of_dev(v)); /* the port may be open now */
		return;
	case CONSOLE_Q_IN:
		fill(of_dev(v));
		return;
	case CONSOLE_Q_OUT:
		drain(of_dev(v));
		return;
	case 1:
		drop_all(v, q);
		return;
	default:
		return;
	}
}

static void console_event(struct virtio_dev *v, unsigned int s, uint32_t events)
{
	struct virtio_console *d = of_dev(v);

	(void)s;
	if (d->fd < 0)
		return;
	if (events & EPOLLOUT)
		drain(d);
	if (d->fd >= 0 && events & EPOLLIN && may_read(d))
		fill(d);
	else if (d->fd >= 0 && events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		console_hang_up(d);
}

static void console_run(struct virtio_dev *v, bool on)
{
	(void)on; /* while it is quiet nothing is read; start looks at all queues */
	console_watch(of_dev(v));
}

static void console_nothing(struct virtio_dev *v)
{
}

static unsigned int console_in_flight(struct virtio_dev *v)
{
	return 0;
}

static void console_reset(struct virtio_dev *v)
{
	struct virtio_console *d = of_dev(v);

	console_hang_up(d); /* whoever was connected spoke to what is gone */
	d->owed = d->port_ready = d->guest_open = d->told_open = 0;
}

static json_t *console_stats(struct virtio_dev *v)
{
	const struct virtio_console *d = of_dev(v);

	return json_pack("{s:b, s:b, s:I, s:I}", "connected", d->fd >= 0, "open", d->guest_open, "bytes_in",
			 (json_int_t)d->in_bytes, "bytes_out", (json_int_t)d->out_bytes);
}

static void console_free(struct virtio_dev *v)
{
	struct virtio_console *d = of_dev(v);

	if (d->fd >= 0)
		close(d->fd);
	free(d->out);
	free(d);
}

/* --- state --- */

static int console_pre_save(void *dev, struct err *e)
{
	struct virtio_console *d = dev;

	pthread_mutex_lock(&d->v.lock);
	d->saved = (struct console_saved){ d->owed, d->port_ready, d->guest_open, d->told_open };
	pthread_mutex_unlock(&d->v.lock);
	return 0;
}

static int console_post_load(void *dev, struct err *e)
{
	struct virtio_console *d = dev;

	pthread_mutex_lock(&d->v.lock);
	d->owed = d->saved.owed & (CONSOLE_OWED_ADD | CONSOLE_OWED_NAME | CONSOLE_OWED_OPEN);
	d->port_ready = !!d->saved.port_ready;
	d->guest_open = !!d->saved.guest_open;
	d->told_open = !!d->saved.told_open;
	if (d->port_ready)
		d->owed |= CONSOLE_OWED_OPEN; /* whoever was connected is so at the other host */
	pthread_mutex_unlock(&d->v.lock);
	return 0;
}

static const struct state_field console_fields[] = {
	STATE_U8(struct virtio_console, saved.owed),
	STATE_U8(struct virtio_console, saved.port_ready),
	STATE_U8(struct virtio_console, saved.guest_open),
	STATE_U8(struct virtio_console, saved.told_open),
	STATE_END
};

static const struct state_desc console_state = {
	.name = "virtio-console",
	.version = 1,
	.min_version = 1,
	.fields = console_fields,
	.pre_save = console_pre_save,
	.post_load = console_post_load,
};

static const struct virtio_ops console_ops = {
	.kind = "console",
	.id = 3,
	.pci_class = 0x078000,
	.ready = console_nothing,
	.kick = console_kick,
	.event = console_event,
	.run = console_run,
	.in_flight = console_in_flight,
	.reset = console_reset,
	.stats = console_stats,
	.destroy = console_free,
	.state = &console_state,
};

/* --- for the machine --- */

int virtio_console_create(struct device_env *env, const char *port_name, struct virtio_dev **out, struct err *e)
{
	struct virtio_console *d = calloc(1, sizeof(*d));
	uint32_t ports = htole32(CONSOLE_PORTS);
	int ret;

	if (d)
		d->out = malloc(CONSOLE_CHUNK);
	if (!d || !d->out) {
		free(d);
		return err_set(e, -ENOMEM, "console0: no memory");
	}
	d->fd = -1;
	d->port_name = port_name;
	memcpy(d->v.config + AT_MAX_PORTS, &ports, sizeof(ports));
	d->v.config_len = CONFIG_LEN;
	ret = virtio_dev_init(&d->v, env, &console_ops, 0, F_MULTIPORT, CONSOLE_QUEUES, QUEUE_SIZE, e);
	if (ret) {
		free(d->out);
		free(d);
		return ret;
	}
	*out = &d->v;
	return 0;
}

int virtio_console_attach(struct virtio_dev *v, int fd, struct err *e)
{
	struct virtio_console *d = of_dev(v);
	int ret = 0;

	pthread_mutex_lock(&v->lock);
	if (d->fd >= 0) {
		ret = err_set(e, -EBUSY, "%s: somebody is connected already", v->name);
	} else {
		d->fd = fd;
		if (d->port_ready)
			console_owe(d, CONSOLE_OWED_OPEN);
		console_watch(d);
	}
	pthread_mutex_unlock(&v->lock);
	return ret;
}

bool virtio_console_is_open(struct virtio_dev *v)
{
	bool open;

	pthread_mutex_lock(&v->lock);
	open = of_dev(v)->guest_open;
	pthread_mutex_unlock(&v->lock);
	return open;
}

/* --- the row --- */

static unsigned int device_wanted(const struct domain_conf *conf)
{
	return conf->guest_agent;
}

static int device_create(struct device_env *env, const struct domain_conf *conf, unsigned int index, void **dev, struct err *e)
{
	struct virtio_dev *v;
	int ret = virtio_console_create(env, "org.qemu.guest_agent.0", &v, e);

	(void)conf;
	(void)index;
	if (!ret)
		*dev = v;
	return ret;
}

const struct device_kind virtio_console_device = {
	.name = "console", .figures = "consoles", .wanted = device_wanted, .create = device_create, VIRTIO_DEVICE
};
