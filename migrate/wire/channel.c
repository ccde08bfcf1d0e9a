/* SPDX-License-Identifier: Apache-2.0 */
/* channel - see channel.h. */
#include "migrate/wire/channel.h"

#include "base/clock.h"
#include "base/crc32c.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#define CRC_COVERS 12u /* bytes of the header under the checksum */
#define TAKEV_MAX 640  /* runs of one PAGES record plus its chunks, at most */

void channel_init(struct channel *ch, struct stream *stream, enum wire_way rx_way)
{
	assert(stream); /* ours from now on */
	memset(ch, 0, sizeof(*ch));
	ch->stream = stream;
	ch->rx_way = rx_way;
	ch->capture_fd = -1;
	pthread_mutex_init(&ch->tx_lock, NULL);
	atomic_store(&ch->tx_last_ms, clock_ms());
}

void channel_destroy(struct channel *ch)
{
	if (!ch->stream)
		return;
	stream_close(ch->stream);
	ch->stream = NULL;
	if (ch->capture_fd >= 0)
		close(ch->capture_fd);
	pthread_mutex_destroy(&ch->tx_lock);
}

void channel_cut(struct channel *ch)
{
	if (ch->stream)
		stream_shutdown(ch->stream);
}

/* A debugging aid: a capture that cannot be written is simply shorter. */
static void capture(struct channel *ch, const struct iovec *iov, int n)
{
	ssize_t done;
	int i;

	for (i = 0; i < n; i++) {
		done = write(ch->capture_fd, iov[i].iov_base, iov[i].iov_len);
		if (done != (ssize_t)iov[i].iov_len)
			return;
	}
}

int channel_sendv(struct channel *ch, uint16_t type, struct iovec *iov, int n, int timeout_ms,
		  struct err *e)
{
	uint8_t header[WIRE_HEADER_SIZE];
	struct wire_header h = { .type = type };
	uint64_t length = 0;
	int i, rc;

	assert(n >= 1 && ch->stream); /* [0] is for the header */
	for (i = 1; i < n; i++)
		length += iov[i].iov_len;
	assert(length <= PAGES_TABLES_MAX + EXTENT_BYTES);
	h.length = (uint32_t)length;

	pthread_mutex_lock(&ch->tx_lock);
	h.sequence = ch->tx_seq++;
	wire_put_header(header, &h);
	h.crc = crc32c(0, header, CRC_COVERS);
	for (i = 1; i < n; i++)
		h.crc = crc32c(h.crc, iov[i].iov_base, iov[i].iov_len);
	wire_put_header(header, &h);
	iov[0].iov_base = header;
	iov[0].iov_len = sizeof(header);
	if (ch->capture_fd >= 0)
		capture(ch, iov, n);
	rc = stream_writev(ch->stream, iov, n, timeout_ms, e);
	pthread_mutex_unlock(&ch->tx_lock);
	if (rc)
		return rc;
	atomic_fetch_add_explicit(&ch->tx_bytes, WIRE_HEADER_SIZE + length, memory_order_relaxed);
	atomic_store_explicit(&ch->tx_last_ms, clock_ms(), memory_order_relaxed);
	return 0;
}

int channel_send(struct channel *ch, uint16_t type, const void *payload, uint32_t len,
		 int timeout_ms, struct err *e)
{
	struct iovec iov[2] = {
		[1] = { .iov_base = (void *)payload, .iov_len = len },
	};

	return channel_sendv(ch, type, iov, len ? 2 : 1, timeout_ms, e);
}

static int skip_payload(struct channel *ch, int timeout_ms, struct err *e)
{
	uint8_t scratch[1024];
	uint32_t n;
	int rc;

	while (ch->rx_left) {
		n = ch->rx_left < sizeof(scratch) ? ch->rx_left : sizeof(scratch);
		rc = channel_take(ch, scratch, n, timeout_ms, e);
		if (rc)
			return rc;
	}
	return channel_end(ch, e);
}

static int read_header(struct channel *ch, struct wire_header *h, int timeout_ms, struct err *e)
{
	uint8_t header[WIRE_HEADER_SIZE];
	int rc;

	assert(!ch->rx_left); /* the record before was taken to its end */
	rc = stream_read_full(ch->stream, header, sizeof(header), timeout_ms, e);
	if (rc)
		return rc;
	atomic_fetch_add_explicit(&ch->rx_bytes, sizeof(header), memory_order_relaxed);
	rc = wire_get_header(header, h, e);
	if (rc)
		return rc;
	if (h->sequence != ch->rx_seq)
		return err_set(e, -EPROTO, "%s: sequence %u, expected %u: a record was lost or repeated",
			       wire_type_name(h->type), h->sequence, ch->rx_seq);
	ch->rx_seq++;
	ch->rx_type = h->type;
	ch->rx_crc = crc32c(0, header, CRC_COVERS);
	ch->rx_want = h->crc;
	ch->rx_left = h->length;
	return 0;
}

int channel_begin(struct channel *ch, const _Atomic int *phase, struct wire_header *h,
		  int timeout_ms, struct err *e)
{
	int rc;

	for (;;) {
		rc = read_header(ch, h, timeout_ms, e);
		if (rc)
			return rc;
		rc = wire_check(h, ch->rx_way, (enum wire_phase)atomic_load(phase), e);
		if (rc <= 0)
			return rc;
		rc = skip_payload(ch, timeout_ms, e);
		if (rc)
			return rc;
	}
}

int channel_takev(struct channel *ch, const struct iovec *iov, int n, int timeout_ms,
		  struct err *e)
{
	struct iovec work[TAKEV_MAX];
	uint64_t sum = 0;
	int i, rc;

	assert(n >= 1 && n <= TAKEV_MAX);
	memcpy(work, iov, (size_t)n * sizeof(*iov));
	for (i = 0; i < n; i++)
		sum += iov[i].iov_len;
	assert(sum <= ch->rx_left); /* callers ask for what the checked tables promise */
	rc = stream_readv_full(ch->stream, work, n, timeout_ms, e);
	if (rc)
		return rc;
	for (i = 0; i < n; i++)
		ch->rx_crc = crc32c(ch->rx_crc, iov[i].iov_base, iov[i].iov_len);
	ch->rx_left -= (uint32_t)sum;
	atomic_fetch_add_explicit(&ch->rx_bytes, sum, memory_order_relaxed);
	return 0;
}

int channel_take(struct channel *ch, void *buf, uint32_t len, int timeout_ms, struct err *e)
{
	struct iovec iov = { .iov_base = buf, .iov_len = len };

	return len ? channel_takev(ch, &iov, 1, timeout_ms, e) : 0;
}

int channel_end(struct channel *ch, struct err *e)
{
	assert(!ch->rx_left);
	if (ch->rx_crc != ch->rx_want)
		return err_set(e, -EBADMSG, "%s %u: checksum 0x%08x, the header says 0x%08x",
			       wire_type_name(ch->rx_type), ch->rx_seq - 1, ch->rx_crc, ch->rx_want);
	return 0;
}
