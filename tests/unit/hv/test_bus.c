/* SPDX-License-Identifier: Apache-2.0 */
/* A bus from which devices leave while it is in use: bus_wait() and what it promises. */
#include "hv/device/bus.h"

#include "base/clock.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#define LONG_NS (5 * NS_PER_SEC)

/* A device whose handler stays until it is let go. */
struct slow {
	struct bus *bus;
	_Atomic bool entered, may_leave, left;
};

static bool wait_until(_Atomic bool *flag)
{
	uint64_t end = clock_ns() + LONG_NS;

	while (!atomic_load(flag) && clock_ns() < end)
		usleep(100);
	return atomic_load(flag);
}

static uint64_t slow_read(void *dev, uint64_t offset, unsigned int len)
{
	struct slow *s = dev;

	atomic_store(&s->entered, true);
	wait_until(&s->may_leave);
	atomic_store(&s->left, true);
	return 7;
}

static void slow_write(void *dev, uint64_t offset, unsigned int len, uint64_t value)
{
}

static const struct bus_ops slow_ops = { .read = slow_read, .write = slow_write };

static void *read_slow(void *arg)
{
	struct slow *s = arg;

	return (void *)(uintptr_t)bus_read(s->bus, 0x1000, 4);
}

static void *let_go_later(void *arg)
{
	struct slow *s = arg;

	usleep(50000);
	atomic_store(&s->may_leave, true);
	return NULL;
}

static void test_wait_ends_when_the_last_handler_has_come_back(void **state)
{
	struct slow s = { 0 };
	pthread_t reader, opener;
	void *value;

	assert_int_equal(bus_create(&s.bus), 0);
	assert_int_equal(bus_add(s.bus, 0x1000, 4, &slow_ops, &s), 0);
	pthread_create(&reader, NULL, read_slow, &s);
	assert_true(wait_until(&s.entered));
	bus_remove(s.bus, 0x1000, &s);
	/* Gone for who asks now, while the handler still runs. */
	assert_true(bus_read(s.bus, 0x1000, 4) == ~0ull);
	assert_false(atomic_load(&s.left));
	pthread_create(&opener, NULL, let_go_later, &s);
	bus_wait(s.bus);
	assert_true(atomic_load(&s.left));
	pthread_join(reader, &value);
	pthread_join(opener, NULL);
	assert_int_equal((uintptr_t)value, 7);
	bus_destroy(s.bus);
}

/* An access that began after it is not waited for: else a busy guest could hold a device for ever. */
static void *wait_in_thread(void *arg)
{
	bus_wait(arg);
	return NULL;
}

static void test_wait_is_not_kept_by_what_begins_later(void **state)
{
	struct slow first = { 0 }, later = { 0 };
	pthread_t a, b, waiter;

	assert_int_equal(bus_create(&first.bus), 0);
	later.bus = first.bus;
	assert_int_equal(bus_add(first.bus, 0x1000, 4, &slow_ops, &first), 0);
	pthread_create(&a, NULL, read_slow, &first);
	assert_true(wait_until(&first.entered));
	bus_remove(first.bus, 0x1000, &first);
	pthread_create(&waiter, NULL, wait_in_thread, first.bus);
	usleep(50000); /* it waits by now; if not, this test shows nothing, but fails nobody */
	assert_int_equal(bus_add(first.bus, 0x1000, 4, &slow_ops, &later), 0);
	pthread_create(&b, NULL, read_slow, &later);
	assert_true(wait_until(&later.entered));
	atomic_store(&first.may_leave, true);
	pthread_join(waiter, NULL);
	assert_false(atomic_load(&later.left));
	atomic_store(&later.may_leave, true);
	pthread_join(a, NULL);
	pthread_join(b, NULL);
	bus_destroy(first.bus);
}

/* --- devices that come and go under many readers --- */

#define READERS 3
#define ROUNDS 500
#define YIELDS 20
#define ALIVE 0x600d

struct busy {
	struct bus *bus;
	_Atomic bool stop;
	_Atomic uint64_t seen, wrong;
};

static uint64_t alive_read(void *dev, uint64_t offset, unsigned int len)
{
	return *(uint32_t *)dev;
}

static const struct bus_ops alive_ops = { .read = alive_read, .write = slow_write };

static void *read_always(void *arg)
{
	struct busy *b = arg;
	uint64_t v;

	while (!atomic_load(&b->stop)) {
		v = bus_read(b->bus, 0x1000, 4);
		if (v == ALIVE)
			atomic_fetch_add(&b->seen, 1);
		else if (v != ~0ull)
			atomic_fetch_add(&b->wrong, 1);
	}
	return NULL;
}

static void test_no_handler_meets_a_device_that_was_freed(void **state)
{
	struct busy b = { 0 };
	pthread_t readers[READERS], other;
	uint64_t end = clock_ns() + LONG_NS, was;

	assert_int_equal(bus_create(&b.bus), 0);
	for (int i = 0; i < READERS; i++)
		pthread_create(&readers[i], NULL, read_always, &b);
	/* As many as there is time for: beside other load a yield may take milliseconds. */
	for (int i = 0; (i < ROUNDS || !atomic_load(&b.seen)) && clock_ns() < end; i++) {
		uint32_t *dev = malloc(sizeof(*dev));

		*dev = ALIVE;
		was = atomic_load(&b.seen);
		assert_int_equal(bus_add(b.bus, 0x1000, 4, &alive_ops, dev), 0);
		for (int y = 0; y < YIELDS && atomic_load(&b.seen) == was; y++)
			sched_yield();
		bus_remove(b.bus, 0x1000, dev);
		if (i % 100 == 0) /* two at once wait one after the other */
			pthread_create(&other, NULL, wait_in_thread, b.bus);
		bus_wait(b.bus);
		*dev = 0xdead;
		free(dev);
		if (i % 100 == 0)
			pthread_join(other, NULL);
	}
	atomic_store(&b.stop, true);
	for (int i = 0; i < READERS; i++)
		pthread_join(readers[i], NULL);
	assert_int_equal(atomic_load(&b.wrong), 0);
	assert_true(atomic_load(&b.seen) > 0);
	bus_destroy(b.bus);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_wait_ends_when_the_last_handler_has_come_back),
		cmocka_unit_test(test_wait_is_not_kept_by_what_begins_later),
		cmocka_unit_test(test_no_handler_meets_a_device_that_was_freed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
