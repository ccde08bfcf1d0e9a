/* SPDX-License-Identifier: Apache-2.0 */
/*
 * load - the heavy half of the guest's program: traffic and disk writes that
 * notice every byte that is not what it should be (load.c).
 */
#ifndef DROVER_TESTS_LAB_LOAD_H
#define DROVER_TESTS_LAB_LOAD_H

#include <stdint.h>

/**
 * load_pump() - `work pump HOST PORT`: a numbered byte pattern to an echo server over one TCP
 * connection, as fast as it goes, until SIGTERM; what comes back must be the same bytes.
 * Return: exit status; 1 with a line that says which byte was wrong, or that nothing came for 60 s.
 */
int load_pump(const char *host, const char *port);

/**
 * load_flood() - `work flood HOST PORT`: the same pattern one way, until SIGTERM; load_sink() takes it
 * Return: exit status.
 */
int load_flood(const char *host, const char *port);

/**
 * load_sink() - `work sink PORT`: takes one connection after the other from load_flood(), checks every byte
 * Return: 1 with a line that says what was wrong; else it does not return.
 */
int load_sink(const char *port);

/**
 * load_blocks() - `work blocks DEVICE`: 4 KiB blocks of a block device in random order, written and
 * read back with O_DIRECT, until SIGTERM; then all of them once more
 * @device: its first 8 MiB are overwritten
 * Return: exit status; 1 with a line that says which block is not what was written last.
 */
int load_blocks(const char *device);

#endif
