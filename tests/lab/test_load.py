# SPDX-License-Identifier: Apache-2.0
"""lab load - stock Debian under load by drover-hv, on a real kvm_amd: TCP both ways with losses, disks on
dm-crypt, dm-multipath and a plain device.  Nothing stalls and nothing differs.  tests/show/mend-4 does it for
longer, and moves the guest meanwhile.

usage: test_load.py DROVER_HV WORK DIRECTORY [SECONDS]
"""
import sys
import time

import traffic
from lab import main

LOOKS_S = 15            # between two looks at whether everything moves


def run(lab, seconds=45):
    node = lab.node("a", memory=1536).kvm()
    traffic.make_luns(lab)
    disks = traffic.attach_disks(node)
    traffic.make_network(node, "10.99.0.2")
    domain = traffic.start_guest(node, disks, lab.disk("load.img"))
    lab.say(f"guest up after {domain.wait_ready(240):.1f} s")
    pump = traffic.start_pump(node)
    pump.wait_for("pumped", 60)
    flood = traffic.start_flood(node)
    domain.job.wait_for("took in", 60)
    for letter in "bcd":
        domain.job.wait_for(rf"/dev/vd{letter}: \d+ blocks", 60)
    progress = traffic.Progress(pump, domain)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        node.sh(f"sleep {LOOKS_S}", 60 + LOOKS_S)
        kib, flooded, *blocks = progress.check("under load")
        lab.say(f"{kib} KiB there and back, {flooded} KiB in, {'/'.join(map(str, blocks))} blocks ({'/'.join(traffic.DISKS)})")
    lab.say(f"client: {traffic.retransmitted(node)}")
    traffic.check_words(flood)
    traffic.finish(lab, pump, domain)


if __name__ == "__main__":
    sys.exit(main(lambda lab: run(lab, *map(int, sys.argv[4:5])), *sys.argv[1:4]))
