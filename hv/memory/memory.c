/* SPDX-License-Identifier: Apache-2.0 */
/*
 * memory - see memory.h for the contract.
 *
 * One mapping holds all RAM; the first regions are windows of it:
 *
 *     mapping   |<--- low: up to 2 GiB --->|<--- high: the rest --->|
 *     gpa       0                   0x80000000    0x100000000 ...
 *
 * The mapping starts on a 2 MiB boundary and so does the split, so that huge
 * pages on the host line up with huge pages in the guest.
 *
 * Devices reach RAM only, and RAM stays: so their look-ups need no lock, whatever comes and goes
 * behind it in the table.
 */
#include "hv/memory/memory.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BITS_PER_WORD 64u

static size_t dirty_bytes(uint64_t size)
{
	uint64_t pages = size / GMEM_PAGE;

	return (size_t)((pages + BITS_PER_WORD - 1) / BITS_PER_WORD * sizeof(uint64_t));
}

/* Regions are zeros where there is none, so what this fills in is all there is of it. */
static int region_fill(struct gmem *m, size_t at, const struct gmem_piece *p, uint8_t *host, struct err *e)
{
	struct gmem_region *r = &m->regions[at];

	assert(!r->rules && p->gpa % GMEM_PAGE == 0 && p->size && p->size % GMEM_PAGE == 0);
	assert((uintptr_t)host % GMEM_PAGE == 0);
	if (gmem_rules_of(p->kind)->move == GMEM_MOVE_LOGGED) {
		r->dirty = calloc(1, dirty_bytes(p->size));
		if (!r->dirty)
			return err_set(e, -ENOMEM, "memory: out of memory");
	}
	r->id = (uint32_t)at;
	snprintf(r->name, sizeof(r->name), "%s", p->name);
	r->gpa = p->gpa;
	r->size = p->size;
	r->host = host;
	r->backing = at < GMEM_RAM_MAX ? &m->ram : &r->own;
	r->rules = gmem_rules_of(p->kind);
	return 0;
}

/* --- RAM --- */

static int ram_add(struct gmem *m, const char *name, uint64_t gpa, uint64_t size, uint8_t *host, struct err *e)
{
	struct gmem_piece p = { .name = name, .kind = GMEM_RAM, .gpa = gpa, .size = size };
	int ret = region_fill(m, m->n_ram, &p, host, e);

	if (!ret)
		m->n_ram++;
	assert(m->n_ram <= GMEM_RAM_MAX);
	return ret;
}

int gmem_create(struct gmem **out, uint64_t size, enum domain_backing backing, struct err *e)
{
	uint64_t low = size < GMEM_LOW_END ? size : GMEM_LOW_END;
	struct gmem *m;
	int ret;

	if (size == 0 || size % GMEM_PAGE || size > DOMAIN_MEMORY_MAX)
		return err_set(e, -EINVAL, "memory: %llu bytes: expected a multiple of %u up to %llu",
			       (unsigned long long)size, GMEM_PAGE, (unsigned long long)DOMAIN_MEMORY_MAX);
	m = calloc(1, sizeof(*m));
	if (!m)
		return err_set(e, -ENOMEM, "memory: out of memory");
	ret = backing_map(&m->ram, size, backing, e);
	if (!ret)
		ret = ram_add(m, "ram", 0, low, m->ram.host, e);
	if (!ret && size > low)
		ret = ram_add(m, "ram-high", GMEM_HIGH_BASE, size - low, m->ram.host + low, e);
	if (ret)
		gmem_destroy(m);
	else
		*out = m;
	return ret;
}

static void region_free(struct gmem_region *r)
{
	backing_unmap(&r->own);
	free((void *)r->dirty);
	memset(r, 0, sizeof(*r));
}

void gmem_destroy(struct gmem *m)
{
	if (!m)
		return;
	for (size_t i = 0; i < GMEM_REGIONS_MAX; i++)
		region_free(&m->regions[i]);
	backing_unmap(&m->ram);
	free(m);
}

