/* SPDX-License-Identifier: Apache-2.0 */
/*
 * filter - see filter.h; the rules are nft(8)'s text, given to libnftables.
 *
 * What is allowed is listed and the rest dropped, so that a frame too short for a rule to look at is dropped too.
 * ND in fragments is not looked for: receivers must not take it (RFC 6980).
 */
#include "net/link/filter.h"

#include "net/link/nft.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME_CHARS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-"
#define TABLE_PREFIX "drover-"

struct filter {
	const struct nft *nft;
	struct nft_ctx *ctx; /* its socket owns the table */
};

/* --- the rules --- */

static void print_mac(FILE *f, const char *before, const uint8_t *m, const char *between, const char *after)
{
	fputs(before, f);
	for (int i = 0; i < 6; i++)
		fprintf(f, "%s%02x", i ? between : "", m[i]);
	fputs(after, f);
}

/* The link-local address with the interface identifier of RFC 4291 appendix A. */
static struct filter_address link_local(const uint8_t *mac)
{
	return (struct filter_address){ true,
					{ 0xfe, 0x80, 0, 0, 0, 0, 0, 0, mac[0] ^ 2, mac[1], mac[2], 0xff, 0xfe,
					  mac[3], mac[4], mac[5] } };
}

static void print_address(FILE *f, const struct filter_address *a)
{
	char text[INET6_ADDRSTRLEN];

	fprintf(f, "%s, ", inet_ntop(a->v6 ? AF_INET6 : AF_INET, a->bytes, text, sizeof(text)));
}

/* A named set for each family; that of IPv4 may be empty. */
static void print_sets(FILE *f, const struct filter_conf *c)
{
	const struct filter_address own = link_local(c->mac);
	size_t i, n = 0;

	fputs("set v4 { type ipv4_addr;", f);
	for (i = 0; i < c->n_addresses; i++) {
		if (c->addresses[i].v6)
			continue;
		fputs(n++ ? "" : " elements = { ", f);
		print_address(f, &c->addresses[i]);
	}
	fputs(n ? "}; }\n" : " }\n", f);
	fputs("set v6 { type ipv6_addr; elements = { ", f);
	print_address(f, &own);
	for (i = 0; i < c->n_addresses; i++)
		if (c->addresses[i].v6 && memcmp(c->addresses[i].bytes, own.bytes, sizeof(own.bytes)) != 0)
			print_address(f, &c->addresses[i]);
	fputs("}; }\n", f);
}

/* The target of a neighbour solicitation or advertisement (RFC 4861 4.3, 4.4), which nft has no name for. */
static void print_targets(FILE *f, const struct filter_conf *c)
{
	const struct filter_address own = link_local(c->mac);
	const struct filter_address *a;
	size_t i;
	int k;

	fputs(" @th,64,128 { ", f);
	for (i = 0; i <= c->n_addresses; i++) {
		a = i ? &c->addresses[i - 1] : &own;
		if (!a->v6 || (i && !memcmp(a->bytes, own.bytes, sizeof(own.bytes))))
			continue;
		fputs("0x", f);
		for (k = 0; k < 16; k++)
			fprintf(f, "%02x", a->bytes[k]);
		fputs(", ", f);
	}
	fputs("} accept\n", f);
}

/* Its own MAC, and no tag but those that are its. */
static void print_frame_rules(FILE *f, const struct filter_conf *c)
{
	print_mac(f, "ether saddr != ", c->mac, ":", " counter drop\n");
	fprintf(f, "ether type { %s8021ad, 0x9100 } counter drop\n", c->n_vlans ? "" : "8021q, ");
	if (c->n_vlans) {
		fputs("ether type 8021q vlan id != { ", f);
		for (size_t i = 0; i < c->n_vlans; i++)
			fprintf(f, "%u, ", c->vlans[i]);
		fputs("} counter drop\n", f);
	}
	/* A tag inside another: the outer one has been taken off by now. */
	fputs("meta protocol { 8021q, 8021ad, 0x9100 } counter drop\n", f);
	/* RARP: how a host announces a guest that has moved (net/link/announce.h); sender's and target's MAC. */
	print_mac(f, "meta protocol 0x8035 @nh,64,48 0x", c->mac, "", "");
	print_mac(f, " @nh,144,48 0x", c->mac, "", " accept\n");
}

