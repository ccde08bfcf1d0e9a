/* SPDX-License-Identifier: Apache-2.0 */
/*
 * qcow2_entry - what an entry of an L2 table says, and whether that can be.
 *
 * L2 tables are read when they are needed, and there are too many of them to look at each before.  So a lie is found by the
 * request that meets it: that fails, and the first one is told of in the log.
 */
#include "hv/disk/qcow2_int.h"

#include "base/log.h"

#include <errno.h>

#define RESERVED 0x3f000000000001feull /* [QCOW2], Standard Cluster Descriptor */

static enum qcow2_kind lie(struct qcow2_image *q, uint64_t guest, uint64_t entry, const char *expected)
{
	if (!q->told)
		log_warn("disk %s: qcow2: the guest's cluster %llu has the entry 0x%016llx, expected %s (drover disk check looks at all of them)",
			 q->l.path, (unsigned long long)guest, (unsigned long long)entry, expected);
	q->told = true;
	return QCOW2_LIE;
}

static uint64_t file_end(const struct qcow2_image *q)
{
	return q->readonly ? (q->l.file_size + q->l.cluster - 1) >> q->l.h.bits : q->refs.end;
}

bool qcow2_zip_span(const struct qcow2_layout *l, uint64_t entry, uint64_t *at, uint32_t *len, uint32_t *skip)
{
	unsigned int x = 62 - (l->h.bits - 8); /* [QCOW2], Compressed Clusters Descriptor */
	uint64_t offset = entry & ((1ull << x) - 1), sectors = ((entry & (QCOW2_ZIP - 1)) >> x) + 1;

	*skip = (uint32_t)(offset % IMAGE_SECTOR);
	*at = offset - *skip;
	*len = (uint32_t)(sectors * IMAGE_SECTOR);
	return offset >> QCOW2_PLACE_BITS == 0;
}

static enum qcow2_kind zipped(struct qcow2_image *q, uint64_t guest, uint64_t entry)
{
	uint32_t len, skip;
	uint64_t at;

	if (!qcow2_zip_span(&q->l, entry, &at, &len, &skip) || at < q->l.cluster || (at + len - 1) >> q->l.h.bits >= file_end(q))
		return lie(q, guest, entry, "compressed data that lies in the file");
	for (uint64_t i = at >> q->l.h.bits; i <= (at + len - 1) >> q->l.h.bits; i++)
		if (qcow2_refs_meta(&q->refs, i))
			return lie(q, guest, entry, "compressed data, and no table where it lies");
	return QCOW2_ZIPPED;
}

enum qcow2_kind qcow2_entry_kind(struct qcow2_image *q, uint64_t guest, uint64_t entry)
{
	uint64_t place = entry & QCOW2_PLACE;
	bool zero = q->l.h.version >= 3 && (entry & QCOW2_ZERO);

	if (entry & QCOW2_ZIP)
		return zipped(q, guest, entry);
	if ((entry & RESERVED) || (!zero && (entry & QCOW2_ZERO)) || (!place && (entry & QCOW2_COPIED)))
		return lie(q, guest, entry, "no bits that mean nothing");
	if (place % q->l.cluster || place >> q->l.h.bits >= (place ? file_end(q) : 1))
		return lie(q, guest, entry, "a whole cluster in the file");
	if (place && qcow2_refs_meta(&q->refs, place >> q->l.h.bits))
		return lie(q, guest, entry, "no table where it lies");
	return zero ? QCOW2_ZEROES : place ? QCOW2_DATA :
					     QCOW2_NOTHING;
}

int qcow2_entry_own(struct qcow2_image *q, uint64_t entry, bool *own)
{
	uint64_t count = qcow2_refs_get(&q->refs, (entry & QCOW2_PLACE) >> q->l.h.bits);

	*own = count == 1;
	if (count)
		return 0;
	lie(q, 0, entry, "one whose cluster is counted: it will not be written to");
	return -EIO;
}
