# SPDX-License-Identifier: Apache-2.0
"""What would fail when it is needed is told while nothing depends on it: fence devices, names, addresses."""

import os

import api
import yaml
from host import wait_for


def wrong_in_all_ways(bed):
    """n3 is written N3, the password of n2 is wrong, the agent of n1 is not installed; n2 takes its own name for 127.0.1.1."""
    path = bed.cluster_yaml()
    with open(path, encoding="utf-8") as f:
        conf = yaml.safe_load(f)
    n1, n2, n3 = conf["hosts"]
    n1["fence"][0]["agent"] = "fence_ilo5_missing"
    n2["fence"][0]["options"]["password"] = "wrong"
    n2["address"] = "n2"
    n3["name"] = "N3"
    with open(path, "w", encoding="utf-8") as f:
        yaml.safe_dump(conf, f, sort_keys=False)
    for h in bed.hosts:
        own = os.path.join(h.dir, "hosts")
        with open(own, "w", encoding="utf-8") as f:
            f.write("127.0.0.1 localhost\n" + (f"127.0.1.1 {h.name}\n" if h.n == 2 else ""))
        h.run("mount", "--bind", own, "/etc/hosts", check=True)


def problems(h):
    return (api.get(h, "status") or {}).get("problems", [])


def test_what_would_fail_when_it_is_needed_is_told_at_start(make_bed, make_domain):
    bed = make_bed(hosts=3, token=1000)
    wrong_in_all_ways(bed)
    bed.start()
    h1, h2, h3 = bed.hosts

    wait_for("n1 to know what is wrong", lambda: len(problems(h1)) >= 2, 60)
    told = "\n".join(problems(h1))
    assert "host 'N3' is not in corosync's node list" in told and "did you mean 'n3'?" in told
    assert "n2 could not be fenced from here: level 1: fence_ipmilan: " in told
    assert "n1" not in told.replace("level 1", ""), "its own device is for the others to ask"
    wait_for("n3 to know what is wrong", lambda: any("no such agent" in p for p in problems(h3)), 60)
    wait_for("n3 to have asked every device",
             lambda: {n["name"]: n["fence"] for n in api.nodes(h3)} == {"n1": "fails", "n2": "fails", "n3": "none"}, 60)

    wait_for("n2 to know its address", lambda: any("127.0.1.1" in p for p in problems(h2)), 30)
    shown = h2.run("drover", "status", check=True).stdout
    assert "Problem:   no migration can arrive here: n2 (127.0.1.1) is a loopback address" in shown
    assert "cluster.yaml" in shown, "and the way out"
    assert "problem: " in h2.run("drover", "ha", "status", check=True).stdout
    history = h2.run("drover", "ha", "history", check=True).stdout
    assert "alarm    no migration can arrive here" in history
    assert "127.0.1.1" in h2.read_log("droverd"), "a log is read where nobody asks"

    work = make_domain(bed)
    work.start()
    boot = work.disk.newest().boot
    if work.owner() is h2:
        h1.run("drover", "migrate", work.name, "n1", timeout=60, check=True)
    r = h1.run("drover", "migrate", work.name, "n2", timeout=60)
    assert r.returncode == 1 and "no migration can arrive at n2: n2 (127.0.1.1) is a loopback address" in r.stderr, r.stderr
    assert work.owner() is not h2
    work.disk.wait_written()
    assert work.disk.newest().boot == boot, "and the domain runs on"


def rename(bed, old, new):
    bed.change_corosync_conf(rf"name: {old}\n", f"name: {new}\n")
    bed.host(1).run("corosync-cfgtool", "-R", check=True)


def test_a_node_list_that_cannot_be_taken_over_is_told_as_long_as_that_lasts(make_bed):
    bed = make_bed(hosts=2, token=1000, fence=False)
    bed.start()
    n1 = bed.host(1)
    refused = "the changed node list is not taken over, the one before counts: corosync.conf: name of node 2 is longer"
    rename(bed, "n2", "n" * 64)
    wait_for("n1 to tell it", lambda: any(refused in p for p in problems(n1)), 20)
    assert refused in n1.run("drover", "ha", "history", check=True).stdout
    assert [n["name"] for n in api.nodes(n1)] == ["n1", "n2"]
    rename(bed, "n" * 64, "n2")
    wait_for("that to be over", lambda: not any(refused in p for p in problems(n1)), 20)
