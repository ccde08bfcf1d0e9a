/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtqueue - the split virtqueue, device side (virtqueue.h).
 *
 * Ordering (VIRTIO 1.2 2.7.13): the guest writes ring[i] before idx, so idx is
 * read with acquire; we write used elements before used idx, so idx is stored
 * with release.  Interrupt suppression needs store-then-load on both sides
 * (used idx then used_event here, used_event then used idx there): a full
 * fence between the two.
 */
#include "hv/virtio/virtqueue.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#define DESC_SIZE 16u
#define DESC_F_NEXT 1u
#define DESC_F_WRITE 2u
#define DESC_F_INDIRECT 4u
#define AVAIL_F_NO_INTERRUPT 1u
#define USED_F_NO_NOTIFY 1u
#define RING_HEADER 4u /* flags, idx */
#define AVAIL_ELEM 2u
#define USED_ELEM 8u
#define EVENT_SIZE 2u

struct desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags, next;
};

static uint16_t load_u16(const uint8_t *p)
{
	return le16toh(__atomic_load_n((const uint16_t *)(const void *)p, __ATOMIC_RELAXED));
}

static uint16_t load_u16_acquire(const uint8_t *p)
{
	return le16toh(__atomic_load_n((const uint16_t *)(const void *)p, __ATOMIC_ACQUIRE));
}

static void store_u16_release(uint8_t *p, uint16_t v)
{
	__atomic_store_n((uint16_t *)(void *)p, htole16(v), __ATOMIC_RELEASE);
}

static size_t avail_bytes(const struct virtq *q)
{
	return RING_HEADER + AVAIL_ELEM * q->size + EVENT_SIZE;
}

static size_t used_bytes(const struct virtq *q)
{
	return RING_HEADER + USED_ELEM * q->size + EVENT_SIZE;
}

void virtq_reset(struct virtq *q)
{
	uint16_t max = q->size_max;

	assert(max && max <= VIRTQ_SIZE_MAX && !(max & (max - 1)));
	memset(q, 0, sizeof(*q));
	q->size_max = max;
	q->size = max;
	q->vector = VIRTQ_NO_VECTOR;
}

static int map_part(struct gmem *m, const char *what, uint64_t gpa, size_t len, unsigned int align,
		    enum gmem_dir dir, void *host, struct err *e)
{
	struct iovec iov;

	if (gpa % align)
		return err_set(e, -EINVAL, "%s at 0x%llx, expected a multiple of %u", what,
			       (unsigned long long)gpa, align);
	if (gmem_iov(m, gpa, len, dir, &iov))
		return err_set(e, -EINVAL, "%s at 0x%llx, %zu bytes: not RAM", what,
			       (unsigned long long)gpa, len);
	*(void **)host = iov.iov_base;
	return 0;
}

int virtq_map(struct virtq *q, struct gmem *m, struct err *e)
{
	int ret;

	if (!q->size || q->size > q->size_max || (q->size & (q->size - 1)))
		return err_set(e, -EINVAL, "queue size %u, expected a power of two up to %u",
			       q->size, q->size_max);
	/* alignments: VIRTIO 1.2 2.7 */
	ret = map_part(m, "descriptor table", q->desc, DESC_SIZE * q->size, 16, GMEM_READ,
		       &q->desc_host, e);
	if (!ret)
		ret = map_part(m, "available ring", q->avail, avail_bytes(q), 2, GMEM_READ,
			       &q->avail_host, e);
	if (!ret)
		ret = map_part(m, "used ring", q->used, used_bytes(q), 4, GMEM_WRITE,
			       &q->used_host, e);
	/* A region begins on a page here and there, so what is aligned for the guest is so for us. */
	assert(ret || ((uintptr_t)q->avail_host % 2 == 0 && (uintptr_t)q->used_host % 4 == 0));
	return ret;
}

/* --- taking chains --- */

/* One read of each field: the guest may rewrite a descriptor while we look at it. */
static struct desc desc_read(const uint8_t *table, unsigned int i)
{
	const uint8_t *p = table + (size_t)DESC_SIZE * i;
	struct desc d;

	memcpy(&d, p, sizeof(d));
	atomic_signal_fence(memory_order_seq_cst);
	return (struct desc){ le64toh(d.addr), le32toh(d.len), le16toh(d.flags), le16toh(d.next) };
}