static void print_arp(FILE *f, const struct filter_conf *c, const char *more)
{
	print_mac(f, "arp htype 1 arp hlen 6 arp plen 4 arp saddr ether ", c->mac, ":", more);
}

static void print_mac_rules(FILE *f, const struct filter_conf *c)
{
	print_arp(f, c, " accept\n");
	fputs("meta protocol != { arp, 0x8035 } accept\n", f);
}

static void print_address_rules(FILE *f, const struct filter_conf *c)
{
	print_arp(f, c, " arp saddr ip @v4 accept\n");
	print_arp(f, c, " arp saddr ip 0.0.0.0 accept\n");
	fputs("ip saddr @v4 accept\n"
	      "ip saddr 0.0.0.0 udp sport 68 udp dport 67 accept\n"
	      "icmpv6 type { nd-router-advert, nd-redirect } counter drop\n"
	      "ip6 saddr @v6 icmpv6 type nd-neighbor-advert",
	      f);
	print_targets(f, c);
	fputs("icmpv6 type nd-neighbor-advert counter drop\n"
	      "ip6 saddr @v6 accept\n"
	      "ip6 saddr :: icmpv6 type nd-neighbor-solicit",
	      f);
	print_targets(f, c);
	fputs("ip6 saddr :: icmpv6 type { mld-listener-report, mld2-listener-report, nd-router-solicit } accept\n", f);
}

/* The text of all of it; to free(), NULL without memory. */
static char *print_rules(const char *tap, const struct filter_conf *c)
{
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);
	bool failed;

	if (!f)
		return NULL;
	/* One of this name that somebody else has made is not added to: it cannot become ours, which nftables says. */
	fprintf(f, "table netdev %s%s {\nflags owner;\n", TABLE_PREFIX, tap);
	if (c->by_address)
		print_sets(f, c);
	fprintf(f, "chain guest {\ntype filter hook ingress device \"%s\" priority -500; policy drop;\n", tap);
	print_frame_rules(f, c);
	if (c->by_address)
		print_address_rules(f, c);
	else
		print_mac_rules(f, c);
	fputs("counter comment \"dropped\"\n}\n}\n", f);
	failed = ferror(f);
	if (fclose(f) || failed) {
		free(text);
		return NULL;
	}
	return text;
}

/* --- in force --- */

/* Its first line says what is wrong, the others show where. */
static int refuse(const char *tap, const char *said, struct err *e)
{
	size_t len;

	said += strncmp(said, "Error: ", 7) ? 0 : 7;
	len = strcspn(said, "\n");
	/* What the kernel says of a table that another process owns. */
	return err_set(e, strstr(said, "Operation not permitted") ? -EBUSY : -EIO, "tap %s: filter: nftables: %.*s", tap, (int)len,
		       len ? said : "no reason given");
}

int filter_set(const char *tap, const struct filter_conf *c, struct filter **out, struct err *e)
{
	struct filter *f;
	char *rules;
	int ret = 0;

	if (!tap[0] || tap[strspn(tap, NAME_CHARS)])
		return err_set(e, -EINVAL, "tap %s: filter: expected a name of letters, digits, '-', '_' and '.'", tap);
	f = calloc(1, sizeof(*f));
	if (!f)
		return err_set(e, -ENOMEM, "tap %s: filter: no memory", tap);
	f->nft = nft_load(e);
	if (!f->nft) {
		free(f);
		err_prefix(e, "tap %s: filter", tap);
		return -ENOENT;
	}
	rules = print_rules(tap, c);
	f->ctx = f->nft->ctx_new(NFT_CTX_DEFAULT);
	if (!rules || !f->ctx || f->nft->ctx_buffer_error(f->ctx) || f->nft->ctx_buffer_output(f->ctx))
		ret = err_set(e, -ENOMEM, "tap %s: filter: no memory", tap);
	else if (f->nft->run_cmd_from_buffer(f->ctx, rules))
		ret = refuse(tap, f->nft->ctx_get_error_buffer(f->ctx), e);
	free(rules);
	if (ret) {
		filter_end(f);
		return ret;
	}
	*out = f;
	return 0;
}

void filter_end(struct filter *f)
{
	if (!f)
		return;
	if (f->ctx)
		f->nft->ctx_free(f->ctx);
	free(f);
}
