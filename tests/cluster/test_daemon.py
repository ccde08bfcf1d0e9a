# SPDX-License-Identifier: Apache-2.0
"""A daemon that crashes or is upgraded never takes a domain down."""

import os
import signal

import api
from host import wait_for


def test_droverd_killed_and_restarted_never_stops_a_domain(make_bed, make_domain):
    bed = make_bed(hosts=3, token=1000)
    bed.start()
    work = make_domain(bed)
    work.start()
    owner = work.owner()
    boot = work.disk.newest().boot
    work.console.take_gap()
    for _ in range(3):
        owner.kill_daemon("droverd")
        bed.start_droverd(owner)
        bed.wait_members()
        work.disk.wait_written(timeout=5)
    assert work.disk.newest().boot == boot
    assert work.owner() is owner
    assert all(not b.power_off_times() for b in bed.bmcs.values()), "somebody was fenced"
    assert work.console.take_gap() < 2_500_000, "the domain was gated: the daemon was away longer than its lease"
    work.clean()


def test_a_daemon_that_is_stopped_in_order_costs_no_host(make_bed, make_domain):
    """systemctl stop droverd, or an upgrade that takes longer than a lease: no host is switched off, the domain goes on
    elsewhere, and the host takes part again."""
    bed = make_bed(hosts=3, token=1000)
    bed.start()
    work = make_domain(bed)
    work.start()
    owner = work.owner()
    boot = work.disk.newest().boot
    owner.kill_daemon("droverd", signal.SIGTERM)
    work.disk.wait_other_boot(boot, timeout=20)
    bed.start_droverd(owner)
    bed.wait_members()
    assert work.owner() is not owner
    assert all(not b.power_off_times() for b in bed.bmcs.values()), "a host was fenced for a planned stop"
    work.clean()


def test_a_hangup_does_not_end_a_daemon(make_bed):
    bed = make_bed(hosts=1, fence=False)
    bed.start()
    h = bed.host(1)
    h.kill_daemon("droverd", signal.SIGHUP)
    wait_for("a line about it", lambda: "signal 1 ignored" in h.read_log("droverd"), 5)
    assert h.daemon_alive("droverd")


def test_the_record_survives_when_every_daemon_dies_at_once(make_bed, make_domain):
    bed = make_bed(hosts=3, token=1000)
    bed.start()
    work = make_domain(bed)
    work.start()
    owner, boot = work.owner(), work.disk.newest().boot
    for h in bed.hosts:
        h.kill_daemon("droverd")
    for h in bed.hosts:
        bed.start_droverd(h)
    bed.wait_members()
    work.disk.wait_written(timeout=10)
    assert work.disk.newest().boot == boot and work.owner() is owner
    assert api.domains(owner), "the record is gone"
    work.clean()


def test_the_flight_recorder_is_written_when_asked_and_by_a_crash(make_bed):
    bed = make_bed(hosts=1, fence=False)
    bed.start()
    h = bed.host(1)
    for name, sig in (("asked", signal.SIGUSR2), ("crash", signal.SIGABRT)):
        path = os.path.join(h.dir, "state", "blackbox-" + name)
        os.kill(h.daemons["droverd"], sig)
        wait_for(path, lambda p=path: os.path.exists(p), 5)
        said = h.run("qb-blackbox", path).stdout
        assert "debug: do PERSIST" in said and "debug: do PERSIST" not in h.read_log("droverd"), said[-2000:]
    wait_for("the crashed daemon to end", lambda: not h.daemon_alive("droverd"), 5)
    assert not [f for f in h.run("ls", "/dev/shm").stdout.split() if "blackbox" in f and "droverd" in f]
