/* SPDX-License-Identifier: Apache-2.0 */
/*
 * adopt - `drover-hv adopt FILE.yaml`: make a domain's disks nobody's.
 *
 * The records beside disks refuse whoever may not follow their last owner (rule H,
 * hv/disk/disk_lock.h).  When that owner is no more - a cluster that was set up anew, a domain
 * that moved by other means - only a person can know; this is how he says so, once.
 * With the locks in hand, all disks' records are made to name no cluster and incarnation
 * 0, which anybody may follow.  A disk that somebody has open is refused as ever.
 */
#include "cmd/drover-hv/vmm.h"

#include "hv/disk/disk_lock.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void nobody(const struct domain_conf *c, struct disk_holder *h)
{
	memset(h, 0, sizeof(*h));
	snprintf(h->domain, sizeof(h->domain), "%s", c->name);
	memcpy(h->uuid, c->uuid, sizeof(h->uuid));
	gethostname(h->host, sizeof(h->host) - 1);
	h->pid = getpid();
}

static void tell(const char *path, const struct disk_holder *was)
{
	if (!was)
		log_info("disk %s: nobody's before", path);
	else
		log_info("disk %s: nobody's; was incarnation %llu of domain %s, host %s, cluster %s", path,
			 (unsigned long long)was->incarnation, was->domain, was->host,
			 *was->cluster ? was->cluster : "none");
}

static int lock_all(const struct domain_conf *c, struct disk_lock **locks, struct err *e)
{
	int ret = 0;

	for (size_t i = 0; i < c->n_disks && !ret; i++)
		if (!c->disks[i].readonly)
			ret = disk_lock_prepare(c->disks[i].path, false, NULL, &locks[i], e);
	return ret;
}

static int free_all(const struct domain_conf *c, struct disk_lock **locks, struct err *e)
{
	struct disk_holder h;
	int ret = 0;

	nobody(c, &h);
	for (size_t i = 0; i < c->n_disks && !ret; i++) {
		if (!locks[i])
			continue;
		ret = disk_lock_commit(locks[i], &h, e);
		if (!ret)
			tell(c->disks[i].path, disk_lock_last(locks[i]));
	}
	return ret;
}

int adopt_disks(const char *file, struct err *e)
{
	struct disk_lock *locks[DOMAIN_DISKS_MAX] = { NULL };
	struct domain_conf *c;
	int ret;

	ret = domain_conf_load(file, &c, e);
	if (ret)
		return ret;
	ret = lock_all(c, locks, e);
	if (!ret)
		ret = free_all(c, locks, e);
	for (size_t i = 0; i < c->n_disks; i++)
		disk_lock_release(locks[i]);
	domain_conf_free(c);
	return ret;
}
