/* SPDX-License-Identifier: Apache-2.0 */
/* fake_guest - see fake_guest.h. */
#include "tests/unit/migrate/fake_guest.h"

#include "base/clock.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static void sleep_us(long us)
{
	struct timespec t = { .tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000 };

	nanosleep(&t, NULL);
}

static uint32_t next(unsigned int *seed)
{
	*seed = *seed * 1664525u + 1013904223u;
	return *seed >> 3;
}

void fake_world_init(struct fake_world *w)
{
	memset(w, 0, sizeof(*w));
	pthread_mutex_init(&w->lock, NULL);
	w->disk_holder = -1;
}

static uint64_t pages_of(const struct fake_guest *g, size_t r)
{
	return g->regions[r].size / GUEST_PAGE;
}

void fake_guest_init(struct fake_guest *g, struct fake_world *w, int side, const uint64_t *sizes,
		     size_t n, bool memfd)
{
	uint64_t gpa = 0, total = 0;
	size_t i;
	int fd = -1;

	memset(g, 0, sizeof(*g));
	g->world = w;
	g->side = side;
	g->description = "{\"vcpus\":2}";
	pthread_rwlock_init(&g->log_lock, NULL);
	for (i = 0; i < n; i++) {
		if (sizes[i] % (64 * GUEST_PAGE))
			abort();
		total += sizes[i];
	}
	if (memfd) {
		fd = memfd_create("fake", MFD_CLOEXEC);
		if (fd < 0 || ftruncate(fd, (off_t)total))
			abort();
	}
	for (i = 0; i < n; i++) {
		struct guest_region *r = &g->regions[i];

		r->id = (uint32_t)i + 7;
		r->gpa = gpa;
		r->size = sizes[i];
		r->page_size = GUEST_PAGE;
		r->fd = fd;
		r->fd_offset = gpa;
		r->host = mmap(NULL, sizes[i], PROT_READ | PROT_WRITE,
			       memfd ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, fd,
			       memfd ? (off_t)gpa : 0);
		if (r->host == MAP_FAILED)
			abort();
		g->log[i] = calloc(sizes[i] / GUEST_PAGE / 64 + 8, 8);
		gpa += sizes[i];
	}
	g->n_regions = n;
}

void fake_guest_free(struct fake_guest *g)
{
	size_t i;

	if (g->writer) {
		atomic_store(&g->quit, true);
		pthread_join(g->writer, NULL);
	}
	for (i = 0; i < g->n_regions; i++) {
		munmap(g->regions[i].host, g->regions[i].size);
		free(g->log[i]);
	}
	if (g->regions[0].fd >= 0)
		close(g->regions[0].fd);
	free(g->state);
	pthread_rwlock_destroy(&g->log_lock);
}

static void fill_page(uint8_t *p, unsigned int *seed)
{
	static const char words[] = "the cattle are driven over the hills before the winter comes ";
	unsigned int kind = next(seed) % 3, i, at = next(seed);

	for (i = 0; i < GUEST_PAGE; i += 4) {
		uint32_t v = kind == 0 ? 0 : next(seed);

		if (kind == 1)
			memcpy(&v, words + (at + i) % (sizeof(words) - 5), 4);
		memcpy(p + i, &v, 4);
	}
}

void fake_guest_fill(struct fake_guest *g, unsigned int seed)
{
	uint64_t page;
	size_t r;

	for (r = 0; r < g->n_regions; r++)
		for (page = 0; page < pages_of(g, r); page++)
			if (next(&seed) % 3)
				fill_page(g->regions[r].host + page * GUEST_PAGE, &seed);
	g->seed = seed;
}

/* The engine may read the page at the same time: named in tests/tsan.supp, so it does nothing else. */
__attribute__((noinline)) static void fake_guest_scribble(uint8_t *page, unsigned int *seed)
{
	if (next(seed) % 8 == 0)
		memset(page, 0, GUEST_PAGE);
	else if (next(seed) % 8 == 0)
		fill_page(page, seed);
	else
		page[next(seed) % GUEST_PAGE]++;
}

