/* SPDX-License-Identifier: Apache-2.0 */
/* domain_int - what domain.c and domain_print.c share. */
#ifndef DROVER_CONF_DOMAIN_INT_H
#define DROVER_CONF_DOMAIN_INT_H

#include "conf/domain.h"

/** domain_backing_name() - the word for it in a domain's file */
const char *domain_backing_name(enum domain_backing b);

#endif
