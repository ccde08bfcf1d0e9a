# SPDX-License-Identifier: Apache-2.0
"""A domain whose VMM can never take its disks again is started anew, rather than standing still where the record says it runs."""

import os
import pathlib
import signal
import time

from host import wait_for


def brokers(host):
    return [pid for pid in host.processes() if pathlib.Path(f"/proc/{pid}/comm").read_text() == "drover-hv-disks\n"]


def stands_still(disk):
    before = disk.seq()
    time.sleep(1)        # longer than it keeps its disks without a lease
    return disk.seq() == before


def test_a_domain_without_its_broker_survives_the_loss_of_all_leases(make_bed, make_domain):
    bed = make_bed(hosts=3, token=1000)
    bed.start()
    work = make_domain(bed)
    work.start()
    boot, (broker,) = work.disk.newest().boot, brokers(work.owner())
    os.kill(broker, signal.SIGKILL)
    bed.partition(*([h] for h in bed.hosts))        # nobody has quorum, so nobody is proved dead
    wait_for("the domain to be gated", lambda: stands_still(work.disk), 15)
    bed.heal()
    work.disk.wait_other_boot(boot, timeout=40)
    work.disk.wait_written(timeout=20)
    work.clean()