static void write_once(struct fake_guest *g)
{
	size_t r = next(&g->seed) % g->n_regions;
	uint64_t n = pages_of(g, r), hot = atomic_load(&g->hot_pages), page;
	unsigned int seed;

	if (hot && hot < n)
		n = hot;
	page = next(&g->seed) % n;
	seed = g->seed;
	pthread_rwlock_rdlock(&g->log_lock);
	fake_guest_scribble(g->regions[r].host + page * GUEST_PAGE, &seed);
	g->seed = seed;
	if (atomic_load(&g->logging))
		__atomic_fetch_or(&g->log[r][page / 64], 1ull << (page % 64), __ATOMIC_RELAXED);
	pthread_rwlock_unlock(&g->log_lock);
	atomic_fetch_add(&g->writes, 1);
}

static void *writer_main(void *arg)
{
	struct fake_guest *g = arg;
	unsigned int i, n, per_ms;

	while (!atomic_load(&g->quit)) {
		if (atomic_load(&g->paused)) {
			atomic_store(&g->parked, true);
			sleep_us(100);
			continue;
		}
		atomic_store(&g->parked, false);
		if (atomic_load(&g->paused))
			continue;
		per_ms = atomic_load(&g->writes_per_ms);
		n = per_ms ? per_ms : 50;
		n = n * (100 - atomic_load(&g->throttle)) / 100;
		for (i = 0; i < n && !atomic_load(&g->paused); i++)
			write_once(g);
		if (per_ms || atomic_load(&g->throttle))
			sleep_us(1000);
	}
	return NULL;
}

static void now_runs(struct fake_guest *g, bool yes)
{
	struct fake_world *w = g->world;

	pthread_mutex_lock(&w->lock);
	w->running[g->side] = yes;
	if (w->running[0] && w->running[1])
		w->double_run = true;
	pthread_mutex_unlock(&w->lock);
}

void fake_guest_run(struct fake_guest *g)
{
	g->world->disk_holder = g->side;
	g->world->disk_incarnation = g->incarnation;
	now_runs(g, true);
	pthread_create(&g->writer, NULL, writer_main, g);
	while (!atomic_load(&g->writes))
		sleep_us(50);
}

void fake_guest_freeze(struct fake_guest *g)
{
	atomic_store(&g->parked, false);
	atomic_store(&g->paused, true);
	while (g->writer && !atomic_load(&g->parked))
		sleep_us(50);
}

int64_t fake_guest_compare(struct fake_guest *a, struct fake_guest *b, size_t *region)
{
	uint64_t page;
	size_t r;

	for (r = 0; r < a->n_regions; r++) {
		*region = r;
		for (page = 0; page < pages_of(a, r); page++)
			if (memcmp(a->regions[r].host + page * GUEST_PAGE,
				   b->regions[r].host + page * GUEST_PAGE, GUEST_PAGE))
				return (int64_t)page;
	}
	return -1;
}

/* --- guest_ops --- */

static int fg_regions(void *self, struct guest_region *out, size_t max, size_t *n, struct err *e)
{
	struct fake_guest *g = self;

	if (g->n_regions > max)
		return err_set(e, -E2BIG, "regions");
	memcpy(out, g->regions, g->n_regions * sizeof(*out));
	*n = g->n_regions;
	return 0;
}

static int fg_describe(void *self, char **json, struct err *e)
{
	*json = strdup(((struct fake_guest *)self)->description);
	return *json ? 0 : err_set(e, -ENOMEM, "memory");
}

static int fg_match(void *self, const char *theirs, size_t len, struct err *e)
{
	struct fake_guest *g = self;

	if (len == strlen(g->description) && !memcmp(theirs, g->description, len))
		return 0;
	return err_set(e, -EINVAL, "vcpus: %.*s there, %s here", (int)len, theirs, g->description);
}

static int fg_dirty_start(void *self, struct err *e)
{
	struct fake_guest *g = self;
	size_t r;

	pthread_rwlock_wrlock(&g->log_lock);
	for (r = 0; r < g->n_regions; r++)
		memset(g->log[r], 0xff, pages_of(g, r) / 64 * 8);
	atomic_store(&g->logging, true);
	pthread_rwlock_unlock(&g->log_lock);
	return 0;
}

static void fg_dirty_stop(void *self)
{
	struct fake_guest *g = self;

	atomic_store(&g->logging, false);
	g->dirty_stopped = true;
}

static size_t index_of(const struct fake_guest *g, uint32_t id)
{
	size_t r;

	for (r = 0; r < g->n_regions && g->regions[r].id != id; r++)
		;
	return r;
}

