# SPDX-License-Identifier: Apache-2.0
"""The filter of a network card is its VMM's: it is there whatever becomes of the daemon, and on each host the domain moves to."""

from domains import Domain, drover
from host import wait_for

TABLE = "drover-t0"


class Filtered(Domain):
    """A domain with a card that may send from its own addresses only."""

    def __init__(self, bed, **options):
        super().__init__(bed, **options)
        with open(self.path, "a", encoding="utf-8") as f:
            f.write("nics:\n  - {bridge: vms, tap: t0, filter: addresses, addresses: [10.0.0.5]}\n")


def filtered(host):
    r = host.run("nft", "list", "table", "netdev", TABLE)
    return r.returncode == 0 and "10.0.0.5" in r.stdout


def test_a_filter_outlives_its_daemon_and_goes_where_its_domain_goes(make_bed):
    bed = make_bed(hosts=3, token=1000)
    bed.start()
    for h in bed.hosts:
        h.run("ip", "link", "add", "vms", "up", "type", "bridge", check=True)
    work = Filtered(bed)
    try:
        work.start()
        owner = work.owner()
        other = next(h for h in bed.hosts if h is not owner)
        assert [h for h in bed.hosts if filtered(h)] == [owner]
        owner.kill_daemon("droverd")
        assert filtered(owner)
        bed.start_droverd(owner)
        bed.wait_members()
        owner.run("nft", "flush", "ruleset", check=True)
        assert filtered(owner)
        work.migrate(other)
        wait_for("the filter to be where the domain is", lambda: [h for h in bed.hosts if filtered(h)] == [other], 20)
        drover(other, "stop", work.name, "--force")
        wait_for("no filter to be left", lambda: not any(map(filtered, bed.hosts)), 20)
        work.clean()
    finally:
        work.close()
