# SPDX-License-Identifier: Apache-2.0
"""What is asked of the kernel only now and then is allowed too: a call that its sandbox does not know kills a VMM.

DROVER_HV names a program that can be told to do such a thing (sandbox_probe.c).
"""
import shutil
import signal
import socket
import subprocess
import time

import pytest

from test_drover_hv import Lease, needs_kvm
from test_handover import disk, vmm  # pylint: disable=unused-import
from test_sandbox import HELPERS, THREADS, children, helper_lives, looked_at, make, serving

pytestmark = needs_kvm
# libvncserver answers that by itself; the library of its hashes then writes to syslog(3) that nobody had it begin.
WEB_SOCKET = (b"GET /x HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
              b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: binary\r\nOrigin: x\r\n\r\n")


@pytest.mark.parametrize("kind", THREADS)
def test_the_c_library_gets_what_it_asks_for(vmm, tmp_path, kind):
    """Clocks without the vDSO, a lot of memory."""
    status, said = make(vmm, tmp_path, kind, {"DROVER_PROBE": f"{kind} library"})
    assert status == 3 and f"probe: {kind} library: SUCCEEDED" in said, said


@pytest.mark.parametrize("kind", THREADS)
def test_who_finds_itself_wrong_ends_with_its_own_line(vmm, tmp_path, kind):
    status, said = make(vmm, tmp_path, kind, {"DROVER_PROBE": f"{kind} assert"})
    assert status == -signal.SIGABRT and "try_assert: Assertion" in said and "made system call" not in said, said


@pytest.mark.parametrize("kind", HELPERS)
def test_the_c_library_of_a_helper_too(vmm, kind):
    v = vmm("source", "--paused", env={"DROVER_PROBE": f"{kind} library"}).connect()
    time.sleep(0.5)
    assert v.state() == "paused" and helper_lives(v, HELPERS[kind])


def test_the_c_library_of_who_serves_viewers(vmm, tmp_path):
    with looked_at(vmm, tmp_path, {"DROVER_PROBE": "viewer library"}) as (_, usher, _):
        first = serving(usher)
        time.sleep(0.7)         # more than the usher rests
        assert children(usher) == [first]


@pytest.mark.parametrize("says", [WEB_SOCKET, b"GET x\r\n\r\n", b"\x16\x03\x01\x02\x00\x01" + bytes(80), b"RFB 009.009\n", b"\xff" * 400],
                         ids=["websocket", "http", "tls", "rfb", "noise"])
def test_a_viewer_that_speaks_something_else_ends_nobody_elses_view(vmm, tmp_path, says):
    with looked_at(vmm, tmp_path) as (v, usher, viewer):
        assert viewer.recv(12) == b"RFB 003.008\n"
        first = serving(usher)
        with socket.socket(socket.AF_UNIX) as other:
            other.settimeout(20)
            other.connect(str(tmp_path / "source.vnc"))
            other.sendall(says)
            time.sleep(0.7)
        viewer.sendall(b"RFB 003.008\n")
        assert viewer.recv(2) == b"\1\1" and children(usher) == [first], v.log()


@pytest.mark.parametrize("parent", ["raw", "qcow2"])
@pytest.mark.parametrize("size", [1 << 20, 1000448])
def test_an_image_with_a_parent_is_taken_again_when_the_gate_opens(vmm, tmp_path, parent, size):
    if not shutil.which("qemu-img"):
        pytest.skip("no qemu-img here")
    below = disk(tmp_path / "below", size)
    if parent == "qcow2":
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(below), str(size)], check=True, timeout=60)
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", str(below), "-F", parent, str(tmp_path / "top")], check=True, timeout=60)
    lease = Lease(tmp_path / "lease")
    lease.set(60)
    v = vmm("source", "--lease", str(tmp_path / "lease"), "--incarnation", "5", "--cluster", "c1",
            extra=f"disks:\n  - path: {tmp_path}/top\n    format: qcow2\n    parents: [{below}]\n").connect()
    v.wait_state("running", 20)
    lease.set(0)
    v.wait_state("gated", 20)
    deadline = time.monotonic() + 20
    while "the disks are free" not in v.log():
        assert time.monotonic() < deadline, v.log()
        time.sleep(0.02)
    lease.set(60)
    v.wait_state("running", 20)
