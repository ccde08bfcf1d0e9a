/* SPDX-License-Identifier: Apache-2.0 */
/* page_transport - the table; see page_transport.h. */
#include "migrate/transport/page_transport.h"

#include "migrate/transport/stream_pages.h"

#include <assert.h>

/* The highest feature bit first. The last has none, so there is one for every peer. */
static const struct page_transport *const transports[] = { &page_transport_stream };

#define N_TRANSPORTS (sizeof(transports) / sizeof(transports[0]))

uint64_t page_transport_features(void)
{
	uint64_t all = 0;
	size_t i;

	for (i = 0; i < N_TRANSPORTS; i++) {
		/* Both sides take the highest that was agreed on, whatever else they know. */
		assert(!i || transports[i]->feature < transports[i - 1]->feature);
		all |= transports[i]->feature;
	}
	assert(!(all & ~WIRE_FEATURES_TRANSPORT) && !transports[N_TRANSPORTS - 1]->feature);
	return all;
}

const struct page_transport *page_transport_pick(uint64_t agreed)
{
	size_t i = 0;

	while (transports[i]->feature & ~agreed)
		i++;
	assert(i < N_TRANSPORTS);
	return transports[i];
}
