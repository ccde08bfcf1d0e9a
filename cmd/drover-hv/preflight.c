/* SPDX-License-Identifier: Apache-2.0 */
/*
 * preflight - could the domain run here?  Tried at a migration's destination before
 * its first page is sent (and for a dry run, which ends with it): whatever is missing
 * here refuses the migration by its name, and the domain runs on where it is.
 *
 *   its disks     each can be opened as the guest needs it and its record written; nothing is kept
 *   the same ones each writable file shows the record that the source wrote a moment ago, with a
 *                 number nobody can guess: the same path on another host may be another file.
 *                 Where the disk is to be the arbiter, its lock must be seen as well.
 *                 A block device has its record in this host's /run, and no lock that others see:
 *                 that it is the same one must be known otherwise (docs/stream.md)
 *   boot files    the guest's next reset needs them
 *   memory        what the domain has in use there must fit here (base/room.h)
 *
 * CPU, devices, networks and memory layout are compared by machine_match(); bridges and taps
 * are there or this process were not; MSRs and TSC are loaded before READY.
 */
#include "cmd/drover-hv/migration.h"

#include "base/hex.h"
#include "hv/disk/disk_broker.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

/* --- source --- */

/* #syscalls:main,engine pread64 */
uint64_t preflight_resident(const struct drover_hv *v)
{
	unsigned long pages = 0;
	char text[64];
	ssize_t n = pread(v->statm_fd, text, sizeof(text) - 1, 0);

	text[n > 0 ? n : 0] = '\0';
	if (sscanf(text, "%*u %lu", &pages) != 1)
		pages = 0;
	return (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

int preflight_mark(struct migration *m, struct err *e)
{
	uint8_t random[(PROOF_TEXT - 1) / 2];

	if (getrandom(random, sizeof(random), 0) != sizeof(random))
		return err_errno(e, "random numbers");
	hex_print(random, sizeof(random), m->proof);
	return machine_disks_mark(m->v->machine, m->v->incarnation, m->proof, e);
}

/* --- destination --- */

/* #syscalls:engine fcntl(1=F_OFD_GETLK) */
static bool somebody_holds(int fd)
{
	struct flock l = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

	return !fcntl(fd, F_OFD_GETLK, &l) && l.l_type != F_UNLCK;
}

static int check_lock_seen(const char *path, int fd, struct err *e)
{
	if (somebody_holds(fd))
		return 0;
	return err_set(e, -EINVAL, "disk %s: the lock that the source holds is not seen here: this storage "
				   "shares no locks, the disk cannot decide a migration",
		       path);
}

/* Is this the file that the source has? */
static int check_file(const struct migration *m, const char *path, int fd, struct err *e)
{
	struct disk_holder h = { 0 };
	int rc = disk_broker_record(m->v->disks, path, &h, e);

	if (rc && rc != -ENOENT)
		return rc;
	if (rc || strcmp(h.nonce, m->proof) || memcmp(h.uuid, m->v->conf->uuid, sizeof(h.uuid)))
		return err_set(e, -EINVAL, "disk %s: not the file that the source has: what the source recorded for "
					   "this migration is not seen here (%s); disks must be on storage that both hosts "
					   "share",
			       path, rc ? "there is no record" : "another record");
	return m->params.arbiter.ops->wire == ARBITER_WIRE_DISK ? check_lock_seen(path, fd, e) : 0;
}

static int check_same(const struct migration *m, const char *path, struct err *e)
{
	struct disk_store store;
	struct stat st;
	int fd, rc;

	rc = disk_broker_probe(m->v->disks, path, true, &fd, &store, e);
	if (rc)
		return rc;
	if (fstat(fd, &st))
		rc = err_errno(e, "disk %s", path);
	else if (S_ISREG(st.st_mode))
		rc = check_file(m, path, fd, e);
	close(fd);
	return rc;
}

/* Opened when this process began (vmm.c): the guest's next reset needs them. */
static int check_boot(const struct migration *m, struct err *e)
{
	return m->v->boot_rc ? err_set(e, m->v->boot_rc, "%s", m->v->boot_why.text) : 0;
}

static int check_room(const struct migration *m, struct err *e)
{
	uint64_t need = m->v->conf->memory, have = preflight_resident(m->v);

	/* Pages of a pool that was reserved for guests are here already. */
	if (machine_memory(m->v->machine)->ram.kind == BACKING_HUGETLB)
		return 0;
	if (m->their_memory && m->their_memory < need)
		need = m->their_memory;
	return porter_room(m->v->porter, need > have ? need - have : 0, false, e);
}

int preflight(struct migration *m, struct err *e)
{
	const struct domain_conf *c = m->v->conf;
	size_t i;
	int rc;

	rc = machine_disks_probe(m->v->machine, false, e);
	for (i = 0; i < c->n_disks && !rc; i++)
		if (!c->disks[i].readonly)
			rc = check_same(m, c->disks[i].path, e);
	if (!rc)
		rc = check_boot(m, e);
	if (!rc)
		rc = check_room(m, e);
	if (rc)
		err_prefix(e, "it cannot run here");
	return rc;
}
