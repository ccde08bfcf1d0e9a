/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bus - what it costs a vCPU thread to find a device: CPU time of one access to a device that does
 * nothing, on a bus with as many ranges as a machine with some disks and NICs has.
 *
 *     bus [THREADS]     1 to 64; for comparison: the exit that leads to such an access takes 1 to 3 us
 */
#include "hv/device/bus.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define RANGES 40u
#define RANGE 0x1000u
#define BATCH 1000u
#define SECONDS 1
#define THREADS_MAX 64

struct reader {
	pthread_t thread;
	struct bus *bus;
	double ns; /* CPU time per access */
};

static _Atomic bool stop;

static uint64_t nothing_read(void *dev, uint64_t offset, unsigned int len)
{
	return 0;
}

static void nothing_write(void *dev, uint64_t offset, unsigned int len, uint64_t value)
{
}

static const struct bus_ops nothing = { .read = nothing_read, .write = nothing_write };

static void *reader_run(void *arg)
{
	struct reader *r = arg;
	uint64_t n = 0;
	struct timespec t;

	for (; !atomic_load(&stop); n += BATCH)
		for (unsigned int i = 0; i < BATCH; i++)
			bus_read(r->bus, (uint64_t)(i % RANGES) * RANGE + 4, 4);
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	r->ns = ((double)t.tv_sec * 1e9 + (double)t.tv_nsec) / (double)n;
	return NULL;
}

int main(int argc, char **argv)
{
	unsigned int n = argc > 1 ? (unsigned int)atoi(argv[1]) : 1;
	struct timespec second = { .tv_sec = SECONDS };
	struct reader r[THREADS_MAX];
	struct bus *b;
	double sum = 0;

	if (!n || n > THREADS_MAX || bus_create(&b))
		return 2;
	for (unsigned int i = 0; i < RANGES; i++)
		bus_add(b, (uint64_t)i * RANGE, RANGE, &nothing, NULL);
	for (unsigned int i = 0; i < n; i++) {
		r[i].bus = b;
		pthread_create(&r[i].thread, NULL, reader_run, &r[i]);
	}
	nanosleep(&second, NULL);
	atomic_store(&stop, true);
	for (unsigned int i = 0; i < n; i++) {
		pthread_join(r[i].thread, NULL);
		sum += r[i].ns;
	}
	printf("%u threads: %.1f ns of CPU per access\n", n, sum / n);
	bus_destroy(b);
	return 0;
}
