/* SPDX-License-Identifier: Apache-2.0 */
/* vmm_state - see vmm_state.h. */
#include "conf/vmm_state.h"

#include <errno.h>
#include <string.h>

static const char *const names[VMM_STATES] = {
	[VMM_STARTING] = "starting",
	[VMM_INCOMING] = "incoming",
	[VMM_RUNNING] = "running",
	[VMM_PAUSED] = "paused",
	[VMM_GATED] = "gated",
	[VMM_GRANTED] = "granted",
	[VMM_GONE] = "gone",
	[VMM_STOPPED] = "stopped",
	[VMM_EXITED] = "exited",
};

const char *vmm_state_str(enum vmm_state s)
{
	return s < VMM_STATES ? names[s] : "?";
}

int vmm_state_parse(const char *text, enum vmm_state *out)
{
	for (enum vmm_state s = VMM_INCOMING; s <= VMM_STOPPED; s++)
		if (text && !strcmp(text, names[s])) {
			*out = s;
			return 0;
		}
	return -EINVAL;
}
