# SPDX-License-Identifier: Apache-2.0
"""A state directory that is full or read-only costs a host its vote, and nothing else while corosync lives."""

import os
import signal

import pytest

import api
from domains import drover
from host import clock, wait_for

COMMANDS = 400    # far more than fit into what the record's file had left


def status(host):
    return api.get(host, "status") or {}


def problem(host):
    """What @host says about its record, or ''."""
    return next((p for p in status(host).get("problems", []) if "/record" in p), "")


def small_state(h, spare_kib):
    """The state directory becomes a file system of its own with little room."""
    state = os.path.join(h.dir, "state")
    h.run("mount", "-t", "tmpfs", "-o", "size=256k,mode=700", "state", state, check=True)
    h.run("sh", "-c", f"head -c {256 - spare_kib}k /dev/zero >{state}/early", check=True)
    return state


def use_up_the_record(victim, other):
    """Give commands until @victim's record has no room left."""
    for k in range(COMMANDS):
        drover(other, "node", "maintenance", other.name, "on" if k % 2 == 0 else "off", check=False)
        if problem(victim):
            break
    drover(other, "node", "maintenance", other.name, "off", check=False)
    return wait_for(f"{victim.name} to say that it cannot write", lambda: problem(victim), 10)


@pytest.fixture(name="bed")
def _bed(make_bed):
    return make_bed(hosts=3, token=1000)


def test_a_full_or_read_only_state_directory_makes_a_quiet_non_voter(bed, make_domain):
    victim, n2, n3 = bed.hosts
    state = small_state(victim, 32)
    bed.start()
    work = make_domain(bed)
    work.start()
    if work.owner() is not victim:
        work.migrate(victim)
    boot, epoch = work.disk.newest().boot, status(n2)["epoch"]

    # full
    victim.run("sh", "-c", f"cat /dev/zero >{state}/junk", timeout=30)
    assert "No space left" in use_up_the_record(victim, n3)
    end = clock() + 8    # longer than any lease
    while clock() < end:
        assert victim.on() and victim.daemon_alive("droverd")
        work.disk.wait_written(timeout=2)
    assert status(n2)["epoch"] == epoch and status(victim)["lease_ms"] > 0
    assert all("No space left" in drover(victim, *verb).stdout for verb in (("status",), ("ha", "status")))
    alarms = [x for x in api.history(victim) if x["level"] == "alarm" and "record" in x["text"]]
    assert len(alarms) == 1, alarms
    victim.run("rm", f"{state}/junk", f"{state}/early", check=True)
    wait_for("the alarm to end", lambda: not problem(victim), 10)
    assert bed.members(n2) == 3 and work.disk.newest().boot == boot

    # read-only, and droverd is started again: it stays outside, and in none of the others' way
    victim.kill_daemon("droverd", signal.SIGKILL)
    # A mount of its own, as the VMM that lives on has files open for writing.
    victim.run("mount", "--bind", state, state, check=True)
    victim.run("mount", "-o", "remount,bind,ro", state, check=True)
    bed.start_droverd(victim)
    assert "Read-only" in wait_for("the alarm", lambda: problem(victim), 10)
    _, record = work.disk.wait_other_boot(boot, timeout=60)
    calm = status(n2)["epoch"]
    assert calm <= epoch + 3, "no storm"
    if victim.on():
        assert victim.daemon_alive("droverd")
        victim.run("mount", "-o", "remount,bind,rw", state, check=True)
    else:
        victim.gone()
        bed.reboot(victim)
    bed.wait_members(3, timeout=30)
    assert work.disk.newest().boot == record.boot
    work.clean()
