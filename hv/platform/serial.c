/* SPDX-License-Identifier: Apache-2.0 */
/*
 * serial - see serial.h.  Register names and bits after the PC16550D data sheet.
 *
 * There is no baud rate: a byte written to THR is out at once, and the transmitter
 * is ready again as long as the out ring has room.  The interrupt line is level:
 * high while an enabled cause is pending, in the data sheet's order of priority.
 */
#include "hv/platform/serial.h"

#include "base/lock.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum {
	REG_DATA,
	REG_IER,
	REG_IIR_FCR,
	REG_LCR,
	REG_MCR,
	REG_LSR,
	REG_MSR,
	REG_SCR
};

#define IER_RDI 0x01
#define IER_THRI 0x02
#define IER_RLSI 0x04
#define IER_MSI 0x08
#define IIR_NONE 0x01
#define IIR_THRI 0x02
#define IIR_RDI 0x04
#define IIR_MSI 0x00
#define IIR_FIFO 0xc0
#define FCR_ENABLE 0x01
#define FCR_CLEAR_RX 0x02
#define LCR_DLAB 0x80
#define MCR_DTR 0x01
#define MCR_RTS 0x02
#define MCR_OUT1 0x04
#define MCR_OUT2 0x08
#define MCR_LOOP 0x10
#define LSR_DR 0x01
#define LSR_THRE 0x20
#define LSR_TEMT 0x40
#define MSR_CTS 0x10
#define MSR_DSR 0x20
#define MSR_RI 0x40
#define MSR_DCD 0x80

struct serial {
	pthread_mutex_t lock;
	struct irq *irq;
	struct bus *pio;
	void (*notify)(void *arg);
	void *notify_arg;
	bool line; /* level of the interrupt line now */

	/* saved */
	uint8_t ier, fcr, lcr, mcr, scr, dll, dlm;
	uint8_t thr_pending; /* the transmitter became empty and nobody has been told */
	uint16_t in_count;
	uint8_t in[SERIAL_IN_SIZE]; /* while saved: oldest byte first, from 0 */

	uint16_t in_first; /* ring start; 0 while saved */
	char *out;
	uint32_t out_first, out_count;
};

static bool out_has_room(const struct serial *s)
{
	return s->out_count < SERIAL_OUT_SIZE;
}

/* The highest pending cause, as IIR shows it. */
static uint8_t cause(const struct serial *s)
{
	if ((s->ier & IER_RDI) && s->in_count)
		return IIR_RDI;
	if ((s->ier & IER_THRI) && s->thr_pending && out_has_room(s))
		return IIR_THRI;
	return IIR_NONE;
}

static void update_line(struct serial *s)
{
	/* in loopback OUT2, which gates the interrupt on a PC, is disconnected */
	bool level = cause(s) != IIR_NONE && !(s->mcr & MCR_LOOP);

	assert(lock_is_held(&s->lock) && s->out_count <= SERIAL_OUT_SIZE && s->out_first < SERIAL_OUT_SIZE);
	if (level != s->line) {
		s->line = level;
		irq_line(s->irq, SERIAL_GSI, level);
	}
}

static uint8_t in_pop(struct serial *s)
{
	uint8_t c;

	if (!s->in_count)
		return 0;
	c = s->in[s->in_first];
	s->in_first = (uint16_t)((s->in_first + 1) % SERIAL_IN_SIZE);
	s->in_count--;
	return c;
}

static bool in_push(struct serial *s, uint8_t c)
{
	if (s->in_count == SERIAL_IN_SIZE)
		return false;
	s->in[(s->in_first + s->in_count++) % SERIAL_IN_SIZE] = c;
	return true;
}

static void transmit(struct serial *s, uint8_t c)
{
	if (s->mcr & MCR_LOOP)
		in_push(s, c);
	else if (out_has_room(s)) /* else: the guest did not look at THRE; a real UART loses the byte too */
		s->out[(s->out_first + s->out_count++) % SERIAL_OUT_SIZE] = (char)c;
	s->thr_pending = 1;
}

