/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio_int - what virtio.c, virtio_pci.c and the devices share (virtio.h is for users).
 *
 * v->lock guards everything below it.  It is taken by vCPU threads (registers), by the
 * device's thread around each round of events, and by the machine (start, quiesce, save).
 * All ops are called with it held unless they say otherwise.
 *
 * A device may have workers beside its thread, each for some of its queues: worker 0 is the device's thread, the
 * others have a lock of their own, under which they have kick() and event() called, instead of v->lock.  What they
 * read of the device (is it quiet, is the queue enabled, its ring) is changed with all locks held (virtio_dev_stop()),
 * or is atomic.  A worker must not take v->lock in its turn; what needs it is handed over to worker 0.
 *
 * Lock order: pci_dev.lock, then v->lock, then the workers' by number, then irq's and bus's.
 */
#ifndef DROVER_HV_VIRTIO_VIRTIO_INT_H
#define DROVER_HV_VIRTIO_VIRTIO_INT_H

#include "hv/virtio/virtio.h"
#include "hv/virtio/virtqueue.h"

#include <pthread.h>
#include <stdatomic.h>

#define VIRTIO_WORKERS_MAX 16 /* with the device's thread */
#define VIRTIO_QUEUES_MAX (2 * VIRTIO_WORKERS_MAX + 1)
#define VIRTIO_SOURCES_MAX (VIRTIO_WORKERS_MAX + 1) /* a device's own descriptors in its threads' epolls */
#define VIRTIO_CONFIG_MAX 256
#define VIRTIO_RETRY_MS 10

/* VIRTIO 1.2 2.1 */
#define VIRTIO_S_ACKNOWLEDGE 1u
#define VIRTIO_S_DRIVER 2u
#define VIRTIO_S_DRIVER_OK 4u
#define VIRTIO_S_FEATURES_OK 8u
#define VIRTIO_S_NEEDS_RESET 64u
#define VIRTIO_S_FAILED 128u

/* VIRTIO 1.2 6 */
#define VIRTIO_F_INDIRECT_DESC (1ull << 28)
#define VIRTIO_F_EVENT_IDX (1ull << 29)
#define VIRTIO_F_VERSION_1 (1ull << 32)

struct virtio_ops {
	const char *kind; /* "blk": the device's name is kind + index */
	uint16_t id;      /* VIRTIO 1.2 5 */
	uint32_t pci_class;
	/* The driver is ready (DRIVER_OK), or a migration brought us here: features are known. */
	void (*ready)(struct virtio_dev *v);
	/* Look at queue @q: the guest kicked it, or it must be looked at anyhow.  The queue's worker. */
	void (*kick)(struct virtio_dev *v, unsigned int q);
	/* Source @s of virtio_dev_watch() has @events.  Its worker, also while quiet. */
	void (*event)(struct virtio_dev *v, unsigned int s, uint32_t events);
	/* The device may work now, or no more: arm and disarm what makes it work by itself.  All workers stand still. */
	void (*run)(struct virtio_dev *v, bool on);
	/* Requests that may still write guest memory or disk. */
	unsigned int (*in_flight)(struct virtio_dev *v);
	/* The guest reset the device; nothing is in flight.  All workers stand still. */
	void (*reset)(struct virtio_dev *v);
	json_t *(*stats)(struct virtio_dev *v);
	/* The driver wrote @len (1, 2, 4 or 8) bytes of @value at @at of the device's configuration.  NULL: it is read-only. */
	void (*config_write)(struct virtio_dev *v, unsigned int at, unsigned int len, uint64_t value);
	/* The device goes: on return nobody calls it but the guest.  Without lock.  NULL: nobody does. */
	void (*leave)(struct virtio_dev *v);
	/* Free what the device holds, @v itself too.  The thread has ended; without lock. */
	void (*destroy)(struct virtio_dev *v);
	/* State beyond the common part, NULL = none. */
	const struct state_desc *state;
};

/* Common state in the form in which it crosses to another host. */
struct virtio_saved {
	uint64_t features;
	uint32_t feature_select, driver_feature_select;
	uint8_t status, isr, generation;
	uint16_t queue_select, config_vector;
	uint16_t n_queues;
	uint16_t q_size[VIRTIO_QUEUES_MAX], q_vector[VIRTIO_QUEUES_MAX];
	uint16_t q_last_avail[VIRTIO_QUEUES_MAX], q_used_idx[VIRTIO_QUEUES_MAX];
	uint8_t q_enabled[VIRTIO_QUEUES_MAX];
	uint64_t q_desc[VIRTIO_QUEUES_MAX], q_avail[VIRTIO_QUEUES_MAX], q_used[VIRTIO_QUEUES_MAX];
	struct pci_saved pci;
};

