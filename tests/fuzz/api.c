/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz: a request to the API: "METHOD PATH QUERY\n" and a body, as one string.
 */
#include "base/reserve.h"
#include "ha/api/api_call.h"
#include "ha/api/api_validate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint32_t id_of(void *arg, const char *name)
{
	return (uint32_t)strlen(name);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct api_call call;
	static struct ha_record *record; /* nothing is in it */
	char judged[HA_REASON_MAX + 1];
	char head[1024], method[16] = "", path[600] = "", query[300] = "";
	const uint8_t *nl = memchr(data, '\n', size);
	size_t len = nl ? (size_t)(nl - data) : size;
	char *body;

	if (!record)
		record = reserve_make(sizeof(*record));
	if (len >= sizeof(head) || !record)
		return 0;
	memcpy(head, data, len);
	head[len] = '\0';
	sscanf(head, "%15s %599s %299s", method, path, query);
	data += nl ? len + 1 : size;
	size -= nl ? len + 1 : size;
	body = malloc(size + 1); /* exact: a read past the end is seen */
	if (!body)
		return 0;
	memcpy(body, data, size);
	if (api_call_parse(method, path, query, body, size, &call, NULL) == 0 &&
	    api_call_resolve(&call, id_of, NULL, NULL) == 0) {
		if (strlen(call.name) > HA_NAME_MAX || call.cmd.conf_len > HA_CONF_MAX ||
		    call.cmd.n_hosts > HA_NODES_MAX)
			abort();
		api_call_domain(&call, record);
		if (call.what == API_VALIDATE && api_validate(record, &call, judged) == HA_OK && strlen(judged) > HA_REASON_MAX)
			abort();
		if (call.what == API_ORDER && (!call.order || !*call.order))
			abort();
	}
	free(body);
	return 0;
}
