/* SPDX-License-Identifier: Apache-2.0 */
/* machine_bed - a machine on KVM with a few bytes of guest (guest_code.h), for tests. */
#ifndef DROVER_TESTS_MACHINE_BED_H
#define DROVER_TESTS_MACHINE_BED_H

#include "hv/machine/machine_int.h"
#include "tests/unit/hv/guest_code.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <setjmp.h>
#include <time.h>
#include <cmocka.h>

struct box {
	struct domain_conf *conf;
	struct machine *m;
	_Atomic int event; /* 1 + enum machine_event */
};

static inline void on_event(void *arg, enum machine_event what, const char *text)
{
	struct box *b = arg;

	atomic_store(&b->event, 1 + (int)what);
}

static inline void nap_ms(long ms)
{
	struct timespec t = { 0, ms * 1000000 };

	nanosleep(&t, NULL);
}

/* Whether there is KVM here; says that the test is skipped when there is none. */
static inline bool box_has_kvm(void)
{
	int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		printf("SKIP: no /dev/kvm here\n");
	else
		close(fd);
	return fd >= 0;
}

static inline void box_open(struct box *b, const void *code, size_t len, unsigned int vcpus)
{
	struct machine_options o = { .event = on_event, .arg = b };
	struct err e;

	memset(b, 0, sizeof(*b));
	b->conf = make_domain(code, len, vcpus);
	o.conf = b->conf;
	if (machine_create(&b->m, &o, &e))
		fail_msg("%s", e.text);
}

static inline void box_start(struct box *b)
{
	struct err e;

	if (machine_boot(b->m, &e) || machine_release(b->m, HOLD_START, &e))
		fail_msg("%s", e.text);
}

static inline void box_close(struct box *b)
{
	machine_destroy(b->m);
	free_domain(b->conf);
}

static inline uint32_t counter(struct box *b)
{
	uint32_t v;

	assert_int_equal(gmem_read(machine_memory(b->m), GUEST_COUNTER, &v, sizeof(v)), 0);
	return v;
}

static inline void wait_for_count(struct box *b, uint32_t more_than)
{
	for (int i = 0; i < 2000 && counter(b) <= more_than; i++)
		nap_ms(1);
	assert_true(counter(b) > more_than);
}

static inline int wait_for_event(struct box *b)
{
	for (int i = 0; i < 2000 && !atomic_load(&b->event); i++)
		nap_ms(1);
	return atomic_load(&b->event) - 1;
}

#endif
