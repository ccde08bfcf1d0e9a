/* SPDX-License-Identifier: Apache-2.0 */
/*
 * disk_broker_int - what a VMM and its broker say to each other; see disk_broker.h.
 *
 * One question, one answer, each a packet of a SOCK_SEQPACKET pair with one of these structs in it: both
 * ends are the same program.  An answer that brings descriptors is followed by a packet of one byte
 * (BROKER_CLOSED), when the broker's own are closed: a VMM that goes on has the only ones.  The broker
 * believes nothing of a question all the same (rule S): its VMM deals with a guest.
 */
#ifndef DROVER_HV_DISK_DISK_BROKER_INT_H
#define DROVER_HV_DISK_DISK_BROKER_INT_H

#include "base/packet.h"
#include "hv/disk/disk_broker.h"

#define BROKER_CLOSED 'c'
#define BROKER_LOCKS_MAX 64 /* that a VMM may have at once */

enum broker_op {
	BROKER_PREPARE,    /* path, readonly, unmounted -> handle, last, store, fds */
	BROKER_PROBE,      /* path, readonly            -> store, fd */
	BROKER_RECORD,     /* path                      -> last */
	BROKER_ARBITRATES, /* path                      -> yes */
	BROKER_COMMIT,     /* handle, me, fd */
	BROKER_UNDO,       /* handle, fd */
	BROKER_NAMED,      /* handle, fd */
	BROKER_RELEASE,    /* handle, fd; without fd: what was handed over has not arrived */
};

/*
 * A record is only written with the disk's lock (rule H), and the lock is the VMM's, who may be killed at any
 * moment.  So what is about a lock brings the disk's descriptor: for as long as the broker writes, it has the
 * lock as well.
 */

/* No bool in it: one that is neither 0 nor 1 is both true and false to a compiler. */
struct broker_question {
	uint32_t op;
	uint32_t handle; /* from BROKER_PREPARE until BROKER_RELEASE */
	uint8_t readonly, unmounted;
	char path[PATH_MAX];
	struct disk_holder me;
};

struct broker_answer {
	int ret;
	struct err err;
	uint32_t n_fds; /* how many come with it, whether or not there was room for them */
	uint32_t handle;
	bool yes, has_last;
	struct disk_holder last;
	struct disk_store store;
};

/* What the broker does, and who has none does himself: disk_broker_here.c */

/**
 * disk_here_prepare() - disk_broker_prepare() by this process
 * Return: 0; what disk_lock_prepare() says; -EBUSY when this host uses the disk itself, with @unmounted; why its
 * store cannot be known.  On error nothing is locked.
 */
int disk_here_prepare(const char *path, bool readonly, bool unmounted, struct disk_lock **out,
		      struct disk_store *store, struct err *e);
/**
 * disk_here_probe() - disk_broker_probe() by this process
 * @fd: the caller closes it; not open after an error
 * Return: as above, with disk_lock_probe() for disk_lock_prepare(), and @unmounted where it is to be written.
 */
int disk_here_probe(const char *path, bool readonly, int *fd, struct disk_store *store, struct err *e);

/** broker_serve() - answer questions until the other end is gone */
void broker_serve(int sock, const struct disk_broker_disk *disks, size_t n);

#endif
