# SPDX-License-Identifier: Apache-2.0
"""Without corosync: one clear line, an exit code, nothing left behind."""

import os


def test_droverd_without_corosync_says_so_in_one_line(make_bed):
    bed = make_bed(hosts=1, fence=False)
    h = bed.host(1)
    before = len(h.processes())
    r = h.run("droverd", "--config", bed.cluster_yaml(), "--state-dir", os.path.join(h.dir, "state"), timeout=20)
    said = (r.stderr + r.stdout).strip().splitlines()
    assert r.returncode == 1 and len(said) == 1, (r.returncode, said)
    assert "corosync is not running" in said[0]
    assert len(h.processes()) == before
    assert not h.run("find", "/run/drover", "-type", "s").stdout.strip(), "a socket was left behind"


def test_drover_without_droverd_says_so_in_one_line(make_bed):
    bed = make_bed(hosts=1, fence=False)
    r = bed.host(1).run("drover", "list")
    said = (r.stderr + r.stdout).strip().splitlines()
    assert r.returncode != 0 and len(said) == 1, (r.returncode, said)
    assert "droverd" in said[0]
