/* SPDX-License-Identifier: Apache-2.0 */
/*
 * room - is there memory on this host for a domain that arrives?
 *
 * Asked before the first page is sent: later the kernel would make room by killing
 * somebody, and not necessarily the newcomer.  Counted is what the host has to give
 * (MemAvailable) and what each control group around this process may still take.
 */
#ifndef DROVER_BASE_ROOM_H
#define DROVER_BASE_ROOM_H

#include "base/err.h"

#include <stdint.h>

#define ROOM_KEEP (64ull << 20) /* bytes of the host's that a domain never gets */

/**
 * room_check() - may @need bytes be taken?
 * @root: "" or, for tests, a directory with proc and sys in it
 * Return: 0, also where nothing can be learned; -ENOSPC with what is wanted and what there is.
 */
int room_check(const char *root, uint64_t need, struct err *e);

/**
 * room_plenty() - may @need bytes be taken, and an eighth of the host's memory is available all the same?
 * Return: as room_check(); -ENOSPC also where nothing can be learned of the host.
 */
int room_plenty(const char *root, uint64_t need, struct err *e);

#endif
