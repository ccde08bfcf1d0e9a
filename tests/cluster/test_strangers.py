# SPDX-License-Identifier: Apache-2.0
"""Hosts that come with what they were elsewhere: the record of another cluster, another node id."""

import os
import shutil

import api
from domains import drover
from host import wait_for


def test_a_record_of_another_cluster_is_left_out(make_bed, make_domain):
    """The cluster was set up anew on two hosts of three; the third comes with the old, longer record, which is not theirs."""
    bed = make_bed(hosts=3, token=1000, fence=False)
    bed.start()
    h1, h2, h3 = bed.hosts
    for _ in range(4):                       # epochs, so that it is the longest
        h1.kill_daemon("droverd")
        bed.start_droverd(h1)
        bed.wait_members()
    for h in bed.hosts:
        h.kill_daemon("droverd")
    for h in (h1, h2):
        shutil.rmtree(os.path.join(h.dir, "state"))
    for h in (h1, h2):
        bed.start_droverd(h)
    for h in (h1, h2):
        wait_for(f"{h.name} to count two members", lambda h=h: bed.members(h) == 2, 30)
    work = make_domain(bed)
    work.start()
    boot = work.disk.newest().boot
    bed.start_droverd(h3)
    wait_for("n3 to say whose record it has", lambda: "that of another cluster" in h3.read_log("droverd"), 30)
    work.disk.wait_written()
    assert work.disk.newest().boot == boot, "the domain was started again"
    wait_for("n1 and n2 to go on", lambda: bed.members(h1) == 2 and bed.members(h2) == 2, 10)
    why = {n["name"]: n["why"] for n in api.nodes(h1)}
    assert "another cluster" in why["n3"], why
    r = drover(h3, "stop", work.name, check=False)
    assert r.returncode == 5 and "another cluster" in r.stderr, r.stderr
    # The way out.
    h3.kill_daemon("droverd")
    shutil.rmtree(os.path.join(h3.dir, "state"))
    bed.start_droverd(h3)
    bed.wait_members()
    work.disk.wait_written()
    assert work.disk.newest().boot == boot
    work.clean()


def test_a_host_that_was_renumbered_starts_anew(make_bed):
    """Its droverd would try for ever, silently, to be who it no longer is."""
    bed = make_bed(hosts=3, token=1000, fence=False)
    bed.start()
    h1, _, h3 = bed.hosts
    h3.kill_daemon("corosync")
    bed.change_corosync_conf(r"nodeid: 3\n", "nodeid: 5\n")
    h1.run("corosync-cfgtool", "-R", check=True)
    h3.start("corosync", "corosync", "-f")
    wait_for("its droverd to end", lambda: not h3.daemon_alive("droverd"), 20)
    assert "node id changed from 3 to 5" in h3.read_log("droverd")
    bed.start_droverd(h3)                    # as systemd does
    wait_for("n3 to be a member as 5",
             lambda: any(n["id"] == 5 and n["member"] and n["name"] == "n3" for n in api.nodes(h1)), 30)


def test_a_second_daemon_of_one_host_is_refused(make_bed, make_domain):
    """Tried out with directories of its own, beside the one that serves: it would say of the host's domains that they are not there."""
    bed = make_bed(hosts=3, token=1000, fence=False)
    bed.start()
    work = make_domain(bed)
    work.start()
    owner = work.owner()
    boot = work.disk.newest().boot
    own = [os.path.join(owner.dir, "second", d) for d in ("run", "state", "log")]
    for d in own:
        os.makedirs(d)
    r = owner.run("droverd", "--foreground", "--config", bed.cluster_yaml(), "--run-dir", own[0], "--state-dir", own[1],
                  "--log-dir", own[2])
    assert r.returncode == 5 and "another droverd" in r.stderr, r.stderr
    bed.wait_members()
    work.disk.wait_written()
    assert work.disk.newest().boot == boot and work.owner() is owner
    work.clean()


def readdress(bed, h, address):
    """h has another ring0_addr in everybody's corosync.conf, which takes a restart of all corosyncs; droverd stays."""
    h.run("ip", "addr", "add", f"{address}/24", "dev", "eth0", check=True)
    for other in bed.hosts:
        other.kill_daemon("corosync")
        path = os.path.join(other.dir, "etc/corosync/corosync.conf")
        with open(path, encoding="utf-8") as f:
            text = f.read()
        with open(path, "w", encoding="utf-8") as f:
            f.write(text.replace(f"ring0_addr: {h.address}\n", f"ring0_addr: {address}\n"))
    bed.start_corosync()


def test_migrations_arrive_at_the_address_that_corosync_has_today(make_bed, make_domain):
    bed = make_bed(hosts=3, token=1000, fence=False)
    with open(os.path.join(bed.dir, "cluster.yaml"), "w", encoding="utf-8") as f:
        f.write("hosts: []\n")               # no addresses: corosync's count
    bed.start()
    h1, _, h3 = bed.hosts
    work = make_domain(bed)
    work.start(h1)
    readdress(bed, h3, "10.77.0.103")
    wait_for("n3 to follow", lambda: "arrive at 10.77.0.103 now" in h3.read_log("droverd"), 20)
    bed.wait_members()
    h3.run("sh", "-c", "echo 1 > /proc/sys/net/ipv4/conf/eth0/promote_secondaries", check=True)
    h3.run("ip", "addr", "del", f"{h3.address}/24", "dev", "eth0", check=True)
    wait_for("it to run", lambda: work.state(h1)["phase"] == "running" and work.owner(), 30)
    if work.owner() is not h3:
        work.migrate(h3)
    work.disk.wait_written()
    assert work.owner() is h3
    work.clean()