/* A thread beside the device's own (virtio_worker.c). */
struct virtio_worker {
	struct virtio_dev *v;
	pthread_t thread;
	pthread_mutex_t lock;
	int epoll_fd, control_fd;
	bool running, ending;
	bool handed; /* worker 0 looks at a queue of ours that was handed over, with our lock held */
};

struct virtio_dev {
	const struct virtio_ops *ops;
	struct device_env *env;
	char name[16];
	struct pci_dev pci;

	pthread_mutex_t lock;
	uint64_t offered, features; /* features: what the driver wrote, binding with FEATURES_OK */
	uint32_t feature_select, driver_feature_select;
	_Atomic uint8_t status, isr;
	uint8_t generation;
	uint16_t queue_select, config_vector;
	struct virtq queues[VIRTIO_QUEUES_MAX];
	unsigned int n_queues;
	uint8_t config[VIRTIO_CONFIG_MAX]; /* device-specific configuration; what the guest writes is for ops->config_write */
	unsigned int config_len;
	uint32_t window; /* offset of the PCI_CFG capability */

	/* the thread */
	pthread_t thread;
	bool ending;
	bool quiet; /* nothing is taken from rings, nothing is in flight */
	_Atomic bool want_quiet;
	bool want_reset; /* the guest wrote status 0 while requests were in flight */
	uint64_t retry;  /* queues to look at again without a kick, one bit each */
	bool loaded;     /* next start must look and interrupt everywhere */
	pthread_cond_t changed;
	int epoll_fd, control_fd;
	int kick_fd[VIRTIO_QUEUES_MAX];
	/* Set before virtio_dev_init(), 0 where nothing is said: how many workers, and whose queues and sources are which. */
	unsigned int n_workers; /* 0 and 1: the device's thread alone */
	uint8_t queue_worker[VIRTIO_QUEUES_MAX], source_worker[VIRTIO_SOURCES_MAX];
	struct virtio_worker worker[VIRTIO_WORKERS_MAX]; /* [0] is not used */
	_Atomic uint64_t handed;                         /* queues that worker 0 is to look at for others, one bit each */
	uint64_t notify_base;                            /* where the ioeventfds are, 0 = nowhere */

	struct virtio_saved saved;
};

/* --- virtio.c, for devices --- */

/** virtio_dev_init() - quiet, thread waiting, a place on the PCI bus.  On error nothing is left behind. */
int virtio_dev_init(struct virtio_dev *v, struct device_env *env, const struct virtio_ops *ops,
		    unsigned int index, uint64_t features, unsigned int n_queues,
		    uint16_t queue_size, struct err *e);
/** virtio_dev_watch() - wake the source's worker for @events of @fd; 0 = not now.  Same @s changes it. */
int virtio_dev_watch(struct virtio_dev *v, unsigned int s, int fd, uint32_t events);
/** virtio_dev_works() - may chains be taken from queue @q now? */
bool virtio_dev_works(const struct virtio_dev *v, unsigned int q);
/** virtio_dev_again() - have kick() called for @q once more, after others had their turn */
void virtio_dev_again(struct virtio_dev *v, unsigned int q);
/** virtio_dev_retry() - have kick() called for @q in VIRTIO_RETRY_MS, if still at work then */
void virtio_dev_retry(struct virtio_dev *v, unsigned int q);
/**
 * virtio_dev_stop() - all locks: v->lock and those of the workers, none of whom has a turn until virtio_dev_go()
 * Their turns are bounded, so it does not wait for long.
 */
void virtio_dev_stop(struct virtio_dev *v);
void virtio_dev_go(struct virtio_dev *v);
/** virtio_dev_hand_over() - kick() for @q is wanted under v->lock: true, and worker 0 will call it; false: it is held */
bool virtio_dev_hand_over(struct virtio_dev *v, unsigned int q);
/** virtio_dev_pop() - virtq_pop(); what makes no sense stops the device and counts as empty */
bool virtio_dev_pop(struct virtio_dev *v, unsigned int q, struct virtq_elem *el);
/** virtio_dev_broken() - the driver broke the rules: DEVICE_NEEDS_RESET (VIRTIO 1.2 2.1.2) */
void virtio_dev_broken(struct virtio_dev *v, unsigned int q, const char *why);
/** virtio_dev_interrupt() - after pushes to @q, if the guest wants to hear of them */
void virtio_dev_interrupt(struct virtio_dev *v, unsigned int q);
/** virtio_dev_config_changed() - v->config was changed */
void virtio_dev_config_changed(struct virtio_dev *v);

