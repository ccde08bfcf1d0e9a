/* SPDX-License-Identifier: Apache-2.0 */
/* disk_broker_here - what has to be known of a disk that is opened, found out by this process (disk_broker.h). */
#include "hv/disk/disk_broker_int.h"

#include "hv/disk/disk_mounted.h"

#include <unistd.h>

static int look(int fd, const char *path, bool unmounted, struct disk_store *store, struct err *e)
{
	int ret = unmounted ? disk_unmounted(fd, path, e) : 0;

	if (ret)
		return ret;
	ret = disk_store_of(fd, store, e);
	if (ret)
		err_prefix(e, "disk %s", path);
	return ret;
}

int disk_here_prepare(const char *path, bool readonly, bool unmounted, struct disk_lock **out,
		      struct disk_store *store, struct err *e)
{
	int ret = disk_lock_prepare(path, readonly, NULL, out, e);

	if (ret)
		return ret;
	ret = look(disk_lock_fd(*out), path, unmounted, store, e);
	if (ret) {
		disk_lock_release(*out);
		*out = NULL;
	}
	return ret;
}

int disk_here_probe(const char *path, bool readonly, int *fd, struct disk_store *store, struct err *e)
{
	int ret = disk_lock_probe(path, readonly, NULL, fd, e);

	if (ret)
		return ret;
	ret = look(*fd, path, !readonly, store, e);
	if (ret)
		close(*fd);
	return ret;
}
