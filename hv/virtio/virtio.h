/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio - devices of VIRTIO 1.2 over PCI, modern only.
 *
 *   virtio.c      a device: features, status, its queues, its thread, its state
 *   virtqueue.c   the split ring: pop, push, event index (virtqueue.h)
 *   virtio_pci.c  registers, MSI-X, ioeventfds
 *   virtio_worker.c  threads beside the first, for devices with many queues
 *   virtio_{blk,net,rng,input,console}.c
 *
 * What a machine does with them, by their rows (virtio_device.c):
 *
 *   create     virtio_blk_create(), ...: a place on the PCI bus, thread waiting, nothing opened
 *   plug       virtio_dev_plug(): the guest finds it
 *   open       virtio_blk_open() takes the disk: at start, or on a migration's destination
 *              only at take_over
 *   start      virtio_dev_start(): may touch guest memory from now on
 *   quiesce    virtio_dev_quiesce(): what was in flight has completed, nothing more is taken
 *              from the rings; on return the device writes neither memory nor disk
 *   save/load  entries of virtio_dev_state(), while quiet (after create, before start)
 *   start      again; looks at every ring once, as a notification may have been lost
 *   destroy    the guest may run; what it wants of the device from now on finds nobody
 *
 * Threads: each device has one thread, which alone touches the rings, or several with rings of their own; vCPU threads
 * come in by registers.  One mutex per device; a kick is an eventfd.
 *
 * Rule D: guest memory is marked dirty after data arrived in it, rings included.
 * Rule S: a ring that makes no sense stops the device (DEVICE_NEEDS_RESET), nothing else.
 * Rule G: env->may_submit() is asked before each request that writes to a disk is
 * taken from its ring, and before each further transfer of it.  After it said no, the request waits
 * there, or with the device, until it says yes.
 */
#ifndef DROVER_HV_VIRTIO_VIRTIO_H
#define DROVER_HV_VIRTIO_VIRTIO_H

#include "base/err.h"
#include "conf/domain.h"
#include "hv/device/device.h"
#include "hv/disk/disk_lock.h"
#include "hv/memory/memory.h"
#include "hv/pci/pci.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct port;
struct virtio_dev;

/** virtio_dev_plug() - let the guest find it, when it has been created; any time */
void virtio_dev_plug(struct virtio_dev *v);
/** virtio_dev_destroy() - take it from the guest, which may run, and free it; what is in flight comes to no end */
void virtio_dev_destroy(struct virtio_dev *v);

/** virtio_dev_start() - let the device work; a device that never opened its disk answers IOERR */
int virtio_dev_start(struct virtio_dev *v, struct err *e);

/**
 * virtio_dev_quiesce() - stop it, with nothing in flight
 * Return: 0 (also when it is quiet already), or -ETIMEDOUT "blk0: 3 requests still in
 * flight after 5000 ms"; it then still drains and takes nothing new: call again, or start.
 *
 * To stop many devices ask all with virtio_dev_quiesce_begin() first, then wait for each.
 */
int virtio_dev_quiesce(struct virtio_dev *v, unsigned int timeout_ms, struct err *e);
/** virtio_dev_quiesce_begin() - take nothing new from now on; does not wait for what is in flight */
void virtio_dev_quiesce_begin(struct virtio_dev *v);

/**
 * virtio_dev_state() - the entries that a migration must carry of this device
 * @out: room for DEVICE_STATES_MAX
 * Return: how many.  Names are unique in the machine.
 */
size_t virtio_dev_state(struct virtio_dev *v, struct state_entry *out);

/** virtio_dev_stats() - {"name": "blk0", "reads": ..., ...}; caller owns the object */
json_t *virtio_dev_stats(struct virtio_dev *v);

/* --- block --- */

