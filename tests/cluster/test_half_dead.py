# SPDX-License-Identifier: Apache-2.0
"""Hosts that are neither dead nor well: deaf, mute, or asleep for longer than every lease.  The trail on the disk tells."""

import pytest

from host import wait_for


def one_writer_at_the_end(bed, work, boot):
    """Everybody in again, the domain writes, and never two did."""
    bed.heal()
    bed.wait_members(timeout=60)
    work.disk.wait_written(timeout=40)
    assert work.disk.newest().boot != boot
    work.clean()


@pytest.mark.parametrize("direction", ["in", "out"])
def test_a_host_that_is_only_deaf_or_only_mute_never_runs_a_domain_beside_its_successor(make_bed, make_domain, direction):
    """A mute host may think for another token that it is quorate: its lease, not its quorum, must stop it."""
    bed = make_bed(hosts=3, token=1000, fence=False)
    bed.start()
    work = make_domain(bed)
    work.start()
    victim, boot = work.owner(), work.disk.newest().boot
    bed.cut(victim, direction)
    work.disk.wait_other_boot(boot, timeout=40)
    one_writer_at_the_end(bed, work, boot)


def test_a_host_that_wakes_up_after_its_domain_was_given_away_writes_nothing_more(make_bed, make_domain):
    """All of it stops, guest included, for longer than lease and proof: nothing in it can have gated itself in time."""
    bed = make_bed(hosts=3, token=1000, fence=False)
    bed.start()
    work = make_domain(bed)
    work.start()
    victim, boot = work.owner(), work.disk.newest().boot
    survivor = next(h for h in bed.hosts if h is not victim)
    victim.freeze()
    wait_for("the survivors to give the domain away", lambda: work.owner(survivor) is not victim, 30)
    asleep = work.disk.written()
    victim.thaw()
    # the lock that the sleeping VMM held is free once it is awake, finds its lease over and gates itself
    _, record = work.disk.wait_other_boot(boot, timeout=40)
    assert record.first_seq <= asleep + 1, "the host that woke up wrote without a lease"
    one_writer_at_the_end(bed, work, boot)


def test_a_sleeping_host_is_fenced_and_never_wakes_up(make_bed, make_domain):
    bed = make_bed(hosts=3, token=1000)
    bed.start()
    work = make_domain(bed)
    work.start()
    victim, boot = work.owner(), work.disk.newest().boot
    victim.freeze()
    work.disk.wait_other_boot(boot, timeout=30)
    wait_for("the sleeping host to be off", lambda: not victim.on(), 5)
    victim.gone()
    bed.reboot(victim)
    one_writer_at_the_end(bed, work, boot)
