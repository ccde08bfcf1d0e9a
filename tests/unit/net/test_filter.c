/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a guest may send: real frames through a tap's filter and a bridge to somebody else's port.
 *
 * Behind each frame goes one that always passes.  Frames that one thread on one CPU sends into one tap stay in
 * order, so what has not come before that one will not come.
 */
#include "net_bed.h"

#include "net/link/announce.h"
#include "net/link/nft.h"

#include <arpa/inet.h>
#include <signal.h>
#include <sys/wait.h>

#define OWN4 "10.0.0.5"
#define OWN6 "2001:db8::5"
#define OWN_LINK "fe80::5054:ff:fe01:203"
#define OTHER4 "10.0.0.1"
#define OTHER6 "2001:db8::1"
#define OTHER_LINK "fe80::1"
#define UDP 17
#define ICMP6 58
#define HOP_BY_HOP 0x100 /* in front of what is in the low byte */
#define TAGGED 20        /* that the guest may use, where it may use any */

enum shape {
	ANY, /* @type, and nothing known inside */
	ARP,
	RARP,
	IPV4,
	IPV6
};

struct sent {
	const char *what;
	bool mac, addresses; /* does it pass the filter of MACs, and that of addresses? */
	enum shape shape;
	const uint8_t *from;
	uint16_t tag;
	uint16_t type;      /* of ANY: EtherType; of ARP and RARP: operation; of IPv6: ICMPv6's type */
	const uint8_t *arp; /* the sender's MAC inside ARP and RARP */
	const char *ip;     /* the sender's; NULL: none */
	const char *target; /* of ND */
	uint16_t next;      /* protocol */
	uint16_t ports[2];
};

static const uint8_t multi[6] = { 0x53, 0x54, 0, 1, 2, 3 };

