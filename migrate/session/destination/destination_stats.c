/* SPDX-License-Identifier: Apache-2.0 */
/* destination_stats - how far the domain has come. */
#include "migrate/session/destination/destination_int.h"

#include "base/clock.h"
#include "base/lock.h"

#include <assert.h>

void destination_refresh_stats(struct destination *d)
{
	struct migrate_stats *st = &d->s.stats;
	uint64_t n = atomic_load(&d->s.control.rx_bytes);
	uint32_t i;

	for (i = 0; i < d->s.n_data; i++)
		n += atomic_load(&d->s.data[i].rx_bytes);
	st->sent = n;
	st->channels = d->s.n_data;
	st->pages_lz4 = atomic_load(&d->pool.sink.lz4_pages);
	st->pages_raw = atomic_load(&d->pool.sink.data_pages) - st->pages_lz4;
	st->pages_zero = atomic_load(&d->pool.sink.zero_pages);
	if (d->start_ns)
		st->total_us = (clock_ns() - d->start_ns) / 1000;
}
