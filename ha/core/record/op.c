/* SPDX-License-Identifier: Apache-2.0 */
/* op - see op.h. */
#include "ha/core/record/op.h"

const char *ha_op_str(enum ha_op op)
{
	switch (op) {
	case HA_OP_ADD: return "add";
	case HA_OP_REMOVE: return "remove";
	case HA_OP_START: return "start";
	case HA_OP_STOP: return "stop";
	case HA_OP_MIGRATE: return "migrate";
	case HA_OP_CANCEL: return "cancel";
	case HA_OP_HA_ON: return "ha-on";
	case HA_OP_HA_OFF: return "ha-off";
	case HA_OP_CLEAR: return "clear";
	case HA_OP_GROUP_SET: return "group-set";
	case HA_OP_GROUP_REMOVE: return "group-remove";
	case HA_OP_FENCE: return "fence";
	case HA_OP_CONFIRM: return "confirm";
	case HA_OP_MAINTENANCE: return "maintenance";
	case HA_OP_PAUSE: return "pause";
	case HA_OPS: break;
	}
	return "?";
}

enum ha_access ha_op_access(enum ha_op op)
{
	switch (op) {
	case HA_OP_START:
	case HA_OP_STOP:
	case HA_OP_MIGRATE:
	case HA_OP_CANCEL:
	case HA_OP_CLEAR:
	case HA_OP_PAUSE:
		return HA_ACCESS_OPERATOR;
	case HA_OP_ADD:
	case HA_OP_REMOVE:
	case HA_OP_HA_ON:
	case HA_OP_HA_OFF:
	case HA_OP_GROUP_SET:
	case HA_OP_GROUP_REMOVE:
	case HA_OP_FENCE:
	case HA_OP_CONFIRM:
	case HA_OP_MAINTENANCE:
	case HA_OPS:
		break;
	}
	return HA_ACCESS_ADMIN;
}

const char *ha_access_str(enum ha_access a)
{
	switch (a) {
	case HA_ACCESS_VIEWER: return "viewer";
	case HA_ACCESS_OPERATOR: return "operator";
	case HA_ACCESS_ADMIN: return "admin";
	case HA_ACCESSES: break;
	}
	return "?";
}
