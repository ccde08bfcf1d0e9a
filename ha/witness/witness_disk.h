/* SPDX-License-Identifier: Apache-2.0 */
/*
 * witness_disk - a storage witness as it lies on storage that all hosts reach: a file or a block device.
 *
 *   block 0          "DROVERWI", format, id, checksum
 *   block n          the slot of node n: what it claimed last (ha/core/claim.h)
 *   block 256 + n    its beat: who writes here, and how often it has
 *
 * Slots and beats are format, node, cluster, two numbers, checksum; zeros: never written.  Blocks are
 * 4 KiB, what they hold stands in their first 512 bytes, so a write is whole or it is not there.  Each
 * host writes its own two blocks and no other, and the slot for claims alone: a beat that arrives late
 * does no harm.  Reads and writes pass this host's page cache (O_DIRECT): what another host wrote is
 * what is read.
 */
#ifndef DROVER_HA_WITNESS_WITNESS_DISK_H
#define DROVER_HA_WITNESS_WITNESS_DISK_H

#include "base/err.h"
#include "ha/core/claim.h"

#include <stdbool.h>
#include <stdint.h>

#define WITNESS_BLOCK 4096
#define WITNESS_BYTES (2 * CLAIM_SLOTS * WITNESS_BLOCK)

struct witness_disk {
	int fd;
	const char *path; /* the caller's */
	uint8_t *blocks;  /* WITNESS_BYTES, aligned for O_DIRECT */
};

struct witness_beat {
	uint64_t cluster;
	uint64_t mark; /* random, of the daemon that wrote it; 0 = never written */
	uint64_t count;
};

/**
 * witness_disk_open() - open the witness at @path
 * @path: kept until witness_disk_close()
 * @id: which one it has to be; 0 = whichever it is
 * Return: 0; -ENOENT, -EINVAL (no witness, or damaged), -ESTALE (another one), or what the storage says; text in @e.
 */
int witness_disk_open(struct witness_disk *d, const char *path, uint64_t id, struct err *e);

/**
 * witness_disk_again() - is it still the one that was opened, and does its path still lead to it?
 * One that is used now and then stays open: to close a device that could be written makes udev look at it anew.
 * Return: 0; -ESTALE (something else has the path now), or as witness_disk_open(); text in @e.
 */
int witness_disk_again(struct witness_disk *d, uint64_t id, struct err *e);

/** witness_disk_id() - of one that is open */
uint64_t witness_disk_id(const struct witness_disk *d);

/** witness_disk_slots() - read all slots; -EBADMSG when one is damaged */
int witness_disk_slots(struct witness_disk *d, struct claim_slots *out, struct err *e);
/** witness_disk_claim() - write the slot of @node; on stable storage when it returns 0 */
int witness_disk_claim(struct witness_disk *d, uint32_t node, const struct claim_slot *s, struct err *e);

/** witness_disk_beats() - read the beats of the nodes below @n, at most CLAIM_SLOTS; one that is damaged is none */
int witness_disk_beats(struct witness_disk *d, uint32_t n, struct witness_beat *out, struct err *e);
/** witness_disk_beat() - write the beat of @node; on stable storage when it returns 0 */
int witness_disk_beat(struct witness_disk *d, uint32_t node, const struct witness_beat *b, struct err *e);

/** witness_disk_close() - of one that is open */
void witness_disk_close(struct witness_disk *d);

/**
 * witness_disk_make() - make an empty witness at @path, a new file or a block device
 * Whole or not at all, wherever it ends; of two who make one there at once one does.
 * Return: 0; -EEXIST when anything lies there (a device has to begin with zeros), -EBUSY when somebody uses
 * it; -EINVAL; what the storage says; text in @e.
 */
int witness_disk_make(const char *path, uint64_t id, struct err *e);

#endif
