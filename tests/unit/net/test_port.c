/* SPDX-License-Identifier: Apache-2.0 */
/* A guest's card plugged into a host's network, with real taps and bridges in a namespace of its own. */
#include "net_bed.h"

#include "base/log.h"
#include "net/link/rtnl.h"

static struct port *open_or_fail(const struct port_conf *c)
{
	struct err e = { 0 };
	struct port *p;

	if (port_open(c, &p, &e))
		fail_msg("%s", e.text);
	return p;
}

static void refused(const struct port_conf *c, int code, const char *text)
{
	struct err e = { 0 };
	struct port *p;

	assert_int_equal(port_open(c, &p, &e), code);
	assert_string_equal(e.text, text);
}

static void test_a_link_is_known(void **state)
{
	struct rtnl_link link;
	struct err e = { 0 };

	need_network();
	sh("ip link add br0 mtu 9000 type bridge && ip link add br1 up type bridge && "
	   "ip tuntap add t0 mode tap && ip link set t0 master br1");
	assert_int_equal(rtnl_link_get("br0", &link, &e), 0);
	assert_string_equal(link.kind, "bridge");
	assert_true(!link.vlan_filtering && !link.up);
	assert_int_equal(link.mtu, 9000);
	assert_int_equal(link.master, 0);
	assert_int_equal(rtnl_link_get("br1", &link, &e), 0);
	assert_true(link.up);
	assert_int_equal(rtnl_link_get("t0", &link, &e), 0);
	assert_int_equal(link.master, if_nametoindex("br1"));
	assert_string_equal(link.kind, "tun");
	assert_int_equal(rtnl_link_get("lo", &link, &e), 0);
	assert_string_equal(link.kind, "");
	assert_int_equal(rtnl_link_get("t9", &link, &e), -ENODEV);
	assert_string_equal(e.text, "link t9: no such link on this host");
	assert_int_equal(rtnl_link_get("a-name-that-is-too-long", &link, &e), -EINVAL);
}

static void test_a_port_that_cannot_be_as_asked_is_refused_by_name(void **state)
{
	static const uint16_t vlans[] = { 20 };
	struct port_conf c = { .tap = "t0", .mac = mac };

	need_network();
	sh("ip link add br0 type bridge && ip link add br2 type bridge && ip tuntap add t1 mode tap && "
	   "ip link set t1 master br0");
	c.bridge = "none";
	refused(&c, -ENODEV, "bridge none: no such link on this host");
	c.bridge = "lo";
	refused(&c, -EINVAL, "bridge lo: is not a bridge");
	c.bridge = "br0";
	c.vlan = 10;
	refused(&c, -EINVAL, "bridge br0: does not filter VLANs, expected vlan_filtering 1");
	c.vlan = 0;
	c.vlans = vlans;
	c.n_vlans = 1;
	c.bridge = "br0";
	refused(&c, -EINVAL, "bridge br0: does not filter VLANs, expected vlan_filtering 1");
	c.n_vlans = 0;
	c.bridge = "br2";
	c.mtu = 9000;
	refused(&c, -EINVAL, "bridge br2: carries packets of up to 1500 bytes, expected 9000");
	c.tap = "t1";
	c.mtu = 0;
	refused(&c, -EBUSY, "link t1: attach to bridge br2: belongs to another bridge");
	assert_int_equal(if_nametoindex("t0"), 0); /* nothing is left of what was refused */
}

static void test_a_bridge_of_service_vlans_is_refused(void **state)
{
	struct port_conf c = { .tap = "t0", .mac = mac, .bridge = "br0", .vlan = 10 };
	struct rtnl_link link;
	struct err e = { 0 };

	need_vlans();
	sh("ip link add br0 type bridge vlan_filtering 1 vlan_protocol 802.1ad && ip link add br1 type bridge vlan_filtering 1");
	refused(&c, -EINVAL, "bridge br0: filters VLANs of protocol 0x88a8, expected 802.1Q");
	assert_int_equal(rtnl_link_get("br1", &link, &e), 0);
	assert_true(link.vlan_filtering && link.vlan_protocol == 0x8100);
}

