/* SPDX-License-Identifier: Apache-2.0 */
/*
 * check - what holds in every record, whatever was ordered and whoever was lost.
 *
 * Two ask: who takes a record from a peer or from a disk refuses one in which something does
 * not hold (snapshot.c, rule S); who applied an entry asserts that all still does (applied.c), for
 * no entry, valid or not, may break it.  So what an assertion takes for granted, a peer cannot
 * have put there.
 */
#ifndef DROVER_HA_CORE_RECORD_CHECK_H
#define DROVER_HA_CORE_RECORD_CHECK_H

#include "ha/core/record/model.h"

/**
 * ha_domain_wrong() - what does not hold in @d, which is in use, taken alone
 * Return: a literal that says what should, or NULL.
 */
const char *ha_domain_wrong(const struct ha_domain *d);

/**
 * ha_node_wrong() - what does not hold in @n, which has an id, taken alone
 * @member: is it in the view of the record's epoch?
 * @token: of the record, ms
 */
const char *ha_node_wrong(const struct ha_node_rec *n, bool member, uint32_t token);

/**
 * ha_record_wrong_at() - slot @i of @r, below n_domains: alone, and that the record knows the hosts
 * it names and finds it by its name, and nobody else by that
 */
const char *ha_record_wrong_at(const struct ha_record *r, uint32_t i);

/**
 * ha_nodes_wrong() - hosts: slots in use come first, each id is there once, sets have no others in them
 * @nodes: HA_NODES_MAX of them; @members, @epoch, @token: the record's
 */
const char *ha_nodes_wrong(const struct ha_node_rec *nodes, ha_set members, uint64_t epoch, uint32_t token);

/** ha_record_wrong() - all of @r: as many steps as it has domains and hosts */
const char *ha_record_wrong(const struct ha_record *r);

#endif