/* --- what comes and goes --- */

struct gmem_region *gmem_region_next(struct gmem *m, const struct gmem_region *r)
{
	for (size_t i = r ? r->id + 1 : 0; i < GMEM_REGIONS_MAX; i++)
		if (m->regions[i].rules)
			return &m->regions[i];
	return NULL;
}

struct gmem_region *gmem_region_find(struct gmem *m, const char *name)
{
	struct gmem_region *r = NULL;

	while ((r = gmem_region_next(m, r)))
		if (!strcmp(r->name, name))
			break;
	return r;
}

struct gmem_region *gmem_region_get(struct gmem *m, uint32_t id)
{
	return id < GMEM_REGIONS_MAX && m->regions[id].rules ? &m->regions[id] : NULL;
}

static int check_piece(const struct gmem_piece *p, struct err *e)
{
	size_t len = strlen(p->name);

	if (!len || len > GMEM_NAME_MAX)
		return err_set(e, -EINVAL, "memory: a name of %zu characters, expected 1 to %d", len, GMEM_NAME_MAX);
	if (!gmem_rules_of(p->kind)->may_leave)
		return err_set(e, -EINVAL, "memory %s: %s is there from the start, or not at all", p->name,
			       gmem_rules_of(p->kind)->name);
	if (p->gpa % GMEM_PAGE || !p->size || p->size % GMEM_PAGE || p->size > DOMAIN_MEMORY_MAX ||
	    p->gpa > UINT64_MAX - p->size)
		return err_set(e, -EINVAL, "memory %s: %llu bytes at 0x%llx: expected whole pages", p->name,
			       (unsigned long long)p->size, (unsigned long long)p->gpa);
	if (p->image_len > p->size)
		return err_set(e, -EINVAL, "memory %s: %zu bytes do not fit its %llu", p->name, p->image_len,
			       (unsigned long long)p->size);
	return 0;
}

static int check_place(struct gmem *m, const struct gmem_piece *p, struct err *e)
{
	const struct gmem_region *r = NULL;

	if (atomic_load(&m->tracking))
		return err_set(e, -EBUSY, "memory %s: the domain is being migrated", p->name);
	while ((r = gmem_region_next(m, r))) {
		if (!strcmp(r->name, p->name))
			return err_set(e, -EEXIST, "memory %s: it is there already", p->name);
		if (p->gpa < r->gpa + r->size && r->gpa < p->gpa + p->size)
			return err_set(e, -EEXIST, "memory %s: memory %s is at 0x%llx", p->name, r->name,
				       (unsigned long long)r->gpa);
	}
	return 0;
}

static int back(const struct gmem_piece *p, struct backing *b, struct err *e)
{
	int ret;

	if (p->kind == GMEM_SHARED)
		return backing_map_fd(b, p->size, p->fd, e);
	if (p->kind == GMEM_VIDEO)
		return backing_map_shown(b, p->size, e);
	ret = backing_map_small(b, p->size, e);
	if (!ret && p->image_len)
		memcpy(b->host, p->image, p->image_len);
	return ret;
}

int gmem_region_add(struct gmem *m, const struct gmem_piece *p, struct gmem_region **out, struct err *e)
{
	size_t at = GMEM_RAM_MAX;
	int ret = check_piece(p, e);

	if (!ret)
		ret = check_place(m, p, e);
	if (ret)
		return ret;
	while (at < GMEM_REGIONS_MAX && m->regions[at].rules)
		at++;
	if (at == GMEM_REGIONS_MAX)
		return err_set(e, -ENOSPC, "memory %s: there are %d regions already", p->name, GMEM_REGIONS_MAX);
	ret = back(p, &m->regions[at].own, e);
	if (!ret)
		ret = region_fill(m, at, p, m->regions[at].own.host, e);
	if (ret) {
		err_prefix(e, "memory %s", p->name);
		region_free(&m->regions[at]);
		return ret;
	}
	m->changes++;
	*out = &m->regions[at];
	return 0;
}