/* Who is behind a trunk sees which VLAN a frame of the guest's is in, and may send in any. */
static void test_a_guest_is_in_its_vlans_and_in_no_other(void **state)
{
	static const uint16_t vlans[] = { 20, 30 };
	static const struct {
		uint16_t vlan;
		size_t n_vlans;
		uint16_t sent, trunk, back; /* tags, 0 without; LOST: does not arrive */
	} rows[] = {
		{ 10, 0, 0, 10, 0 },
		{ 10, 0, 10, 10, 0 }, /* what it tags itself with its own VLAN is in it all the same */
		{ 10, 0, 20, LOST, LOST },
		{ 10, 2, 0, 10, 0 },
		{ 10, 2, 20, 20, 20 },
		{ 10, 2, 30, 30, 30 },
		{ 10, 2, 40, LOST, LOST },
		{ 10, 2, 1, LOST, LOST }, /* the bridge's default */
		{ 0, 2, 0, LOST, LOST },
		{ 0, 2, 20, 20, 20 },
		{ 4094, 0, 0, 4094, 0 },
	};
	int trunk;

	need_vlans();
	sh("ip link add br0 up type bridge vlan_filtering 1 mcast_snooping 0");
	trunk = wire_open("trunk");
	sh("ip link set trunk master br0 up && bridge vlan add dev trunk vid 2-4094");
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct port_conf c = { .tap = "t0", .mac = mac, .bridge = "br0", .vlan = rows[i].vlan, .vlans = vlans, .n_vlans = rows[i].n_vlans };
		struct port *p = open_or_fail(&c);
		int fd = port_take_fd(p, 0);

		wire_send(fd, mac, rows[i].sent, (uint8_t)i);
		assert_int_equal(wire_tag(trunk, (uint8_t)i, rows[i].trunk == LOST), rows[i].trunk);
		wire_send(trunk, peer, rows[i].trunk == LOST ? rows[i].sent : rows[i].trunk, (uint8_t)(0x80 | i));
		if (rows[i].sent) /* without a tag the trunk sends in VLAN 1 */
			assert_int_equal(wire_tag(fd, (uint8_t)(0x80 | i), rows[i].back == LOST), rows[i].back);
		port_close(p);
		close(fd);
		assert_int_equal(if_nametoindex("t0"), 0);
	}
	close(trunk);
}

/* Not the tap but the guest keeps to less: the bridge goes down to the least of its ports'. */
static void test_a_guest_with_less_mtu_leaves_the_bridge_alone(void **state)
{
	struct port_conf c = { .tap = "t0", .mac = mac, .bridge = "br0", .mtu = 1400 };
	struct rtnl_link link;
	struct err e = { 0 };
	struct port *p;

	need_network();
	sh("ip link add br0 type bridge && ip tuntap add card mode tap && ip link set card mtu 9000 master br0");
	p = open_or_fail(&c);
	assert_int_equal(port_carries(p), 9000);
	assert_string_equal(port_name(p), "t0");
	assert_int_equal(rtnl_link_get("br0", &link, &e), 0);
	assert_int_equal(link.mtu, 9000);
	port_close(p);
	c.bridge = NULL;
	c.mtu = 9000;
	p = open_or_fail(&c);
	assert_int_equal(rtnl_link_get("t0", &link, &e), 0);
	assert_true(link.mtu == 9000 && link.up && port_carries(p) == 9000);
	port_close(p);
	c.mtu = PORT_MTU_MAX;
	p = open_or_fail(&c);
	assert_int_equal(port_carries(p), PORT_MTU_MAX);
	port_close(p);
	c.mtu = PORT_MTU_MAX + 1;
	refused(&c, -EINVAL, "link t0: set its MTU to 65522: Invalid argument");
	port_close(NULL);
}

static void test_a_tap_that_was_there_before_is_left_as_it_was(void **state)
{
	struct port_conf c = { .tap = "t0", .mac = mac, .bridge = "br0" };
	struct rtnl_link link;
	struct err e = { 0 };
	struct port *p;
	unsigned int i;

	need_network();
	sh("ip link add br0 type bridge && ip link set br0 mtu 4000 && ip tuntap add t0 mode tap");
	for (i = 0; i < 2; i++) { /* the second time is no different from the first */
		p = open_or_fail(&c);
		assert_int_equal(rtnl_link_get("t0", &link, &e), 0);
		assert_true(link.master && link.mtu == 4000);
		port_close(p);
		assert_int_equal(rtnl_link_get("t0", &link, &e), 0);
		assert_true(!link.master && link.mtu == 1500);
	}
	/* Where a VMM that was killed has left it. */
	sh("ip link set t0 master br0");
	p = open_or_fail(&c);
	port_close(p);
	assert_int_equal(rtnl_link_get("t0", &link, &e), 0);
	assert_int_equal(link.master, if_nametoindex("br0"));
	/* A bridge that goes first. */
	sh("ip link set t0 nomaster");
	p = open_or_fail(&c);
	sh("ip link del br0");
	port_close(p);
	assert_true(if_nametoindex("t0") > 0);
	c.bridge = NULL;
	c.mtu = 3000;
	p = open_or_fail(&c);
	port_close(p);
	assert_int_equal(rtnl_link_get("t0", &link, &e), 0);
	assert_int_equal(link.mtu, 1500);
}

