# SPDX-License-Identifier: Apache-2.0
"""traffic - a guest under load that checks itself: TCP both ways with losses, and block devices of kinds
that operators have (dm-crypt, dm-multipath, a plain one), written and read back by the guest."""
import re

from domain import Domain
from lab import LabError

GUEST = "10.99.0.9"
LOSS = "netem loss 0.5% delay 1ms"      # enough for a retransmission every second or so
MODULES = "tun bridge veth sch_netem loop dm_crypt dm_multipath dm_round_robin"
LUN = 16 << 20
SECTORS = LUN // 512
KEY = "0123456789abcdef" * 8            # aes-xts with 512 bits; secret from nobody
DISKS = ("crypt", "multi", "plain")


def make_luns(lab):
    """The backing of the three devices, seen by every host: as a storage array would hold it."""
    for name in DISKS:
        with open(lab.path(name + ".lun"), "wb") as f:
            f.truncate(LUN)


def attach_disks(node):
    """Each host's own device nodes for the same LUNs; their paths."""
    node.sh(f"modprobe -a {MODULES}")
    loops = {name: node.sh(f"losetup -f --show /lab/{name}.lun") for name in DISKS}
    second = node.sh("losetup -f --show /lab/multi.lun")
    crypt = f"0 {SECTORS} crypt aes-xts-plain64 {KEY} 0 {loops['crypt']} 0"
    multi = f"0 {SECTORS} multipath 0 0 1 1 round-robin 0 2 1 {loops['multi']} 1 {second} 1"
    for name, table in ("crypt", crypt), ("multi", multi):
        node.sh(f"DM_DISABLE_UDEV=1 dmsetup create {name} --table '{table}'")
    return ["/dev/mapper/crypt", "/dev/mapper/multi", loops["plain"]]


def make_network(node, address, uplink=None):
    """A bridge for the guest, and a client behind a cable that loses packets in both directions."""
    node.sh("ip link add br0 type bridge && ip link set br0 up && ip netns add client && "
            "ip link add v0 type veth peer name v1 netns client && ip link set v0 master br0 up && "
            f"ip -n client addr add {address}/24 dev v1 && ip -n client link set v1 up && "
            f"tc qdisc add dev v0 root {LOSS} && ip netns exec client tc qdisc add dev v1 root {LOSS}")
    node.sh("ip netns add fast && ip link add f0 type veth peer name f1 netns fast && ip link set f0 master br0 up "
            f"&& ip -n fast addr add {address.rsplit('.', 1)[0]}.1{address[-1]}/24 dev f1 && ip -n fast link set f1 up")
    if uplink:
        node.sh(f"ip link set {uplink} up master br0")


def start_guest(node, disks, root, options="", log=None):
    return Domain(node, "load", vcpus=2, disk=root, bridge="br0", more_disks=disks, options=options, log=log,
                  words=f"lab.ip={GUEST}/24 lab.work " +
                  " ".join(f"lab.blocks=/dev/vd{letter}" for letter in "bcd"))


def start_pump(node):
    return node.start(f"exec ip netns exec client /lab/work pump {GUEST} 7", "pump")


def start_flood(node):
    """One way and without losses, as fast as the host can: the guest's receive ring runs empty again and again."""
    return node.start(f"exec ip netns exec fast /lab/work flood {GUEST} 9", "flood")


def pumped(job):
    """KiB that came back so far."""
    return max((int(n) for n in re.findall(r"pumped (\d+) KiB", job.output())), default=0)


def taken_in(job):
    """KiB of the flood that the guest has checked."""
    return max((int(n) for n in re.findall(r"took in (\d+) KiB", job.output())), default=0)


def blocks(job, letter):
    return max((int(n) for n in re.findall(rf"/dev/vd{letter}: (\d+) blocks", job.output())), default=0)


def retransmitted(node):
    """Segments that the client had to send again, and that it got again."""
    out = node.sh("ip netns exec client nstat -asz TcpRetransSegs TcpExtTCPDSACKRecv TcpExtTCPOFOQueue")
    return {m[1]: int(m[2]) for m in re.finditer(r"^(\w+)\s+(\d+)", out, re.M)}


def check_words(*jobs):
    for job in jobs:
        bad = re.search(r"work: .*(CORRUPT|STALLED|hung up|Input/output error).*|Buffer I/O error.*|"
                        r"blocked for more than.*", job.output())
        if bad:
            raise LabError(f"{job.path}: {bad.group()}")


class Progress:
    """That each stream moves on, looked at from time to time.  The guest's words are on the console of
    whoever runs it, so after a move() the new domain's counts."""

    def __init__(self, pump, domain):
        self.pump, self.domain = pump, domain
        self.seen = self.now()

    def moved(self, domain):
        check_words(self.domain.job)
        self.domain = domain
        self.seen = [self.seen[0]] + [0] * (1 + len(DISKS))

    def now(self):
        out = [pumped(self.pump), taken_in(self.domain.job)]
        return out + [blocks(self.domain.job, letter) for letter in "bcd"]

    def check(self, what):
        """Raise if something has not moved since the last look."""
        check_words(self.pump, self.domain.job)
        now = self.now()
        still = [name for name, a, b in zip(("the TCP stream", "the flood", *DISKS), self.seen, now) if b <= a]
        if still:
            raise LabError(f"{what}: {', '.join(still)} stood still: {self.seen} then {now}\n"
                           f"{self.pump.tail(5)}\n{self.domain.job.tail(12)}")
        self.seen = now
        return now


def finish(lab, pump, domain):
    """End the load; every block is read once more, and what was pumped has all come back."""
    pump.node.sh("ip netns pids fast | xargs -r kill; ip netns pids client | xargs -r kill")
    if pump.wait(90):
        raise LabError(f"the pump ended with {pump.rc()}:\n{pump.tail()}")
    domain.job.type("killall work")
    domain.job.wait_for("work: all blocks right", 120, count=len(DISKS))
    check_words(pump, domain.job)
    lab.say(pump.output().strip().splitlines()[-1])
    for line in re.findall(r"work: all blocks right.*", domain.job.output()):
        lab.say(line)
    domain.job.type("poweroff -f")
    if domain.job.wait(60):
        raise LabError(f"the guest ended with {domain.job.rc()}:\n{domain.job.tail()}")
