/* SPDX-License-Identifier: Apache-2.0 */
/* Ports that another process keeps, while they are there: their news, their filters; and who asks what nobody asks. */
#include "keeper_bed.h"

/* --- news --- */

static char said[512];

static void keep_line(enum log_level level, const char *text)
{
	size_t used = strlen(said);

	snprintf(said + used, sizeof(said) - used, "%s\n", text);
}

static void expect_news(struct port *p, bool attached, const char *text)
{
	struct pollfd w = { .fd = port_watch_fd(p), .events = POLLIN };

	said[0] = '\0';
	assert_int_equal(poll(&w, 1, PATIENCE_MS), 1);
	port_news(p);
	assert_int_equal(port_is_attached(p), attached);
	assert_string_equal(said, text);
}

static void test_a_tap_that_is_moved_is_told(void **state)
{
	struct keeper *k;
	struct port *p;

	need_network();
	sh("ip link add br0 type bridge");
	k = start_or_fail();
	p = open_or_fail(k, &plain);
	keeper_seal(k);
	log_set_sink(keep_line);
	sh("ip link set t0 nomaster");
	expect_news(p, false, "t0 is no longer on bridge br0\n");
	sh("ip link set t0 master br0");
	expect_news(p, true, "t0 is on bridge br0 again\n");
	log_set_sink(NULL);
	port_close(p);
	keeper_stop(k);
}

static void test_a_tap_that_comes_back_has_its_vlans_again(void **state)
{
	struct port_conf c = { .tap = "t0", .mac = mac, .bridge = "br0", .vlan = 10 };
	struct keeper *k;
	struct port *p;

	need_vlans();
	sh("ip link add br0 type bridge vlan_filtering 1");
	k = start_or_fail();
	p = open_or_fail(k, &c);
	keeper_seal(k);
	log_set_sink(keep_line);
	sh("ip link set t0 nomaster");
	expect_news(p, false, "t0 is no longer on bridge br0\n");
	sh("ip link set t0 master br0");
	expect_news(p, true, "t0 is on bridge br0 again\n");
	log_set_sink(NULL);
	sh("bridge vlan show dev t0 | grep -q '10 PVID Egress Untagged' && ! bridge vlan show dev t0 | grep -qw 1");
	port_close(p);
	keeper_stop(k);
}

static void test_a_keeper_that_is_killed_is_told(void **state)
{
	struct keeper *k;
	struct port *p;
	char path[64];
	FILE *f;
	int pid = 0;

	need_network();
	sh("ip link add br0 type bridge");
	k = start_or_fail();
	p = open_or_fail(k, &plain);
	snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int)getpid());
	f = fopen(path, "r");
	assert_true(f && fscanf(f, "%d", &pid) == 1);
	fclose(f);
	kill(pid, SIGKILL);
	log_set_sink(keep_line);
	expect_news(p, true, "t0: the process that keeps its port has ended\n");
	log_set_sink(NULL);
	assert_int_equal(port_watch_fd(p), -1);
	assert_false(port_is_unguarded(p)); /* it had none */
	refused(k, &plain, -EPIPE, "port: the process that makes ports has ended");
	port_close(p);
	keeper_stop(k);
}

/* --- filters --- */

static const struct filter_conf own = { .mac = mac };

static void test_a_filter_is_there_as_long_as_the_vmm(void **state)
{
	struct port_conf c = plain;
	struct keeper *k;
	struct port *p;
	int fd, wire;
	pid_t vmm;

	need_network();
	if (system("nft list tables > /dev/null 2>&1"))
		skip();
	c.filter = &own;
	sh("ip link add br0 up type bridge mcast_snooping 0");
	wire = wire_open("wire");
	sh("ip link set wire master br0 up");
	k = start_or_fail();
	p = open_or_fail(k, &c);
	keeper_seal(k);
	fd = port_take_fd(p, 0);
	wire_send(fd, mac, 0, 1);
	assert_int_equal(wire_tag(wire, 1, false), 0);
	wire_send(fd, peer, 0, 2);
	assert_int_equal(wire_tag(wire, 2, true), LOST);
	/* A VMM that was taken over gives the port back, not the tap. */
	port_close(p);
	becomes("! nft list tables | grep -q drover-t0");
	sh("ip -o link show t0 | grep -vq '[<,]UP[,>]'");
	close(fd);
	keeper_stop(k);
	for (int i = 0; i < 10; i++) { /* the next one's is not in the way of what the last one has left */
		vmm = vmm_with(&c);
		sh("nft list tables | grep -q drover-t0");
		kill_it(vmm);
	}
	becomes("! nft list tables | grep -q drover-t0");
	close(wire);
}

