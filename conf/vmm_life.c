/* SPDX-License-Identifier: Apache-2.0 */
/* vmm_life - see vmm_life.h. */
#include "conf/vmm_life.h"

#include "base/number.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MAX 1024

static const char *const end_names[VMM_ENDS] = {
	[VMM_END_SILENT] = "silent",   [VMM_END_POWEROFF] = "poweroff", [VMM_END_STOPPED] = "stopped",
	[VMM_END_SIGNAL] = "signal",   [VMM_END_MOVED] = "moved",	[VMM_END_FAILED] = "failed",
};

const char *vmm_end_str(enum vmm_end e)
{
	return (unsigned int)e < VMM_ENDS ? end_names[e] : "?";
}

/* One write: whoever reads sees a line whole or not at all. */
static int append(int fd, const char *line)
{
	size_t len = strlen(line);
	ssize_t n = write(fd, line, len);

	return n == (ssize_t)len ? 0 : n < 0 ? -errno : -EIO;
}

int vmm_life_begin(const char *path, uint64_t incarnation, int *fd, struct err *e)
{
	char line[64];
	int rc;

	*fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0640);
	if (*fd < 0)
		return err_errno(e, "cannot open %s", path);
	if (flock(*fd, LOCK_EX | LOCK_NB) < 0) {
		rc = errno == EWOULDBLOCK ? err_set(e, -EEXIST, "%s: what was started here still lives", path)
					  : err_errno(e, "cannot lock %s", path);
		goto fail;
	}
	snprintf(line, sizeof(line), "incarnation %" PRIu64 "\n", incarnation);
	rc = ftruncate(*fd, 0) < 0 ? -errno : append(*fd, line);
	if (rc == 0)
		return 0;
	err_set(e, rc, "cannot write %s: %s", path, strerror(-rc));
fail:
	close(*fd);
	*fd = -1;
	return rc;
}

void vmm_life_pid(int fd, pid_t pid)
{
	char line[32];

	snprintf(line, sizeof(line), "pid %d\n", (int)pid);
	append(fd, line);
}

void vmm_life_end(int fd, enum vmm_end end, int code, const char *text)
{
	char line[VMM_LIFE_TEXT_MAX + 64];
	int n;

	if (fd < 0)
		return;
	n = snprintf(line, sizeof(line), "end %s %d %.*s", vmm_end_str(end), code, VMM_LIFE_TEXT_MAX, text);
	for (char *p = line; *p; p++)
		if ((unsigned char)*p < ' ')
			*p = ' ';
	if (n > 0 && (size_t)n + 1 < sizeof(line))
		strcpy(line + n, "\n");
	append(fd, line);
}

static int parse_end(char *rest, struct vmm_life *out)
{
	char *save = NULL, *how = strtok_r(rest, " ", &save), *code = strtok_r(NULL, " ", &save);
	uint64_t n;
	int i;

	if (!how || !code || !number_parse(code, 0, 255, &n))
		return -EINVAL;
	for (i = 0; i < VMM_ENDS && strcmp(how, end_names[i]); i++)
		;
	if (i == VMM_ENDS)
		return -EINVAL;
	if (out->end != VMM_END_SILENT)
		return 0; /* the first word counts */
	out->end = (enum vmm_end)i;
	out->code = (int)n;
	snprintf(out->text, sizeof(out->text), "%s", save ? save : "");
	return 0;
}

static int parse_line(char *line, struct vmm_life *out)
{
	uint64_t n;

	if (!strncmp(line, "incarnation ", 12))
		return number_parse(line + 12, 0, UINT64_MAX, &out->incarnation) ? 0 : -EINVAL;
	if (!strncmp(line, "pid ", 4)) {
		if (!number_parse(line + 4, 1, INT_MAX, &n))
			return -EINVAL;
		out->pid = (pid_t)n;
		return 0;
	}
	return strncmp(line, "end ", 4) ? -EINVAL : parse_end(line + 4, out);
}

static int parse(char *text, struct vmm_life *out)
{
	char *save = NULL, *line;
	int rc = 0;

	for (line = strtok_r(text, "\n", &save); line && !rc; line = strtok_r(NULL, "\n", &save))
		rc = parse_line(line, out);
	return rc;
}

int vmm_life_look(const char *path, struct vmm_life *out, struct err *e)
{
	char text[FILE_MAX + 1];
	ssize_t n = -1;
	int fd, rc = 0;

	memset(out, 0, sizeof(*out));
	out->lives = true;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return err_errno(e, "cannot open %s", path);
	/* The lock first: what is read after it was found free is the last word. */
	if (flock(fd, LOCK_EX | LOCK_NB) == 0)
		out->lives = false;
	else if (errno != EWOULDBLOCK)
		rc = err_errno(e, "cannot look at the lock of %s", path);
	if (!rc)
		n = read(fd, text, FILE_MAX);
	if (!rc && n < 0)
		rc = err_errno(e, "cannot read %s", path);
	close(fd);
	if (rc)
		return rc;
	text[n] = '\0';
	return parse(text, out) ? err_set(e, -EINVAL, "%s: not a VMM's life file", path) : 0;
}

/* The kernel names a lock in the fdinfo of exactly those descriptors whose open file has it. */
static bool has_lock(pid_t pid, const char *fd)
{
	char path[64], line[256];
	bool found = false;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/fdinfo/%.10s", (int)pid, fd);
	f = fopen(path, "re");
	if (!f)
		return false;
	while (!found && fgets(line, sizeof(line), f))
		found = strncmp(line, "lock:", 5) == 0 && strstr(line, "FLOCK");
	fclose(f);
	return found;
}

/* Not only open, as whoever looks at the file for a moment has it: it is what lives in it that counts. */
static bool lives_in(pid_t pid, const struct stat *file)
{
	char path[64];
	struct dirent *de;
	struct stat st;
	bool found = false;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	d = opendir(path);
	if (!d)
		return false;
	while (!found && (de = readdir(d)) != NULL)
		found = fstatat(dirfd(d), de->d_name, &st, 0) == 0 && st.st_dev == file->st_dev &&
			st.st_ino == file->st_ino && has_lock(pid, de->d_name);
	closedir(d);
	return found;
}

pid_t vmm_life_holder(const char *path, pid_t hint)
{
	pid_t found = -ESRCH;
	struct dirent *de;
	struct stat st;
	uint64_t pid;
	DIR *d;

	if (stat(path, &st) < 0)
		return -errno;
	if (hint > 0 && lives_in(hint, &st))
		return hint;
	d = opendir("/proc");
	if (!d)
		return -errno;
	while (found < 0 && (de = readdir(d)) != NULL)
		if (number_parse(de->d_name, 1, INT_MAX, &pid) && (pid_t)pid != getpid() &&
		    lives_in((pid_t)pid, &st))
			found = (pid_t)pid;
	closedir(d);
	return found;
}
