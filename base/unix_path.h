/* SPDX-License-Identifier: Apache-2.0 */
/* unix_path - may a UNIX socket be made at a path? */
#ifndef DROVER_BASE_UNIX_PATH_H
#define DROVER_BASE_UNIX_PATH_H

#include "base/err.h"

#include <sys/un.h>

/**
 * unix_path_free() - make room for a socket at @sa->sun_path
 *
 * Free is a path with nothing there, or with a socket that nobody answers at, which is removed:
 * another thing is somebody's, and not ours to remove.  Not waiting: one whose queue is full
 * listens as well.
 * @who: what the one that listens would be, for the message
 * Return: 0; -EBUSY; other errors of files and sockets.
 */
int unix_path_free(const struct sockaddr_un *sa, const char *who, struct err *e);

#endif
