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
 *   memory        what the domain has in use there must fit here (room.h)
 *
 * CPU, devices and memory layout are compared by machine_match(); bridges and taps
 * are there or this process were not; MSRs and TSC are loaded before READY.
 */
#include "cmd/drover-hv/migration.h"

#include "base/room.h"
#include "hv/boot.h"
#include "hv/disk_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

/* --- source --- */

uint64_t preflight_resident(void)
{
	unsigned long pages = 0;
	FILE *f = fopen("/proc/self/statm", "re");

	if (f && fscanf(f, "%*u %lu", &pages) != 1)
		pages = 0;
	if (f)
		fclose(f);
	return (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

int preflight_mark(struct migration *m, struct err *e)
{
	uint8_t random[(PROOF_TEXT - 1) / 2];
	size_t i;

	if (getrandom(random, sizeof(random), 0) != sizeof(random))
		return err_errno(e, "random numbers");
	for (i = 0; i < sizeof(random); i++)
		snprintf(m->proof + 2 * i, 3, "%02x", random[i]);
	return machine_disks_mark(m->v->machine, m->v->incarnation, m->proof, e);
}

/* --- destination --- */

static bool somebody_holds(int fd)
{
	struct flock l = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

	return !fcntl(fd, F_OFD_GETLK, &l) && l.l_type != F_UNLCK;
}

static int check_lock_seen(const char *path, struct err *e)
{
	int rc = 0, fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return err_errno(e, "disk %s", path);
	if (!somebody_holds(fd))
		rc = err_set(e, -EINVAL, "disk %s: the lock that the source holds is not seen here: this storage "
			     "shares no locks, the disk cannot decide a migration", path);
	close(fd);
	return rc;
}

/* Is this the file that the source has? */
static int check_same(const struct migration *m, const char *path, struct err *e)
{
	struct disk_holder h = { 0 };
	struct stat st;
	int rc;

	if (stat(path, &st))
		return err_errno(e, "disk %s", path);
	if (!S_ISREG(st.st_mode))
		return 0;
	rc = disk_lock_record(path, NULL, &h, e);
	if (rc && rc != -ENOENT)
		return rc;
	if (rc || strcmp(h.nonce, m->proof) || memcmp(h.uuid, m->v->conf->uuid, sizeof(h.uuid)))
		return err_set(e, -EINVAL, "disk %s: not the file that the source has: what the source recorded for "
			       "this migration is not seen here (%s); disks must be on storage that both hosts "
			       "share", path, rc ? "there is no record" : "another record");
	return m->params.arbiter.ops->wire == ARBITER_WIRE_DISK ? check_lock_seen(path, e) : 0;
}

static int check_boot_file(const char *what, const char *path, uint64_t memory, struct err *e)
{
	struct boot_file f;
	int rc;

	if (!path)
		return 0;
	rc = boot_file_open(&f, path, memory, e);
	if (rc)
		err_prefix(e, "%s", what);
	else
		boot_file_close(&f);
	return rc;
}

static int check_room(const struct migration *m, struct err *e)
{
	uint64_t need = m->v->conf->memory, have = preflight_resident();

	/* Pages of a pool that was reserved for guests are here already. */
	if (machine_memory(m->v->machine)->backing == BACKING_HUGETLB)
		return 0;
	if (m->their_memory && m->their_memory < need)
		need = m->their_memory;
	return room_check("", need > have ? need - have : 0, e);
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
		rc = check_boot_file("kernel", c->kernel, m->v->conf->memory, e);
	if (!rc)
		rc = check_boot_file("initrd", c->initrd, m->v->conf->memory, e);
	if (!rc)
		rc = check_room(m, e);
	if (rc)
		err_prefix(e, "it cannot run here");
	return rc;
}
