/* SPDX-License-Identifier: Apache-2.0 */
/* nft - see nft.h. */
#include "net/link/nft.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>

#define LIBRARY "libnftables.so.1"

static struct nft nft;

static const struct {
	const char *name;
	void **at;
} symbols[] = {
	{ "nft_ctx_new", (void **)&nft.ctx_new },
	{ "nft_ctx_free", (void **)&nft.ctx_free },
	{ "nft_ctx_buffer_output", (void **)&nft.ctx_buffer_output },
	{ "nft_ctx_buffer_error", (void **)&nft.ctx_buffer_error },
	{ "nft_ctx_get_error_buffer", (void **)&nft.ctx_get_error_buffer },
	{ "nft_run_cmd_from_buffer", (void **)&nft.run_cmd_from_buffer },
};

const struct nft *nft_load(struct err *e)
{
	static void *library;

	if (library)
		return &nft;
	library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
	for (size_t i = 0; library && i < sizeof(symbols) / sizeof(symbols[0]); i++) {
		*symbols[i].at = dlsym(library, symbols[i].name);
		if (*symbols[i].at)
			continue;
		dlclose(library);
		library = NULL;
	}
	if (library)
		return &nft;
	err_set(e, -ENOENT, "%s is missing: install libnftables1", LIBRARY);
	return NULL;
}
