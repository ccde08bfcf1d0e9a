/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nft - libnftables, loaded when the first filter is made: it brings five more libraries, which a VMM without a filter
 * does not pay for.
 */
#ifndef DROVER_NET_LINK_NFT_H
#define DROVER_NET_LINK_NFT_H

#include "base/err.h"

#include <nftables/libnftables.h>

/* libnftables(3), by the names it has there without "nft_". */
struct nft {
	struct nft_ctx *(*ctx_new)(uint32_t flags);
	void (*ctx_free)(struct nft_ctx *ctx);
	int (*ctx_buffer_output)(struct nft_ctx *ctx);
	int (*ctx_buffer_error)(struct nft_ctx *ctx);
	const char *(*ctx_get_error_buffer)(struct nft_ctx *ctx);
	int (*run_cmd_from_buffer)(struct nft_ctx *ctx, const char *buf);
};

/** nft_load() - the library, loaded once and for good; NULL: it is not there, and @e names its package; one thread at a time */
const struct nft *nft_load(struct err *e);

#endif