/* What was said, by log_line(). */
static char said[512];

static void keep_line(enum log_level level, const char *text)
{
	size_t used = strlen(said);

	snprintf(said + used, sizeof(said) - used, "%s\n", text);
}

static void expect_news(struct port *p, bool attached, const char *text)
{
	struct pollfd w = { .fd = port_watch_fd(p), .events = POLLIN };

	/* The kernel tells of a link's carrier when it gets to it. */
	said[0] = '\0';
	do {
		if (text[0])
			assert_int_equal(poll(&w, 1, PATIENCE_MS), 1);
		port_news(p);
	} while (text[0] && !said[0]);
	assert_int_equal(port_is_attached(p), attached);
	assert_string_equal(said, text);
}

static void test_a_bridge_that_goes_is_told_and_so_is_its_return(void **state)
{
	struct port_conf c = { .tap = "t0", .mac = mac, .bridge = "br0" };
	struct port *p, *alone;

	need_network();
	sh("ip link add br0 type bridge && ip link add br1 type bridge");
	p = open_or_fail(&c);
	log_set_sink(keep_line);
	expect_news(p, true, ""); /* it came up */
	sh("ip link set br1 up");
	expect_news(p, true, ""); /* somebody else's affair */
	sh("ip link del br0");
	expect_news(p, false, "t0 is no longer on bridge br0\n");
	sh("ip link add br0 type bridge");
	expect_news(p, false, "");
	sh("ip link set t0 master br0");
	expect_news(p, true, "t0 is on bridge br0 again\n");
	sh("ip link set t0 master br1");
	expect_news(p, false, "t0 is no longer on bridge br0 but on br1\n");
	sh("ip link set t0 master br0");
	expect_news(p, true, "t0 is on bridge br0 again\n");
	sh("ip link set br0 down && ip link set br0 name br9");
	expect_news(p, true, ""); /* it is the same one */
	log_set_sink(NULL);
	c = (struct port_conf){ .tap = "t1", .mac = mac };
	alone = open_or_fail(&c);
	assert_int_equal(port_watch_fd(alone), -1);
	assert_true(port_is_attached(alone));
	port_close(alone);
	port_close(p);
}

static void test_a_port_that_comes_back_has_its_vlans_again(void **state)
{
	struct port_conf c = { .tap = "t0", .mac = mac, .bridge = "br0", .vlan = 10 };
	struct port *p;

	need_vlans();
	sh("ip link add br0 type bridge vlan_filtering 1");
	p = open_or_fail(&c);
	port_news(p);
	sh("ip link set t0 nomaster");
	port_news(p);
	assert_false(port_is_attached(p));
	sh("ip link set t0 master br0");
	port_news(p);
	assert_true(port_is_attached(p));
	sh("bridge vlan show dev t0 | grep -q '10 PVID Egress Untagged' && ! bridge vlan show dev t0 | grep -qw 1");
	port_close(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_link_is_known),
		cmocka_unit_test(test_a_port_that_cannot_be_as_asked_is_refused_by_name),
		cmocka_unit_test(test_a_bridge_of_service_vlans_is_refused),
		cmocka_unit_test(test_a_guest_is_in_its_vlans_and_in_no_other),
		cmocka_unit_test(test_a_guest_with_less_mtu_leaves_the_bridge_alone),
		cmocka_unit_test(test_a_tap_that_was_there_before_is_left_as_it_was),
		cmocka_unit_test(test_a_bridge_that_goes_is_told_and_so_is_its_return),
		cmocka_unit_test(test_a_port_that_comes_back_has_its_vlans_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
