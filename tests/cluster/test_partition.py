# SPDX-License-Identifier: Apache-2.0
"""Hosts cut off from quorum never run a domain twice: the trail on the shared disk proves it."""

import pytest

from host import wait_for


@pytest.mark.parametrize("fence", [True, False], ids=["power fencing", "waiting alone"])
def test_two_of_five_hosts_cut_off_never_run_a_domain_twice(make_bed, make_domain, fence):
    bed = make_bed(hosts=5, token=1000, fence=fence)
    bed.start(timeout=60)
    works = [make_domain(bed, name=f"work{i}") for i in range(3)]
    for w, h in zip(works, (1, 2, 3)):
        w.start()
        if w.owner() is not bed.host(h):
            w.migrate(bed.host(h))
    minority, majority = [bed.host(1), bed.host(2)], [bed.host(n) for n in (3, 4, 5)]
    boots = [w.disk.newest().boot for w in works]

    bed.partition(minority, majority)
    for w, boot in zip(works[:2], boots):
        w.disk.wait_other_boot(boot, timeout=45)
    assert works[2].disk.newest().boot == boots[2], "the majority's own domain runs on"
    assert all(w.owner(bed.host(3)) in majority for w in works)
    if fence:
        for h in minority:
            wait_for(f"{h.name} to be off", lambda h=h: not h.on(), 5)
            h.gone()
    bed.heal()
    for h in minority:
        if not h.on():
            bed.reboot(h)
    bed.wait_members(timeout=60)
    for w in works:
        w.disk.wait_written(timeout=10)
        w.clean()
