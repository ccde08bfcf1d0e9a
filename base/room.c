/* SPDX-License-Identifier: Apache-2.0 */
/* room - see room.h. */
#include "base/room.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define UNLIMITED (1ull << 60) /* cgroup v1 says "no limit" by a number near 2^63 */
#define KEEP_SHARE 8           /* of the host's memory stays available to others: 1/8 */
#define MIB(x) ((unsigned long long)((x) >> 20))

/* The names of one version of the memory controller's files; mounts where Debian and others have them. */
static const struct version {
	const char *mounts[3];
	const char *limit, *used, *cache;
} v1 = { { "/sys/fs/cgroup/memory" }, "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file" },
  v2 = { { "/sys/fs/cgroup", "/sys/fs/cgroup/unified" }, "memory.max", "memory.current", "inactive_file" };

/* "NAME: 123 kB" or "NAME 123": the number of the line that begins with @name. */
static bool line_number(const char *path, const char *name, uint64_t *out)
{
	size_t n = strlen(name);
	FILE *f = fopen(path, "re");
	bool found = false;
	char line[256];

	while (f && !found && fgets(line, sizeof(line), f))
		found = !strncmp(line, name, n) && (line[n] == ' ' || line[n] == ':') &&
			sscanf(line + n + 1, "%lu", out) == 1;
	if (f)
		fclose(f);
	return found;
}

/* False for "max", or when there is no such file. */
static bool whole_number(const char *dir, const char *name, uint64_t *out)
{
	char path[PATH_MAX + 64];
	bool found;
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "re");
	found = f && fscanf(f, "%lu", out) == 1;
	if (f)
		fclose(f);
	return found;
}

static int check_group(const char *dir, const struct version *v, uint64_t need, struct err *e)
{
	uint64_t limit, used, cache = 0, left;
	char stat[PATH_MAX + 64];

	if (!whole_number(dir, v->limit, &limit) || limit >= UNLIMITED || !whole_number(dir, v->used, &used))
		return 0;
	snprintf(stat, sizeof(stat), "%s/memory.stat", dir);
	line_number(stat, v->cache, &cache);
	used = used > cache ? used - cache : 0;
	left = limit > used ? limit - used : 0;
	if (need <= left)
		return 0;
	return err_set(e, -ENOSPC, "memory: the domain needs %llu MiB, the control group %s may take %llu MiB more "
				   "(limit %llu MiB)",
		       MIB(need), dir, MIB(left), MIB(limit));
}

/* @group and all above it. */
static int check_groups(const char *root, const char *group, const struct version *v, uint64_t need,
			struct err *e)
{
	char dir[PATH_MAX], *slash;
	size_t i, mount;
	int rc = 0;

	for (i = 0; v->mounts[i] && !rc; i++) {
		mount = (size_t)snprintf(dir, sizeof(dir), "%s%s", root, v->mounts[i]);
		if (mount >= sizeof(dir) || mount + strlen(group) >= sizeof(dir))
			return 0;
		strcpy(dir + mount, group);
		do {
			rc = check_group(dir, v, need, e);
			slash = strrchr(dir + mount, '/');
			if (slash)
				*slash = '\0';
		} while (!rc && slash);
	}
	return rc;
}

/* #syscalls:porter openat(2&O_WRITES=0) lseek */
int room_check(const char *root, uint64_t need, struct err *e)
{
	char path[PATH_MAX], line[PATH_MAX], *group;
	uint64_t kib, left;
	FILE *f;
	int rc = 0;

	snprintf(path, sizeof(path), "%s/proc/meminfo", root);
	if (line_number(path, "MemAvailable", &kib)) {
		left = kib << 10 > ROOM_KEEP ? (kib << 10) - ROOM_KEEP : 0;
		if (need > left)
			return err_set(e, -ENOSPC, "memory: the domain needs %llu MiB, this host has %llu MiB to give",
				       MIB(need), MIB(left));
	}
	snprintf(path, sizeof(path), "%s/proc/self/cgroup", root);
	f = fopen(path, "re");
	while (f && !rc && fgets(line, sizeof(line), f)) {
		line[strcspn(line, "\n")] = '\0';
		group = strchr(line, ':');
		if (group && !strncmp(group, ":memory:", 8))
			rc = check_groups(root, group + 8, &v1, need, e);
		else if (!strncmp(line, "0::", 3))
			rc = check_groups(root, line + 3, &v2, need, e);
	}
	if (f)
		fclose(f);
	return rc;
}

int room_plenty(const char *root, uint64_t need, struct err *e)
{
	uint64_t total, available;
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/proc/meminfo", root);
	if (!line_number(path, "MemTotal", &total) || !line_number(path, "MemAvailable", &available))
		return err_set(e, -ENOSPC, "memory: %s does not say how much there is", path);
	if (available <= total / KEEP_SHARE)
		return err_set(e, -ENOSPC, "memory: this host has %llu MiB available of %llu MiB", MIB(available << 10),
			       MIB(total << 10));
	return room_check(root, need, e);
}
