/* SPDX-License-Identifier: Apache-2.0 */
/* code - how a command ends, and how much a note is worth: words that the record's judges and the whole core share. */
#ifndef DROVER_HA_CORE_RECORD_CODE_H
#define DROVER_HA_CORE_RECORD_CODE_H

#define HA_REASON_MAX 255 /* bytes of an answer to an operator, without the final 0 */

/* Exit codes a command ends with, also in REPLY. */
enum ha_code {
	HA_OK = 0,
	HA_ERROR = 1,
	HA_USAGE = 2,
	HA_NOT_FOUND = 3,
	HA_TIMEOUT = 4,
	HA_REFUSED = 5
};

enum ha_level {
	HA_DEBUG,
	HA_INFO,
	HA_WARNING,
	HA_ALARM
};

#endif
