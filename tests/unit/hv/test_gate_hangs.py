# SPDX-License-Identifier: Apache-2.0
"""A gated VMM whose storage does not answer: who asks it for something gets an answer, and it goes on where it stood.

The process that opens disks is stopped, which is what it looks like when it waits for storage.  DROVER_HV names the program.
"""
import contextlib
import os
import signal
import time

import pytest
from test_broker_ends import broker_of
from test_drover_hv import Lease, needs_kvm
from test_handover import disk, vmm  # pylint: disable=unused-import

pytestmark = needs_kvm
FREE = "the disks are free"


def wait_log(v, text):
    deadline = time.monotonic() + 10
    while text not in v.log():
        assert time.monotonic() < deadline, v.log()
        time.sleep(0.02)


@pytest.fixture
def web(vmm, tmp_path):
    lease = Lease(tmp_path / "lease")
    lease.set(60)
    v = vmm("web", "--lease", str(tmp_path / "lease"), "--incarnation", "5", "--cluster", "c1",
            disks=[disk(tmp_path / "a"), disk(tmp_path / "b")]).connect()
    v.lease = lease
    v.wait_state("running")
    return v


@contextlib.contextmanager
def no_storage(v):
    broker = broker_of(v)
    os.kill(broker, signal.SIGSTOP)
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(broker, signal.SIGCONT)


def gated_without_disks(v):
    v.lease.set(0)
    v.wait_state("gated")
    wait_log(v, FREE)


def assert_answers(v):
    """For longer than a look at the lease takes, so that whatever is to be done about the disks has begun."""
    end = time.monotonic() + 1.5
    while time.monotonic() < end:
        begin = time.monotonic()
        assert v.state() == "gated"
        assert len(v.ok("stats")["disks"]) == 2
        assert time.monotonic() - begin < 1, "clients wait for the disk"
        time.sleep(0.05)


def test_it_answers_while_its_disks_are_taken_again(web):
    gated_without_disks(web)
    with no_storage(web):
        web.lease.set(60)
        assert_answers(web)
    web.wait_state("running")
    assert "the lease is valid" in web.log()


def test_it_answers_while_its_disks_are_let_go(web):
    with no_storage(web):
        web.lease.set(0)
        web.wait_state("gated")
        assert_answers(web)
        assert FREE not in web.log()
        web.lease.set(60)     # the disks are on their way out: they go, and come back
        time.sleep(0.3)
        assert web.state() == "gated"
    web.wait_state("running")
    assert FREE in web.log()


def test_a_lease_that_ends_again_meanwhile_keeps_it_gated(web):
    gated_without_disks(web)
    with no_storage(web):
        web.lease.set(60)
        time.sleep(0.5)
        web.lease.set(0)
    time.sleep(0.5)
    assert web.state() == "gated"
    assert web.log().count(FREE) == 2       # they were taken, and are let go again
    assert "the lease is valid" not in web.log()[web.log().index(FREE):]
    web.lease.set(60)
    web.wait_state("running")


def test_what_an_operator_says_meanwhile_counts(web):
    gated_without_disks(web)
    with no_storage(web):
        web.lease.set(60)
        time.sleep(0.5)
        begin = time.monotonic()
        web.ok("pause")
        assert time.monotonic() - begin < 1
        assert web.call("migrate", to="tcp:127.0.0.1:9", arbiter="disk")["error"]["code"] == 5
    time.sleep(0.5)
    assert web.state() == "paused"
    web.ok("resume")
    web.wait_state("running")


@pytest.mark.parametrize("how", ["signal", "quit"])
def test_it_ends_when_told_to(web, how):
    gated_without_disks(web)
    with no_storage(web):
        web.lease.set(60)
        time.sleep(0.5)
        if how == "signal":
            web.process.send_signal(signal.SIGTERM)
        else:
            web.ok("quit")
        assert web.process.wait(5) == 0
    assert "ends while its storage does not answer" in web.log()
    assert not web.sock.exists()
