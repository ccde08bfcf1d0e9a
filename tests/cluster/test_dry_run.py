# SPDX-License-Identifier: Apache-2.0
"""`drover migrate --dry-run` asks what a migration would ask, and changes nothing."""

from domains import drover
from host import wait_for


def test_a_dry_run_tells_and_moves_nothing(make_bed, make_domain):
    bed = make_bed(hosts=3, token=1000)
    bed.start()
    n1 = bed.host(1)
    work = make_domain(bed)
    work.start()
    before = work.state(n1)
    there = next(h for h in bed.hosts if h is not work.owner(n1))
    said = drover(n1, "migrate", "work", there.name, "--dry-run").stdout
    assert f"could move to {there.name}" in said
    # A host that cannot: the disk is something else there.
    there.run("touch", "/tmp/other", check=True)
    there.run("mount", "--bind", "/tmp/other", work.disk.path, check=True)
    no = drover(n1, "migrate", "work", there.name, "--dry-run", check=False)
    assert no.returncode == 5 and work.disk.path in no.stderr, no
    assert "incarnation" in drover(n1, "show", "work", "-o", "json").stdout
    there.run("umount", work.disk.path, check=True)
    now = work.state(n1)
    assert (now["node"], now["incarnation"], now["state"]) == (before["node"], before["incarnation"], "running")
    # What was only asked counts against nobody, and the real thing goes there.
    work.migrate(there)
    wait_for("the domain to be there", lambda: work.owner(n1) is there, 5)
    work.clean()
