/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dirty - which pages changed (rule D): KVM's log for vCPUs, gmem's marks for the VMM.
 *
 *     vCPU writes ──> KVM log ──┐
 *                               ├─ OR ─> fetch() ──> the engine's bitmap
 *     device writes ──> marks ──┘
 *
 * With manual protect a fetch only reads KVM's log; pages are write-protected
 * again by clear(), a piece at a time, just before the engine reads them.  With
 * "initially set" the first clear also does the first protecting, so switching
 * the log on costs next to nothing however large the guest is.
 *
 * The marks have no such second step: fetch() takes them away at once.  That
 * loses nothing, as a mark is made after the data is in place: what fetch()
 * takes, the engine's later read will see.
 *
 * A region that is placed (video) may leave its place at any time, and KVM's log of it goes with the slot: then
 * all of it is marked.
 *
 * A region that vCPUs cannot write (flash) has marks only; one that nobody can write (rom) has neither,
 * and is never dirty after its first time.
 *
 * Without manual protect KVM_GET_DIRTY_LOG itself re-arms, and clear() has
 * nothing to do; the same argument holds.
 */
#include "hv/kvm/kvm.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define PAGES_PER_WORD 64u

static uint64_t region_pages(const struct gmem_region *r)
{
	return r->size / GMEM_PAGE;
}

static size_t region_words(const struct gmem_region *r)
{
	return (size_t)((region_pages(r) + PAGES_PER_WORD - 1) / PAGES_PER_WORD);
}

/* A region that is placed can leave at any moment, and where it is nowhere KVM has no slot and no log of it. */
static int region_log(struct kvm_vm *k, const struct gmem_region *r, bool on, struct err *e)
{
	int ret = 0;

	if (!kvm_slot_logs(r))
		return 0;
	pthread_mutex_lock(&k->log_lock);
	if (!r->rules->placed || r->at)
		ret = kvm_slot_put(k, r, on, e);
	pthread_mutex_unlock(&k->log_lock);
	return ret;
}

/* What an earlier migration left behind in the marks is not news. */
static void marks_forget(struct gmem *m)
{
	struct gmem_region *r = NULL;

	while ((r = gmem_region_next(m, r)))
		for (size_t w = 0; r->dirty && w < region_words(r); w++)
			atomic_store_explicit(&r->dirty[w], 0, memory_order_relaxed);
}

int kvm_dirty_start(struct kvm_vm *k, struct err *e)
{
	struct gmem *m = k->mem;
	struct gmem_region *r = NULL;
	int ret;

	assert(!atomic_load(&m->tracking)); /* one migration at a time */
	marks_forget(m);
	atomic_store(&m->tracking, true);
	while ((r = gmem_region_next(m, r))) {
		ret = region_log(k, r, true, e);
		if (ret) {
			kvm_dirty_stop(k);
			return ret;
		}
	}
	return 0;
}

void kvm_dirty_stop(struct kvm_vm *k)
{
	struct gmem_region *r = NULL;

	atomic_store(&k->mem->tracking, false);
	while ((r = gmem_region_next(k->mem, r)))
		region_log(k, r, false, NULL);
}

/* The region of that id, if a migration sends it; else NULL and @e is set. */
static struct gmem_region *region_sent(struct kvm_vm *k, uint32_t id, struct err *e)
{
	struct gmem_region *r = gmem_region_get(k->mem, id);

	if (r && r->rules->move != GMEM_MOVE_NEVER)
		return r;
	err_set(e, -EINVAL, "dirty log: region %u %s", id, r ? "is not sent" : "does not exist");
	return NULL;
}

/*
 * OR what vCPUs wrote into @bitmap.
 * #syscalls:engine ioctl(1=KVM_GET_DIRTY_LOG)
 */
static int fetch_log(struct kvm_vm *k, const struct gmem_region *r, uint64_t *bitmap, struct err *e)
{
	struct kvm_dirty_log log = { .slot = r->id };
	size_t words = region_words(r);
	uint64_t *fresh = calloc(words, sizeof(*fresh));
	int ret;

	if (!fresh)
		return err_set(e, -ENOMEM, "dirty log: out of memory");
	log.dirty_bitmap = fresh;
	pthread_mutex_lock(&k->log_lock);
	ret = r->rules->placed && !r->at ? 0 : kvm_ioctl(k->vm_fd, KVM_GET_DIRTY_LOG, &log);
	pthread_mutex_unlock(&k->log_lock);
	if (ret < 0)
		err_set(e, ret, "KVM_GET_DIRTY_LOG of slot %u: %s", r->id, strerror(-ret));
	for (size_t i = 0; ret >= 0 && i < words; i++)
		bitmap[i] |= fresh[i];
	free(fresh);
	return ret < 0 ? ret : 0;
}

int kvm_dirty_fetch(struct kvm_vm *k, uint32_t id, uint64_t *bitmap, struct err *e)
{
	struct gmem_region *r = region_sent(k, id, e);
	int ret;

	if (!r)
		return -EINVAL;
	ret = kvm_slot_logs(r) ? fetch_log(k, r, bitmap, e) : 0;
	if (!ret && r->dirty)
		gmem_dirty_take(r, bitmap);
	return ret;
}

/* Several threads clear different pieces at once; but one that is placed must stay where it is meanwhile. */
static int clear_log(struct kvm_vm *k, const struct gmem_region *r, struct kvm_clear_dirty_log *clear)
{
	int ret = 0;

	if (!r->rules->placed)
		return kvm_ioctl(k->vm_fd, KVM_CLEAR_DIRTY_LOG, clear);
	pthread_mutex_lock(&k->log_lock);
	if (r->at)
		ret = kvm_ioctl(k->vm_fd, KVM_CLEAR_DIRTY_LOG, clear);
	pthread_mutex_unlock(&k->log_lock);
	return ret;
}

/* #syscalls:send,engine ioctl(1=KVM_CLEAR_DIRTY_LOG) */
int kvm_dirty_clear(struct kvm_vm *k, uint32_t id, uint64_t first, uint64_t count,
		    const uint64_t *bitmap, struct err *e)
{
	struct kvm_clear_dirty_log clear = { .slot = id };
	const struct gmem_region *r = region_sent(k, id, e);
	int ret;

	if (!r)
		return -EINVAL;
	if (first % PAGES_PER_WORD || first >= region_pages(r) || count > region_pages(r) - first ||
	    (count % PAGES_PER_WORD && first + count != region_pages(r)))
		return err_set(e, -EINVAL, "dirty log: cannot clear pages %llu+%llu of region %u",
			       (unsigned long long)first, (unsigned long long)count, id);
	if (!kvm_slot_logs(r) || !k->manual_protect || !count)
		return 0;
	clear.first_page = first;
	clear.num_pages = (uint32_t)count;
	clear.dirty_bitmap = (void *)(bitmap + first / PAGES_PER_WORD);
	ret = clear_log(k, r, &clear);
	if (ret < 0)
		return err_set(e, ret, "KVM_CLEAR_DIRTY_LOG of slot %u, page %llu+%llu: %s", id,
			       (unsigned long long)first, (unsigned long long)count, strerror(-ret));
	return 0;
}
