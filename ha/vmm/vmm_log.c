/* SPDX-License-Identifier: Apache-2.0 */
/* vmm_log - see vmm_log.h. */
#include "ha/vmm/vmm_log.h"

#include "base/log.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

/* The last VMM_LOG_MAX bytes of @from into @path.1, whole or not at all. */
static void keep_end(int from, off_t size, const char *path)
{
	char older[PATH_MAX];
	off_t at = size - (off_t)VMM_LOG_MAX;
	int to;

	if (snprintf(older, sizeof(older), "%s.1", path) >= (int)sizeof(older))
		return;
	unlink(older); /* whatever it is */
	to = open(older, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0640);
	if (to < 0)
		return;
	while (at < size) {
		ssize_t n = sendfile(to, from, &at, (size_t)(size - at));

		if (n > 0)
			continue;
		unlink(older);
		break;
	}
	close(to);
}

void vmm_log_trim(const char *path)
{
	int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	struct stat st;

	if (fd < 0)
		return;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > (off_t)VMM_LOG_MAX) {
		keep_end(fd, st.st_size, path);
		if (ftruncate(fd, 0) < 0)
			log_warn("%s cannot be shortened", path);
	}
	close(fd);
}

void vmm_log_trim_all(const char *dir)
{
	char path[PATH_MAX];
	struct dirent *de;
	DIR *d = opendir(dir);

	if (!d)
		return;
	while ((de = readdir(d)) != NULL) {
		size_t len = strlen(de->d_name);

		if (len > 4 && !strcmp(de->d_name + len - 4, ".log") &&
		    snprintf(path, sizeof(path), "%s/%s", dir, de->d_name) < (int)sizeof(path))
			vmm_log_trim(path);
	}
	closedir(d);
}