static const struct sent rows[] = {
	{ "an unknown protocol", true, false, ANY, mac, 0, TEST_TYPE },
	{ "another MAC", false, false, ANY, peer, 0, TEST_TYPE },
	{ "a multicast MAC", false, false, ANY, multi, 0, TEST_TYPE },
	{ "a VLAN tag", false, false, ANY, mac, 10, TEST_TYPE },
	{ "a tag in VLAN 0", false, false, IPV4, mac, 0x8000, .ip = OWN4, .next = UDP },
	{ "a service tag", false, false, ANY, mac, 0, 0x88a8 },
	{ "an old service tag", false, false, ANY, mac, 0, 0x9100 },

	{ "ARP", true, true, ARP, mac, 0, 1, mac, OWN4 },
	{ "an answer by ARP", true, true, ARP, mac, 0, 2, mac, OWN4 },
	{ "a probe by ARP", true, true, ARP, mac, 0, 1, mac, "0.0.0.0" },
	{ "ARP for another address", true, false, ARP, mac, 0, 2, mac, OTHER4 },
	{ "ARP with another MAC inside", false, false, ARP, mac, 0, 2, peer, OWN4 },
	{ "ARP with both", false, false, ARP, mac, 0, 2, peer, OTHER4 },
	{ "ARP from another MAC", false, false, ARP, peer, 0, 2, mac, OWN4 },
	{ "ARP in a VLAN", false, false, ARP, mac, 10, 2, mac, OWN4 },
	{ "RARP, as an announcement is", true, true, RARP, mac, 0, 3, mac },
	{ "RARP of another MAC", false, false, RARP, mac, 0, 3, peer },

	{ "IPv4", true, true, IPV4, mac, .ip = OWN4, .next = UDP, .ports = { 1, 2 } },
	{ "IPv4 from another address", true, false, IPV4, mac, .ip = OTHER4, .next = UDP, .ports = { 1, 2 } },
	{ "IPv4 from another MAC", false, false, IPV4, peer, .ip = OWN4, .next = UDP, .ports = { 1, 2 } },
	{ "IPv4 in a VLAN", false, false, IPV4, mac, 10, .ip = OTHER4, .next = UDP, .ports = { 1, 2 } },
	{ "DHCP", true, true, IPV4, mac, .ip = "0.0.0.0", .next = UDP, .ports = { 68, 67 } },
	{ "no DHCP from nowhere", true, false, IPV4, mac, .ip = "0.0.0.0", .next = UDP, .ports = { 68, 53 } },
	{ "TCP with DHCP's ports", true, false, IPV4, mac, .ip = "0.0.0.0", .next = 6, .ports = { 68, 67 } },

	{ "IPv6", true, true, IPV6, mac, .ip = OWN6, .next = UDP },
	{ "IPv6 from its link-local address", true, true, IPV6, mac, .ip = OWN_LINK, .next = UDP },
	{ "IPv6 from another address", true, false, IPV6, mac, .ip = OTHER6, .next = UDP },
	{ "IPv6 from the router's link-local address", true, false, IPV6, mac, .ip = OTHER_LINK, .next = UDP },
	{ "IPv6 from another MAC", false, false, IPV6, peer, .ip = OWN6, .next = UDP },
	{ "IPv6 from nowhere", true, false, IPV6, mac, .ip = "::", .next = UDP },
	{ "a neighbour solicitation", true, true, IPV6, mac, 0, 135, NULL, OWN6, OTHER6, ICMP6 },
	{ "duplicate address detection", true, true, IPV6, mac, 0, 135, NULL, "::", OWN6, ICMP6 },
	{ "the same of its link-local address", true, true, IPV6, mac, 0, 135, NULL, "::", OWN_LINK, ICMP6 },
	{ "the same of another address", true, false, IPV6, mac, 0, 135, NULL, "::", OTHER6, ICMP6 },
	{ "a neighbour advertisement", true, true, IPV6, mac, 0, 136, NULL, OWN6, OWN6, ICMP6 },
	{ "one from its link-local address", true, true, IPV6, mac, 0, 136, NULL, OWN_LINK, OWN6, ICMP6 },
	{ "one for another address", true, false, IPV6, mac, 0, 136, NULL, OWN6, OTHER6, ICMP6 },
	{ "one for the router's", true, false, IPV6, mac, 0, 136, NULL, OWN6, OTHER_LINK, ICMP6 },
	{ "one behind a hop-by-hop header", true, false, IPV6, mac, 0, 136, NULL, OWN6, OTHER6, HOP_BY_HOP | ICMP6 },
	{ "a router solicitation", true, true, IPV6, mac, 0, 133, NULL, OWN_LINK, NULL, ICMP6 },
	{ "one from nowhere", true, true, IPV6, mac, 0, 133, NULL, "::", NULL, ICMP6 },
	{ "a router advertisement", true, false, IPV6, mac, 0, 134, NULL, OWN_LINK, NULL, ICMP6 },
	{ "one behind a hop-by-hop header", true, false, IPV6, mac, 0, 134, NULL, OWN_LINK, NULL, HOP_BY_HOP | ICMP6 },
	{ "a redirect", true, false, IPV6, mac, 0, 137, NULL, OWN_LINK, NULL, ICMP6 },
	{ "a report of multicast groups", true, true, IPV6, mac, 0, 143, NULL, "::", NULL, HOP_BY_HOP | ICMP6 },
	{ "an echo from nowhere", true, false, IPV6, mac, 0, 128, NULL, "::", NULL, ICMP6 },
};

#ifdef MUTANT_FROM
/* A rule that is broken on purpose: each such program must fail. */
const struct nft *__real_nft_load(struct err *e);
const struct nft *__wrap_nft_load(struct err *e);

static const struct nft *library;

static int run_broken(struct nft_ctx *nft, const char *rules)
{
	const char *at = strstr(rules, MUTANT_FROM);
	char text[4096];
	int ret;

	if (!at) /* not among these rules */
		return library->run_cmd_from_buffer(nft, rules);
	snprintf(text, sizeof(text), "%.*s%s%s", (int)(at - rules), rules, MUTANT_TO, at + strlen(MUTANT_FROM));
	ret = library->run_cmd_from_buffer(nft, text);
	if (ret && !strstr(library->ctx_get_error_buffer(nft), "Operation not supported"))
		exit(0); /* no rules that nftables takes, nor somebody else's table: that proves nothing */
	return ret;
}

