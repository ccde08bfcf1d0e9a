# SPDX-License-Identifier: Apache-2.0
"""Power cut of a host: its domain is fenced by the real fence_ipmilan and starts elsewhere; nobody else is fenced."""

import api
from host import clock, wait_for


def test_power_cut_is_fenced_by_the_real_agent_and_the_domain_starts_elsewhere(make_bed, make_domain):
    bed = make_bed(hosts=3, token=1000)
    bed.start()
    work = make_domain(bed)
    work.start()
    victim = work.owner()
    before = work.disk.newest()
    assert not any(b.power_off_times() for b in bed.bmcs.values())

    when = victim.power_cut()
    written, record = work.disk.wait_other_boot(before.boot, timeout=30)

    asked = bed.bmcs[victim.n].asked_times()
    assert asked and when < asked[-1] < written, "its BMC confirmed that it is off before the restart (rule F)"
    assert not any(bed.bmcs[h.n].power_off_times() for h in bed.hosts if h is not victim), "another host was fenced"
    survivors = [h for h in bed.hosts if h is not victim]
    assert work.owner(survivors[0]) in survivors
    assert any("off by fence_ipmilan" in line["text"] for h in survivors for line in api.history(h))
    assert record.inc == before.inc + 1
    print(f"first write elsewhere after {written - when:.2f} s")

    # the dead host comes back, is a member again, and gets nothing that is not its own
    bed.reboot(victim)
    bed.wait_members()
    work.disk.wait_written(timeout=5)
    assert work.owner(victim) in survivors
    work.clean()
    assert clock() - when < 60


def test_a_host_that_only_lost_its_network_is_switched_off_before_its_domain_starts_elsewhere(make_bed, make_domain):
    bed = make_bed(hosts=3, token=1000)
    bed.start()
    work = make_domain(bed)
    work.start()
    victim, boot = work.owner(), work.disk.newest().boot
    when = bed.cut(victim)
    written, _ = work.disk.wait_other_boot(boot, timeout=30)
    off = bed.bmcs[victim.n].power_off_times()
    assert off and when < off[0] < written, "its power was cut before the restart (rule F)"
    wait_for("the host to be off", lambda: not victim.on(), 5)
    victim.gone()
    print(f"first write elsewhere after {written - when:.2f} s")
    work.clean()


def test_a_bmc_that_says_yes_and_does_nothing_proves_nothing(make_bed, make_domain):
    bed = make_bed(hosts=3, token=1000)
    bed.start()
    work = make_domain(bed)
    work.start()
    victim, boot = work.owner(), work.disk.newest().boot
    bed.bmcs[victim.n].fault("deaf")
    when = bed.cut(victim)
    # waiting is proof too: lease and gate time, (3 + 3) s and some, after the last renewal heard
    written, _ = work.disk.wait_other_boot(boot, timeout=60)
    assert bed.bmcs[victim.n].power_off_times(), "fencing was tried"
    assert victim.on() and written - when > 6, f"started elsewhere after {written - when:.2f} s, without proof of death"
    bed.heal()
    bed.wait_members()
    work.clean()
