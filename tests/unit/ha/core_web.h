/* SPDX-License-Identifier: Apache-2.0 */
/* core_web - what tests of one domain have in hand: the command that adds web, and a bed where it runs. */
#ifndef DROVER_TESTS_CORE_WEB_H
#define DROVER_TESTS_CORE_WEB_H

#include "tests/unit/ha/core_bed.h"

static const struct ha_command add = { .op = HA_OP_ADD,
				       .domain = "web",
				       .conf = "name: web\n",
				       .conf_len = 10,
				       .ha = true,
				       .started = true };

/* The domain web runs on n1, one of @n hosts. */
static inline struct bed *web_runs(uint32_t n)
{
	struct bed *b = bed_new(n);

	assert_int_equal(bed_command(b, 2, add)->code, HA_OK);
	assert_int_equal(bed_domain(b, 2, "web")->owner, 1);
	bed_vmm(b, 1, "web", 1, HA_VMM_RUNNING, 0);
	return b;
}

#endif
