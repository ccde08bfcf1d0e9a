/* SPDX-License-Identifier: Apache-2.0 */
/*
 * timing - every time the cluster uses, derived from one knob: corosync's token.
 *
 * timing.c says why each value is what it is; docs/ha.md has the proof that uses
 * them.  All values are milliseconds of a node's own CLOCK_BOOTTIME (rule T).
 */
#ifndef DROVER_HA_CORE_TIMING_H
#define DROVER_HA_CORE_TIMING_H

#include <stddef.h>
#include <stdint.h>

#define HA_TOKEN_MIN 100u /* ms; corosync itself is unsteady below 300 */
#define HA_TOKEN_MAX 60000u
#define HA_CONTROL_MS 5000u /* the shell asks for it where there is no core (ha/vmm/vmm.c) */

struct ha_timing {
	uint32_t token;       /* corosync's effective totem.token */
	uint32_t detect;      /* a silent node leaves the membership after this, token + 1.2 token */
	uint32_t renew;       /* h: a RENEW is multicast this often */
	uint32_t lease;       /* L: what one renewal is worth */
	uint32_t gate;        /* W: from the end of the lease until the last write has certainly ended */
	uint32_t proof;       /* P: a survivor that heard nothing for this long knows that L + W are over */
	uint32_t evict;       /* a group member that is mute this long is voted out */
	uint32_t grace;       /* a host whose daemon alone died is not fenced before this */
	uint32_t fence;       /* the core's own deadline for one fencing attempt */
	uint32_t fence_retry; /* pause after every member has tried to fence in vain */
	uint32_t retry_min;   /* first pause after a local action or a start failed; doubles ... */
	uint32_t retry_max;   /* ... up to this */
	uint32_t ready;       /* a migration's destination must be listening after this */
	uint32_t peer;        /* a migration's peer that is silent for so long is dead */
	uint32_t decide;      /* a VMM that does not follow a decision in this time is killed */
	uint32_t propose;     /* a proposal that was not delivered in this time is sent again */
	uint32_t command;     /* an operator's command waits this long for an epoch and for its commit */
	uint32_t control;     /* a VMM that does not answer its control socket in this time is given up */
	uint32_t launch;      /* a VMM that said nothing for this long is killed */
	uint32_t stable;      /* a domain that ran this long has got over its failures */
	uint32_t stop;        /* a guest has this long to power off, then its VMM ends it */
	uint32_t stop_kill;   /* ... and this much later the VMM is killed */
	uint32_t kill_again;  /* a VMM that a kill did not end is killed again */
};

/* A time and what people are told of it.  Every field of struct ha_timing has one. */
struct ha_timing_row {
	const char *name;    /* also its key in the API */
	const char *symbol;  /* in docs/ha.md, or "" */
	size_t offset;       /* of the uint32_t in struct ha_timing */
	const char *formula; /* "" = fixed */
	const char *meaning;
};

/** ha_timing_row() - the @i-th, NULL past the end */
const struct ha_timing_row *ha_timing_row(size_t i);

/** ha_timing_value() - milliseconds */
uint32_t ha_timing_value(const struct ha_timing *t, const struct ha_timing_row *row);

/** ha_timing_derive() - fill @t from @token (clamped to HA_TOKEN_MIN..HA_TOKEN_MAX) */
void ha_timing_derive(uint32_t token_ms, struct ha_timing *t);

/**
 * ha_timing_print() - one line per value: name, milliseconds, formula, meaning
 * Return: length of the whole text, as snprintf() (may be more than @size - 1).
 */
size_t ha_timing_print(const struct ha_timing *t, char *buf, size_t size);

#endif
