/* SPDX-License-Identifier: Apache-2.0 */
/* stream_iov - vectors that went in part (transport.h). */
#include "net/transport.h"

#include <assert.h>
#include <stdint.h>

int stream_iov_advance(struct iovec *iov, int n, size_t done)
{
	int i = 0;

	while (i < n && done >= iov[i].iov_len)
		done -= iov[i++].iov_len;
	if (i < n) {
		iov[i].iov_base = (uint8_t *)iov[i].iov_base + done;
		iov[i].iov_len -= done;
	}
	assert(i < n || !done); /* nobody moved more than he was given */
	return i;
}
