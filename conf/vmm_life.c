/* SPDX-License-Identifier: Apache-2.0 */
/* vmm_life - see vmm_life.h. */
#include "conf/vmm_life.h"

#include "base/number.h"
#include "base/text.h"

#include <assert.h>
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
#define WHICH_MAX 48 /* two numbers */

static const char *const end_names[VMM_ENDS] = {
	[VMM_END_SILENT] = "silent",
	[VMM_END_POWEROFF] = "poweroff",
	[VMM_END_STOPPED] = "stopped",
	[VMM_END_SIGNAL] = "signal",
	[VMM_END_MOVED] = "moved",
	[VMM_END_FAILED] = "failed",
};

static const char *end_str(enum vmm_end e)
{
	return (unsigned int)e < VMM_ENDS ? end_names[e] : "?";
}

/* One write: whoever reads sees a line whole or not at all. */
static int append(int fd, const char *line)
{
	size_t len = strlen(line);
	ssize_t n = write(fd, line, len);

	return n == (ssize_t)len ? 0 : n < 0 ? -errno :
					       -EIO;
}

/* Two files that exist are never alike in this, and the original of a copy exists while somebody lives in it. */
static void which_file(const struct stat *st, char *text, size_t size)
{
	snprintf(text, size, "%" PRIu64 "-%" PRIu64, (uint64_t)st->st_dev, (uint64_t)st->st_ino);
}

int vmm_life_begin(const char *path, uint64_t incarnation, int *fd, struct err *e)
{
	char line[128], file[WHICH_MAX];
	struct stat st;
	int rc;

	*fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0640);
	if (*fd < 0)
		return err_errno(e, "cannot open %s", path);
	if (flock(*fd, LOCK_EX | LOCK_NB) < 0) {
		if (errno == EWOULDBLOCK)
			rc = err_set(e, -EEXIST, "%s: what was started here still lives", path);
		else
			rc = err_errno(e, "cannot lock %s", path);
		goto fail;
	}
	rc = fstat(*fd, &st) < 0 || ftruncate(*fd, 0) < 0 ? -errno : 0;
	if (rc == 0) {
		which_file(&st, file, sizeof(file));
		snprintf(line, sizeof(line), "incarnation %" PRIu64 "\nfile %s\n", incarnation, file);
		rc = append(*fd, line);
	}
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

	assert(end < VMM_ENDS && end != VMM_END_SILENT); /* who is silent does not say so */
	if (fd < 0)
		return;
	snprintf(line, sizeof(line) - 1, "end %s %d %.*s", end_str(end), code, VMM_LIFE_TEXT_MAX, text);
	strcpy(line + text_clean(line), "\n");
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
	text_copy(out->text, sizeof(out->text), save ? save : "");
	return 0;
}

/* What droverd wrote before anybody lived there; a second one is not by droverd. */
struct begun {
	bool incarnation, file;
};

/* @file: which one is read */
static int parse_line(char *line, const char *file, struct begun *had, struct vmm_life *out)
{
	uint64_t n;

	if (!strncmp(line, "incarnation ", 12)) {
		if (had->incarnation)
			return -EINVAL;
		had->incarnation = true;
		return number_parse(line + 12, 0, UINT64_MAX, &out->incarnation) ? 0 : -EINVAL;
	}
	if (!strncmp(line, "file ", 5)) {
		if (had->file)
			return -EINVAL;
		had->file = true;
		out->copy = strcmp(line + 5, file) != 0;
		return 0;
	}
	if (!strncmp(line, "pid ", 4)) {
		if (!number_parse(line + 4, 1, INT_MAX, &n))
			return -EINVAL;
		out->pid = (pid_t)n;
		return 0;
	}
	return strncmp(line, "end ", 4) ? -EINVAL : parse_end(line + 4, out);
}

static int parse(char *text, const char *file, struct vmm_life *out)
{
	struct begun had = { 0 };
	char *save = NULL, *line;
	int rc = 0;

	for (line = strtok_r(text, "\n", &save); line && !rc; line = strtok_r(NULL, "\n", &save))
		rc = parse_line(line, file, &had, out);
	return rc;
}

int vmm_life_open(const char *path, struct err *e)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

	if (fd < 0)
		return err_errno(e, "cannot open %s", path);
	return fd;
}

int vmm_life_look(int fd, struct vmm_life *out, struct err *e)
{
	char text[FILE_MAX + 1], file[WHICH_MAX];
	struct stat st;
	ssize_t n;

	memset(out, 0, sizeof(*out));
	out->lives = true;
	/* The lock first: what is read after it was found free is the last word. */
	if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
		out->lives = false;
		flock(fd, LOCK_UN);
	} else if (errno != EWOULDBLOCK) {
		return err_errno(e, "cannot look at the lock of a life file");
	}
	n = fstat(fd, &st) < 0 ? -1 : pread(fd, text, FILE_MAX, 0);
	if (n < 0)
		return err_errno(e, "cannot read a life file");
	text[n] = '\0';
	which_file(&st, file, sizeof(file));
	return parse(text, file, out) ? err_set(e, -EINVAL, "not a VMM's life file") : 0;
}
