/* SPDX-License-Identifier: Apache-2.0 */
/* words - what an agent is told to do. */
#include "fence/fence.h"

const char *fence_action_str(enum fence_action a)
{
	switch (a) {
	case FENCE_OFF:
		return "off";
	case FENCE_ON:
		return "on";
	case FENCE_STATUS:
		return "status";
	case FENCE_MONITOR:
		return "monitor";
	}
	return "?";
}
