/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tap - the host's end of a guest's network card.
 *
 * Frames are read and written with struct virtio_net_hdr_v1 (TAP_HEADER bytes)
 * in front, so checksums and segmentation can be left to whoever does them best.
 *
 * Needs CAP_NET_ADMIN, except for a persistent tap that belongs to our user.
 */
#ifndef DROVER_NET_LINK_TAP_H
#define DROVER_NET_LINK_TAP_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TAP_HEADER 12 /* VIRTIO 1.2 5.1.6: with num_buffers */
#define TAP_NAME_MAX 15

/* What the reader of a tap can take as it is (TUNSETOFFLOAD). */
#define TAP_OFFLOAD_CSUM 1u /* frames whose checksum is yet to be filled in */
#define TAP_OFFLOAD_TSO4 2u /* TCP segments of up to 64 KiB */
#define TAP_OFFLOAD_TSO6 4u
#define TAP_OFFLOAD_ECN 8u

#define TAP_QUEUES_MAX 16

/**
 * tap_open() - open or make the tap @name, non-blocking
 * @name: NULL lets the kernel choose; longer than TAP_NAME_MAX is -EINVAL
 * @queues: 1..TAP_QUEUES_MAX that it will have; this is the first, for the others tap_open_queue()
 * @actual: TAP_NAME_MAX + 1 bytes, receives the name
 * Return: a descriptor the caller owns, or -EPERM, -EBUSY (somebody has it open), ...
 */
int tap_open(const char *name, unsigned int queues, char *actual, struct err *e);

/** tap_open_queue() - a further queue of the tap @name, which was opened for several: as tap_open(), attached */
int tap_open_queue(const char *name, struct err *e);
/** tap_attach_queue() - does the queue behind @fd take part in what the tap does? At first it does */
int tap_attach_queue(int fd, bool on, struct err *e);

/** tap_offload() - what may be given to us unfinished (TAP_OFFLOAD_*) */
int tap_offload(int fd, unsigned int offloads, struct err *e);

/**
 * tap_attach() - make @name a port of @bridge
 * @guest: 6 bytes, the address of the guest's card; the host's end gets it with 0xfe in front
 * Return: 0, -ENODEV without such a tap, -ENOENT without such a bridge, ...
 *
 * A bridge that was given no address takes the lowest of its ports': it must be the host's own card,
 * or the host changes its address whenever a guest comes or goes, and for up to a minute its peers
 * send to one that is not there (seen as a migration that did not connect).  For the same reason the
 * tap takes the bridge's MTU first: a bridge of jumbo frames goes down to the least of its ports'.
 */
int tap_attach(const char *name, const char *bridge, const uint8_t *guest, struct err *e);

/** tap_mtu() - the largest packet that @name carries, in bytes without the Ethernet header; or -ENODEV, ... */
int tap_mtu(const char *name, struct err *e);

/** tap_set_mtu() - let it carry packets of @mtu bytes; -EINVAL where no tap carries so many */
int tap_set_mtu(const char *name, int mtu, struct err *e);

/** tap_detach() - take @name off @bridge; 0 also when it is off already, or the bridge is gone */
int tap_detach(const char *name, const char *bridge, struct err *e);

/** tap_persists() - does the tap behind @fd stay when it is closed (ip tuntap add)? */
bool tap_persists(int fd);

/** tap_set_up() - bring the link up, or down */
int tap_set_up(const char *name, bool up, struct err *e);

#endif
