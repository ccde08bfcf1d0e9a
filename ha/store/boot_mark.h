/* SPDX-License-Identifier: Apache-2.0 */
/*
 * boot_mark - did a droverd run on this host before, since its kernel was started?
 *
 * If not, no VMM can live that a droverd started.  If so, what a new droverd does not find
 * may be hidden from it (its run directory was moved, or is another one now), and no proof
 * of anything.  The mark is the kernel's boot_id and this host's node id in a file of the
 * state directory: with another number a host answers for what ran on another machine.
 */
#ifndef DROVER_HA_STORE_BOOT_MARK_H
#define DROVER_HA_STORE_BOOT_MARK_H

#include <stdbool.h>
#include <stdint.h>

/**
 * boot_mark() - look at the mark in @state_dir and leave our own, for node @me
 * Return: false only when it is certain that none of this number ran before: the mark is of the
 * same node and another kernel, and could be replaced.
 */
bool boot_mark(const char *state_dir, uint32_t me);

#endif