/* --- who asks too much, or what nobody asks --- */

static void keep_for_test(int *sock, pid_t *pid)
{
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	*pid = fork();
	if (!*pid) {
		close(pair[0]);
		keeper_serve(pair[1], NULL);
		_exit(0);
	}
	close(pair[1]);
	*sock = pair[0];
}

/* The keeper hears no more of it, keeps what it has, and ends in order. */
static void expect_deaf(const void *packet, size_t len)
{
	const struct keeper_question q = { .tap = "t0", .bridge = "br0" };
	struct keeper_answer a;
	int sock, fds[PACKET_FDS_MAX], none[PACKET_FDS_MAX], status;
	size_t n;
	pid_t pid;

	keep_for_test(&sock, &pid);
	assert_int_equal(packet_send(sock, &q, sizeof(q), NULL, 0), 0);
	assert_int_equal(packet_receive(sock, &a, sizeof(a), fds, &n), 0);
	assert_true(!a.ret && n == 2);
	assert_int_equal(packet_send(sock, packet, len, NULL, 0), 0);
	assert_int_equal(packet_receive(sock, &a, sizeof(a), none, &n), -EPIPE);
	sh("ip link show t0 | grep -q 'master br0'");
	close(fds[0]);
	close(fds[1]);
	close(sock);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status) && !WEXITSTATUS(status));
	sh("! ip link show t0 | grep -q master");
}

static void test_what_nobody_asks_is_the_last_that_is_heard(void **state)
{
	struct keeper_question q[8];

	need_network();
	sh("ip link add br0 type bridge && ip tuntap add t0 mode tap");
	memset(q, 0, sizeof(q));
	memset(q[0].tap, 'a', sizeof(q[0].tap));
	memset(q[1].bridge, 'a', sizeof(q[1].bridge));
	q[2].queues = TAP_QUEUES_MAX + 1;
	q[3].n_addresses = KEEPER_ADDRESSES_MAX + 1;
	q[4].n_vlans = RTNL_VLANS_MAX + 1;
	q[5].vlan = 10; /* on no bridge */
	q[6].bridge[0] = q[7].bridge[0] = 'b';
	q[6].vlan = 4095;
	q[7].n_vlans = 1;
	for (size_t i = 0; i < sizeof(q) / sizeof(q[0]); i++)
		expect_deaf(&q[i], sizeof(q[i]));
	expect_deaf("x", 1);
	expect_deaf(&q, sizeof(q[0]) + 1);
}

/* It asks without end and takes no answer: when it has gone, so has all that it had. */
static void test_a_flood_ends_with_who_floods(void **state)
{
	const struct keeper_question q = { .tap = "t0", .bridge = "br0" }, more = { .queues = TAP_QUEUES_MAX };
	int sock, status, sent;
	pid_t pid;

	need_network();
	sh("ip link add br0 type bridge && ip tuntap add t0 mode tap");
	keep_for_test(&sock, &pid);
	assert_int_equal(packet_send(sock, &q, sizeof(q), NULL, 0), 0);
	for (sent = 0; sent < 1000; sent++)
		if (send(sock, &more, sizeof(more), MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
			break;
	assert_true(sent > 1);
	becomes("ip link show t0 | grep -q 'master br0'");
	close(sock);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status) && !WEXITSTATUS(status));
	sh("! ip link show t0 | grep -q master");
	sh("test $(ip -o link show type tun | wc -l) = 1");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_tap_that_is_moved_is_told),
		cmocka_unit_test(test_a_tap_that_comes_back_has_its_vlans_again),
		cmocka_unit_test(test_a_keeper_that_is_killed_is_told),
		cmocka_unit_test(test_a_filter_is_there_as_long_as_the_vmm),
		cmocka_unit_test(test_what_nobody_asks_is_the_last_that_is_heard),
		cmocka_unit_test(test_a_flood_ends_with_who_floods),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
