# SPDX-License-Identifier: Apache-2.0
"""The bed itself: its faults must be the faults they claim to be, or every test above it proves nothing."""

import os
import signal
import subprocess
import sys
import time

import pytest

from cluster import Bed, missing
from host import HERE, clock, wait_for


@pytest.fixture
def bed(make_bed):
    bed = make_bed(needs_droverd=False, hosts=3, token=1000)
    bed.start_corosync()
    return bed


def members(bed, h, n):
    wait_for(f"{h.name} to see {n} hosts", lambda: bed.quorate(h, n), 40)


def test_power_cut_leaves_nothing_and_is_seen_when_the_token_is_missed(bed):
    victim, survivor = bed.host(2), bed.host(1)
    inside = victim.processes()
    assert len(inside) >= 3
    when = victim.power_cut()
    assert not any(os.path.exists(f"/proc/{p}") for p in inside)
    members(bed, survivor, 2)
    # Sooner would mean that the others were told; how much later is tests/perf/failover's to say.
    assert clock() - when > bed.token / 1000
    victim.power_on()
    bed.start_corosync([victim])
    members(bed, survivor, 3)


def test_the_real_agent_cuts_the_power_and_only_a_dead_host_is_off(bed):
    bmc, victim = bed.bmcs[2], bed.host(2)
    assert bmc.fence("status") == 0
    bmc.fault("deaf")
    assert bmc.fence("off") == 1 and victim.on()
    bmc.fault("")
    assert bmc.fence("off") == 0
    victim.gone(1)
    assert bmc.fence("status") == 2
    assert len(bmc.power_off_times()) >= 2
    victim.power_on()
    assert bmc.fence("status") == 0


def test_a_frozen_host_is_lost_and_can_be_fenced_or_thawed(bed):
    bed.host(2).freeze()
    bed.host(3).freeze()
    wait_for("n1 alone to lose quorum", lambda: not bed.quorate(bed.host(1)), 10)
    bed.host(3).thaw()
    members(bed, bed.host(1), 2)
    assert bed.bmcs[2].fence("off") == 0
    bed.host(2).gone(2)


def test_partition_and_heal(bed):
    bed.partition([bed.host(1)], [bed.host(2), bed.host(3)])
    members(bed, bed.host(2), 2)
    assert not bed.quorate(bed.host(1))
    bed.heal()
    members(bed, bed.host(1), 3)


@pytest.mark.parametrize("direction", ["in", "out", "both"])
def test_a_cut_host_is_lost_whichever_direction_fails(bed, direction):
    bed.cut(bed.host(3), direction)
    members(bed, bed.host(1), 2)
    bed.heal()
    members(bed, bed.host(3), 3)


OWNER = """
import sys; sys.path.insert(0, sys.argv[1])
from cluster import Bed
bed = Bed(hosts=2, token=300)
print(bed.dir, *[p for h in bed.hosts for p in h.processes()], bed.hub_pid, *[b.process.pid for b in bed.bmcs.values()], flush=True)
import time; time.sleep(60)
"""


def test_a_killed_test_leaves_no_process_and_its_directory_is_swept():
    why = missing(droverd=False)
    if why:
        pytest.skip(why)
    owner = subprocess.Popen([sys.executable, "-c", OWNER, HERE], stdout=subprocess.PIPE, text=True)
    left, *pids = owner.stdout.readline().split()
    assert len(pids) >= 7 and os.path.isdir(left)
    owner.send_signal(signal.SIGKILL)
    owner.wait()

    def dead(p):
        try:
            with open(f"/proc/{p}/stat", encoding="utf-8") as f:
                return f.read().rpartition(")")[2].split()[0] == "Z"
        except OSError:
            return True
    wait_for("everything to die with its owner", lambda: all(dead(p) for p in pids), 5)
    time.sleep(0.1)
    Bed(hosts=1, fence=False).close()
    assert not os.path.exists(left)
