/* SPDX-License-Identifier: Apache-2.0 */
/* sysfs - what a file of sysfs says about a device. */
#ifndef DROVER_HV_DISK_SYSFS_H
#define DROVER_HV_DISK_SYSFS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/**
 * sysfs_text() - all that @name, below the directory @dir (AT_FDCWD: a path), says, without its last line's end
 * The name of a file, which others choose, may hold a line's end itself.
 * Return: false when it is not there, or says nothing.
 */
bool sysfs_text(int dir, const char *name, char *out, size_t size);

/** sysfs_dev() - the number of a device in such a file: "8:16" */
bool sysfs_dev(int dir, const char *name, dev_t *out);

#endif