static int elem_add(struct virtq_elem *el, struct gmem *m, const struct desc *d, struct err *e)
{
	bool in = d->flags & DESC_F_WRITE;
	unsigned int n = el->n_out + el->n_in;

	assert(n <= VIRTQ_SEGS_MAX);
	if (n == VIRTQ_SEGS_MAX)
		return err_set(e, -EINVAL, "a chain of more than %d buffers", VIRTQ_SEGS_MAX);
	if (!in && el->n_in)
		return err_set(e, -EINVAL, "a readable buffer behind a writable one");
	if (!d->len)
		return err_set(e, -EINVAL, "an empty buffer");
	if (el->out_len + el->in_len + (uint64_t)d->len > UINT32_MAX)
		return err_set(e, -EINVAL, "a chain of more than 4 GiB");
	if (gmem_iov(m, d->addr, d->len, in ? GMEM_WRITE : GMEM_READ, &el->iov[n]))
		return err_set(e, -EINVAL, "a buffer at 0x%llx, %u bytes: not RAM",
			       (unsigned long long)d->addr, d->len);
	el->gpa[n] = d->addr;
	if (in) {
		el->n_in++;
		el->in_len += d->len;
	} else {
		el->n_out++;
		el->out_len += d->len;
	}
	return 0;
}

/*
 * Follow @next links from @i through a table of @entries.  A chain that visits more
 * descriptors than the table has runs in a circle.
 */
static int chain_walk(struct virtq *q, struct gmem *m, const uint8_t *table, unsigned int entries,
		      unsigned int i, bool in_indirect, struct virtq_elem *el, struct err *e)
{
	unsigned int steps;
	int ret;

	for (steps = 0; steps < entries; steps++) {
		struct desc d;

		if (i >= entries)
			return err_set(e, -EINVAL, "descriptor %u of %u", i, entries);
		d = desc_read(table, i);
		if (d.flags & DESC_F_INDIRECT) {
			struct iovec iov;

			/* VIRTIO 1.2 2.7.5.3.1: one level, alone, a whole number of descriptors. */
			if (in_indirect || !q->indirect || (d.flags & DESC_F_NEXT) || steps)
				return err_set(e, -EINVAL, "an indirect descriptor out of place");
			if (!d.len || d.len % DESC_SIZE || d.len / DESC_SIZE > q->size)
				return err_set(e, -EINVAL, "an indirect table of %u bytes", d.len);
			if (gmem_iov(m, d.addr, d.len, GMEM_READ, &iov))
				return err_set(e, -EINVAL, "an indirect table at 0x%llx: not RAM",
					       (unsigned long long)d.addr);
			return chain_walk(q, m, iov.iov_base, d.len / DESC_SIZE, 0, true, el, e);
		}
		ret = elem_add(el, m, &d, e);
		if (ret || !(d.flags & DESC_F_NEXT))
			return ret;
		i = d.next;
	}
	return err_set(e, -EINVAL, "a chain in a circle");
}

int virtq_pop(struct virtq *q, struct gmem *m, struct virtq_elem *el, struct err *e)
{
	uint16_t idx = load_u16_acquire(q->avail_host + 2);
	uint16_t waiting = (uint16_t)(idx - q->last_avail);
	int ret;

	assert(q->size && q->size <= q->size_max && !(q->size & (q->size - 1))); /* virtq_map() saw to it */
	if (!waiting)
		return 0;
	if (waiting > q->size)
		return err_set(e, -EINVAL, "available index %u, %u taken so far, queue size %u",
			       idx, q->last_avail, q->size);
	el->head = load_u16(q->avail_host + RING_HEADER +
			    AVAIL_ELEM * (q->last_avail & (q->size - 1u)));
	el->n_out = el->n_in = 0;
	el->out_len = el->in_len = 0;
	if (el->head >= q->size)
		return err_set(e, -EINVAL, "descriptor %u of %u", el->head, q->size);
	ret = chain_walk(q, m, q->desc_host, q->size, el->head, false, el, e);
	if (ret)
		return ret;
	q->last_avail++;
	return 1;
}

void virtq_unpop(struct virtq *q)
{
	q->last_avail--;
}

bool virtq_empty(struct virtq *q)
{
	return load_u16_acquire(q->avail_host + 2) == q->last_avail;
}

/* --- giving them back --- */

