/* SPDX-License-Identifier: Apache-2.0 */
/*
 * api - the REST API of droverd on a UNIX socket (docs/openapi.yaml).
 */
#ifndef DROVER_HA_API_API_H
#define DROVER_HA_API_API_H

#include "ha/shell/shell.h"

struct api;

/**
 * api_open() - listen on @path (mode 0660), serve from the qb loop
 * A socket left behind at @path is replaced; one that answers is not (-EBUSY).
 */
int api_open(qb_loop_t *loop, struct shell *shell, const char *path, struct api **out,
	     struct err *e);
/** api_close() - drop all connections and stop listening; NULL is fine */
void api_close(struct api *a);

#endif
