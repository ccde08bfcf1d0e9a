# SPDX-License-Identifier: Apache-2.0
"""A VMM that dies at any step of a handover leaves exactly one domain that runs (rule H), with the cluster as arbiter."""

import pytest

import api
from domains import drover
from host import wait_for

STEPS = ("precopy", "stop", "ready", "grant", "committed")


def vmms(bed, name):
    """Hosts on which a VMM of the domain is, by their own daemons."""
    return [h.name for h in bed.hosts if "vmm" in (api.get(h, f"domains/{name}") or {})]


def restart_daemons(bed, fault):
    """VMMs started from now on die at @fault, or at no step."""
    bed.env.pop("DROVER_FAULT", None)
    if fault:
        bed.env["DROVER_FAULT"] = fault
    for h in bed.hosts:
        h.kill_daemon("droverd")
    for h in bed.hosts:
        bed.start_droverd(h)
    bed.wait_members()


@pytest.mark.parametrize("role", ("source", "destination"))
def test_a_vmm_killed_at_any_step_leaves_exactly_one(role, make_bed, make_domain):
    bed = make_bed(hosts=3, token=1000)
    bed.start()
    for step in STEPS:
        restart_daemons(bed, f"{role}:{step}:kill")
        work = make_domain(bed, name=f"{role}-{step}")
        work.start()
        before, target = work.owner(), next(h for h in bed.hosts if h is not work.owner())
        said = drover(before, "migrate", work.name, target.name, check=False, timeout=60)
        if STEPS.index(step) < STEPS.index("grant"):   # from there on the log decides who has it
            assert said.returncode == 1, (step, said)
        work.disk.wait_written(timeout=30)
        d = wait_for(f"{work.name} to run", lambda w=work, h=before: (d := w.state(h))["phase"] == "running" and d, 10)
        wait_for(f"{step}: only {d['node']} to have a VMM", lambda w=work, d=d: vmms(bed, w.name) == [d["node"]], 5)
        if role == "destination" and step != "committed":
            assert d["node"] == before.name and d["moves"] == 1, (step, "the source had to run on", d)
        work.clean()
        drover(before, "stop", work.name, "--force")
        drover(before, "remove", work.name)
