/* SPDX-License-Identifier: Apache-2.0 */
/*
 * disk_format - is this a disk image of a format that must not be taken as raw?
 *
 * Written to as raw, such an image is destroyed: the guest sees its tables as sectors.
 * The answer may only refuse, never choose how a disk is read: the guest of a raw disk
 * writes what it likes to its first and last sectors.  A domain file that says
 * `format: raw` is believed, and nobody looks.
 */
#ifndef DROVER_HV_DISK_DISK_FORMAT_H
#define DROVER_HV_DISK_DISK_FORMAT_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

#define DISK_FORMAT_HEAD 4096u /* bytes at the start that are looked at */
#define DISK_FORMAT_TAIL 4096u /* ... and at the end */

/** disk_format_check() - 0, or -EINVAL naming the format of the disk open at @fd and the way out */
int disk_format_check(int fd, const char *path, uint64_t size, struct err *e);

#endif
