# SPDX-License-Identifier: Apache-2.0
"""A drover-hv and the network of its host: what it makes there, what it refuses, what it leaves behind.

Each host is a network namespace.  DROVER_HV names the program.
"""
import os
import signal
import subprocess
import time

import pytest

from test_broker_ends import helper_of
from test_drover_hv import needs_kvm
from test_handover import vmm   # noqa: F401  (a fixture)

pytestmark = [needs_kvm, pytest.mark.skipif(os.geteuid() != 0, reason="taps and namespaces need root")]

MAC = "52:54:00:01:02:03"
FILTERED = f"nics:\n  - {{mac: \"{MAC}\", bridge: br0, tap: t0, filter: addresses, addresses: [10.0.0.5]}}\n"
# Names, MTUs and bridges of links, and filters; a persistent tap that was opened once has another state and qdisc.
WHAT_THERE_IS = "ip -o link | sed -E 's/<[^>]*>|qdisc [^ ]+|state .*//g'; nft list ruleset"


class Host:
    """A network namespace, for as long as it is wanted."""

    def __init__(self):
        self.process = subprocess.Popen(["unshare", "-n", "sh", "-c", "echo up; exec sleep 600"], stdout=subprocess.PIPE)
        assert self.process.stdout.readline() == b"up\n"
        self.enter = ["nsenter", "-t", str(self.process.pid), "-n", "--"]

    def sh(self, command, check=True):
        r = subprocess.run([*self.enter, "sh", "-c", command], capture_output=True, text=True, timeout=60, check=False)
        assert not check or r.returncode == 0, (command, r.stdout, r.stderr)
        return r.stdout

    def has_filter(self):
        return "10.0.0.5" in self.sh("nft list table netdev drover-t0", check=False)

    def has_tap(self):
        return "t0" in self.sh("ip -o link show master br0")

    def end(self):
        self.process.kill()
        self.process.wait(10)
        self.process.stdout.close()


@pytest.fixture
def host():
    made = []

    def make():
        made.append(Host())
        return made[-1]

    yield make
    for h in made:
        h.end()


def wait_for(what, seconds=20):
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_filter_is_there_before_the_guest_and_ends_with_its_vmm(vmm, host, tmp_path):  # noqa: F811
    a, b = host(), host()
    for h in a, b:
        h.sh("ip link add br0 up type bridge")
    source = vmm("source", extra=FILTERED, wrap=a.enter).connect()
    wait_for(lambda: source.state() == "running")
    assert a.has_filter() and a.has_tap()
    target = vmm("target", "--incoming", f"unix:{tmp_path}/stream", extra=FILTERED, wrap=b.enter).connect()
    wait_for(lambda: "listen" in target.query())
    assert target.state() == "incoming" and b.has_filter() and b.has_tap()
    a.sh("nft flush ruleset")
    assert a.has_filter()
    source.ok("migrate", to=f"unix:{tmp_path}/stream", arbiter="cluster")
    target.wait_event("ask")
    for v in source, target:
        v.ok("decide", outcome="commit", incarnation=2)
    wait_for(lambda: target.state() == "running")
    assert b.has_filter()
    assert source.process.wait(20) is not None
    assert not a.has_filter() and not a.has_tap()
    target.process.send_signal(signal.SIGKILL)
    target.process.wait(20)
    wait_for(lambda: not b.has_filter() and not b.has_tap())


def test_no_vmm_is_linked_with_the_filters_library():
    """Who keeps a filter loads it (net/link/nft.h)."""
    said = subprocess.run(["readelf", "-d", os.environ["DROVER_HV"]], check=True, stdout=subprocess.PIPE, text=True).stdout
    assert "NEEDED" in said and "libnftables" not in said


def test_a_card_whose_filter_has_gone_sends_no_more(vmm, host):  # noqa: F811
    h = host()
    h.sh("ip link add br0 up type bridge")
    v = vmm("source", extra=FILTERED, wrap=h.enter).connect()
    wait_for(lambda: v.state() == "running")
    assert v.ok("stats")["nics"][0]["link"]
    os.kill(helper_of(v, "drover-hv-ports"), signal.SIGKILL)
    wait_for(lambda: not v.ok("stats")["nics"][0]["link"])
    assert not h.has_tap() and v.state() == "running"
    assert "t0: the process that keeps its port has ended, and its filter with it" in v.log()


def test_a_tap_that_stays_is_given_back_for_a_vmm_that_is_killed(vmm, host):  # noqa: F811
    h = host()
    h.sh("ip link add br0 mtu 4000 up type bridge; ip tuntap add t0 mode tap")
    before = h.sh(WHAT_THERE_IS)
    v = vmm("source", extra="nics:\n  - {bridge: br0, tap: t0}\n", wrap=h.enter).connect()
    wait_for(lambda: v.state() == "running")
    assert h.has_tap() and h.sh(WHAT_THERE_IS) != before
    v.process.send_signal(signal.SIGKILL)
    v.process.wait(20)
    wait_for(lambda: "master" not in h.sh("ip link show t0"))
    wait_for(lambda: "mtu 1500" in h.sh("ip link show t0"))