struct virtio_blk_conf {
	const char *path; /* kept as a copy */
	bool readonly;
	enum domain_direct direct;
	bool report_errors;         /* failed writes are the guest's business */
	const char *const *parents; /* what an image lies on, nearest first; kept as copies */
	size_t n_parents;           /* at most BLOCK_PARENTS_MAX */
	enum domain_format format;  /* UNSAID: look whether it is another one (hv/disk/disk_format.h) */
	const char *serial;         /* <= 20 bytes, NULL: "drover-diskN" */
};

/**
 * virtio_blk_create() - device "blk" and @index, quiet and unplugged; its disk is not looked at
 * @env: kept, must outlive it
 * @c: read during the call only
 * Return: 0 and *@out, virtio_dev_destroy() it; -ENOMEM; -ENOSPC when the PCI bus or the irq is full; -errno.
 */
int virtio_blk_create(struct device_env *env, unsigned int index, const struct virtio_blk_conf *c,
		      struct virtio_dev **out, struct err *e);

/*
 * Taking a disk: prepare, then check and commit, for quiet devices only.  Nothing of a domain's
 * disks is committed before all of them are prepared and checked (machine_disks_commit()).
 */

/**
 * virtio_blk_prepare() - lock the disk, open it, learn its size; virtio_blk_release() undoes it
 * After a migration's load it must be at least as large as the guest was told, -EINVAL if not.
 */
int virtio_blk_prepare(struct virtio_dev *v, struct err *e);
/** virtio_blk_prepared() - is it locked and open, by virtio_blk_prepare()? */
bool virtio_blk_prepared(const struct virtio_dev *v);
/** virtio_blk_path() - as it was created; owned by @v */
const char *virtio_blk_path(const struct virtio_dev *v);
/** virtio_blk_readonly() - as it was created */
bool virtio_blk_readonly(const struct virtio_dev *v);
/** virtio_blk_is_file() - a regular file, no block device? Of one that is prepared */
bool virtio_blk_is_file(const struct virtio_dev *v);
/** virtio_blk_size() - what the guest knows of it: bytes, 0 for nothing yet, and bytes of a sector */
void virtio_blk_size(struct virtio_dev *v, uint64_t *capacity, uint32_t *sector);
/** virtio_blk_expect() - a guest will arrive that knows this of it; for virtio_blk_probe() */
void virtio_blk_expect(struct virtio_dev *v, uint64_t capacity, uint32_t sector);
/** virtio_blk_named() - disk_lock_named(); of one that is prepared */
int virtio_blk_named(const struct virtio_dev *v, struct err *e);
/** virtio_blk_last() - whom its record named when it was prepared; NULL: nobody, or only read here */
const struct disk_holder *virtio_blk_last(const struct virtio_dev *v);
/** virtio_blk_check() - disk_lock_check() */
int virtio_blk_check(struct virtio_dev *v, const struct disk_holder *me, uint64_t after,
		     struct err *e);
/** virtio_blk_commit() - record @me, and the guest may use it */
int virtio_blk_commit(struct virtio_dev *v, const struct disk_holder *me, struct err *e);
/** virtio_blk_undo() - commit did not happen: the record is as it was */
int virtio_blk_undo(struct virtio_dev *v, struct err *e);

/** virtio_blk_open() - all three, for one disk alone */
int virtio_blk_open(struct virtio_dev *v, const struct disk_holder *me, struct err *e);

/** virtio_blk_flush() - what the guest was told is written is on stable storage; any time, any thread */
int virtio_blk_flush(struct virtio_dev *v, struct err *e);
/** virtio_blk_release() - close and unlock it, flushed or not; quiet devices only */
void virtio_blk_release(struct virtio_dev *v);

/**
 * virtio_blk_probe() - try all that virtio_blk_prepare() needs but the lock, and leave no trace
 * @fresh: for a domain that starts; else for one that arrives running, whose disk may be in use
 */
int virtio_blk_probe(struct virtio_dev *v, bool fresh, struct err *e);

/* --- net --- */

#define VIRTIO_NET_PAIRS_MAX 16

