# SPDX-License-Identifier: Apache-2.0
"""Fifty live migrations in a row through the cluster, of a guest that checks every page it rewrites."""

MIGRATIONS = 50


def test_fifty_migrations_in_a_row_without_a_corrupt_page(make_bed, make_domain):
    bed = make_bed(hosts=3, token=1000)
    bed.start()
    work = make_domain(bed, memory="192M", mem="128M", ws="16M", rate=50, vcpus=2)
    work.start()
    boot = work.disk.newest().boot
    at = work.owner()
    for i in range(MIGRATIONS):
        to = bed.host(at.n % 3 + 1)
        work.migrate(to)
        assert work.owner(to) is to, f"migration {i + 1}"
        work.disk.wait_written(timeout=5)
        at = to
    assert work.disk.newest().boot == boot, "the guest was restarted on the way"
    work.verify_all(at)
    work.clean()