static int fg_dirty_fetch(void *self, uint32_t id, uint64_t *bitmap, struct err *e)
{
	struct fake_guest *g = self;
	size_t r = index_of(g, id);
	uint64_t i;

	while (!r && !atomic_load(&g->paused) &&
	       atomic_load(&g->writes) - atomic_load(&g->cleared_at) < atomic_load(&g->writes_per_fetch))
		sleep_us(200);
	pthread_rwlock_wrlock(&g->log_lock);
	for (i = 0; i < pages_of(g, r) / 64; i++)
		bitmap[i] |= g->log[r][i];
	pthread_rwlock_unlock(&g->log_lock);
	return 0;
}

static int fg_dirty_clear(void *self, uint32_t id, uint64_t first, uint64_t count,
			  const uint64_t *bitmap, struct err *e)
{
	struct fake_guest *g = self;
	size_t r = index_of(g, id);
	uint64_t i;

	if (first % 64 || (count % 64 && first + count != pages_of(g, r)))
		return err_set(e, -EINVAL, "clear of %llu pages at %llu", (unsigned long long)count,
			       (unsigned long long)first);
	pthread_rwlock_wrlock(&g->log_lock);
	for (i = first / 64; i < (first + count) / 64; i++)
		g->log[r][i] &= ~bitmap[i];
	atomic_store(&g->cleared_at, atomic_load(&g->writes));
	pthread_rwlock_unlock(&g->log_lock);
	return 0;
}

static void fg_throttle(void *self, unsigned int percent)
{
	atomic_store(&((struct fake_guest *)self)->throttle, percent);
}

static int fg_pause(void *self, struct err *e)
{
	struct fake_guest *g = self;

	if (g->slow_pause)
		sleep_us(200000);
	fake_guest_freeze(g);
	now_runs(g, false);
	return 0;
}

static int fg_resume(void *self, struct err *e)
{
	struct fake_guest *g = self;

	now_runs(g, true);
	atomic_store(&g->paused, false);
	return 0;
}

static int fg_save(void *self, uint8_t **buf, size_t *len, struct err *e)
{
	struct fake_guest *g = self;

	*len = 1 + next(&g->seed) % (g->state_max ? g->state_max : 3u << 20);
	*buf = malloc(*len);
	memset(*buf, (int)(g->seed & 0xff), *len);
	free(g->state);
	g->state = malloc(*len);
	g->state_len = *len;
	memcpy(g->state, *buf, *len);
	return 0;
}

static int fg_load(void *self, const uint8_t *buf, size_t len, struct err *e)
{
	struct fake_guest *g = self;

	if (g->fail_load)
		return err_set(e, -EINVAL, "serial: field ier: value 99");
	free(g->state);
	g->state = malloc(len);
	g->state_len = len;
	memcpy(g->state, buf, len);
	return 0;
}

/* As hv/disk/disk_lock.h has it: a lock, then a record. */
static int lock_disk(struct fake_guest *g, struct err *e)
{
	struct fake_world *w = g->world;
	int rc = 0;

	pthread_mutex_lock(&w->lock);
	if (!w->diskless && w->disk_holder >= 0 && w->disk_holder != g->side)
		rc = err_set(e, -EBUSY, "disk is open by side %d", w->disk_holder);
	else if (!w->diskless && w->disk_incarnation != g->disk_seen)
		rc = err_set(e, -EPERM, "disk has seen incarnation %llu",
			     (unsigned long long)w->disk_incarnation);
	else
		w->disk_holder = g->side;
	pthread_mutex_unlock(&w->lock);
	return rc;
}

static int record_disk(struct fake_guest *g, uint64_t incarnation, struct err *e)
{
	struct fake_world *w = g->world;

	pthread_mutex_lock(&w->lock);
	g->disk_before = w->disk_incarnation;
	w->disk_incarnation = g->disk_seen = g->incarnation = incarnation;
	pthread_mutex_unlock(&w->lock);
	return 0;
}

static int fg_preflight(void *self, struct err *e)
{
	struct fake_guest *g = self;

	return g->fail_preflight ? err_set(e, -ENOENT, "disk /x: No such file or directory") : 0;
}

