/* SPDX-License-Identifier: Apache-2.0 */
/*
 * irq - KVM's interrupt routing table, MSI eventfds and ioeventfds (irq.h).
 *
 * KVM takes the whole routing table at once, so it is kept here and given anew
 * on each change.  A masked vector has its irqfd taken away; then nobody reads
 * the eventfd and its count is the pending bit.  Assigning an irqfd whose count
 * is not zero fires it at once (virt/kvm/eventfd.c, kvm_irqfd_assign): that is
 * how a pending vector is delivered when it is unmasked.
 */
#include "hv/kvm/irq.h"

#include "base/lock.h"

#include <assert.h>
#include <errno.h>
#include <linux/kvm.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define PIC_PINS 8
#define IRQ_LEGACY 16
#define IOAPIC_PINS 24
#define IRQ_ROUTES_MAX (2 * IRQ_LEGACY + IOAPIC_PINS + IRQ_MSI_MAX)

struct irq_msi {
	bool used;
	bool masked;
	bool assigned; /* KVM listens on fd */
	int fd;
	uint64_t addr;
	uint32_t data;
};

struct irq {
	int vm_fd; /* -1: no KVM */
	pthread_mutex_t lock;
	unsigned int batch;
	bool changed;
	struct irq_msi msi[IRQ_MSI_MAX];
	uint32_t msi_end; /* above the highest ever used */
	struct kvm_irq_routing *table;
};

static void route_chip(struct kvm_irq_routing *t, uint32_t gsi, uint32_t chip, uint32_t pin)
{
	struct kvm_irq_routing_entry *r = &t->entries[t->nr++];

	assert(t->nr <= IRQ_ROUTES_MAX);
	memset(r, 0, sizeof(*r));
	r->gsi = gsi;
	r->type = KVM_IRQ_ROUTING_IRQCHIP;
	r->u.irqchip.irqchip = chip;
	r->u.irqchip.pin = pin;
}

static void route_msi(struct kvm_irq_routing *t, uint32_t gsi, const struct irq_msi *m)
{
	struct kvm_irq_routing_entry *r = &t->entries[t->nr++];

	assert(t->nr <= IRQ_ROUTES_MAX && m->used && !m->masked);
	memset(r, 0, sizeof(*r));
	r->gsi = gsi;
	r->type = KVM_IRQ_ROUTING_MSI;
	r->u.msi.address_lo = (uint32_t)m->addr;
	r->u.msi.address_hi = (uint32_t)(m->addr >> 32);
	r->u.msi.data = m->data;
}

static void routes_legacy(struct kvm_irq_routing *t)
{
	uint32_t g;

	for (g = 0; g < IOAPIC_PINS; g++) {
		if (g < IRQ_LEGACY && g != IRQ_TIMER_PIN)
			route_chip(t, g, g < PIC_PINS ? KVM_IRQCHIP_PIC_MASTER : KVM_IRQCHIP_PIC_SLAVE, g % PIC_PINS);
		if (g == 0)
			route_chip(t, 0, KVM_IRQCHIP_IOAPIC, IRQ_TIMER_PIN);
		else if (g != IRQ_TIMER_PIN)
			route_chip(t, g, KVM_IRQCHIP_IOAPIC, g);
	}
}

/* #syscalls:vcpu,engine ioctl(1=KVM_SET_GSI_ROUTING) */
static int irq_install(struct irq *i)
{
	uint32_t n;

	if (i->vm_fd < 0)
		return 0;
	i->table->nr = 0;
	i->table->flags = 0;
	routes_legacy(i->table);
	for (n = 0; n < i->msi_end; n++)
		if (i->msi[n].used && !i->msi[n].masked)
			route_msi(i->table, IRQ_MSI_BASE + n, &i->msi[n]);
	return ioctl(i->vm_fd, KVM_SET_GSI_ROUTING, i->table) ? -errno : 0;
}

/* #syscalls:vcpu,engine ioctl(1=KVM_IRQFD) */
static int irq_listen(struct irq *i, uint32_t n, bool on)
{
	struct kvm_irqfd f = {
		.fd = (uint32_t)i->msi[n].fd,
		.gsi = IRQ_MSI_BASE + n,
		.flags = on ? 0 : KVM_IRQFD_FLAG_DEASSIGN,
	};

	assert(lock_is_held(&i->lock) && n < i->msi_end && i->msi[n].used);
	if (i->msi[n].assigned == on)
		return 0;
	if (i->vm_fd >= 0 && ioctl(i->vm_fd, KVM_IRQFD, &f))
		return -errno;
	i->msi[n].assigned = on;
	return 0;
}

/* Bring KVM up to date: stop masked vectors, install routes, then let the others fire. */
static int irq_commit(struct irq *i)
{
	int ret = 0, r;
	uint32_t n;

	assert(lock_is_held(&i->lock) && i->msi_end <= IRQ_MSI_MAX);
	if (i->batch || !i->changed)
		return 0;
	i->changed = false;
	for (n = 0; n < i->msi_end; n++) {
		if (i->msi[n].used && i->msi[n].masked) {
			r = irq_listen(i, n, false);
			ret = ret ? ret : r;
		}
	}
	r = irq_install(i);
	ret = ret ? ret : r;
	for (n = 0; n < i->msi_end; n++) {
		if (i->msi[n].used && !i->msi[n].masked) {
			r = irq_listen(i, n, true);
			ret = ret ? ret : r;
		}
	}
	return ret;
}

