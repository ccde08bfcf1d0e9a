# SPDX-License-Identifier: Apache-2.0
"""drover reset and drover reboot: the guest begins anew where it is, and the cluster has nothing to decide about it."""

import api
from domains import drover
from host import wait_for


TOKEN = 5000    # ms: on a busy machine a daemon is back before the others would start what it ran


def others(bed, host):
    return [h for h in bed.hosts if h is not host]


def test_a_guest_begins_anew_where_it_runs(make_bed, make_domain):
    bed = make_bed(hosts=3, token=TOKEN, fence=False)
    bed.start()
    work = make_domain(bed)
    work.start()
    owner = work.owner()
    before = work.state(owner)
    for verb, said in (("reset", "domain 'work' is reset"), ("reboot", "domain 'work' has rebooted")):
        boot = work.disk.newest().boot
        for host in others(bed, owner):
            r = drover(host, verb, "work", check=False)
            assert (r.returncode, r.stdout) == (5, ""), r
            assert r.stderr == f"drover: domain 'work' runs on {owner.name}: use drover {verb} there\n"
        r = drover(owner, verb, "work", timeout=90)
        assert r.stdout == said + "\n", r
        work.disk.wait_other_boot(boot)
        assert any(f"root on {owner.name}: {verb} work: done" in line["text"] for line in api.history(owner))
    for host in bed.hosts:
        now = work.state(host)
        assert [now[k] for k in ("phase", "node", "incarnation", "failures")] == \
            [before[k] for k in ("phase", "node", "incarnation", "failures")], now
    # A daemon that dies does not turn a reboot into a power-off, nor does it forget how it went.
    boot = work.disk.newest().boot
    drover(owner, "reboot", "work", "--no-wait")
    owner.kill_daemon("droverd")
    bed.start_droverd(owner)
    bed.wait_members()
    work.disk.wait_other_boot(boot)
    wait_for("the restarted daemon to have found its VMM", lambda: work.state(owner).get("vmm"), 60)
    assert work.state(owner)["incarnation"] == before["incarnation"], work.state(owner)
    wait_for("it to know of the reboot", lambda: work.state(owner)["vmm"].get("reboot", {}).get("phase") == "done", 60)
    # What is stopped is not rebooted, and what was stopped stays so.
    drover(owner, "stop", "work", timeout=90)
    for verb in ("reset", "reboot"):
        r = drover(owner, verb, "work", check=False)
        assert (r.returncode, r.stderr) == (5, "drover: domain 'work' is stopped\n"), r
        assert drover(owner, verb, "nobody", check=False).returncode == 3
