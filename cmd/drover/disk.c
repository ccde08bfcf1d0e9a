/* SPDX-License-Identifier: Apache-2.0 */
/* disk - disk images made; the verb asks no droverd. */
#include "cmd/drover/disk.h"

#include "conf/units.h"

static int understand(const struct drover *d, struct disk_made *m)
{
	const char *size = d->argc > 1 ? d->argv[1] : NULL;
	int code = disk_format_word(d->opt.format, &m->format);

	if (!code)
		code = disk_from_word(d->opt.from);
	m->path = d->argv[0];
	m->from = d->opt.from;
	m->parent = d->opt.n_parents ? d->opt.parents[0] : NULL;
	if (code)
		return code;
	if (d->opt.n_parents > 1)
		return say_error(EXIT_USAGE, "--parent: expected one, which may have parents itself");
	if (m->parent && m->format != DISK_VHD && m->format != DISK_QCOW2)
		return say_error(EXIT_USAGE, "--parent: only an image of format vhd or qcow2 can have one");
	if (d->opt.from && (!m->parent || m->format != DISK_QCOW2))
		return say_error(EXIT_USAGE, "--from: the format of the parent of a qcow2, which is missing");
	if (m->parent && size && m->format == DISK_VHD)
		return say_error(EXIT_USAGE, "%s: an image with a parent is as large as that", size);
	if (!m->parent && !size)
		return say_error(EXIT_USAGE, "a size is missing: 10G, 512M");
	if (size && (units_parse_size(size, &m->size) || !m->size))
		return say_error(EXIT_USAGE, "%s: expected a size, such as 10G or 512M", size);
	return EXIT_OK;
}

int verb_disk_create(struct drover *d)
{
	struct disk_made m = { .fd = -1 };
	int code = understand(d, &m);

	if (!code)
		code = disk_make(&m);
	if (!code)
		disk_made_end(d, &m, code);
	return code;
}
