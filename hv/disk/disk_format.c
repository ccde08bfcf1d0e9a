/* SPDX-License-Identifier: Apache-2.0 */
/*
 * disk_format - see disk_format.h for what it is for.
 *
 * Marks are from the formats' own documents: qcow2.txt, qed_spec.txt and parallels.txt of
 * QEMU; VMware "Virtual Disk Format 5.0"; Microsoft "Virtual Hard Disk Image Format
 * Specification" and [MS-VHDX] 2.2; VirtualBox VDICore.h.  Compressed images and archives are
 * among them: downloads come as such.
 */
#include "hv/disk/disk_format.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ALIGN 4096u /* good for O_DIRECT anywhere */
#define VHD_FOOTER 512u
#define VHD_FOOTER_OLD 511u /* Virtual PC before 2004 */

struct mark {
	const char *name;
	size_t at; /* from the start */
	const char *bytes;
	size_t len;
};

#define MARK(name, at, bytes)                      \
	{                                          \
		name, at, bytes, sizeof(bytes) - 1 \
	}

static const struct mark marks[] = {
	MARK("qcow (version 1)", 0, "QFI\xfb\0\0\0\1"),
	MARK("qcow2", 0, "QFI\xfb"),
	MARK("QED", 0, "QED\0"),
	MARK("VMDK", 0, "KDMV"),
	MARK("VMDK (ESX)", 0, "COWD"),
	MARK("VMDK (seSparse)", 0, "\xbe\xba\xfe\xca\0\0\0\0"),
	MARK("VMDK (its descriptor)", 0, "# Disk DescriptorFile"),
	MARK("VHD", 0, "conectix"),
	MARK("VHDX", 0, "vhdxfile"),
	MARK("VDI", 0x40, "\x7f\x10\xda\xbe"),
	MARK("Parallels", 0, "WithoutFreeSpace"),
	MARK("Parallels", 0, "WithouFreSpacExt"),
	MARK("Bochs", 0, "Bochs Virtual HD Image"),
	MARK("gzip", 0, "\x1f\x8b\x08"),
	MARK("xz", 0, "\xfd"
		      "7zXZ\0"),
	MARK("zstd", 0, "\x28\xb5\x2f\xfd"),
	MARK("zip", 0, "PK\3\4"),
	MARK("tar (an OVA?)", 257, "ustar"),
};

static bool vhd_footer(const uint8_t *tail, size_t len, size_t footer)
{
	return len >= footer && !memcmp(tail + len - footer, "conectix", 8);
}

/*
 * The format that these first and last bytes of a disk are the mark of: "qcow2", "VMDK", ...;
 * NULL for none of them, which is what a raw disk looks like.
 */
static const char *format_name(const uint8_t *head, size_t head_len, const uint8_t *tail,
			       size_t tail_len)
{
	size_t i;

	for (i = 0; i < sizeof(marks) / sizeof(marks[0]); i++)
		if (head_len >= marks[i].at + marks[i].len &&
		    !memcmp(head + marks[i].at, marks[i].bytes, marks[i].len))
			return marks[i].name;
	if (vhd_footer(tail, tail_len, VHD_FOOTER) || vhd_footer(tail, tail_len, VHD_FOOTER_OLD))
		return "VHD";
	return NULL;
}

/* The last bytes before @end, @len or some more, in whole aligned blocks as O_DIRECT wants them. */
static ssize_t read_before(int fd, uint8_t *buf, uint64_t end, size_t len)
{
	uint64_t start = end > len ? end - len : 0;
	ssize_t n;

	start -= start % ALIGN;
	n = pread(fd, buf, 2 * ALIGN, (off_t)start);
	if (n < 0)
		return -1;
	return (uint64_t)n > end - start ? (ssize_t)(end - start) : n;
}

/* What a domain file calls a format that we read; NULL: we do not. */
static const char *our_word(const char *name)
{
	return !strcmp(name, "VHD") ? "vhd" : !strcmp(name, "qcow2") ? "qcow2" :
								       NULL;
}

int disk_format_check(int fd, const char *path, uint64_t size, struct err *e)
{
	const char *name, *word;
	void *head = NULL, *tail = NULL;
	ssize_t n, t;
	int ret = 0;

	if (posix_memalign(&head, ALIGN, ALIGN) || posix_memalign(&tail, ALIGN, 2 * ALIGN)) {
		ret = err_set(e, -ENOMEM, "disk %s: no memory", path);
		goto out;
	}
	n = pread(fd, head, DISK_FORMAT_HEAD, 0);
	t = n < 0 ? -1 : read_before(fd, tail, size, DISK_FORMAT_TAIL);
	if (n < 0 || t < 0) {
		ret = err_errno(e, "disk %s: reading its format", path);
		goto out;
	}
	name = format_name(head, (size_t)n, tail, (size_t)t);
	word = name ? our_word(name) : NULL;
	if (word)
		ret = err_set(e, -EINVAL, "disk %s: looks like %s, and would be destroyed if it were used as raw; say "
					  "`format: %s` beside its path if it is one, or, if it is a raw disk whose guest "
					  "wrote that, `format: raw`",
			      path, name, word);
	else if (name)
		ret = err_set(e, -EINVAL, "disk %s: looks like %s, which is not supported and would be "
					  "destroyed if it were used as raw; convert it (qemu-img convert -O raw), or, "
					  "if it is a raw disk whose guest wrote that, say so: `format: raw` beside its "
					  "path",
			      path, name);
out:
	free(head);
	free(tail);
	return ret;
}
