# SPDX-License-Identifier: Apache-2.0
"""That a VMM lives is a fact of the kernel, and how it ended is a fact of its own: neither is guessed."""

import os
import signal
import threading

from domains import drover
from host import wait_for


def slow_program(bed, seconds):
    """A drover-hv whose first instructions take long, as on a host with a cold page cache under load."""
    path = os.path.join(bed.dir, "slow-hv")
    with open(path, "w", encoding="ascii") as f:
        f.write(f'#!/bin/sh\nsleep {seconds}\nexec drover-hv "$@"\n')
    os.chmod(path, 0o755)
    return path


def vmms(bed, name):
    """(host, incarnation, pid) of each process that is, or will be, a VMM of the domain @name."""
    found = []
    for h in bed.hosts:
        for pid in h.processes():
            try:
                with open(f"/proc/{pid}/cmdline", encoding="utf-8") as f:
                    words = f.read().split("\0")
            except OSError:
                continue
            if "--incarnation" in words and any(w.endswith(f"/{name}.yaml") for w in words):
                found.append((h, int(words[words.index("--incarnation") + 1]), pid))
    return found


def test_a_vmm_that_has_not_begun_is_not_forgotten_by_a_restarted_daemon(make_bed, make_domain):
    """The daemon dies between the VMM's exec and its socket.  Without that VMM in its list the host would report that
    it runs nothing, the domain would be started elsewhere as well, and the lease would let both run."""
    bed = make_bed(hosts=3, token=1000)
    bed.start()
    n1, host = bed.host(1), bed.host(3)
    slow = slow_program(bed, 2)
    host.kill_daemon("droverd")
    bed.start_droverd(host, "--drover-hv", slow)
    bed.wait_members()
    work = make_domain(bed)
    for name in "n1", "n2":
        drover(n1, "node", "maintenance", name, "on")
    command = threading.Thread(target=drover, args=(n1, "start", work.path), kwargs={"check": False})
    command.start()
    wait_for("the VMM to be started", lambda: vmms(bed, "work"), 15, pause=0.002)
    host.kill_daemon("droverd")
    for name in "n1", "n2":
        drover(n1, "node", "maintenance", name, "off")
    bed.start_droverd(host, "--drover-hv", slow)
    bed.wait_members()
    command.join()
    work.disk.wait_written(timeout=20)
    assert {(h.n, incarnation) for h, incarnation, _ in vmms(bed, "work")} == {(3, 1)}, vmms(bed, "work")
    assert work.owner(n1) is host
    assert "work: found alive, incarnation 1" in host.read_log("droverd")
    work.clean()


def test_only_its_guest_can_want_a_domain_off(make_bed, make_domain):
    """Whatever else ends a VMM - SIGTERM to every process of a host that shuts down, SIGKILL by somebody, a droverd that
    was away meanwhile - is a failure: the domain is restarted.  Its guest's own power-off is a wish."""
    bed = make_bed(hosts=3, token=1000)
    bed.start()
    n1 = bed.host(1)
    work = make_domain(bed)
    work.start()
    for how in signal.SIGTERM, signal.SIGKILL:
        (host, before, pid), = vmms(bed, "work")
        boot = work.disk.newest().boot
        os.kill(pid, how)
        work.disk.wait_other_boot(boot, timeout=20)
        (host, after, _), = vmms(bed, "work")
        assert after > before
        drover(n1, "clear", "work")
    # The same while nobody looks.
    (host, _, pid), = vmms(bed, "work")
    boot = work.disk.newest().boot
    host.kill_daemon("droverd")
    os.kill(pid, signal.SIGKILL)
    bed.start_droverd(host)
    bed.wait_members()
    work.disk.wait_other_boot(boot, timeout=20)
    drover(n1, "stop", "work", timeout=60)
    wait_for("the domain to be off", lambda: not vmms(bed, "work"), 10)
    assert work.state(n1)["wanted"] is False
    assert all(not b.power_off_times() for b in bed.bmcs.values()), "somebody was fenced"
    drover(n1, "start", "work")
    work.disk.wait_written(timeout=20)
    # Somebody cleans /run while nobody looks: the VMM has no name any more and lives.  It is ended before anything else.
    (host, before, pid), = vmms(bed, "work")
    boot = work.disk.newest().boot
    host.kill_daemon("droverd")
    host.run("sh", "-c", "rm -f /run/drover/hv/*", check=True)
    bed.start_droverd(host)
    bed.wait_members()
    work.disk.wait_other_boot(boot, timeout=20)
    (_, after, other), = vmms(bed, "work")
    assert after > before and other != pid
    assert "its life file was removed" in host.read_log("droverd")
    work.clean()