static uint8_t modem_status(const struct serial *s)
{
	uint8_t v = 0;

	if (!(s->mcr & MCR_LOOP))
		return MSR_DCD | MSR_DSR | MSR_CTS; /* somebody is always there */
	v |= s->mcr & MCR_RTS ? MSR_CTS : 0;
	v |= s->mcr & MCR_DTR ? MSR_DSR : 0;
	v |= s->mcr & MCR_OUT1 ? MSR_RI : 0;
	v |= s->mcr & MCR_OUT2 ? MSR_DCD : 0;
	return v;
}

static uint64_t serial_read(void *dev, uint64_t offset, unsigned int len)
{
	struct serial *s = dev;
	bool room = false;
	uint8_t v = 0;

	(void)len;
	pthread_mutex_lock(&s->lock);
	switch (offset) {
	case REG_DATA:
		if (s->lcr & LCR_DLAB) {
			v = s->dll;
		} else {
			room = s->in_count == SERIAL_IN_SIZE;
			v = in_pop(s);
		}
		break;
	case REG_IER:
		v = s->lcr & LCR_DLAB ? s->dlm : s->ier;
		break;
	case REG_IIR_FCR:
		v = cause(s);
		if (v == IIR_THRI)
			s->thr_pending = 0; /* reading the cause clears it */
		if (s->fcr & FCR_ENABLE)
			v |= IIR_FIFO;
		break;
	case REG_LCR:
		v = s->lcr;
		break;
	case REG_MCR:
		v = s->mcr;
		break;
	case REG_LSR:
		v = (s->in_count ? LSR_DR : 0) | (out_has_room(s) ? LSR_THRE | LSR_TEMT : 0);
		break;
	case REG_MSR:
		v = modem_status(s);
		break;
	case REG_SCR:
		v = s->scr;
		break;
	}
	update_line(s);
	pthread_mutex_unlock(&s->lock);
	if (room && s->notify)
		s->notify(s->notify_arg);
	return v;
}

static void serial_write(void *dev, uint64_t offset, unsigned int len, uint64_t value)
{
	struct serial *s = dev;
	uint8_t v = (uint8_t)value;
	bool output = false;

	(void)len;
	pthread_mutex_lock(&s->lock);
	switch (offset) {
	case REG_DATA:
		if (s->lcr & LCR_DLAB) {
			s->dll = v;
		} else {
			output = s->out_count == 0 && !(s->mcr & MCR_LOOP);
			transmit(s, v);
		}
		break;
	case REG_IER:
		if (s->lcr & LCR_DLAB) {
			s->dlm = v;
			break;
		}
		/* enabling the cause while the transmitter is empty raises it again */
		if (!(s->ier & IER_THRI) && (v & IER_THRI))
			s->thr_pending = 1;
		s->ier = v & 0x0f;
		break;
	case REG_IIR_FCR:
		if (v & FCR_CLEAR_RX)
			s->in_count = 0;
		s->fcr = v & (FCR_ENABLE | 0xc0);
		break;
	case REG_LCR:
		s->lcr = v;
		break;
	case REG_MCR:
		s->mcr = v & 0x1f;
		break;
	case REG_SCR:
		s->scr = v;
		break;
	}
	update_line(s);
	pthread_mutex_unlock(&s->lock);
	if (output && s->notify)
		s->notify(s->notify_arg);
}

static const struct bus_ops serial_ops = { .read = serial_read, .write = serial_write };

int serial_create(struct serial **out, struct bus *pio, struct irq *irq, struct err *e)
{
	struct serial *s = calloc(1, sizeof(*s));

	if (!s)
		return err_set(e, -ENOMEM, "serial: out of memory");
	s->out = malloc(SERIAL_OUT_SIZE);
	if (!s->out) {
		free(s);
		return err_set(e, -ENOMEM, "serial: out of memory");
	}
	pthread_mutex_init(&s->lock, NULL);
	s->irq = irq;
	s->pio = pio;
	s->dll = 12; /* 9600 baud, as a PC's firmware leaves it */
	*out = s;
	return 0;
}

int serial_plug(struct serial *s, struct err *e)
{
	int ret = bus_add(s->pio, SERIAL_PORT, 8, &serial_ops, s);

	return ret ? err_set(e, ret, "serial: ports 0x%x+8 are taken", SERIAL_PORT) : 0;
}

