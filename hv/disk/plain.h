/* SPDX-License-Identifier: Apache-2.0 */
/*
 * plain - bytes that lie as a guest sees them, as part of an image: in front of a VHD's footer, or below a qcow2.
 *
 * Where the storage takes sectors of 512 bytes, that is raw; else it is an image without tables (hv/disk/image.h), so that
 * whoever stands on it may ask for any sectors of 512.
 */
#ifndef DROVER_HV_DISK_PLAIN_H
#define DROVER_HV_DISK_PLAIN_H

#include "hv/disk/image.h"

/** plain_image_open() - the image; its size is the caller's to set; what lies behind the end of the file reads as zeroes */
int plain_image_open(const struct block_open_args *a, struct block **out, struct err *e);

/*
 * The format "plain", which no domain's file can say: a raw file or block device that an image lies on, to be read.  A last
 * sector that is not whole reads as if zeroes were behind it.
 */
extern const struct block_format block_plain;

#endif
