/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gate_disks - a gated domain lets go of its disks, and takes them again, on a thread of its own.
 *
 * Both wait for storage as long as it likes, and a lease ends most often when storage is away too: it is the same
 * network.  The main thread, which begins them, answers whoever asks meanwhile, and looks now and then what became of it.
 * The thread lives for one of them.
 *
 * Threads: all calls from the main thread.
 */
#ifndef DROVER_HV_GATE_GATE_DISKS_H
#define DROVER_HV_GATE_GATE_DISKS_H

#include "base/err.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct machine;

struct gate_disks {
	struct machine *machine;
	void (*ended)(void *arg); /* on the thread, as the last thing it does: gate_disks_done() will be true */
	void *arg;
	bool released; /* they are free for another host */
	bool refused;  /* they could not be taken again, which was said */
	/* One of them, from begin to gate_disks_end(): */
	bool busy, takes;
	pthread_t thread;
	uint64_t incarnation;
	atomic_bool done;
	bool lost;
	int ret;
	struct err e;
};

/**
 * gate_disks_let_go() - begin: machine_disks_let_go()
 * None is under way.  Where there can be no thread nothing begins, which is logged.
 */
void gate_disks_let_go(struct gate_disks *d);
/** gate_disks_take() - begin: machine_disks_take_back(), for released ones; as gate_disks_let_go() */
void gate_disks_take(struct gate_disks *d, uint64_t incarnation);
/** gate_disks_done() - nothing is under way that has not come to its end */
bool gate_disks_done(const struct gate_disks *d);
/**
 * gate_disks_end() - when done: note and log how it went; again is nothing
 * Return: 0; -errno when the domain can never go on, with why.
 */
int gate_disks_end(struct gate_disks *d, struct err *e);

#endif
