# SPDX-License-Identifier: Apache-2.0
"""A cluster that is set up anew over old disks starts none of them, however often it tries, before an operator says so."""

import os
import shutil

from domains import drover
from host import wait_for


def start_anew(bed):
    """All hosts' records are lost."""
    for h in bed.hosts:
        h.kill_daemon("droverd")
    for h in bed.hosts:
        state = os.path.join(h.dir, "state")
        shutil.rmtree(state)
        os.makedirs(state)
    for h in bed.hosts:
        bed.start_droverd(h)
    bed.wait_members()


def test_old_disks_are_adopted_by_word_and_not_by_counting(make_bed, make_domain):
    bed = make_bed(hosts=2, token=1000, fence=False)
    bed.start()
    first = bed.host(1)
    work = make_domain(bed)
    work.start()
    before = work.owner()
    work.migrate(next(h for h in bed.hosts if h is not before))
    work.disk.wait_written()
    old = work.state(first)["incarnation"]
    drover(first, "stop", work.name, "--force")
    wait_for("it to stop", lambda: work.state(first)["phase"] == "stopped", 10)
    start_anew(bed)
    seq = work.disk.seq()
    drover(first, "start", work.path, check=False)
    # The number goes up with each try, past the old one.
    wait_for("it to be tried often", lambda: work.state(first)["incarnation"] > old + 1, 90)
    assert work.state(first)["phase"] != "running" and work.disk.seq() == seq
    said = drover(first, "ha", "status", "--why").stdout + str(work.state(first))
    assert "drover-hv adopt" in said, said
    drover(first, "stop", work.name, "--force", check=False)
    wait_for("it to stop", lambda: work.state(first)["phase"] == "stopped", 20)
    first.run("drover-hv", "adopt", work.path, check=True)
    drover(first, "start", work.name, check=False)
    work.disk.wait_written(after=seq)
    work.clean()
