/* SPDX-License-Identifier: Apache-2.0 */
/*
 * unix_socket - stream sockets of one host, found by a path.
 *
 * All are close-on-exec and non-blocking: whoever wants to wait polls.
 */
#ifndef DROVER_BASE_UNIX_SOCKET_H
#define DROVER_BASE_UNIX_SOCKET_H

#include "base/err.h"

#include <sys/stat.h>

#define UNIX_SOCKET_PATH_MAX 107u /* bytes of a path, unix(7) */

/**
 * unix_socket_listen() - listen at @path
 *
 * A socket that nobody answers at is left over from a process that ended, and is removed; anything
 * else at @path is somebody's, and not ours to remove.  Nobody is waited for: one whose queue is
 * full listens as well.
 * @mode: who may connect, as of a file, in bits of 0777; changes the process's umask for a moment
 * @who: what another one that listens there would be, for the message
 * Return: the descriptor; -EINVAL for @path; -EBUSY when it is taken; other errors of sockets.
 */
int unix_socket_listen(const char *path, mode_t mode, int backlog, const char *who, struct err *e);

/**
 * unix_socket_connect() - connect to whoever listens at @path, without waiting
 * Return: the descriptor; -ENOENT, -ECONNREFUSED: nobody is there; -EAGAIN: too many wait already;
 * -EINVAL for @path; other errors of sockets.
 */
int unix_socket_connect(const char *path, struct err *e);

/**
 * unix_socket_accept() - take one who came to @fd, of unix_socket_listen(), without waiting
 * Whoever comes while no descriptor is left is hung up on: left in the queue he would wake us again
 * and again for nothing.
 * Return: the descriptor; -EAGAIN: nobody is there; -EMFILE, -ENFILE: hung up on; other errors of sockets.
 */
int unix_socket_accept(int fd);

#endif
