/* SPDX-License-Identifier: Apache-2.0 */
/*
 * texts - the domains' texts, one behind the other: they are long or short, and few are long.
 *
 * Where a text stands is each replica's own affair (conf_at); how long all are together is not.
 */
#ifndef DROVER_HA_CORE_RECORD_TEXTS_H
#define DROVER_HA_CORE_RECORD_TEXTS_H

#include "ha/core/record/limits.h"

#include <stdbool.h>
#include <stdint.h>

struct ha_record;

#define HA_TEXT_HEAD 4u /* before each text: whose it is */

/* Large: bytes[] is never cleared. */
struct ha_texts {
	uint32_t used;                                                   /* bytes[] below this are taken, some by texts that are gone */
	uint32_t live;                                                   /* length of all that are in use, at most HA_CONFS_MAX */
	uint8_t bytes[HA_CONFS_MAX + HA_DOMAINS_MAX * 2 * HA_TEXT_HEAD]; /* a text of 4 bytes or less takes 4 */
};

/** ha_text_fits() - is there room for @len bytes more?  Every replica says the same. */
bool ha_text_fits(const struct ha_record *r, uint32_t len);

/** ha_text_put() - domain @i, which is in use and has none, has @len bytes of text; they fit.  Sets conf_at and conf_len */
void ha_text_put(struct ha_record *r, uint32_t i, const void *text, uint32_t len);

/** ha_text_drop() - domain @i, which has a text, is about to be in use no more */
void ha_text_drop(struct ha_record *r, uint32_t i);

/** ha_text() - the text of domain @i, conf_len bytes and no 0 behind; valid until one is put */
const char *ha_text(const struct ha_record *r, uint32_t i);

#endif
