/* SPDX-License-Identifier: Apache-2.0 */
/* qcow2_find - from a guest's cluster to the slice of L2 that has it, by way of L1, with what must be there before that is changed. */
#include "hv/disk/qcow2_int.h"

#include <errno.h>

/* Of a table that only the active L1 table refers to.  Return: 0; else as qcow2_copy_l2(), and it has to be waited for. */
static int own_table(struct qcow2_image *q, uint64_t guest, uint64_t l1, bool *wait)
{
	uint64_t count = qcow2_refs_get(&q->refs, (l1 & QCOW2_PLACE) >> q->l.h.bits);

	*wait = count > 1;
	if (count > 1)
		return qcow2_copy_l2(q, (uint32_t)(guest / q->l.l2_entries));
	return count ? 0 : -EIO;
}

int qcow2_l2_get(struct qcow2_image *q, struct image_req *r, struct image_extent *x, uint64_t guest, bool change, struct qcow2_l2 **out)
{
	uint64_t l1 = qcow2_l1_entry(q, guest);
	bool wait = false;
	int ret = 0;

	*out = NULL;
	if (!(l1 & QCOW2_PLACE) && !change)
		return 0;
	if ((l1 & QCOW2_PLACE) && change)
		ret = own_table(q, guest, l1, &wait);
	if (!ret && !wait)
		ret = l1 & QCOW2_PLACE ? qcow2_l2_slice(q, guest, out) : qcow2_l2_new(q, guest, out);
	if (!ret && !wait && !(*out)->loading)
		return 0;
	*out = NULL;
	return qcow2_map_wait(q, r, x, ret);
}
