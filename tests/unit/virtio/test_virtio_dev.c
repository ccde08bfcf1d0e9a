/* SPDX-License-Identifier: Apache-2.0 */
/* A device whose requests end when the test says so: what pause and reset owe to them. */
#include "driver.h"

#include "base/clock.h"
#include "hv/virtio/virtio_int.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <cmocka.h>

struct slow {
	struct virtio_dev v;
	struct bed bed;
	struct drv drv;
	unsigned int in_flight;
	unsigned int resets;
	struct virtq_elem el;
	int done_fd; /* the test ends one request with each write */
};

static struct slow *of_dev(struct virtio_dev *v)
{
	return (struct slow *)v;
}

static void slow_nothing(struct virtio_dev *v)
{
}

static void slow_kick(struct virtio_dev *v, unsigned int q)
{
	while (virtio_dev_works(v, q) && virtio_dev_pop(v, q, &of_dev(v)->el))
		of_dev(v)->in_flight++;
}

static void slow_event(struct virtio_dev *v, unsigned int s, uint32_t events)
{
	struct slow *d = of_dev(v);
	eventfd_t n;

	if (eventfd_read(d->done_fd, &n))
		return;
	for (; n && d->in_flight; n--, d->in_flight--)
		virtq_push(&v->queues[0], v->env->mem, 0, 0);
	virtio_dev_interrupt(v, 0);
}

static void slow_run(struct virtio_dev *v, bool on)
{
}

static unsigned int slow_in_flight(struct virtio_dev *v)
{
	return of_dev(v)->in_flight;
}

static void slow_reset(struct virtio_dev *v)
{
	assert_int_equal(of_dev(v)->in_flight, 0);
	of_dev(v)->resets++;
}

static json_t *slow_stats(struct virtio_dev *v)
{
	return json_object();
}

static const struct virtio_ops slow_ops = {
	.kind = "slow",
	.id = 4,
	.pci_class = 0x00ff00,
	.ready = slow_nothing,
	.kick = slow_kick,
	.event = slow_event,
	.run = slow_run,
	.in_flight = slow_in_flight,
	.reset = slow_reset,
	.stats = slow_stats,
	.destroy = slow_nothing,
};

static struct slow *slow_make(void)
{
	struct slow *d = calloc(1, sizeof(*d));
	struct err e;

	assert_int_equal(bed_init(&d->bed), 0);
	assert_int_equal(virtio_dev_init(&d->v, &d->bed.env, &slow_ops, 0, 0, 1, 16, &e), 0);
	virtio_dev_plug(&d->v);
	d->done_fd = eventfd(0, EFD_NONBLOCK);
	assert_int_equal(virtio_dev_watch(&d->v, 0, d->done_fd, EPOLLIN), 0);
	assert_int_equal(virtio_dev_start(&d->v, &e), 0);
	drv_probe(&d->drv, &d->bed, &d->v, 1);
	drv_features(&d->drv, 0);
	drv_vectors(&d->drv, 1);
	drv_queue(&d->drv, 0, 16);
	drv_ok(&d->drv);
	return d;
}

static void slow_free(struct slow *d)
{
	virtio_dev_destroy(&d->v);
	bed_fini(&d->bed);
	close(d->done_fd);
	free(d);
}

static unsigned int wait_in_flight(struct slow *d, unsigned int n)
{
	unsigned int got = 0, i;

	for (i = 0; i < 2000; i++) {
		pthread_mutex_lock(&d->v.lock);
		got = d->in_flight;
		pthread_mutex_unlock(&d->v.lock);
		if (got == n)
			break;
		usleep(1000);
	}
	return got;
}

static void submit(struct slow *d, unsigned int n)
{
	struct drv_buf b = { bed_alloc(&d->bed, 64), 64, true };

	while (n--)
		drv_add(&d->drv, 0, &b, 1);
	drv_kick(&d->drv, 0);
}

