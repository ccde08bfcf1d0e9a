# SPDX-License-Identifier: Apache-2.0
"""lab migrate - stock Debian moves live between two lab hosts by drover-hv, over TCP, while it
writes to its disk and answers on the network.

usage: test_migrate.py DROVER_HV WORK DIRECTORY

Both hosts hold the disk image on a share without cache, and a bridge with the guest's tap; a cable
joins them.  A program in each host talks to the guest over one TCP connection all the time, so for
one of them the guest leaves, for the other it arrives.  Nothing may break: both connections go on,
and the records on the disk are without a gap or a second writer's trace.
"""
import sys

from domain import Domain, check_records, move
from lab import LabError, main

GUEST = "10.99.0.9"
ADDRESS = {"a": "10.99.0.1", "b": "10.99.0.2"}
AFTER = 40              # answers that must follow the move, 4 s and more


def prepare(node):
    """kvm, and a bridge on the cable for the guest."""
    node.kvm()
    node.sh("modprobe -a virtio_net tun bridge && ip link add br0 type bridge && "
            "ip link set eth0 up master br0 && ip link set br0 up && "
            f"ip addr add {ADDRESS[node.name]}/24 dev br0")


def start(node, disk, turn):
    """The domain in @node: booting on the first turn, arriving on later ones."""
    options = f"--no-arbiter --incarnation {turn}" + (" --incoming tcp:0.0.0.0:0" if turn > 1 else "")
    return Domain(node, "web", vcpus=2, disk=disk, bridge="br0", words=f"lab.work lab.ip={GUEST}/24",
                  options=options, log=f"web-{turn}")


def check_asks(lab, asks):
    """Each connection carries on for a while."""
    for ask in asks:
        ask.wait_for(f"answer {ask.answers() + AFTER},", 60)
        lab.say(f"connection from {ask.node.name}: {ask.output().strip().splitlines()[-1]}")


def check_queues(domain):
    """The guest uses a pair of queues for each of its CPUs, wherever it is."""
    said = domain.command("stats")["nics"][0]
    if said["queues"] != domain.vcpus:
        raise LabError(f"the guest's card: {said}, expected {domain.vcpus} queues")


def migrate(lab, source, disk, turn):
    """Move @source's guest to the other host; the domain there."""
    node = next(n for n in lab.nodes if n is not source.node)
    target = start(node, disk, turn)
    before = int(source.job.wait_for(r"work: record (\d+),", 30).group(1))
    move(source, target, ADDRESS[node.name], turn)
    target.job.wait_for(r"work: record \d+,", 30)
    if f"record {before}," in target.job.output():
        raise LabError("the guest went back in time")
    return target


def run(lab):
    a, b = lab.pair("a", "b")
    for node in a, b:
        prepare(node)
    disk = lab.disk("web.img")
    domains = [start(a, disk, 1)]
    lab.say(f"guest up after {domains[0].wait_ready(180):.1f} s")
    asks = [n.start(f"exec /lab/work ask {GUEST} 7", "ask") for n in (a, b)]
    for ask in asks:
        ask.wait_for("answer 9,", 60)
    check_queues(domains[0])
    a.sh("cmp /sys/class/net/br0/address /sys/class/net/eth0/address")   # the host is not the guest's
    # There and back: what has arrived must be as fit to leave as what was booted.
    for turn in 2, 3:
        domains.append(migrate(lab, domains[-1], disk, turn))
        check_asks(lab, asks)
        check_queues(domains[-1])
    for ask in asks:
        ask.node.sh("kill $(pidof work)")
        if ask.wait(60):
            raise LabError(f"connection from {ask.node.name}:\n{ask.tail()}")
    domains[-1].job.type("poweroff -f")
    if domains[-1].job.wait(60):
        raise LabError(f"the last one ended with {domains[-1].job.rc()}:\n{domains[-1].job.tail()}")
    if any("CORRUPT" in d.job.output() for d in domains):
        raise LabError("the guest saw corrupt records")
    lab.say(f"{check_records(lab, disk)} records on the disk, in order")


if __name__ == "__main__":
    sys.exit(main(run, *sys.argv[1:4]))
