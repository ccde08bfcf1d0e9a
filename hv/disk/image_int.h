/* SPDX-License-Identifier: Apache-2.0 */
/* image_int - what image.c (the block), image_request.c (requests), image_flush.c (tables), image_edge.c and image_cut.c share. */
#ifndef DROVER_HV_DISK_IMAGE_INT_H
#define DROVER_HV_DISK_IMAGE_INT_H

#include "hv/disk/image.h"

/* image_request.c */
/** image_req_begin() - @r has guest, at, left and vectors: go */
void image_req_begin(struct image *im, struct image_req *r);
/** image_req_finish() - @r is done: block_reap() will tell its guest; @kept, of a flush: as in struct block_req */
void image_req_finish(struct image *im, struct image_req *r, int ret, bool kept);

/* image_flush.c */
/** image_flush_join() - @r is finished when all that completed before is on stable storage */
void image_flush_join(struct image *im, struct image_req *r);

/* image_edge.c */
/** image_edge_init() - -ENOMEM; for units of @unit bytes */
int image_edge_init(struct image *im, uint32_t unit);
void image_edge_exit(struct image *im);
/** image_edge_start() - image_io_start() where a unit is more than a sector */
int image_edge_start(struct image *im, struct image_io *io);

/* image_cut.c */

/** image_cut_make() - the first @len bytes of @iov become vectors of their own: @c->n of them */
void image_cut_make(struct image_cut *c, struct iovec *iov, unsigned int n, uint64_t len);
/** image_cut_pass() - go behind what was cut, whatever became of those vectors meanwhile */
void image_cut_pass(const struct image_cut *c, struct iovec **iov, unsigned int *n);

#endif
