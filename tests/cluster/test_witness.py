# SPDX-License-Identifier: Apache-2.0
"""Two hosts and a storage witness: one goes on when the other is lost, and never one that does not know what the other did."""

import signal
import subprocess

import api
from chaos_bed import ChaosBed
from host import wait_for

VOTE_S = 40   # both look at the witness every 10 s, and have to see each other's mark


def status(h):
    return api.get(h, "status") or {"witness": {}}


def witness(h, what):
    return (status(h)["witness"] or {}).get(what, False)


def begin(make_bed):
    bed = make_bed(hosts=2, token=1000, witness=True)
    bed.start()
    for h in bed.hosts:
        wait_for(f"the witness to have a vote on {h.name}", lambda h=h: witness(h, "votes"), VOTE_S)
    return bed


def test_the_host_that_is_left_goes_on_and_the_other_not_without_it(make_bed, make_domain):
    bed = begin(make_bed)
    assert all(status(h)["votes_needed"] == 2 and not witness(h, "leans") for h in bed.hosts)
    work = make_domain(bed)
    work.start()
    victim = work.owner()
    before = work.disk.newest()
    survivor = next(h for h in bed.hosts if h is not victim)
    when = victim.power_cut()
    written, record = work.disk.wait_other_boot(before.boot, timeout=30)
    assert record.inc == before.inc + 1
    print(f"first write elsewhere after {written - when:.2f} s")
    assert witness(survivor, "leans") and status(survivor)["votes"] == 2
    assert "without which there would be no majority now" in survivor.run("drover", "status").stdout
    # Whoever comes back does not know what the survivor was given, and does not go on without it.
    survivor.power_cut()
    bed.reboot(victim)
    wait_for("it to be refused by name", lambda: any(f"node {survivor.n} has gone on with the witness's vote" in line["text"]
                                                     for line in api.history(victim)), 30)
    assert status(victim)["standing"] == "forming"
    assert any("it has to be here" in problem for problem in status(victim)["problems"])
    bed.reboot(survivor)
    bed.wait_members(2)
    wait_for("the hosts to be a majority alone again", lambda: not witness(survivor, "leans"), 10)
    work.disk.wait_written(timeout=20)
    work.clean()


def test_who_cannot_reach_the_witness_loses(make_bed, make_domain):
    bed = begin(make_bed)
    work = make_domain(bed)
    work.start()
    owner = work.owner()
    before = work.disk.newest()
    made = owner.run("mount", "--bind", "/dev/null", bed.witness_path())
    assert made.returncode == 0, made.stderr
    bed.partition([bed.host(1)], [bed.host(2)])
    winner = next(h for h in bed.hosts if h is not owner)
    owner.gone()   # fenced
    _, record = work.disk.wait_other_boot(before.boot, timeout=30)
    assert record.inc == before.inc + 1 and work.owner(winner) is winner and witness(winner, "leans")
    work.clean()


def test_droverd_can_be_restarted_while_the_witness_hangs(make_bed):
    bed = make_bed(kind=ChaosBed, hosts=2, token=1000, witness=True)
    bed.start()
    h = bed.host(1)
    wait_for("the witness to have a vote", lambda: witness(h, "votes"), VOTE_S)
    subprocess.run(["fsfreeze", "-f", bed.shared], check=True)
    wait_for("that to be told", lambda: any("does not answer" in p for p in status(h)["problems"]), VOTE_S)
    h.kill_daemon("droverd", signal.SIGTERM)
    bed.start_droverd(h)
    bed.wait_members(2)
    assert "droverd-witness" in h.run("ps", "-A", "-o", "comm").stdout
    bed.thaw_storage()
    wait_for("the witness to be used again", lambda: not any("witness" in p for p in status(h)["problems"]), VOTE_S)
    assert witness(h, "votes")