struct virtio_net_conf {
	uint8_t mac[6];
	int tap_fd;            /* opened by net/link/tap.h with a vnet header; owned from success on; -1: no link */
	const int *more_taps;  /* of the pairs of queues beside the first, as @tap_fd; read during the call only */
	unsigned int n_more;   /* less than VIRTIO_NET_PAIRS_MAX */
	struct port *port;     /* behind it, closed with the card; owned from success on; NULL: none */
	uint16_t mtu;          /* what the guest is told; 0: what the link carries */
	uint16_t link_mtu;     /* what the link carries, no less than @mtu; 0: 1500 */
	uint16_t vlan;         /* of the guest's frames without a tag; 0: none, or whatever the bridge has */
	const uint16_t *vlans; /* that the guest tags itself, read during the call only */
	size_t n_vlans;        /* at most DOMAIN_VLANS_MAX */
};

/** virtio_net_create() - device "net" and @index, as virtio_blk_create(); on error taps and port stay the caller's */
int virtio_net_create(struct device_env *env, unsigned int index, const struct virtio_net_conf *c,
		      struct virtio_dev **out, struct err *e);

/**
 * virtio_net_announce() - the guest is somewhere else now: ask it to announce itself
 * Sets STATUS.ANNOUNCE if the driver negotiated it.  The host's own frames (net/link/announce.h)
 * go out of virtio_net_transmit().
 */
void virtio_net_announce(struct virtio_dev *v);

/** virtio_net_mac() - its six bytes; the guest's own after a migration's load */
const uint8_t *virtio_net_mac(const struct virtio_dev *v);

/* What two hosts must agree on before a guest moves. */
struct virtio_net_link {
	uint16_t told;      /* largest packet that its driver was told, 0: it was not, or there is none yet */
	uint16_t carries;   /* largest packet that the link here takes */
	unsigned int pairs; /* of queues that there are */
};
void virtio_net_link(struct virtio_dev *v, struct virtio_net_link *out);

/** virtio_net_transmit() - send a frame as if the guest had, in each VLAN that is the card's; for RARP at migration's end */
int virtio_net_transmit(struct virtio_dev *v, const uint8_t *frame, size_t len, struct err *e);

/* --- entropy --- */

/** virtio_rng_create() - device "rng" and @index, as virtio_blk_create() */
int virtio_rng_create(struct device_env *env, unsigned int index, struct virtio_dev **out,
		      struct err *e);

/* --- keyboard and tablet: at the seat (hv/display/seat.h) of the environment --- */

/** virtio_keyboard_create() - device "keyboard0", as virtio_blk_create() */
int virtio_keyboard_create(struct device_env *env, struct virtio_dev **out, struct err *e);
/** virtio_tablet_create() - device "tablet0", as virtio_blk_create() */
int virtio_tablet_create(struct device_env *env, struct virtio_dev **out, struct err *e);

/* --- console: a port of a name, for an agent in the guest --- */

/**
 * virtio_console_create() - device "console0", as virtio_blk_create()
 * @port_name: kept, must outlive it
 */
int virtio_console_create(struct device_env *env, const char *port_name, struct virtio_dev **out, struct err *e);
/**
 * virtio_console_attach() - @fd, a stream socket without waiting, is who speaks to the guest's port from now on; any thread
 * Return: 0, and @fd is the device's, which closes it when it was hung up; -EBUSY, and @fd stays the caller's.
 */
int virtio_console_attach(struct virtio_dev *v, int fd, struct err *e);
/** virtio_console_is_open() - has somebody opened the port in the guest? any thread */
bool virtio_console_is_open(struct virtio_dev *v);

/* --- rows of a machine's table: each device is a struct virtio_dev --- */

extern const struct device_kind virtio_blk_device, virtio_net_device, virtio_rng_device, virtio_keyboard_device,
	virtio_tablet_device, virtio_console_device;

#endif