/* --- virtio_worker.c, for virtio.c --- */
/** virtio_workers_init() - workers 1.. and their descriptors, without threads; virtio_workers_end() also on error */
int virtio_workers_init(struct virtio_dev *v, struct err *e);
/** virtio_workers_start() - their threads; a signal mask must be set that they inherit */
int virtio_workers_start(struct virtio_dev *v, struct err *e);
/** virtio_workers_end() - threads joined, descriptors closed; no locks held */
void virtio_workers_end(struct virtio_dev *v);
/** virtio_workers_lock() - the workers' locks; v->lock is held */
void virtio_workers_lock(struct virtio_dev *v);
void virtio_workers_unlock(struct virtio_dev *v);
/** virtio_queue_lock() - the lock under which @q is looked at */
pthread_mutex_t *virtio_queue_lock(struct virtio_dev *v, unsigned int q);
/** virtio_worker_epoll() - where worker @w waits */
int virtio_worker_epoll(const struct virtio_dev *v, unsigned int w);
/** virtio_dev_handle() - an event of an epoll; the worker's lock is held */
void virtio_dev_handle(struct virtio_dev *v, uint32_t key, uint32_t events);
/** virtio_dev_take_over() - look at what workers have handed over; v->lock is held */
void virtio_dev_take_over(struct virtio_dev *v);

/* --- virtio.c, for virtio_pci.c; with all locks held (virtio_dev_stop()) --- */
/**
 * virtio_dev_set_status() - the driver wrote its status (VIRTIO 1.2 2.1)
 * 0 resets the device, as soon as nothing is in flight; until then further writes are ignored.  Else bits are
 * only added: FEATURES_OK when we offered what was taken, VERSION_1 among it (2.2.2), DRIVER_OK when FEATURES_OK
 * is there (3.1.1), NEEDS_RESET never.
 */
void virtio_dev_set_status(struct virtio_dev *v, uint8_t status);
/**
 * virtio_dev_enable_queue() - the driver wrote 1 to queue_enable of @q (VIRTIO 1.2 4.1.4.3)
 * Nothing when it is enabled already, or before FEATURES_OK.  A size or an address that makes no sense stops
 * the device (virtio_dev_broken()).
 */
void virtio_dev_enable_queue(struct virtio_dev *v, unsigned int q);

/* --- virtio.c, for virtio_state.c --- */
/** virtio_dev_negotiated() - features are known: let the rings know theirs */
void virtio_dev_negotiated(struct virtio_dev *v);

/* --- virtio_device.c: the hooks that all virtio devices have in common; @dev is a struct virtio_dev --- */
/** virtio_device_plug() - virtio_dev_plug(), which cannot fail: 0 */
int virtio_device_plug(void *dev, struct err *e);
/** virtio_device_destroy() - virtio_dev_destroy(); NULL is nothing */
void virtio_device_destroy(void *dev);
/** virtio_device_state() - virtio_dev_state(): one entry, or two for a device with state of its own */
size_t virtio_device_state(void *dev, struct state_entry *out);
/** virtio_device_slot() - its device number on bus 0; never 0, that is the host bridge */
unsigned int virtio_device_slot(void *dev);
/** virtio_device_stats() - virtio_dev_stats(); caller owns it; NULL when there is no memory */
json_t *virtio_device_stats(void *dev);
/** virtio_device_start() - virtio_dev_start(), which cannot fail: 0 */
int virtio_device_start(void *dev, struct err *e);
/** virtio_device_quiesce_begin() - virtio_dev_quiesce_begin() */
void virtio_device_quiesce_begin(void *dev);
/** virtio_device_quiesce() - virtio_dev_quiesce(); -ETIMEDOUT is its only error */
int virtio_device_quiesce(void *dev, unsigned int timeout_ms, struct err *e);

#define VIRTIO_DEVICE                                                                           \
	.may_leave = true, .plug = virtio_device_plug, .destroy = virtio_device_destroy,        \
	.state = virtio_device_state, .slot = virtio_device_slot, .stats = virtio_device_stats, \
	.start = virtio_device_start, .quiesce_begin = virtio_device_quiesce_begin,             \
	.quiesce = virtio_device_quiesce

/* --- virtio_pci.c --- */
/** virtio_pci_init() - a function on the bus that nobody finds before pci_dev_plug(&v->pci); pci_dev_fini() undoes it */
int virtio_pci_init(struct virtio_dev *v, struct err *e);

#endif