static void test_a_pause_waits_and_says_for_what(void **state)
{
	struct slow *d = slow_make();
	struct err e = { 0 };
	uint64_t begin;
	uint16_t head;
	uint32_t len;

	submit(d, 3);
	assert_int_equal(wait_in_flight(d, 3), 3);
	begin = clock_ns();
	assert_int_equal(virtio_dev_quiesce(&d->v, 50, &e), -ETIMEDOUT);
	assert_in_range(clock_ns() - begin, 50 * NS_PER_MS, NS_PER_SEC);
	assert_string_equal(e.text, "slow0: 3 requests still in flight after 50 ms");
	/* It takes nothing new meanwhile, */
	submit(d, 1);
	usleep(20000);
	assert_int_equal(wait_in_flight(d, 3), 3);
	/* is quiet when the last one is done, */
	eventfd_write(d->done_fd, 3);
	assert_int_equal(virtio_dev_quiesce(&d->v, 2000, &e), 0);
	while (drv_poll(&d->drv, 0, &head, &len))
		;
	assert_int_equal(d->drv.q[0].used_seen, 3);
	/* and finds what came in when it works again. */
	virtio_dev_start(&d->v, &e);
	assert_int_equal(wait_in_flight(d, 1), 1);
	eventfd_write(d->done_fd, 1);
	assert_true(drv_wait(&d->drv, 0, &head, &len));
	slow_free(d);
}

static void test_a_pause_given_up_is_forgotten(void **state)
{
	struct slow *d = slow_make();
	struct err e = { 0 };
	uint16_t head;
	uint32_t len;

	submit(d, 1);
	assert_int_equal(wait_in_flight(d, 1), 1);
	assert_int_equal(virtio_dev_quiesce(&d->v, 1, &e), -ETIMEDOUT);
	virtio_dev_start(&d->v, &e);
	submit(d, 1);
	assert_int_equal(wait_in_flight(d, 2), 2);
	eventfd_write(d->done_fd, 2);
	assert_true(drv_wait(&d->drv, 0, &head, &len));
	assert_true(drv_wait(&d->drv, 0, &head, &len));
	slow_free(d);
}

static void test_status_reads_zero_only_when_all_requests_ended(void **state)
{
	struct slow *d = slow_make();
	unsigned int i;

	submit(d, 2);
	assert_int_equal(wait_in_flight(d, 2), 2);
	drv_write(&d->drv, 0x14, 1, 0);
	usleep(20000);
	assert_int_equal(drv_read(&d->drv, 0x14, 1), 15);
	drv_write(&d->drv, 0x14, 1, 1); /* an impatient driver changes nothing */
	assert_int_equal(drv_read(&d->drv, 0x14, 1), 15);
	assert_int_equal(d->resets, 1); /* the one of the negotiation */
	eventfd_write(d->done_fd, 2);
	for (i = 0; i < 2000 && drv_read(&d->drv, 0x14, 1); i++)
		usleep(1000);
	assert_int_equal(drv_read(&d->drv, 0x14, 1), 0);
	assert_int_equal(d->resets, 2);
	slow_free(d);
}

static void test_a_pause_in_the_middle_of_a_reset(void **state)
{
	struct slow *d = slow_make();
	struct err e = { 0 };

	submit(d, 1);
	assert_int_equal(wait_in_flight(d, 1), 1);
	drv_write(&d->drv, 0x14, 1, 0);
	virtio_dev_quiesce_begin(&d->v);
	eventfd_write(d->done_fd, 1);
	assert_int_equal(virtio_dev_quiesce(&d->v, 2000, &e), 0);
	assert_int_equal(drv_read(&d->drv, 0x14, 1), 0); /* the reset came first */
	slow_free(d);
}

static void test_a_hostile_ring_holds_no_more_than_its_size(void **state)
{
	struct slow *d = slow_make();
	unsigned int i;
	const uint16_t idx = 17;
	struct iovec iov;

	/* The available index is 17 ahead of a ring of 16. */
	assert_int_equal(gmem_iov(d->bed.mem, d->drv.q[0].avail + 2, 2, GMEM_WRITE, &iov), 0);
	__atomic_store_n((uint16_t *)iov.iov_base, htole16(idx), __ATOMIC_RELEASE);
	drv_kick(&d->drv, 0);
	for (i = 0; i < 2000 && !(drv_read(&d->drv, 0x14, 1) & 64); i++)
		usleep(1000);
	assert_true(drv_read(&d->drv, 0x14, 1) & 64);
	assert_int_equal(wait_in_flight(d, 0), 0);
	slow_free(d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_pause_waits_and_says_for_what),
		cmocka_unit_test(test_a_pause_given_up_is_forgotten),
		cmocka_unit_test(test_status_reads_zero_only_when_all_requests_ended),
		cmocka_unit_test(test_a_pause_in_the_middle_of_a_reset),
		cmocka_unit_test(test_a_hostile_ring_holds_no_more_than_its_size),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