int irq_create(struct irq **out, int vm_fd, struct err *e)
{
	struct irq *i = calloc(1, sizeof(*i));
	int ret;

	if (!i)
		return err_set(e, -ENOMEM, "no memory for interrupt routing");
	i->table = calloc(1, sizeof(*i->table) +
				     IRQ_ROUTES_MAX * sizeof(struct kvm_irq_routing_entry));
	if (!i->table) {
		free(i);
		return err_set(e, -ENOMEM, "no memory for interrupt routing");
	}
	i->vm_fd = vm_fd;
	pthread_mutex_init(&i->lock, NULL);
	ret = irq_install(i);
	if (ret) {
		irq_destroy(i);
		return err_set(e, ret, "KVM_SET_GSI_ROUTING: %s", strerror(-ret));
	}
	*out = i;
	return 0;
}

void irq_destroy(struct irq *i)
{
	uint32_t n;

	if (!i)
		return;
	for (n = 0; n < i->msi_end; n++)
		if (i->msi[n].used)
			close(i->msi[n].fd);
	pthread_mutex_destroy(&i->lock);
	free(i->table);
	free(i);
}

/* #syscalls:vcpu,engine ioctl(1=KVM_IRQ_LINE) */
int irq_line(struct irq *i, uint32_t gsi, bool level)
{
	struct kvm_irq_level l = { .irq = gsi, .level = level };

	if (gsi >= IOAPIC_PINS)
		return -EINVAL;
	if (i->vm_fd >= 0 && ioctl(i->vm_fd, KVM_IRQ_LINE, &l))
		return -errno;
	return 0;
}

int irq_msi_alloc(struct irq *i, uint32_t *gsi, int *fd, struct err *e)
{
	int f = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	uint32_t n;

	if (f < 0)
		return err_errno(e, "eventfd for an interrupt");
	pthread_mutex_lock(&i->lock);
	for (n = 0; n < IRQ_MSI_MAX && i->msi[n].used; n++)
		;
	if (n < IRQ_MSI_MAX) {
		i->msi[n] = (struct irq_msi){ .used = true, .masked = true, .fd = f };
		if (n >= i->msi_end)
			i->msi_end = n + 1;
	}
	pthread_mutex_unlock(&i->lock);
	if (n == IRQ_MSI_MAX) {
		close(f);
		return err_set(e, -ENOSPC, "more than %d interrupt vectors", IRQ_MSI_MAX);
	}
	*gsi = IRQ_MSI_BASE + n;
	*fd = f;
	return 0;
}

static struct irq_msi *irq_msi_get(struct irq *i, uint32_t gsi)
{
	if (gsi < IRQ_MSI_BASE || gsi - IRQ_MSI_BASE >= IRQ_MSI_MAX ||
	    !i->msi[gsi - IRQ_MSI_BASE].used)
		return NULL;
	return &i->msi[gsi - IRQ_MSI_BASE];
}

void irq_msi_free(struct irq *i, uint32_t gsi)
{
	struct irq_msi *m;

	pthread_mutex_lock(&i->lock);
	m = irq_msi_get(i, gsi);
	if (m) {
		irq_listen(i, gsi - IRQ_MSI_BASE, false);
		close(m->fd);
		m->used = false;
		if (!m->masked) {
			i->changed = true;
			irq_commit(i);
		}
	}
	pthread_mutex_unlock(&i->lock);
}

int irq_msi_set(struct irq *i, uint32_t gsi, uint64_t addr, uint32_t data, bool masked)
{
	struct irq_msi *m;
	int ret = 0;

	pthread_mutex_lock(&i->lock);
	m = irq_msi_get(i, gsi);
	if (!m) {
		ret = -EINVAL;
	} else if (m->masked != masked || (!masked && (m->addr != addr || m->data != data))) {
		m->addr = addr;
		m->data = data;
		m->masked = masked;
		i->changed = true;
		ret = irq_commit(i);
	}
	pthread_mutex_unlock(&i->lock);
	return ret;
}

bool irq_msi_pending(struct irq *i, uint32_t gsi)
{
	struct pollfd p = { .fd = -1, .events = POLLIN };
	struct irq_msi *m;

	pthread_mutex_lock(&i->lock);
	m = irq_msi_get(i, gsi);
	if (m && !m->assigned)
		p.fd = m->fd;
	pthread_mutex_unlock(&i->lock);
	return p.fd >= 0 && poll(&p, 1, 0) == 1;
}

void irq_batch_begin(struct irq *i)
{
	pthread_mutex_lock(&i->lock);
	i->batch++;
	pthread_mutex_unlock(&i->lock);
}

int irq_batch_end(struct irq *i)
{
	int ret;

	pthread_mutex_lock(&i->lock);
	assert(i->batch); /* each end has its beginning */
	i->batch--;
	ret = irq_commit(i);
	pthread_mutex_unlock(&i->lock);
	return ret;
}

/* #syscalls:vcpu,engine ioctl(1=KVM_IOEVENTFD) */
int irq_ioeventfd(struct irq *i, uint64_t addr, uint32_t len, int fd, bool add)
{
	struct kvm_ioeventfd k = {
		.addr = addr,
		.len = len,
		.fd = fd,
		.flags = add ? 0 : KVM_IOEVENTFD_FLAG_DEASSIGN,
	};

	if (i->vm_fd >= 0 && ioctl(i->vm_fd, KVM_IOEVENTFD, &k))
		return -errno;
	return 0;
}
