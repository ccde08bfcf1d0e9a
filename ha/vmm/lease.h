/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lease - droverd's side of a VMM's lease page (conf/lease_page.h, rule G).
 */
#ifndef DROVER_HA_VMM_LEASE_H
#define DROVER_HA_VMM_LEASE_H

#include "base/err.h"

#include <stdint.h>

/* No lease is longer; a page that says more is from an earlier boot. */
#define LEASE_LONGEST_MS 600000ull

struct lease;

/**
 * lease_create() - make the page of a VMM that is to be started, 0 in it
 * Whoever has mapped an earlier page of that name sees nothing of it.
 */
int lease_create(const char *path, struct lease **out, struct err *e);

/**
 * lease_open() - map the page of a VMM that was found alive
 * It keeps its value: who outlived the last droverd runs on until that ends or is renewed.
 */
int lease_open(const char *path, struct lease **out, struct err *e);

/** lease_publish() - its VMM may run until @until_ms (CLOCK_BOOTTIME), 0 = stop now */
void lease_publish(struct lease *l, uint64_t until_ms);

/** lease_until_ms() - what the page says now */
uint64_t lease_until_ms(const struct lease *l);

/** lease_close() - unmap; the page stays */
void lease_close(struct lease *l);

#endif
