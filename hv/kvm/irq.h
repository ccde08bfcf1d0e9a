/* SPDX-License-Identifier: Apache-2.0 */
/*
 * irq - the one owner of KVM's interrupt routing table.
 *
 * GSI 0-15 go to PIC and IOAPIC, 16-23 to the IOAPIC, and from IRQ_MSI_BASE on
 * each GSI is one MSI route.  Devices raise MSIs through an eventfd (irqfd), so
 * any thread can interrupt the guest with one write(2).  GSI 0, the PIT, goes to
 * IOAPIC pin 2, so the MADT must carry the override IRQ 0 -> GSI 2.
 *
 * ioeventfds live here too: they are the other half of "no exit to user space".
 */
#ifndef DROVER_HV_KVM_IRQ_H
#define DROVER_HV_KVM_IRQ_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

#define IRQ_MSI_BASE 24
#define IRQ_TIMER_PIN 2 /* of the IOAPIC: where a PC has its timer, IRQ 0; the MADT says so (ACPI 5.2.12.5) */
#define IRQ_MSI_MAX 1024

struct irq;

/**
 * irq_create() - install the default routing on @vm_fd (KVM_CREATE_IRQCHIP already done)
 * With @vm_fd -1 there is no KVM behind it: eventfds exist and count, for tests.
 */
int irq_create(struct irq **out, int vm_fd, struct err *e);
/** irq_destroy() - close all eventfds and free it; nobody raises or uses them any more; NULL is nothing */
void irq_destroy(struct irq *i);

/** irq_line() - set the level of a legacy line (gsi 0-23) */
int irq_line(struct irq *i, uint32_t gsi, bool level);

/** irq_msi_alloc() - a GSI for one MSI-X vector and the eventfd that raises it; the irq owns the fd */
int irq_msi_alloc(struct irq *i, uint32_t *gsi, int *fd, struct err *e);
/** irq_msi_free() - give @gsi back and close its eventfd, which nobody raises any more; nothing for no such GSI */
void irq_msi_free(struct irq *i, uint32_t gsi);

/**
 * irq_msi_set() - route @gsi to an MSI message, or mask it
 * A masked vector that is raised keeps its eventfd count and fires when unmasked.
 */
int irq_msi_set(struct irq *i, uint32_t gsi, uint64_t addr, uint32_t data, bool masked);

/** irq_msi_pending() - whether a masked vector was raised and waits */
bool irq_msi_pending(struct irq *i, uint32_t gsi);

/**
 * irq_batch_begin() - put many irq_msi_set(), of any thread, in force at once: at irq_batch_end()
 * One KVM_SET_GSI_ROUTING waits for all vCPUs to leave a read section, about a
 * millisecond: loading a machine brackets all its devices with these.  They nest.
 */
void irq_batch_begin(struct irq *i);
/** irq_batch_end() - the last of them tells KVM; 0 or the first -errno, but all of it was tried */
int irq_batch_end(struct irq *i);

/** irq_ioeventfd() - let a write of @len bytes (0 = any length) at @addr signal @fd; @add false takes it away */
int irq_ioeventfd(struct irq *i, uint64_t addr, uint32_t len, int fd, bool add);

#endif