const struct nft *__wrap_nft_load(struct err *e)
{
	static struct nft broken;

	library = __real_nft_load(e);
	if (!library)
		return NULL;
	broken = *library;
	broken.run_cmd_from_buffer = run_broken;
	return &broken;
}
#endif

/* --- frames --- */

static size_t put_ip(uint8_t *f, size_t at, int family, const char *text)
{
	assert_int_equal(inet_pton(family, text, f + at), 1);
	return at + (family == AF_INET ? 4 : 16);
}

/* RFC 826, RFC 903: a RARP has the sender as its target. */
static size_t put_arp(uint8_t *f, size_t at, const struct sent *s)
{
	at = put_bytes(f, at, "\x00\x01\x08\x00\x06\x04", 6);
	at = put_u16(f, at, s->type);
	at = put_bytes(f, at, s->arp, 6);
	at = put_ip(f, at, AF_INET, s->ip ? s->ip : "0.0.0.0");
	at = put_bytes(f, at, s->shape == RARP ? s->arp : (const uint8_t *)"\0\0\0\0\0\0", 6);
	return put_ip(f, at, AF_INET, OTHER4);
}

/* RFC 791; the sum is right, so that nobody drops it for that. */
static size_t put_ipv4(uint8_t *f, size_t at, const struct sent *s)
{
	size_t begin = at, i;
	uint32_t sum = 0;

	at = put_bytes(f, at, "\x45\x00\x00\x1c\x00\x00\x00\x00\x40", 9);
	f[at++] = (uint8_t)s->next;
	at = put_u16(f, at, 0);
	at = put_ip(f, at, AF_INET, s->ip);
	at = put_ip(f, at, AF_INET, OTHER4);
	for (i = begin; i < at; i += 2)
		sum += (uint32_t)(f[i] << 8 | f[i + 1]);
	put_u16(f, begin + 10, (uint16_t) ~((sum & 0xffff) + (sum >> 16)));
	at = put_u16(f, put_u16(f, at, s->ports[0]), s->ports[1]);
	return put_u16(f, put_u16(f, at, 8), 0);
}

/* RFC 8200; ICMPv6 as of RFC 4861: type, code, sum, four bytes, target. */
static size_t put_ipv6(uint8_t *f, size_t at, const struct sent *s)
{
	bool options = s->next & HOP_BY_HOP;

	at = put_bytes(f, at, "\x60\x00\x00\x00", 4);
	at = put_u16(f, at, options ? 32 : 24);
	f[at++] = options ? 0 : (uint8_t)s->next;
	f[at++] = 255;
	at = put_ip(f, at, AF_INET6, s->ip);
	at = put_ip(f, at, AF_INET6, "ff02::1");
	if (options) {
		f[at++] = (uint8_t)s->next;
		at = put_bytes(f, at, "\x00\x05\x02\x00\x00\x01\x00", 7);
	}
	f[at++] = (uint8_t)s->type;
	at = put_bytes(f, at, "\0\0\0\0\0\0\0", 7);
	return put_ip(f, at, AF_INET6, s->target ? s->target : "::");
}

static size_t put_sent(uint8_t *f, const struct sent *s)
{
	static const uint16_t types[] = { [ARP] = 0x0806, [RARP] = 0x8035, [IPV4] = 0x0800, [IPV6] = 0x86dd };
	size_t at = put_ethernet(f, s->from, s->tag, s->shape == ANY ? s->type : types[s->shape]);

	switch (s->shape) {
	case ANY:
		return put_bytes(f, at, "what is inside is nobody's business", 35);
	case ARP:
	case RARP:
		return put_arp(f, at, s);
	case IPV4:
		return put_ipv4(f, at, s);
	case IPV6:
		return put_ipv6(f, at, s);
	}
	return at;
}

/* Does it get from @fd to @wire? */
static bool passes(int fd, int wire, const uint8_t *frame, size_t len)
{
	static struct sent last = { .shape = IPV4, .from = mac, .ip = OWN4, .next = UDP };
	uint8_t end[FRAME_MAX] = { 0 }, f[FRAME_MAX];
	size_t end_len, n;
	bool came = false;

	last.ports[0]++; /* each is another */
	end_len = put_sent(end, &last);
	wire_frame(fd, frame, len);
	wire_frame(fd, end, end_len);
	while ((n = wire_next(wire, f, PATIENCE_MS))) {
		if (n == end_len && !memcmp(f, end, n))
			return came;
		came |= n == len && !memcmp(f, frame, n);
	}
	system("nft list ruleset; ip -s link; bridge link");
	fail_msg("what always passes did not");
	return false;
}