void virtq_push_many(struct virtq *q, struct gmem *m, const struct virtq_used *u, unsigned int n)
{
	unsigned int i;

	assert(q->used_host && n <= q->size);
	for (i = 0; i < n; i++) {
		uint16_t slot = (uint16_t)(q->used_idx + i) & (q->size - 1u);
		uint32_t elem[2] = { htole32(u[i].head), htole32(u[i].len) };

		memcpy(q->used_host + RING_HEADER + USED_ELEM * slot, elem, sizeof(elem));
		gmem_dirty(m, q->used + RING_HEADER + USED_ELEM * slot, USED_ELEM);
	}
	q->used_idx = (uint16_t)(q->used_idx + n);
	store_u16_release(q->used_host + 2, q->used_idx);
	gmem_dirty(m, q->used, RING_HEADER);
}

void virtq_push(struct virtq *q, struct gmem *m, uint16_t head, uint32_t len)
{
	struct virtq_used u = { head, len };

	virtq_push_many(q, m, &u, 1);
}

bool virtq_should_interrupt(struct virtq *q)
{
	uint16_t event, old = q->signalled_idx;
	bool first = !q->signalled_valid;

	assert(q->avail_host);
	if (!first && q->used_idx == old)
		return false;
	q->signalled_idx = q->used_idx;
	q->signalled_valid = true;
	atomic_thread_fence(memory_order_seq_cst);
	if (!q->event_idx)
		return !(load_u16(q->avail_host) & AVAIL_F_NO_INTERRUPT);
	event = load_u16(q->avail_host + RING_HEADER + AVAIL_ELEM * q->size);
	/* VIRTIO 1.2 2.7.7.2: the index it waits for lies in (old, new] */
	return first || (uint16_t)(q->used_idx - event - 1) < (uint16_t)(q->used_idx - old);
}

void virtq_kicks(struct virtq *q, struct gmem *m, bool wanted)
{
	assert(q->used_host && q->avail_host);
	if (q->event_idx) {
		size_t at = RING_HEADER + USED_ELEM * q->size;

		/*
		 * "Kick me when you add the next one", or nothing.  The next one is counted from
		 * what the driver has added, not from what we took: buffers that were put back as
		 * too few would leave an index behind the driver's, which asks for no kick until
		 * it has wrapped (VIRTIO 1.2 2.7.10).
		 */
		if (!wanted)
			return;
		store_u16_release(q->used_host + at, load_u16_acquire(q->avail_host + 2));
		gmem_dirty(m, q->used + at, EVENT_SIZE);
	} else {
		store_u16_release(q->used_host, wanted ? 0 : USED_F_NO_NOTIFY);
		gmem_dirty(m, q->used, 2);
	}
	atomic_thread_fence(memory_order_seq_cst);
}

/* --- bytes of a chain --- */

/* How much of @v is wanted when @offset bytes are skipped first and @want are left; 0: go on to the next. */
static size_t part_of(const struct iovec *v, size_t *offset, size_t want)
{
	size_t n;

	if (*offset >= v->iov_len) {
		*offset -= v->iov_len;
		return 0;
	}
	n = v->iov_len - *offset;
	return n < want ? n : want;
}

size_t virtq_read(const struct virtq_elem *el, size_t offset, void *buf, size_t len)
{
	size_t done = 0;
	unsigned int i;

	assert(el->n_out + el->n_in <= VIRTQ_SEGS_MAX);
	for (i = 0; i < el->n_out && done < len; i++) {
		size_t n = part_of(&el->iov[i], &offset, len - done);

		if (!n)
			continue;
		memcpy((uint8_t *)buf + done, (uint8_t *)el->iov[i].iov_base + offset, n);
		done += n;
		offset = 0;
	}
	return done;
}

/* Walk [@offset, @offset + @len) of the writable buffers: copy from @buf unless it is NULL, mark. */
static size_t in_walk(const struct virtq_elem *el, struct gmem *m, size_t offset, const uint8_t *buf,
		      size_t len)
{
	size_t done = 0;
	unsigned int i;

	assert(el->n_out + el->n_in <= VIRTQ_SEGS_MAX);
	for (i = el->n_out; i < el->n_out + el->n_in && done < len; i++) {
		size_t n = part_of(&el->iov[i], &offset, len - done);

		if (!n)
			continue;
		if (buf)
			memcpy((uint8_t *)el->iov[i].iov_base + offset, buf + done, n);
		gmem_dirty(m, el->gpa[i] + offset, n);
		done += n;
		offset = 0;
	}
	return done;
}

size_t virtq_write(const struct virtq_elem *el, struct gmem *m, size_t offset, const void *buf,
		   size_t len)
{
	return in_walk(el, m, offset, buf, len);
}

void virtq_dirty(const struct virtq_elem *el, struct gmem *m, size_t offset, size_t len)
{
	in_walk(el, m, offset, NULL, len);
}