void serial_destroy(struct serial *s)
{
	if (!s)
		return;
	bus_remove(s->pio, SERIAL_PORT, s);
	bus_wait(s->pio);
	pthread_mutex_destroy(&s->lock);
	free(s->out);
	free(s);
}

void serial_set_notify(struct serial *s, void (*fn)(void *arg), void *arg)
{
	s->notify_arg = arg;
	s->notify = fn;
}

size_t serial_take(struct serial *s, char *buf, size_t len)
{
	size_t n = 0;

	pthread_mutex_lock(&s->lock);
	while (n < len && s->out_count) {
		buf[n++] = s->out[s->out_first];
		s->out_first = (s->out_first + 1) % SERIAL_OUT_SIZE;
		s->out_count--;
	}
	if (n)
		update_line(s); /* THRE may have come back */
	pthread_mutex_unlock(&s->lock);
	return n;
}

size_t serial_give(struct serial *s, const char *buf, size_t len)
{
	size_t n = 0;

	pthread_mutex_lock(&s->lock);
	while (n < len && in_push(s, (uint8_t)buf[n]))
		n++;
	update_line(s);
	pthread_mutex_unlock(&s->lock);
	return n;
}

/* Output that nobody took yet is not carried along: it belongs to this host's console. */
static int serial_pre_save(void *dev, struct err *e)
{
	struct serial *s = dev;
	uint8_t in[SERIAL_IN_SIZE] = { 0 };

	(void)e;
	pthread_mutex_lock(&s->lock);
	assert(s->in_count <= SERIAL_IN_SIZE);
	for (uint16_t i = 0; i < s->in_count; i++)
		in[i] = s->in[(s->in_first + i) % SERIAL_IN_SIZE];
	memcpy(s->in, in, sizeof(in));
	s->in_first = 0;
	pthread_mutex_unlock(&s->lock);
	return 0;
}

static int serial_post_load(void *dev, struct err *e)
{
	struct serial *s = dev;

	(void)e;
	pthread_mutex_lock(&s->lock);
	s->in_first = 0;
	/* Say the level again whatever it was: the IOAPIC has been loaded with its own idea. */
	s->line = cause(s) != IIR_NONE && !(s->mcr & MCR_LOOP);
	irq_line(s->irq, SERIAL_GSI, s->line);
	pthread_mutex_unlock(&s->lock);
	return 0;
}

static const struct state_field serial_fields[] = {
	STATE_U8(struct serial, ier),
	STATE_U8(struct serial, fcr),
	STATE_U8(struct serial, lcr),
	STATE_U8(struct serial, mcr),
	STATE_U8(struct serial, scr),
	STATE_U8(struct serial, dll),
	STATE_U8(struct serial, dlm),
	STATE_U8(struct serial, thr_pending),
	STATE_COUNTED(struct serial, in, sizeof(uint8_t), in_count),
	STATE_END,
};

static const struct state_desc serial_state = {
	.name = "serial",
	.version = 1,
	.min_version = 1,
	.fields = serial_fields,
	.pre_save = serial_pre_save,
	.post_load = serial_post_load,
};

struct state_entry serial_state_entry(struct serial *s)
{
	return (struct state_entry){ .desc = &serial_state, .instance = "serial0", .dev = s };
}

/* --- the row --- */

static int device_create(struct device_env *env, const struct domain_conf *conf, unsigned int index,
			 void **dev, struct err *e)
{
	struct serial *s;
	int ret = serial_create(&s, env->pio, env->irq, e);

	(void)conf;
	(void)index;
	if (!ret)
		*dev = s;
	return ret;
}

static int device_plug(void *dev, struct err *e)
{
	return serial_plug(dev, e);
}

static void device_destroy(void *dev)
{
	serial_destroy(dev);
}

static size_t device_state(void *dev, struct state_entry *out)
{
	out[0] = serial_state_entry(dev);
	return 1;
}

const struct device_kind serial_device = {
	.name = "serial", .create = device_create, .plug = device_plug, .destroy = device_destroy, .state = device_state, DEVICE_PLATFORM
};
