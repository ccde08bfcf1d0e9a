/* SPDX-License-Identifier: Apache-2.0 */
/* api_validate - would a domain's file be taken in? */
#ifndef DROVER_HA_API_API_VALIDATE_H
#define DROVER_HA_API_API_VALIDATE_H

#include "ha/api/api_call.h"

/**
 * api_validate() - what HA_OP_ADD would say of the file in @c (API_VALIDATE), were it given now
 * What another domain has is told also where the name is taken: then the file may be that domain's, changed.
 * Return: HA_OK; the code that it would be refused with.  @text: one line, HA_REASON_MAX + 1 bytes
 */
enum ha_code api_validate(const struct ha_record *r, const struct api_call *c, char *text);

#endif
