/* SPDX-License-Identifier: Apache-2.0 */
/*
 * boot_kept - what a domain boots from, as descriptors (boot.h).
 *
 * Kept open, not kept in memory: kernel and initrd are tens of megabytes that each domain would hold for
 * a reset that may never come.  Read, not mapped: a mapped file that somebody truncates is a SIGBUS.
 */
#include "hv/firmware/boot_int.h"

#include "hv/firmware/acpi.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define UNLOADED_MAX (1ull << 30) /* debugging information of a kernel, which never gets into the guest */

struct kept {
	const char *what; /* "kernel" */
	char *path;       /* for errors only; NULL: there is none */
	int fd;
};

struct boot {
	struct kept kernel, initrd;
	uint64_t memory;
};

/* --- open --- */

static int check_file(const struct boot *b, const struct kept *k, uint64_t *size, struct err *e)
{
	struct stat st;

	if (fstat(k->fd, &st))
		return err_errno(e, "%s", k->path);
	if (!S_ISREG(st.st_mode) || st.st_size <= 0)
		return err_set(e, -EINVAL, "%s: not a file with something in it", k->path);
	*size = (uint64_t)st.st_size;
	if (*size > b->memory && *size - b->memory > UNLOADED_MAX)
		return err_set(e, -EFBIG, "%s: %llu bytes do not fit the %llu of the domain's memory", k->path,
			       (unsigned long long)*size, (unsigned long long)b->memory);
	return 0;
}

/* O_NONBLOCK: a FIFO would wait for a writer. */
static int keep(struct boot *b, struct kept *k, const char *path, struct err *e)
{
	uint64_t size;

	k->path = strdup(path);
	if (!k->path)
		return err_set(e, -ENOMEM, "out of memory");
	k->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (k->fd < 0)
		return err_errno(e, "%s", path);
	return check_file(b, k, &size, e);
}

/* --- read --- */

/*
 * All @len bytes, or an error: a file that shrinks meanwhile must not be half a kernel.
 * #syscalls:main pread64
 */
static int read_whole(const struct kept *k, uint8_t *buf, size_t len, struct err *e)
{
	for (size_t done = 0; done < len;) {
		ssize_t n = pread(k->fd, buf + done, len - done, (off_t)done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_errno(e, "%s", k->path);
		if (!n)
			return err_set(e, -EIO, "%s: ends after %zu of %zu bytes", k->path, done, len);
		done += (size_t)n;
	}
	return 0;
}

/* At most @max bytes of it. */
static int image_read(const struct boot *b, const struct kept *k, uint64_t max, struct boot_file *f, struct err *e)
{
	uint64_t size;
	uint8_t *p;
	int ret;

	memset(f, 0, sizeof(*f));
	if (!k->path)
		return 0;
	ret = check_file(b, k, &size, e);
	if (ret)
		return ret;
	size = size < max ? size : max;
	p = malloc(size);
	if (!p)
		return err_set(e, -ENOMEM, "%s: no memory for %llu bytes", k->path, (unsigned long long)size);
	ret = read_whole(k, p, size, e);
	if (ret)
		free(p);
	else
		*f = (struct boot_file){ .data = p, .len = size, .name = k->path };
	return ret;
}

static int kept_read(const struct boot *b, const struct kept *k, struct boot_file *f, struct err *e)
{
	int ret = image_read(b, k, UINT64_MAX, f, e);

	if (ret)
		err_prefix(e, "%s", k->what);
	return ret;
}

/* What is no kernel is refused now, and not at a reset. */
static int check_kernel(const struct boot *b, struct err *e)
{
	struct boot_file head;
	int ret = image_read(b, &b->kernel, BOOT_HEAD, &head, e);

	if (ret)
		return ret;
	ret = boot_way_of(&head, NULL, e);
	free((void *)head.data);
	return ret;
}

int boot_open(struct boot **out, const char *kernel, const char *initrd, uint64_t memory, struct err *e)
{
	struct boot *b = calloc(1, sizeof(*b));
	struct kept *k;
	int ret;

	if (!b)
		return err_set(e, -ENOMEM, "boot: out of memory");
	b->memory = memory;
	b->kernel = (struct kept){ .what = "kernel", .fd = -1 };
	b->initrd = (struct kept){ .what = "initrd", .fd = -1 };
	k = &b->kernel;
	ret = keep(b, k, kernel, e);
	if (!ret)
		ret = check_kernel(b, e);
	if (!ret && initrd) {
		k = &b->initrd;
		ret = keep(b, k, initrd, e);
	}
	if (ret) {
		err_prefix(e, "%s", k->what);
		boot_close(b);
		return ret;
	}
	*out = b;
	return 0;
}

static void kept_close(struct kept *k)
{
	if (k->fd >= 0)
		close(k->fd);
	free(k->path);
}

void boot_close(struct boot *b)
{
	if (!b)
		return;
	kept_close(&b->kernel);
	kept_close(&b->initrd);
	free(b);
}

/* --- boot --- */

int boot_enter(const struct boot *b, struct gmem *m, const char *cmdline, const struct cpu_topology *vcpus, struct vcpu_state *first,
	       struct err *e)
{
	struct boot_options o = { .cmdline = cmdline };
	struct boot_entry entry;
	int ret;

	assert(b->kernel.fd >= 0);
	ret = kept_read(b, &b->kernel, &o.kernel, e);
	if (!ret)
		ret = kept_read(b, &b->initrd, &o.initrd, e);
	if (!ret)
		ret = acpi_build(m, vcpus, &o.rsdp, e);
	if (!ret)
		ret = boot_load(m, &o, &entry, e);
	if (!ret)
		ret = boot_registers(m, &entry, first, e);
	free((void *)o.kernel.data);
	free((void *)o.initrd.data);
	return ret;
}
