/* SPDX-License-Identifier: Apache-2.0 */
/*
 * claims - what a domain's file has that no other domain may have: its uuid, the
 * MAC addresses of its NICs, the disks it writes to.
 *
 * A copied file with a new name is the usual way to a second domain, and all three stay in it.
 * The record judges (HA_OP_ADD), so that it holds whichever host takes which file in.
 */
#ifndef DROVER_HA_API_CLAIMS_H
#define DROVER_HA_API_CLAIMS_H

#include "conf/domain.h"
#include "ha/core/record/model.h"

/** claims_of() - fill @out with what @conf claims; returns how many (fewer than HA_CLAIMS_MAX) */
uint32_t claims_of(const struct domain_conf *conf, struct ha_claim out[HA_CLAIMS_MAX]);

/**
 * claims_others() - does a domain of @r other than number @self (-1: none) have what @claims ask for?
 * The record's rule (ha_record_claimed()), for a domain that is in it already.  Return: its index and *@which; -1.
 */
int claims_others(const struct ha_record *r, int self, const struct ha_claim *claims, uint32_t n, uint32_t *which);

/**
 * claims_named() - which domain of @r is meant by @word: its name or, where none has that name, its uuid
 * No two domains of the record have one uuid.  Return: its index, -1 when there is none.
 */
int claims_named(const struct ha_record *r, const char *word);

#endif
