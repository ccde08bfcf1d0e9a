/* SPDX-License-Identifier: Apache-2.0 */
/* rate_limit - a limit on bytes per second, shared by all senders of a migration. */
#ifndef DROVER_MIGRATE_PAGES_RATE_LIMIT_H
#define DROVER_MIGRATE_PAGES_RATE_LIMIT_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct rate_limit {
	pthread_mutex_t lock;
	uint64_t rate;       /* bytes per second, 0 = no limit */
	uint64_t free_at_ns; /* when what was promised so far has drained */
};

/** rate_limit_init() - @rate: bytes per second, 0 for no limit */
void rate_limit_init(struct rate_limit *p, uint64_t rate);
/** rate_limit_destroy() - nobody may be waiting in it */
void rate_limit_destroy(struct rate_limit *p);
/** rate_limit_wait() - before @bytes are sent: sleep as long as the limit asks, or until *@stop; ns slept */
uint64_t rate_limit_wait(struct rate_limit *p, uint64_t bytes, const _Atomic bool *stop);

#endif