static int fg_prepare(void *self, struct err *e)
{
	struct fake_guest *g = self;

	if (atomic_load(&g->fail_prepare) > 0) {
		atomic_fetch_sub(&g->fail_prepare, 1);
		return err_set(e, -EIO, "disk is broken");
	}
	return lock_disk(g, e);
}

static int fg_commit(void *self, uint64_t incarnation, struct err *e)
{
	struct fake_guest *g = self;

	if (atomic_load(&g->fail_commit) > 0) {
		atomic_fetch_sub(&g->fail_commit, 1);
		return err_set(e, -EIO, "no room for the record");
	}
	return record_disk(g, incarnation, e);
}

static int fg_let_go(void *self, struct err *e)
{
	struct fake_guest *g = self;
	struct fake_world *w = g->world;

	pthread_mutex_lock(&w->lock);
	if (w->disk_holder == g->side) {
		w->disk_holder = -1;
		if (g->disk_before)
			w->disk_incarnation = g->disk_seen = g->disk_before;
	}
	pthread_mutex_unlock(&w->lock);
	return 0;
}

static int fg_release(void *self, struct err *e)
{
	struct fake_guest *g = self;

	pthread_mutex_lock(&g->world->lock);
	g->world->disk_holder = -1;
	pthread_mutex_unlock(&g->world->lock);
	return 0;
}

static void fg_gone(void *self)
{
	((struct fake_guest *)self)->gone = true;
}

static const struct guest_ops fake_ops = {
	.regions = fg_regions,
	.describe = fg_describe,
	.dirty_start = fg_dirty_start,
	.dirty_stop = fg_dirty_stop,
	.dirty_fetch = fg_dirty_fetch,
	.dirty_clear = fg_dirty_clear,
	.throttle = fg_throttle,
	.pause = fg_pause,
	.resume = fg_resume,
	.save = fg_save,
	.release = fg_release,
	.gone = fg_gone,
	.match = fg_match,
	.load = fg_load,
	.preflight = fg_preflight,
	.prepare = fg_prepare,
	.commit = fg_commit,
	.let_go = fg_let_go,
};

struct guest fake_guest_ops(struct fake_guest *g)
{
	return (struct guest){ .ops = &fake_ops, .self = g };
}

/* --- arbiters --- */

static int disk_ask(void *self, enum migrate_role role, enum outcome proposal,
		    uint64_t incarnation, int timeout_ms, enum outcome *out, struct err *e)
{
	struct fake_guest *g = self;
	bool source = role == MIGRATE_SOURCE;
	int rc = lock_disk(g, e);

	if (rc == -EBUSY && source && g->world->disk_incarnation < incarnation) {
		sleep_us(10000);
		return rc; /* the destination has its lock, and nothing else yet */
	}
	if (!rc)
		rc = fg_commit(self, source ? incarnation + 1 : incarnation, e);
	if (rc && rc != -EBUSY && rc != -EPERM) {
		sleep_us(10000);
		return rc;
	}
	*out = !rc == !source ? OUTCOME_COMMIT : OUTCOME_ABORT;
	return 0;
}

static int cluster_ask(void *self, enum migrate_role role, enum outcome proposal,
		       uint64_t incarnation, int timeout_ms, enum outcome *out, struct err *e)
{
	struct fake_guest *g = self;
	struct fake_world *w = g->world;
	int rc = 0;

	pthread_mutex_lock(&w->lock);
	if (w->cluster_unreachable[g->side])
		rc = err_set(e, -EAGAIN, "no quorum");
	else if (!w->decided)
		w->decided = proposal;
	*out = w->decided;
	pthread_mutex_unlock(&w->lock);
	if (rc)
		sleep_us(10000);
	return rc;
}

static const char *no_advice(void *self)
{
	return "wait for the cluster";
}

static const struct arbiter_ops disk_ops = {
	.name = "disk",
	.wire = 1,
	.give_up_ms = 500,
	.ask = disk_ask,
	.advice = no_advice,
};

static const struct arbiter_ops cluster_ops = {
	.name = "cluster",
	.wire = 2,
	.ask = cluster_ask,
	.advice = no_advice,
};

struct arbiter fake_arbiter_disk(struct fake_guest *g)
{
	return (struct arbiter){ .ops = &disk_ops, .self = g };
}

struct arbiter fake_arbiter_cluster(struct fake_guest *g)
{
	return (struct arbiter){ .ops = &cluster_ops, .self = g };
}
