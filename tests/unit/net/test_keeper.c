/* SPDX-License-Identifier: Apache-2.0 */
/* Ports that another process keeps: as any other, and given back whatever becomes of their VMM. */
#include "keeper_bed.h"

static void test_a_kept_port_is_as_any_other(void **state)
{
	struct port_conf c = { .tap = "t0", .mac = mac, .bridge = "br0", .queues = 3 };
	struct err e = { 0 };
	struct keeper *k;
	struct port *p;
	int fd, wire;

	need_network();
	sh("ip link add br0 up type bridge mcast_snooping 0 && ip link set br0 mtu 4000");
	k = start_or_fail();
	p = open_or_fail(k, &c);
	assert_string_equal(port_name(p), "t0");
	assert_int_equal(port_carries(p), 4000);
	assert_true(port_is_attached(p));
	wire = wire_open("wire");
	sh("ip link set wire master br0 up");
	fd = port_take_fd(p, 0);
	wire_send(fd, mac, 0, 1);
	assert_int_equal(wire_tag(wire, 1, false), 0);
	wire_send(wire, peer, 0, 2);
	assert_int_equal(wire_tag(fd, 2, false), 0);
	for (unsigned int q = 1; q < c.queues; q++) {
		int more = port_take_fd(p, q);

		assert_int_equal(tap_attach_queue(more, true, &e), 0);
		close(more);
	}
	close(fd);
	assert_int_equal(if_nametoindex("t0"), 0); /* nobody else has it */
	port_close(p);
	c = (struct port_conf){ .mac = mac };
	p = open_or_fail(k, &c);
	assert_true(if_nametoindex(port_name(p)) > 0);
	port_close(p);
	keeper_stop(k);
	close(wire);
	p = open_or_fail(NULL, &c);
	port_close(p);
	keeper_seal(NULL);
	keeper_stop(NULL);
}

static void test_what_is_wrong_is_said_as_here(void **state)
{
	struct port_conf c = { .tap = "t0", .mac = mac, .bridge = "none" };
	struct keeper *k;

	need_network();
	k = start_or_fail();
	refused(k, &c, -ENODEV, "bridge none: no such link on this host");
	c.bridge = "lo";
	refused(k, &c, -EINVAL, "bridge lo: is not a bridge");
	c.bridge = NULL;
	c.tap = "sixteen-letters!";
	refused(k, &c, -EINVAL, "link sixteen-letters!: name of more than 15 characters");
	assert_int_equal(if_nametoindex("t0"), 0);
	keeper_stop(k);
}

static void test_a_tap_that_stays_is_as_before(void **state)
{
	struct keeper *k;
	struct port *p;
	pid_t vmm;

	need_network();
	sh("ip link add br0 type bridge && ip link set br0 mtu 4000 && ip tuntap add t0 mode tap");
	k = start_or_fail();
	p = open_or_fail(k, &plain);
	sh("ip link show t0 | grep -q 'mtu 4000.*master br0'");
	close(port_take_fd(p, 0));
	port_close(p);
	becomes("ip link show t0 | grep -q 'mtu 1500' && ! ip link show t0 | grep -q master");
	keeper_stop(k);
	vmm = vmm_with(&plain);
	sh("ip link show t0 | grep -q 'mtu 4000.*master br0'");
	kill_it(vmm);
	becomes("ip link show t0 | grep -q 'mtu 1500' && ! ip link show t0 | grep -q master");
}

/* Its next VMM gets it as it was: it waits, and takes it from nobody who has it. */
static void test_a_tap_that_stays_is_nobody_elses_until_it_is_given_back(void **state)
{
	struct err e = { 0 };
	struct keeper *k;
	struct port *p;
	pid_t vmm;

	need_network();
	sh("ip link add br0 type bridge && ip link set br0 mtu 4000 && ip tuntap add t0 mode tap");
	vmm = vmm_with(&plain);
	assert_int_equal(port_open(&plain, &p, &e), -EBUSY);
	assert_string_equal(e.text, "tap t0: another process has it open");
	for (int i = 0; i < 20; i++) {
		kill_it(vmm);
		vmm = vmm_with(&plain);
	}
	kill_it(vmm);
	p = open_or_fail(NULL, &plain);
	assert_true(p->ours && p->mtu_before == 1500);
	port_close(p);
	/* The VMM has let go of the tap, its keeper has not. */
	k = start_or_fail();
	p = open_or_fail(k, &plain);
	close(port_take_fd(p, 0));
	refused(NULL, &plain, -EBUSY, "tap t0: another process has it open");
	port_close(p);
	keeper_stop(k);
}

static void test_nothing_is_answered_after_the_seal(void **state)
{
	struct port_conf c = { .tap = "t1", .mac = mac };
	struct keeper *k;
	struct port *p;
	int status;

	need_network();
	sh("ip link add br0 type bridge && ip tuntap add t0 mode tap");
	k = start_or_fail();
	p = open_or_fail(k, &plain);
	keeper_seal(k);
	keeper_seal(k);
	refused(k, &c, -EPIPE, "port: the process that makes ports has ended");
	assert_int_equal(if_nametoindex("t1"), 0);
	sh("ip link show t0 | grep -q 'master br0'");
	assert_int_equal(waitpid(-1, &status, WNOHANG), 0);
	port_close(p);
	assert_true(waitpid(-1, &status, 0) > 0); /* with its last port */
	assert_true(WIFEXITED(status) && !WEXITSTATUS(status));
	sh("! ip link show t0 | grep -q master");
	keeper_stop(k);
}

static void test_so_many_ports_and_no_more(void **state)
{
	struct port_conf c = { .mac = mac };
	struct port *p[KEEPER_PORTS_MAX];
	struct keeper *k;
	struct err e;
	size_t i;
	int ret;

	need_network();
	k = start_or_fail();
	for (i = 0; i < KEEPER_PORTS_MAX; i++)
		p[i] = open_or_fail(k, &c);
	refused(k, &c, -ENOSPC, "port: more than 32");
	port_close(p[0]);
	for (i = 0; i < PATIENCE_MS; i++) { /* it hears of that in a moment */
		ret = keeper_open(k, &c, &p[0], &e);
		if (ret != -ENOSPC)
			break;
		usleep(1000);
	}
	assert_int_equal(ret, 0);
	for (i = 0; i < KEEPER_PORTS_MAX; i++)
		port_close(p[i]);
	keeper_stop(k);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_kept_port_is_as_any_other),
		cmocka_unit_test(test_what_is_wrong_is_said_as_here),
		cmocka_unit_test(test_a_tap_that_stays_is_as_before),
		cmocka_unit_test(test_a_tap_that_stays_is_nobody_elses_until_it_is_given_back),
		cmocka_unit_test(test_nothing_is_answered_after_the_seal),
		cmocka_unit_test(test_so_many_ports_and_no_more),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
