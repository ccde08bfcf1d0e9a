# SPDX-License-Identifier: Apache-2.0
"""Whoever ends a host's corosync works on it: the host is not switched off for that, however long it takes."""

import signal
import time

TOKEN = 1000
LONGER_THAN_A_LEASE = 4 * TOKEN / 1000     # docs/ha.md, Times


def test_a_corosync_that_a_signal_ends_costs_no_host(make_bed, make_domain):
    """Whether its good-bye reaches the ring is luck, so more than once."""
    bed = make_bed(hosts=3, token=TOKEN)
    bed.start()
    work = make_domain(bed)
    work.start()
    owner = work.owner()
    for _ in range(3):
        owner.kill_daemon("corosync", signal.SIGTERM)
        time.sleep(LONGER_THAN_A_LEASE)
        bed.start_corosync([owner])
        bed.wait_members()
        assert not bed.bmcs[owner.n].power_off_times(), "fenced, though its corosync was ended in order"
    work.disk.wait_written(timeout=20)
    work.clean()


def test_an_ordered_stop_beside_a_crash_costs_no_host(make_bed, make_domain):
    """While the ring forms anew for one that crashed, nobody hears a good-bye of corosync's.  Its unit ends droverd first,
    and that waits until it is heard."""
    bed = make_bed(hosts=5, token=TOKEN)
    bed.start()
    work = make_domain(bed)
    work.start()
    stopped = work.owner()
    for crashed in [h for h in bed.hosts if h is not stopped][:2]:
        crashed.power_cut()
        time.sleep(0.3 * TOKEN / 1000)
        stopped.kill_daemon("droverd", signal.SIGTERM)
        stopped.kill_daemon("corosync", signal.SIGTERM)
        time.sleep(LONGER_THAN_A_LEASE)
        assert not bed.bmcs[stopped.n].power_off_times(), "fenced, though it was stopped in order"
        bed.start_corosync([stopped])
        bed.start_droverd(stopped)
        bed.reboot(crashed)
        bed.wait_members(5)
    work.disk.wait_written(timeout=20)
    work.clean()