void gmem_region_remove(struct gmem *m, struct gmem_region *r)
{
	assert(r->rules && r->rules->may_leave && !atomic_load(&m->tracking));
	region_free(r);
	m->changes++;
}

/* --- accessors --- */

/* The RAM that holds all of [gpa, gpa + len), or NULL; cannot overflow (rule S). */
static struct gmem_region *ram_find(struct gmem *m, uint64_t gpa, size_t len)
{
	for (size_t i = 0; i < m->n_ram; i++) {
		struct gmem_region *r = &m->regions[i];

		if (gpa >= r->gpa && gpa - r->gpa < r->size && len <= r->size - (gpa - r->gpa))
			return r;
	}
	return NULL;
}

int gmem_iov(struct gmem *m, uint64_t gpa, size_t len, enum gmem_dir dir, struct iovec *iov)
{
	struct gmem_region *r = ram_find(m, gpa, len);

	(void)dir; /* says at the call what is owed; both directions map alike */
	if (!r)
		return -EFAULT;
	iov->iov_base = r->host + (gpa - r->gpa);
	iov->iov_len = len;
	return 0;
}

int gmem_read(struct gmem *m, uint64_t gpa, void *buf, size_t len)
{
	struct iovec iov;
	int ret = gmem_iov(m, gpa, len, GMEM_READ, &iov);

	if (!ret)
		memcpy(buf, iov.iov_base, len);
	return ret;
}

int gmem_write(struct gmem *m, uint64_t gpa, const void *buf, size_t len)
{
	struct iovec iov;
	int ret = gmem_iov(m, gpa, len, GMEM_WRITE, &iov);

	if (ret)
		return ret;
	memcpy(iov.iov_base, buf, len);
	gmem_dirty(m, gpa, len);
	return 0;
}

/*
 * Rule D.  The fence orders the caller's data before the look at `tracking`:
 * a harvest that switched tracking on after we looked will also read the page
 * after our data is visible.  The locked OR does the same against the harvest's
 * exchange.  Skipping the OR when the bit is seen set would lose that order.
 */
static void mark(struct gmem *m, struct gmem_region *r, uint64_t offset, size_t len)
{
	uint64_t first = offset / GMEM_PAGE, last = (offset + len - 1) / GMEM_PAGE;

	atomic_thread_fence(memory_order_seq_cst);
	if (!atomic_load_explicit(&m->tracking, memory_order_relaxed))
		return;
	while (first <= last) {
		unsigned int bit = first % BITS_PER_WORD;
		uint64_t n = last - first + 1;
		uint64_t mask;

		if (n > BITS_PER_WORD - bit)
			n = BITS_PER_WORD - bit;
		mask = (n == BITS_PER_WORD ? ~0ull : (1ull << n) - 1) << bit;
		atomic_fetch_or(&r->dirty[first / BITS_PER_WORD], mask);
		first += n;
	}
}

void gmem_dirty(struct gmem *m, uint64_t gpa, size_t len)
{
	struct gmem_region *r = len ? ram_find(m, gpa, len) : NULL;

	if (r)
		mark(m, r, gpa - r->gpa, len);
}

int gmem_store(struct gmem *m, struct gmem_region *r, uint64_t offset, const void *buf, size_t len)
{
	if (!r->rules->stored)
		return -EPERM;
	if (offset > r->size || len > r->size - offset)
		return -EFAULT;
	memcpy(r->host + offset, buf, len);
	if (len)
		mark(m, r, offset, len);
	return 0;
}

void gmem_dirty_all(struct gmem *m, struct gmem_region *r)
{
	mark(m, r, 0, r->size);
}

void gmem_dirty_take(struct gmem_region *r, uint64_t *bitmap)
{
	size_t words = dirty_bytes(r->size) / sizeof(uint64_t);

	for (size_t i = 0; i < words; i++) {
		if (atomic_load_explicit(&r->dirty[i], memory_order_relaxed))
			bitmap[i] |= atomic_exchange(&r->dirty[i], 0);
	}
}
