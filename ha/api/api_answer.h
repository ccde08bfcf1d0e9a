/* SPDX-License-Identifier: Apache-2.0 */
/* api_answer - an answer's status and its JSON, on their way to a client. */
#ifndef DROVER_HA_API_API_ANSWER_H
#define DROVER_HA_API_API_ANSWER_H

#include "ha/core/core.h"

#include <jansson.h>
#include <microhttpd.h>

/** api_http_status() - the status that goes with @code (RFC 9110, 15) */
int api_http_status(enum ha_code code);

/** api_answer() - queue @o, which is stolen, as the answer on @c; NULL and what does not fit: MHD_NO */
enum MHD_Result api_answer(struct MHD_Connection *c, int status, json_t *o);

/** api_answer_code() - the same for {"code": @code, "text": @text} */
enum MHD_Result api_answer_code(struct MHD_Connection *c, int status, enum ha_code code, const char *text);

/** api_text() - @text for an answer: it may be anybody's and cut inside a character, and with one byte that is no UTF-8 JSON takes none of it */
json_t *api_text(const char *text);

#endif
