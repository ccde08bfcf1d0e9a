/* SPDX-License-Identifier: Apache-2.0 */
/* outcome - what is to be said about an entry. */
#include "ha/core/apply/apply_int.h"

#include <stdarg.h>
#include <stdio.h>

void ha_outcome_clear(struct ha_outcome *o)
{
	o->applied = false;
	o->code = HA_OK;
	o->text[0] = 0;
	o->n_notes = 0;
}

void ha_outcome_note(struct ha_outcome *o, enum ha_level level, const char *fmt, ...)
{
	struct ha_note *n;
	va_list ap;

	if (o->n_notes == HA_NOTES_MAX)
		return;
	n = &o->notes[o->n_notes++];
	n->level = level;
	va_start(ap, fmt);
	vsnprintf(n->text, sizeof(n->text), fmt, ap);
	va_end(ap);
}

struct ha_node_mark ha_node_mark(uint32_t id)
{
	struct ha_node_mark m;

	snprintf(m.text, sizeof(m.text), "%c%u%c", HA_MARK_BEGIN, id, HA_MARK_END);
	return m;
}
