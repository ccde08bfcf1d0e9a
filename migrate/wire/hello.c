/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hello - see hello.h.
 *
 * Not through channel_begin(): a HELLO of another version may have another
 * length, and must still end in "peer speaks stream version 2", so magic and
 * version are looked at before length and checksum.
 */
#include "migrate/wire/hello.h"

#include "base/crc32c.h"

#include <assert.h>
#include <errno.h>

#define HELLO_SIZE 40u
#define HELLO_FROZEN 12u /* magic and version: the same in every version */
#define CRC_COVERS 12u

int hello_send(struct channel *ch, const struct wire_hello *h, int timeout_ms, struct err *e)
{
	uint8_t buf[HELLO_SIZE];
	struct writer w = writer_make(buf, sizeof(buf));

	wire_put_hello(&w, h);
	assert(!w.bad && writer_len(&w) == HELLO_SIZE);
	return channel_send(ch, WIRE_HELLO, buf, sizeof(buf), timeout_ms, e);
}

static int check_frozen(const uint8_t *payload, struct err *e)
{
	struct reader r = reader_make(payload, HELLO_FROZEN);
	uint32_t version;

	if (reader_u64(&r) != WIRE_MAGIC)
		return err_set(e, -EPROTO, "not a migration stream");
	version = reader_u32(&r);
	if (version != WIRE_VERSION)
		return err_set(e, -EPROTONOSUPPORT, "peer speaks stream version %u, this is %u", version,
			       WIRE_VERSION);
	return 0;
}

int hello_recv(struct channel *ch, struct wire_hello *h, int timeout_ms, struct err *e)
{
	uint8_t header[WIRE_HEADER_SIZE], payload[HELLO_SIZE];
	struct wire_header wh;
	struct reader r;
	uint32_t crc;
	int rc;

	assert(!ch->rx_seq); /* HELLO comes first */
	rc = stream_read_full(ch->stream, header, sizeof(header), timeout_ms, e);
	if (rc)
		return rc;
	rc = wire_get_header(header, &wh, e);
	if (rc || wh.type != WIRE_HELLO || wh.length < HELLO_FROZEN)
		return err_set(e, -EPROTO, "not a migration stream");
	rc = stream_read_full(ch->stream, payload, HELLO_FROZEN, timeout_ms, e);
	if (!rc)
		rc = check_frozen(payload, e);
	if (rc)
		return rc;
	if (wh.length != HELLO_SIZE || wh.sequence != 0)
		return err_set(e, -EPROTO, "HELLO: length %u, sequence %u, expected %u, 0", wh.length,
			       wh.sequence, HELLO_SIZE);
	rc = stream_read_full(ch->stream, payload + HELLO_FROZEN, HELLO_SIZE - HELLO_FROZEN,
			      timeout_ms, e);
	if (rc)
		return rc;
	ch->rx_seq = 1;
	r = reader_make(payload, sizeof(payload));
	rc = wire_get_hello(&r, h, e);
	crc = crc32c(crc32c(0, header, CRC_COVERS), payload, sizeof(payload));
	if (crc != wh.crc)
		return err_set(e, -EBADMSG, "HELLO: checksum 0x%08x, the header says 0x%08x", crc, wh.crc);
	return rc;
}
