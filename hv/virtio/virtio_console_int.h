/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio_console_int - what the files of the console device share (VIRTIO 1.2 5.3).
 *
 *     virtio_console.c           bytes between the guest's port and whoever is connected here
 *     virtio_console_control.c   what device and driver tell each other of the port
 */
#ifndef DROVER_HV_VIRTIO_VIRTIO_CONSOLE_INT_H
#define DROVER_HV_VIRTIO_VIRTIO_CONSOLE_INT_H

#include "hv/virtio/virtio_int.h"

/*
 * Queues come in pairs, to the guest and from it: port 0, control, port 1 (VIRTIO 1.2 5.3.2).  Port 0 is a console for
 * drivers that know of no ports; it is never added.
 */
#define CONSOLE_Q_CONTROL_IN 2
#define CONSOLE_Q_CONTROL_OUT 3
#define CONSOLE_Q_IN 4
#define CONSOLE_Q_OUT 5
#define CONSOLE_QUEUES 6
#define CONSOLE_PORTS 2
#define CONSOLE_PORT 1

#define CONSOLE_CHUNK 65536u /* a driver writes half as many bytes at once */

/* What the driver is still to be told, in this order. */
#define CONSOLE_OWED_ADD 1u
#define CONSOLE_OWED_NAME 2u
#define CONSOLE_OWED_OPEN 4u

struct virtio_console {
	struct virtio_dev v;
	const char *port_name;
	struct virtq_elem el;
	int fd;               /* whoever is connected; -1: nobody */
	uint8_t *out;         /* CONSOLE_CHUNK bytes: ... */
	size_t out_at, out_n; /* ... these of them are for `fd`, which takes no more at the moment */
	uint8_t owed;
	uint8_t port_ready; /* the driver has a port */
	uint8_t guest_open; /* and somebody has opened it */
	uint8_t told_open;  /* the driver believes that somebody is connected */
	uint64_t in_bytes, out_bytes;
	struct console_saved {
		uint8_t owed, port_ready, guest_open, told_open;
	} saved; /* what crosses to another host of the above */
};

/** console_tell() - give the driver what it is owed, as far as it has buffers; with v->lock */
void console_tell(struct virtio_console *d);
/** console_told() - take what the driver tells; with v->lock */
void console_told(struct virtio_console *d);
/** console_owe() - the driver is to hear of @what, once it has a port; with v->lock */
void console_owe(struct virtio_console *d, uint8_t what);

#endif
