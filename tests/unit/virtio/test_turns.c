/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest that fills a ring as fast as it is emptied: each device takes so many requests in a turn and
 * then gives its lock away, or registers, pauses and statistics would wait for as long as the guest likes.
 */
#include "driver.h"

#include "hv/virtio/virtio_int.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#define QUEUE 64
#define TURNS 50
#define TURN_MAX 256      /* requests in one turn, of any device */
#define REFILLS_MAX 40000 /* what one turn without end would take: less than an index holds */

struct refill {
	struct bed bed;
	struct drv drv;
	struct virtio_dev *v;
	unsigned int q;
	pthread_t thread;
	_Atomic bool stop;
};

static uint16_t *ring_index(struct refill *f, uint64_t ring)
{
	struct iovec iov;

	assert_int_equal(gmem_iov(f->bed.mem, ring + 2, 2, GMEM_WRITE, &iov), 0);
	return iov.iov_base;
}

/* The same chain again and again: the ring is full whenever it is looked at. */
static void *refill(void *arg)
{
	struct refill *f = arg;
	uint16_t *avail = ring_index(f, f->drv.q[f->q].avail), *used = ring_index(f, f->drv.q[f->q].used), u;

	while (!f->stop) {
		u = __atomic_load_n(used, __ATOMIC_ACQUIRE);
		if (u > REFILLS_MAX)
			break;
		__atomic_store_n(avail, (uint16_t)(u + QUEUE), __ATOMIC_RELEASE);
	}
	return NULL;
}

static void takes_turns(struct refill *f, const struct drv_buf *bufs, unsigned int n)
{
	uint16_t zero = 0, *used, before, took, most = 0;
	unsigned int i;
	struct err e;

	assert_int_equal(virtio_dev_start(f->v, &e), 0);
	drv_probe(&f->drv, &f->bed, f->v, 1);
	drv_features(&f->drv, 0);
	for (i = 0; i < f->v->n_queues; i++)
		drv_queue(&f->drv, i, QUEUE);
	drv_ok(&f->drv);
	usleep(20000); /* the look at every ring that a start is: nothing is there yet */
	pthread_mutex_lock(&f->v->lock);
	drv_add(&f->drv, f->q, bufs, n);
	for (i = 0; i < QUEUE; i++)
		gmem_write(f->bed.mem, f->drv.q[f->q].avail + 4 + 2 * i, &zero, 2);
	used = ring_index(f, f->drv.q[f->q].used);
	assert_int_equal(pthread_create(&f->thread, NULL, refill, f), 0);
	/* Several: the other thread may not run just now, and then the ring does run empty. */
	for (i = 0; i < TURNS && *used < REFILLS_MAX; i++) {
		before = __atomic_load_n(used, __ATOMIC_ACQUIRE);
		f->v->ops->kick(f->v, f->q);
		took = (uint16_t)(__atomic_load_n(used, __ATOMIC_ACQUIRE) - before);
		most = took > most ? took : most;
		sched_yield();
	}
	pthread_mutex_unlock(&f->v->lock);
	f->stop = true;
	pthread_join(f->thread, NULL);
	assert_in_range(most, 1, TURN_MAX);
	/* What was left behind is not forgotten; what came when the ring had run empty is told as ever. */
	drv_kick(&f->drv, f->q);
	for (i = 0; i < 2000 && *ring_index(f, f->drv.q[f->q].avail) != __atomic_load_n(used, __ATOMIC_ACQUIRE); i++)
		usleep(1000);
	assert_true(i < 2000);
	virtio_dev_destroy(f->v);
	bed_fini(&f->bed);
	free(f);
}

static struct refill *make(void)
{
	struct refill *f = calloc(1, sizeof(*f));

	assert_int_equal(bed_init(&f->bed), 0);
	return f;
}

static void a_disk_whose_requests_fail_at_once_takes_turns(void **state)
{
	struct disk_holder me = { .domain = "web", .host = "n1", .pid = getpid(), .incarnation = 1 };
	char path[] = "/tmp/drover-turns-XXXXXX", record[64];
	struct virtio_blk_conf c = { .path = path };
	struct refill *f = make();
	struct drv_buf b[2] = { { bed_alloc(&f->bed, 64), 16, false }, { bed_alloc(&f->bed, 64), 1, true } };
	int fd = mkstemp(path);
	struct err e;

	assert_int_equal(ftruncate(fd, 1 << 20), 0);
	close(fd);
	assert_int_equal(virtio_blk_create(&f->bed.env, 0, &c, &f->v, &e), 0);
	virtio_dev_plug(f->v);
	if (virtio_blk_open(f->v, &me, &e))
		fail_msg("%s", e.text);
	takes_turns(f, b, 2); /* a read of nothing */
	unlink(path);
	snprintf(record, sizeof(record), "%s.drover", path);
	unlink(record);
}

static void net_takes_turns(unsigned int q)
{
	struct virtio_net_conf c = { .mac = { 2, 0, 0, 0, 0, 1 } };
	struct refill *f = make();
	struct drv_buf b[2] = { { bed_alloc(&f->bed, 64), 64, false }, { bed_alloc(&f->bed, 64), 1, true } };
	struct err e;
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, pair), 0);
	c.tap_fd = pair[0];
	assert_int_equal(virtio_net_create(&f->bed.env, 0, &c, &f->v, &e), 0);
	virtio_dev_plug(f->v);
	f->q = q;
	takes_turns(f, b, q == 2 ? 2 : 1);
	close(pair[1]);
}

static void a_card_that_sends_takes_turns(void **state)
{
	net_takes_turns(1);
}

static void a_card_that_is_commanded_takes_turns(void **state)
{
	net_takes_turns(2);
}

static void entropy_takes_turns(void **state)
{
	struct refill *f = make();
	struct drv_buf b = { bed_alloc(&f->bed, 64), 64, true };
	struct err e;

	assert_int_equal(virtio_rng_create(&f->bed.env, 0, &f->v, &e), 0);
	virtio_dev_plug(f->v);
	takes_turns(f, &b, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_disk_whose_requests_fail_at_once_takes_turns),
		cmocka_unit_test(a_card_that_sends_takes_turns),
		cmocka_unit_test(a_card_that_is_commanded_takes_turns),
		cmocka_unit_test(entropy_takes_turns),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
