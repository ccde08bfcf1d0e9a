/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lease - droverd's side of the lease page (conf/lease_page.h, rule G).
 */
#ifndef DROVER_HA_LEASE_H
#define DROVER_HA_LEASE_H

#include "base/err.h"

#include <stdint.h>

/* No lease is longer; a page that says more is from an earlier boot. */
#define LEASE_LONGEST_MS 600000ull

struct lease;

/**
 * lease_open() - map the page at @path, creating it if it is not there
 *
 * A page that is there keeps its value: domains that outlived the last droverd
 * run on until their lease ends or is renewed.
 */
int lease_open(const char *path, struct lease **out, struct err *e);

/** lease_publish() - domains of this host may run until @until_ms (CLOCK_BOOTTIME), 0 = stop now */
void lease_publish(struct lease *l, uint64_t until_ms);

/** lease_until_ms() - what the page says now */
uint64_t lease_until_ms(const struct lease *l);

/** lease_close() - unmap; the page stays */
void lease_close(struct lease *l);

#endif
