/* SPDX-License-Identifier: Apache-2.0 */
/* pace - a limit on octets per second, shared by all senders of a migration. */
#ifndef DROVER_MIGRATE_PACE_H
#define DROVER_MIGRATE_PACE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct pace {
	pthread_mutex_t lock;
	uint64_t rate;           /* octets per second, 0 = no limit */
	uint64_t free_at_ns;     /* when what was promised so far has drained */
};

void pace_init(struct pace *p, uint64_t rate);
void pace_destroy(struct pace *p);
/** pace_wait() - before @bytes are sent: sleep as long as the limit asks, or until *@stop; ns slept */
uint64_t pace_wait(struct pace *p, uint64_t bytes, const _Atomic bool *stop);

#endif
