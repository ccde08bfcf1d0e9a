/* SPDX-License-Identifier: Apache-2.0 */
/* compress - whether pages are to be packed: a caller's wish (migrate.h), which wire/ follows. */
#ifndef DROVER_MIGRATE_COMPRESS_H
#define DROVER_MIGRATE_COMPRESS_H

enum compress_mode {
	COMPRESS_AUTO,
	COMPRESS_ON,
	COMPRESS_OFF
};

#endif
