# SPDX-License-Identifier: Apache-2.0
"""drover fence, drover confirm: an operator's word about a lost host, before waiting would have proved anything; and
about a host that is not lost.  And what an operator on any host is told."""

import json
import re

import api
from domains import drover
from host import clock, wait_for

TOKEN = 5000    # ms: waiting would prove a death after 31 s only, so that an operator's word comes first


def lost(bed, victim, survivor):
    """Until the survivors miss the host."""
    wait_for(f"{victim.name} to be missed",
             lambda: any(f"{victim.name} was lost" in line["text"] for line in api.history(survivor)), 30)


def says(survivor, text):
    return any(text in line["text"] for line in api.history(survivor))


def test_a_confirmed_death_is_a_proof(make_bed, make_domain):
    bed = make_bed(hosts=3, token=TOKEN, fence=False)
    bed.start()
    work = make_domain(bed)
    work.start()
    victim, boot = work.owner(), work.disk.newest().boot
    survivor = next(h for h in bed.hosts if h is not victim)
    when = victim.power_cut()
    lost(bed, victim, survivor)
    drover(survivor, "confirm", victim.name, "--yes")
    written, _ = work.disk.wait_other_boot(boot, timeout=30)
    assert says(survivor, f"{victim.name} is dead: an operator confirmed it")
    assert written > when
    work.clean()


def test_fencing_that_failed_is_tried_again_when_an_operator_says_so(make_bed, make_domain):
    bed = make_bed(hosts=3, token=TOKEN, agent_timeout="6s")
    bed.start()
    work = make_domain(bed)
    work.start()
    victim, boot = work.owner(), work.disk.newest().boot
    survivor = next(h for h in bed.hosts if h is not victim)
    bed.bmcs[victim.n].fault("deaf")
    bed.cut(victim)
    lost(bed, victim, survivor)
    wait_for("both survivors to have tried",
             lambda: sum(says(h, f"fencing {victim.name} failed") for h in bed.hosts if h is not victim) == 2, 20)
    bed.bmcs[victim.n].fault("")
    asked = clock()
    drover(survivor, "fence", victim.name, "--yes")
    written, _ = work.disk.wait_other_boot(boot, timeout=30)
    off = bed.bmcs[victim.n].power_off_times()[-1]
    assert asked < off < written, "fenced because somebody asked, and nothing started before (rule F)"
    assert says(survivor, f"{victim.name} is dead: it was fenced")
    wait_for("the host to be off", lambda: not victim.on(), 5)
    victim.gone()
    work.clean()


def test_a_member_is_neither_fenced_nor_declared_dead(make_bed, make_domain):
    bed = make_bed(hosts=3, token=1000)
    bed.start()
    work = make_domain(bed)
    work.start()
    owner, boot = work.owner(), work.disk.newest().boot
    for verb in ("fence", "confirm"):
        for host in bed.hosts:
            r = host.run("drover", verb, owner.name, "--yes")
            assert r.returncode == 5 and r.stdout == "" and len(r.stderr.splitlines()) == 1, (verb, r)
            assert f"{owner.name} is a member" in r.stderr
        assert bed.host(1).run("drover", verb, "n9", "--yes").returncode == 3
    work.disk.wait_written(timeout=5)
    assert work.disk.newest().boot == boot and work.owner() is owner
    assert not any(b.power_off_times() for b in bed.bmcs.values()), "somebody was fenced"
    work.clean()


def test_every_host_knows_what_the_processors_of_all_have_in_common(make_bed):
    """They tell each other, also one that comes later; one that is gone is not forgotten."""
    bed = make_bed(hosts=3, token=1000, fence=False)
    bed.start()
    here = json.loads(drover(bed.host(1), "-o", "json", "cpu", "show").stdout)["features"]

    def known(host):
        r = host.run("drover", "-o", "json", "cpu", "baseline")
        o = json.loads(r.stdout)
        return r.returncode == 0 and o["hosts"] == [h.name for h in bed.hosts] and o["features"] == here

    for host in bed.hosts:
        wait_for(f"{host.name} to know all", lambda: known(host), 20)
    bed.host(3).power_cut()
    wait_for("n3 to be missed", lambda: drover(bed.host(1), "-o", "json", "node", "status").stdout.count('"online"') == 2, 30)
    assert known(bed.host(1))


def test_a_third_host_shows_how_a_migration_went(make_bed, make_domain):
    bed = make_bed(hosts=3, token=1000, fence=False)
    bed.start()
    work = make_domain(bed)
    work.start()
    owner = work.owner()
    to, third = (h for h in bed.hosts if h is not owner)
    for source, target in ((owner, to), (to, owner)):   # figures of the first must not be shown for the second
        r = drover(third, "-o", "json", "migrate", work.name, target.name)
        m = json.loads(r.stdout)["migration"]
        assert (m["phase"], m["role"], m["outcome"]) == ("done", "source", "commit"), m
        assert m["total_ms"] > m["downtime_ms"] > 0 and m["sent"] > 1 << 20
        assert target.address in m["peer"] and source.address not in m["peer"]
    r = work.migrate(to, from_host=third)
    assert re.search(r"total [\d.]+ m?s, downtime [\d.]+ ms, [\d.]+ MiB sent", r.stdout), r.stdout
    work.clean()


def test_a_guest_that_obeys_the_power_button_is_stopped_at_once(make_bed, make_domain):
    bed = make_bed(hosts=2, token=1000, fence=False)
    bed.start()
    work = make_domain(bed)
    work.start()
    when = clock()
    drover(bed.host(1), "stop", work.name)
    assert clock() - when < 5, "the plug was pulled: that takes 30 s"
    assert work.console.wait_line("D: power off", timeout=1)
    assert work.state(bed.host(2))["phase"] == "stopped"