/* --- the bed: a guest's port, and somebody else's on the same bridge --- */

struct net {
	struct port *port;
	int fd, wire;
	struct filter_conf filter;
	struct filter_address addresses[2];
};

static void net_open(struct net *n, bool by_address, const uint16_t *vlans, size_t n_vlans)
{
	struct port_conf c = { .tap = "t0", .mac = mac, .bridge = "br0", .filter = &n->filter };
	cpu_set_t one;
	struct err e = { 0 };

	need_network();
	CPU_ZERO(&one);
	CPU_SET(sched_getcpu(), &one);
	assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
	n->addresses[0] = (struct filter_address){ .v6 = false };
	n->addresses[1] = (struct filter_address){ .v6 = true };
	put_ip(n->addresses[0].bytes, 0, AF_INET, OWN4);
	put_ip(n->addresses[1].bytes, 0, AF_INET6, OWN6);
	n->filter = (struct filter_conf){ .mac = mac, .by_address = by_address, .addresses = n->addresses, .n_addresses = 2, .vlans = vlans, .n_vlans = n_vlans };
	sh("ip link add br0 up type bridge mcast_snooping 0");
	n->wire = wire_open("wire");
	sh("ip link set wire master br0 up");
	if (port_open(&c, &n->port, &e))
		fail_msg("%s", e.text);
	n->fd = port_take_fd(n->port, 0);
}

static void net_close(struct net *n)
{
	close(n->fd);
	port_close(n->port);
	close(n->wire);
	sh("ip link del br0");
}

static void try_rows(bool by_address, const uint16_t *vlans, size_t n_vlans, uint16_t tag)
{
	struct net n;

	net_open(&n, by_address, vlans, n_vlans);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct sent s = rows[i];
		uint8_t frame[FRAME_MAX] = { 0 };
		bool passed;

		if (tag && (s.tag || (s.shape == ANY && s.type != TEST_TYPE)))
			continue;
		s.tag = s.tag ? s.tag : tag;
		passed = passes(n.fd, n.wire, frame, put_sent(frame, &s));
		if (passed != (by_address ? s.addresses : s.mac))
			fail_msg("%s: %s", s.what, passed ? "passed" : "was dropped");
	}
	net_close(&n);
}

static void test_a_guest_sends_from_its_own_mac_alone(void **state)
{
	try_rows(false, NULL, 0, 0);
}

static void test_a_guest_sends_from_its_own_addresses_alone(void **state)
{
	try_rows(true, NULL, 0, 0);
}

static void test_a_tag_hides_nothing(void **state)
{
	static const uint16_t vlans[] = { TAGGED, 30 };

	try_rows(false, vlans, 2, TAGGED);
	try_rows(true, vlans, 2, TAGGED);
}

static void test_no_tag_but_its_own_and_none_inside_another(void **state)
{
	static const uint16_t vlans[] = { TAGGED, 30 };
	static const struct {
		uint16_t tags[2];
		bool passes;
	} tagged[] = { { { 30 }, true }, { { 10 }, false }, { { TAGGED, 30 }, false }, { { 0x8000 }, false } };
	struct net n;

	net_open(&n, false, vlans, 2);
	for (size_t i = 0; i < sizeof(tagged) / sizeof(tagged[0]); i++) {
		uint16_t inner = tagged[i].tags[1];
		uint8_t frame[FRAME_MAX] = { 0 };
		size_t at = put_ethernet(frame, mac, tagged[i].tags[0], inner ? 0x8100 : TEST_TYPE);

		if (inner)
			at = put_u16(frame, put_u16(frame, at, inner), TEST_TYPE);
		assert_int_equal(passes(n.fd, n.wire, frame, at + 40), tagged[i].passes);
	}
	net_close(&n);
}

