/* SPDX-License-Identifier: Apache-2.0 */
/* api_answer - see api_answer.h. */
#include "ha/api/api_answer.h"

#include "base/text.h"

#include <stdlib.h>
#include <string.h>

int api_http_status(enum ha_code code)
{
	switch (code) {
	case HA_OK:
		return MHD_HTTP_OK;
	case HA_USAGE:
		return MHD_HTTP_BAD_REQUEST;
	case HA_NOT_FOUND:
		return MHD_HTTP_NOT_FOUND;
	case HA_TIMEOUT:
		return MHD_HTTP_GATEWAY_TIMEOUT;
	case HA_REFUSED:
		return MHD_HTTP_CONFLICT;
	case HA_ERROR:
		break;
	}
	return MHD_HTTP_INTERNAL_SERVER_ERROR;
}

/* @o is stolen. */
enum MHD_Result api_answer(struct MHD_Connection *c, int status, json_t *o)
{
	char *text = o ? json_dumps(o, JSON_COMPACT) : NULL;
	struct MHD_Response *r;
	enum MHD_Result rc;

	json_decref(o);
	if (!text)
		return MHD_NO;
	r = MHD_create_response_from_buffer(strlen(text), text, MHD_RESPMEM_MUST_FREE);
	if (!r) {
		free(text);
		return MHD_NO;
	}
	MHD_add_response_header(r, "Content-Type", "application/json");
	rc = MHD_queue_response(c, (unsigned int)status, r);
	MHD_destroy_response(r);
	return rc;
}

enum MHD_Result api_answer_code(struct MHD_Connection *c, int status, enum ha_code code,
				const char *text)
{
	return api_answer(c, status, json_pack("{s:i, s:s}", "code", (int)code, "text", text));
}

json_t *api_text(const char *text)
{
	char clean[640];

	text_copy(clean, sizeof(clean), text);
	return json_string(clean);
}
