# SPDX-License-Identifier: Apache-2.0
"""A VMM whose helper has ended: its guest runs on, and where what it was for is needed again nobody waits for ever.

DROVER_HV names the program.
"""
import os
import pathlib
import signal
import time

from test_drover_hv import Lease, needs_kvm
from test_handover import BIG, SLOW, disk, incoming, vmm  # pylint: disable=unused-import

pytestmark = needs_kvm
REFUSED = 5


def helper_of(v, name):
    children = pathlib.Path(f"/proc/{v.process.pid}/task/{v.process.pid}/children").read_text().split()
    found = [int(c) for c in children if pathlib.Path(f"/proc/{c}/comm").read_text() == f"{name}\n"]
    assert len(found) == 1
    return found[0]


def broker_of(v):
    return helper_of(v, "drover-hv-disks")


def end_broker(v):
    os.kill(broker_of(v), signal.SIGKILL)


def test_a_domain_that_cannot_have_its_disks_back_after_a_lease_ends_as_failed(vmm, tmp_path):
    """It would stand still for ever, under a record that says it runs."""
    lease = Lease(tmp_path / "lease")
    lease.set(60)
    s = vmm("web", "--lease", str(tmp_path / "lease"), "--incarnation", "5", "--cluster", "c1",
            disks=[disk(tmp_path / "disk")]).connect()
    s.wait_state("running")
    end_broker(s)
    time.sleep(0.3)
    assert s.state() == "running"
    lease.set(0)
    s.wait_state("gated")
    deadline = time.monotonic() + 5
    while "the disks are free" not in s.log():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    lease.set(60)
    assert s.process.wait(10) == REFUSED, s.log()
    assert "cannot go on: the process that opens disks has ended" in s.log()


def test_a_source_that_cannot_take_its_disks_back_ends_as_failed(vmm, tmp_path):
    shared = [disk(tmp_path / "disk")]
    s, d = vmm("source", disks=shared).connect(), incoming(vmm, disks=shared)
    s.ok("migrate", to=d.listen, arbiter="cluster")
    assert d.wait_event("ask") == {"outcome": "commit", "incarnation": 2}
    end_broker(s)
    d.ok("decide", outcome="abort")
    s.ok("decide", outcome="abort")
    assert s.process.wait(10) == REFUSED, s.log()
    assert "can never go on: the process that opens disks has ended" in s.log()


def test_a_destination_that_cannot_take_the_disks_gives_the_domain_back_at_once(vmm, tmp_path):
    shared = [disk(tmp_path / "disk")]
    s, d = vmm("source", disks=shared, **BIG).connect(), incoming(vmm, disks=shared, **BIG)
    time.sleep(0.3)
    s.ok("migrate", to=d.listen, arbiter="disk", **{**SLOW, "bandwidth": 16 << 20})
    s.wait_phase("precopy")
    end_broker(d)
    while s.wait_event("state")["state"] != "granted":
        pass
    begin = time.monotonic()
    s.wait_state("running")
    assert time.monotonic() - begin < 1.8       # and not as long as storage that may come back is waited for, 2 s
    s.wait_phase("failed")


def test_a_domain_whose_porter_has_ended_runs_on_and_does_not_move(vmm):
    s, d = vmm("source").connect(), incoming(vmm)
    os.kill(helper_of(s, "drover-hv-door"), signal.SIGKILL)
    s.ok("migrate", to=d.listen, arbiter="none")
    assert "the process that connects to other hosts has ended" in s.wait_phase("failed")["error"]
    assert s.state() == "running"
    s.ok("quit")
    assert s.process.wait(20) == 0


def test_helpers_end_with_a_vmm_that_is_killed(vmm):
    """A signal at its death would need rights that it has no more."""
    s = vmm("source").connect()
    s.wait_state("running")
    pids = [helper_of(s, name) for name in ("drover-hv-disks", "drover-hv-door")]
    os.kill(s.process.pid, signal.SIGKILL)
    s.process.wait(10)
    deadline = time.monotonic() + 20
    while any(os.path.exists(f"/proc/{pid}") for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.01)