@pytest.mark.parametrize("mtus, queues, said", [
    ((9000, 1500), (1, 1), "nics[0]: the guest sends packets of up to 9000 bytes, the link here carries 1500"),
    ((1500, 9000), (1, 2), "nics[0].queues: 1 there, 2 here"),
    ((1500, 9000), (2, 2), None),
])
def test_a_host_that_cannot_take_a_card_says_so_before_a_page_is_sent(vmm, host, tmp_path, mtus, queues, said):  # noqa: F811
    vmms = []
    for mtu, n, more in zip(mtus, queues, ((), ("--incoming", f"unix:{tmp_path}/stream"))):
        h = host()
        h.sh(f"ip link add br0 up type bridge && ip link set br0 mtu {mtu}")
        vmms.append(vmm(f"{mtu}-{n}", *more, kernel=os.environ["PAYLOAD"], memory="64M", wrap=h.enter,
                        extra=f"cmdline: mem=1M ws=0 rate=0 sweep=0 net=2\nnics:\n  - {{bridge: br0, tap: t0, queues: {n}}}\n"))
        vmms[-1].connect()
    source, target = vmms
    wait_for(lambda: "listen" in target.query())
    wait_for(lambda: source.ok("state", device="net0")["status"] & 4)     # the guest's driver is ready
    source.ok("migrate", to=f"unix:{tmp_path}/stream", arbiter="cluster")
    if not said:
        target.wait_event("ask")
        return
    wait_for(lambda: source.migration().get("phase") == "failed")
    assert said in source.log() and source.state() == "running", source.log()
    m = source.migration()
    assert m["pages_raw"] + m["pages_lz4"] + m["pages_zero"] == 0


@pytest.mark.parametrize("queues", (1, 4))
def test_what_happens_to_its_network_is_said_and_the_domain_goes_on(vmm, host, queues):  # noqa: F811
    h = host()
    h.sh("ip link add br0 up type bridge")
    v = vmm("web", extra=f"nics:\n  - {{bridge: br0, tap: t0, queues: {queues}}}\n", wrap=h.enter).connect()
    wait_for(lambda: v.state() == "running")
    assert v.ok("stats")["nics"][0]["on_bridge"]
    other = vmm("other", extra="nics:\n  - tap: t0\n", wrap=h.enter)
    assert other.process.wait(20) != 0
    assert other.log().count("\n") == 1 and "nics[0]: tap t0: " in other.log(), other.log()
    h.sh("ip link del br0")
    wait_for(lambda: "t0 is no longer on bridge br0" in v.log())
    nic = v.ok("stats")["nics"][0]
    assert nic["link"] and not nic["on_bridge"]
    h.sh("ip link add br0 up type bridge && ip link set t0 master br0")
    wait_for(lambda: "t0 is on bridge br0 again" in v.log())
    h.sh("ip link del t0")
    assert v.state() == "running"
    assert v.log().count("bridge br0") == 3    # the first when it began


@pytest.mark.parametrize("prepare, nic, said", [
    ("true", "{bridge: br0}", "nics[0]: bridge br0: no such link on this host"),
    ("true", "{bridge: lo}", "nics[0]: bridge lo: is not a bridge"),
    ("ip link add br0 type bridge", "{bridge: br0, mtu: 9000}",
     "nics[0]: bridge br0: carries packets of up to 1500 bytes, expected 9000"),
    ("ip link add br0 type bridge", "{bridge: br0, vlan: 10}",
     "nics[0]: bridge br0: does not filter VLANs, expected vlan_filtering 1"),
    ("ip link add br0 type bridge; ip link add br1 type bridge; ip tuntap add t0 mode tap; ip link set t0 master br1",
     "{bridge: br0, tap: t0}", "nics[0]: link t0: attach to bridge br0: belongs to another bridge"),
    ("ip link add br0 type bridge", "{bridge: br0, tap: br0}", "nics[0]: tap br0: is there, and not a tap device without multi_queue"),
    ("ip tuntap add t0 mode tap", "{tap: t0, queues: 2}", "nics[0]: tap t0: is there, and not a tap device with multi_queue"),
    ("ip tuntap add t0 mode tap; nft add table netdev drover-t0", "{tap: t0, filter: mac}",
     "nics[0]: tap t0: filter: nftables: Could not process rule: Operation not supported"),
])
def test_what_a_host_cannot_give_is_refused_in_one_line(vmm, host, prepare, nic, said):  # noqa: F811
    h = host()
    h.sh(prepare)
    before = h.sh(WHAT_THERE_IS)
    v = vmm("web", extra=f"nics:\n  - {nic}\n", wrap=h.enter)
    assert v.process.wait(20) != 0
    assert v.log().count("\n") == 1 and said in v.log(), v.log()
    assert h.sh(WHAT_THERE_IS) == before   # nothing is left behind
