# SPDX-License-Identifier: Apache-2.0
"""A pause is the operator's, so the cluster remembers it: on every host, through migrations and restarts of daemons."""

import time

from domains import drover
from host import wait_for


def states(bed, work):
    return {work.state(h)["state"] for h in bed.hosts}


def stands_still(work):
    before = work.disk.newest().seq
    time.sleep(0.6)
    return work.disk.newest().seq == before


def test_a_pause_is_known_everywhere_and_kept(make_bed, make_domain):
    bed = make_bed(hosts=3, token=1000)
    bed.start()
    n1, n3 = bed.host(1), bed.host(3)
    work = make_domain(bed)
    work.start()
    drover(n3, "pause", "work")
    wait_for("all hosts to know", lambda: states(bed, work) == {"paused"}, 5)
    assert stands_still(work)
    assert drover(n1, "start", "work", check=False).returncode == 5
    target = next(h for h in bed.hosts if h is not work.owner(n1))
    work.migrate(target)
    wait_for("all hosts to know", lambda: states(bed, work) == {"paused"}, 5)
    assert stands_still(work)
    target.kill_daemon("droverd")
    bed.start_droverd(target)
    bed.wait_members()
    wait_for("all hosts to know", lambda: states(bed, work) == {"paused"}, 10)
    assert stands_still(work)
    drover(n1, "resume", "work")
    wait_for("all hosts to know", lambda: states(bed, work) == {"running"}, 5)
    assert not stands_still(work)
    # What its VMM knows ends with it.
    drover(n1, "pause", "work")
    target.power_cut()
    work.disk.wait_written(timeout=30)
    wait_for("it to run elsewhere", lambda: work.state(bed.hosts[0] if target is not bed.hosts[0] else n3)["state"]
             == "running", 30)
    work.clean()
