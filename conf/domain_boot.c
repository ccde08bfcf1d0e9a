/* SPDX-License-Identifier: Apache-2.0 */
/*
 * domain_boot - what a domain begins in: a kernel that its VMM loads, or firmware that looks for one on its disks.
 *
 * With `kernel:` there is no firmware, without it a BIOS; `firmware:` says the same aloud.
 */
#include "conf/domain_int.h"

#include "conf/check.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BIOS_IMAGE "/usr/share/seabios/bios-256k.bin" /* Debian's package seabios */

bool domain_has_firmware(const struct domain_conf *c)
{
	return c->firmware != FIRMWARE_NONE;
}

/* The copy of a value that may be left out: NULL then. */
static int copy(struct domain_build *b, const char *text, char **out)
{
	*out = text ? strdup(text) : NULL;
	return text && !*out ? tree_nomem(b->t->file, b->e) : 0;
}

static int check_firmware(struct domain_build *b, const struct tree_node *firmware)
{
	const struct tree_node *root = b->t->root, *kernel = tree_get(root, "kernel");

	if (firmware && b->raw->firmware == FIRMWARE_UEFI)
		return tree_fail(b->t, firmware, b->e, "'uefi' is not there yet, expected bios, or none and a `kernel:`");
	if (firmware && b->raw->firmware == FIRMWARE_NONE && !kernel)
		return tree_fail(b->t, firmware, b->e, "'none' and no `kernel:` leave nothing to begin in, expected one of them");
	if (firmware && b->raw->firmware != FIRMWARE_NONE && kernel)
		return tree_fail(b->t, firmware, b->e, "a `kernel:` is loaded without firmware, expected none, or no `kernel:`");
	return 0;
}

static int build_firmware(struct domain_build *b, const struct tree_node *image)
{
	if (image && check_path(b->t, image, b->e))
		return -EINVAL;
	b->c->firmware = FIRMWARE_BIOS;
	return copy(b, image ? b->raw->firmware_image : BIOS_IMAGE, &b->c->firmware_image);
}

static int build_kernel(struct domain_build *b)
{
	const struct tree_node *root = b->t->root, *initrd = tree_get(root, "initrd"), *cmdline = tree_get(root, "cmdline");

	if (check_path(b->t, tree_get(root, "kernel"), b->e) || (initrd && check_path(b->t, initrd, b->e)) ||
	    (cmdline && check_line(b->t, cmdline, b->e)))
		return -EINVAL;
	if (copy(b, b->raw->kernel, &b->c->kernel) || copy(b, initrd ? b->raw->initrd : NULL, &b->c->initrd))
		return -ENOMEM;
	return 0;
}

int domain_build_boot(struct domain_build *b)
{
	static const char *const for_kernels[] = { "initrd", "cmdline" };
	const struct tree_node *root = b->t->root, *kernel = tree_get(root, "kernel");
	const struct tree_node *firmware = tree_get(root, "firmware"), *image = tree_get(root, "firmware_image");

	if (check_firmware(b, firmware))
		return -EINVAL;
	if (copy(b, b->raw->cmdline ? b->raw->cmdline : "", &b->c->cmdline))
		return -ENOMEM;
	if (kernel)
		return image ? tree_fail(b->t, image, b->e, "a `kernel:` is loaded without firmware, expected one of them") :
			       build_kernel(b);
	for (size_t i = 0; i < sizeof(for_kernels) / sizeof(for_kernels[0]); i++)
		if (tree_get(root, for_kernels[i]))
			return tree_fail(b->t, tree_get(root, for_kernels[i]), b->e, "is for a kernel, expected `kernel:` as well");
	if (!firmware && !b->raw->disks_count)
		return tree_fail(b->t, root, b->e, "neither a `kernel:` nor a disk to boot from, expected one of them");
	return build_firmware(b, image);
}
