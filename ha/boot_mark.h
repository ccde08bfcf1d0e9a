/* SPDX-License-Identifier: Apache-2.0 */
/*
 * boot_mark - did a droverd run on this host before, since its kernel was started?
 *
 * If not, no VMM can live that a droverd started.  If so, what a new droverd does not find
 * may be hidden from it (its run directory was moved, or is another one now), and no proof
 * of anything.  The mark is the kernel's boot_id in a file of the state directory.
 */
#ifndef DROVER_HA_BOOT_MARK_H
#define DROVER_HA_BOOT_MARK_H

#include <stdbool.h>

/**
 * boot_mark() - look at the mark in @state_dir and leave our own
 * Return: false only when it is certain that none ran before: the mark is another kernel's.
 */
bool boot_mark(const char *state_dir);

#endif