/* What a host sends in its guest's name when it has moved. */
static void test_a_guest_that_has_moved_is_announced(void **state)
{
	uint8_t frame[ANNOUNCE_FRAME];
	struct net n;

	for (int by_address = 0; by_address < 2; by_address++) {
		net_open(&n, by_address, NULL, 0);
		announce_rarp(frame, mac);
		assert_true(passes(n.fd, n.wire, frame, sizeof(frame)));
		announce_garp(frame, mac, n.addresses[0].bytes);
		assert_true(passes(n.fd, n.wire, frame, sizeof(frame)));
		net_close(&n);
	}
}

static void test_nobody_else_takes_it_away(void **state)
{
	uint8_t frame[FRAME_MAX] = { 0 };
	struct net n;
	size_t len;

	net_open(&n, true, NULL, 0);
	sh("nft flush ruleset && nft list table netdev drover-t0 | grep -q " OWN4);
	sh("! nft delete table netdev drover-t0 2> /dev/null && ! nft flush table netdev drover-t0 2> /dev/null");
	len = put_sent(frame, &(struct sent){ .shape = IPV4, .from = mac, .ip = OTHER4, .next = UDP });
	assert_false(passes(n.fd, n.wire, frame, len));
	/* A bridge that is gone and comes back finds the filter where it was. */
	sh("ip link del br0 && ip link add br0 up type bridge mcast_snooping 0 && ip link set wire master br0 && "
	   "ip link set t0 master br0");
	assert_false(passes(n.fd, n.wire, frame, len));
	net_close(&n);
	sh("! nft list tables | grep -q drover");
}

/* Its process is killed and can take nothing back. */
static void test_a_filter_ends_with_its_process(void **state)
{
	struct filter_conf c = { .mac = mac };
	struct filter *f;
	struct err e;
	int ready[2];
	char byte;
	pid_t child;

	need_network();
	sh("ip tuntap add t0 mode tap");
	assert_int_equal(pipe(ready), 0);
	child = fork();
	if (!child) {
		if (filter_set("t0", &c, &f, &e) || write(ready[1], "x", 1) != 1)
			_exit(1);
		pause();
		_exit(1);
	}
	close(ready[1]);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	sh("nft list tables | grep -q drover-t0");
	kill(child, SIGKILL);
	assert_int_equal(waitpid(child, NULL, 0), child);
	sh("! nft list tables | grep -q drover");
	close(ready[0]);
}

static void test_what_cannot_be_filtered_is_refused(void **state)
{
	struct filter_conf c = { .mac = mac };
	struct filter *f;
	struct err e;

	need_network();
	assert_int_equal(filter_set("a\"b", &c, &f, &e), -EINVAL);
	assert_string_equal(e.text, "tap a\"b: filter: expected a name of letters, digits, '-', '_' and '.'");
	/* Somebody else's table is not made ours, nor added to. */
	sh("ip tuntap add t0 mode tap && nft add table netdev drover-t0");
	assert_int_equal(filter_set("t0", &c, &f, &e), -EIO);
	assert_string_equal(e.text, "tap t0: filter: nftables: Could not process rule: Operation not supported");
	sh("! nft list table netdev drover-t0 | grep -q chain");
	sh("nft delete table netdev drover-t0");
	assert_int_equal(filter_set("t0", &c, &f, &e), 0);
	filter_end(f);
	filter_end(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_guest_sends_from_its_own_mac_alone),
		cmocka_unit_test(test_a_guest_sends_from_its_own_addresses_alone),
		cmocka_unit_test(test_a_tag_hides_nothing),
		cmocka_unit_test(test_no_tag_but_its_own_and_none_inside_another),
		cmocka_unit_test(test_a_guest_that_has_moved_is_announced),
		cmocka_unit_test(test_nobody_else_takes_it_away),
		cmocka_unit_test(test_a_filter_ends_with_its_process),
		cmocka_unit_test(test_what_cannot_be_filtered_is_refused),
	};

#ifdef MUTANT_FROM
	if (geteuid() || access("/dev/net/tun", R_OK | W_OK))
		return 77; /* skipped, to meson: it would pass */
#endif
	return cmocka_run_group_tests(tests, NULL, NULL);
}
