/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fake_net - the wire between two engines of one process, that can be broken.
 *
 * Streams are socket pairs; each record leaves in one writev(), so counting
 * those counts messages.  A plan names the message of which side something
 * happens at, by its type and the how-manieth of that type it is: the whole
 * link is cut before or after it, in the middle of it, or from then on
 * everything vanishes without a trace.
 */
#ifndef DROVER_TESTS_FAKE_NET_H
#define DROVER_TESTS_FAKE_NET_H

#include "migrate/migrate.h"
#include "migrate/wire/wire.h"

#include <pthread.h>
#include <stdatomic.h>

enum fake_fault {
	FAULT_NONE,
	FAULT_CUT_BEFORE, /* the message never leaves, all connections end */
	FAULT_CUT_AFTER,  /* it leaves, then all connections end */
	FAULT_CUT_MIDDLE, /* half of it leaves */
	FAULT_SILENCE,    /* from this message on nothing arrives any more, either way; nothing is closed */
	FAULT_FLIP,       /* one bit of it is wrong */
	FAULT_TRUNCATE,   /* its last byte is missing, what follows comes right behind */
	FAULTS,
};

/* A record's type as an index: those that a reader may skip come behind the others. */
#define FAKE_TYPES 64u
static inline unsigned int fake_type(uint16_t type)
{
	return (type & ~WIRE_OPTIONAL) % 32 + (type & WIRE_OPTIONAL ? 32 : 0);
}

struct fake_net {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	struct stream *waiting[64]; /* connected, not accepted yet */
	unsigned int n_waiting;
	int fds[128]; /* of all ends, to cut them */
	unsigned int n_fds;
	_Atomic bool cut, silent;
	_Atomic unsigned int sent[2][FAKE_TYPES]; /* by source, destination */
	/* the plan */
	enum fake_fault fault;
	int fault_side;
	uint16_t fault_type;
	unsigned int fault_at; /* how many of that type before */
	uint64_t rate;         /* bytes per second of each data connection, 0 = no limit */
};

void fake_net_init(struct fake_net *n);
void fake_net_free(struct fake_net *n);
/** fake_net_cut() - now, all connections */
void fake_net_cut(struct fake_net *n);
struct migrate_link fake_net_source(struct fake_net *n);
struct migrate_link fake_net_destination(struct fake_net *n);

#endif
