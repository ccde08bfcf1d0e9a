/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lease - see lease.h.
 *
 * The value is one atomic word, so a reader never sees half of it, and a dead
 * writer leaves a lease that ends by itself: that is the whole safety of it.
 * Pages lie in the run directory (a tmpfs: CLOCK_BOOTTIME means nothing across a
 * boot); should they not, a value that no lease of this boot can have is taken for an
 * old one and cleared.
 */
#include "ha/vmm/lease.h"

#include "base/clock.h"
#include "conf/lease_page.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct lease {
	struct lease_page *page;
};

static void page_init(struct lease_page *p)
{
	uint64_t until = lease_page_until(p);

	if (until <= clock_ns() + LEASE_LONGEST_MS * NS_PER_MS &&
	    atomic_load(&p->magic) == LEASE_PAGE_MAGIC &&
	    atomic_load(&p->version) == LEASE_PAGE_VERSION)
		return;
	atomic_store(&p->until_ns, 0);
	atomic_store(&p->version, LEASE_PAGE_VERSION);
	atomic_store(&p->magic, LEASE_PAGE_MAGIC);
}

static int lease_map(const char *path, int flags, struct lease **out, struct err *e)
{
	struct lease *l = calloc(1, sizeof(*l));
	int fd, rc;

	*out = NULL;
	if (!l)
		return err_set(e, -ENOMEM, "out of memory");
	fd = open(path, O_RDWR | O_CLOEXEC | flags, 0644);
	if (fd < 0) {
		rc = err_errno(e, "cannot open lease page %s", path);
		goto out_free;
	}
	/* Only ever grown: a reader of a file that shrinks would get SIGBUS, as would we on a full tmpfs. */
	rc = -posix_fallocate(fd, 0, LEASE_PAGE_SIZE);
	if (rc) {
		err_set(e, rc, "cannot size lease page %s: %s", path, strerror(-rc));
		goto out_close;
	}
	l->page = mmap(NULL, LEASE_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (l->page == MAP_FAILED) {
		rc = err_errno(e, "cannot map lease page %s", path);
		goto out_close;
	}
	close(fd);
	page_init(l->page);
	*out = l;
	return 0;
out_close:
	close(fd);
out_free:
	free(l);
	return rc;
}

int lease_create(const char *path, struct lease **out, struct err *e)
{
	unlink(path);
	return lease_map(path, O_CREAT | O_EXCL, out, e);
}

int lease_open(const char *path, struct lease **out, struct err *e)
{
	return lease_map(path, 0, out, e);
}

void lease_publish(struct lease *l, uint64_t until_ms)
{
	assert(until_ms <= UINT64_MAX / NS_PER_MS);
	atomic_store(&l->page->until_ns, until_ms * NS_PER_MS);
}

uint64_t lease_until_ms(const struct lease *l)
{
	return lease_page_until(l->page) / NS_PER_MS;
}

void lease_close(struct lease *l)
{
	if (!l)
		return;
	munmap(l->page, LEASE_PAGE_SIZE);
	free(l);
}
