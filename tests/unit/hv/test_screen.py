# SPDX-License-Identifier: Apache-2.0
"""The screen of a domain, from what its guest draws to what the control socket shows of it."""
import os
import pathlib
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time

import pytest

sys.path.insert(0, os.path.dirname(__file__))
from test_drover_hv import COUNT, HV, Domain, needs_kvm  # noqa: E402

WIDTH, HEIGHT = 640, 400
MEMORY, REGISTERS = 0xC0000000, 0xC0400000     # where the BARs of slot 1 are


def put16(address, value):
    return b"\x66\xc7\x05" + address.to_bytes(4, "little") + value.to_bytes(2, "little")


def put32(address, value):
    return b"\xc7\x05" + address.to_bytes(4, "little") + value.to_bytes(4, "little")


def dispi(index, value):
    return put16(REGISTERS + 0x500 + 2 * index, value)


DRAW = (put16(0xB0008004, 2) + dispi(3, 32) + dispi(1, WIDTH) + dispi(2, HEIGHT) + dispi(4, 1) +
        put32(MEMORY, 0x112233) + put32(MEMORY + 4 * (WIDTH * HEIGHT - 1), 0x445566) + COUNT)


def picture(domain):
    """All rows, as bytes of red, green and blue."""
    rows, seen = b"", 0
    while seen < HEIGHT:
        part = domain.ok("screenshot", row=seen)
        assert (part["width"], part["height"], part["row"]) == (WIDTH, HEIGHT, seen)
        assert len(part["rgb"]) == 2 * 3 * WIDTH * part["rows"]
        rows += bytes.fromhex(part["rgb"])
        seen += part["rows"]
    return rows


def counted(domain, seconds=10):
    """Wait until the guest has drawn."""
    deadline = time.monotonic() + seconds
    while "error" in (answer := domain.call("screenshot")) or not answer["return"]["rgb"].startswith("112233"):
        assert time.monotonic() < deadline, answer
        time.sleep(0.01)


@needs_kvm
def test_what_the_guest_draws_is_shown(tmp_path):
    d = Domain(tmp_path, DRAW, extra="rng: false\ndisplay: {memory: 4M}\n").connect()
    try:
        counted(d)
        rows = picture(d)
        assert rows[:6] == bytes.fromhex("112233000000")
        assert rows[-3:] == bytes.fromhex("445566")
        for row in (-1, HEIGHT, 1 << 40):
            assert f"expected 0 to {HEIGHT - 1}" in d.call("screenshot", row=row)["error"]["text"]
    finally:
        d.end()


@needs_kvm
def test_viewers_find_it_beside_the_control_socket(tmp_path):
    d = Domain(tmp_path, DRAW, extra="rng: false\ndisplay: {memory: 4M}\n").connect()
    try:
        path = d.ok("query")["vnc"]
        assert path == str(tmp_path / "web.vnc")
        with socket.socket(socket.AF_UNIX) as viewer:
            viewer.settimeout(20)
            viewer.connect(path)
            assert viewer.recv(12) == b"RFB 003.008\n"
            d.ok("quit")
            assert d.process.wait(20) == 0
        assert not os.path.exists(path)
    finally:
        d.end()
    d = Domain(tmp_path, COUNT, name="none").connect()
    try:
        assert "vnc" not in d.ok("query") and not (tmp_path / "none.vnc").exists()
    finally:
        d.end()


@needs_kvm
def test_the_agents_port_is_beside_the_control_socket(tmp_path):
    d = Domain(tmp_path, COUNT, extra="guest_agent: true\n").connect()
    try:
        path = str(tmp_path / "web.agent")
        assert d.ok("query")["agent"] == {"path": path, "open": False}
        with socket.socket(socket.AF_UNIX) as one, socket.socket(socket.AF_UNIX) as two:
            one.connect(path)
            two.settimeout(20)
            two.connect(path)
            assert two.recv(1) == b""       # one at a time
            assert d.ok("stats")["consoles"][0]["connected"] is True
            d.ok("quit")
            assert d.process.wait(20) == 0
        assert not os.path.exists(path)
    finally:
        d.end()


class Viewer:
    """One who speaks RFB 3.8 (RFC 6143), and sees red, green, blue, nothing."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(20)
        self.socket.connect(path)
        assert self.hear(12) == b"RFB 003.008\n"
        self.socket.sendall(b"RFB 003.008\n")
        kinds = self.hear(self.hear(1)[0])
        assert 1 in kinds                       # no password
        self.socket.sendall(b"\1")
        assert self.hear(4) == bytes(4)
        self.socket.sendall(b"\1")
        self.width, self.height = struct.unpack(">HH", self.hear(4))
        self.name = self.hear(struct.unpack(">16xI", self.hear(20))[0])

    def hear(self, n):
        out = b""
        while len(out) < n:
            part = self.socket.recv(n - len(out))
            if not part:
                raise EOFError
            out += part
        return out

    def first_pixel(self):
        self.socket.sendall(struct.pack(">BBHHHH", 3, 0, 0, 0, 1, 1))
        assert struct.unpack(">BxH", self.hear(4)) == (0, 1)
        assert struct.unpack(">HHHHi", self.hear(12)) == (0, 0, 1, 1, 0)
        return self.hear(4)[:3]

    def key(self, keysym, down):
        self.socket.sendall(struct.pack(">BBxxI", 4, down, keysym))

    def close(self):
        self.socket.close()


def below(pid):
    """Processes that serve the viewers of the VMM @pid."""
    kids = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    ushers = [k for k in kids if pathlib.Path(f"/proc/{k}/comm").read_text() == "drover-hv-usher\n"]
    return [v for u in ushers for v in pathlib.Path(f"/proc/{u}/task/{u}/children").read_text().split()]


def until(what, seconds=20):
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def naps(pid):
    """How often each of its threads has gone to sleep."""
    return {t.name: re.search(r"^voluntary_ctxt_switches:\s+(\d+)", (t / "status").read_text(), re.M)[1]
            for t in pathlib.Path(f"/proc/{pid}/task").iterdir()}


def test_no_vmm_is_linked_with_the_viewers_library():
    hv = os.environ["DROVER_HV"]
    for program, has in (hv, False), (os.path.join(os.path.dirname(hv), "drover-hv-viewer"), True):
        said = subprocess.run(["readelf", "-d", program], check=True, stdout=subprocess.PIPE, text=True).stdout
        assert ("libvncserver" in said) is has and "NEEDED" in said


@needs_kvm
def test_without_who_serves_viewers_a_domain_with_a_screen_does_not_start(tmp_path):
    shutil.copy(os.environ["DROVER_HV"], tmp_path / "drover-hv")
    (tmp_path / "web.yaml").write_text(f"name: web\nmemory: 8M\nvcpus: 1\nkernel: {tmp_path}/drover-hv\ndisplay: {{}}\n")
    done = subprocess.run([tmp_path / "drover-hv", "run", tmp_path / "web.yaml", "--control", tmp_path / "web.sock"], check=False,
                          stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, timeout=60)
    if "drover-hv-viewer" not in done.stderr:
        pytest.skip("it is installed on this host")
    assert done.returncode == 3 and "libexec/drover-hv-viewer: No such file" in done.stderr
    assert sorted(os.listdir(tmp_path)) == ["drover-hv", "web.yaml"]


@needs_kvm
def test_a_viewer_sees_what_the_guest_draws_and_goes(tmp_path):
    d = Domain(tmp_path, DRAW, extra="rng: false\ndisplay: {memory: 4M}\n").connect()
    try:
        counted(d)
        assert not below(d.process.pid)
        one = Viewer(str(tmp_path / "web.vnc"))
        assert (one.width, one.height, one.name) == (WIDTH, HEIGHT, b"web")
        two = Viewer(str(tmp_path / "web.vnc"))
        serving = below(d.process.pid)
        assert len(serving) == 1
        for viewer in one, two:
            assert viewer.first_pixel() in (bytes.fromhex("112233"), bytes.fromhex("332211"))
            viewer.close()
        until(lambda: not below(d.process.pid))     # nobody is there: nobody serves
    finally:
        d.end()


@needs_kvm
@pytest.mark.skipif(b"__tsan_init" in pathlib.Path(HV).read_bytes(), reason="the thread sanitizer has a thread that wakes up ten times a second")
def test_nobody_wakes_up_for_nobody(tmp_path):
    d = Domain(tmp_path, COUNT, args=["--paused"], extra="display: {}\nrng: false\n").connect()
    try:
        Viewer(str(tmp_path / "web.vnc")).close()
        until(lambda: not below(d.process.pid))
        time.sleep(0.6)         # the usher rests a moment
        kids = pathlib.Path(f"/proc/{d.process.pid}/task/{d.process.pid}/children").read_text().split()
        before = [naps(pid) for pid in [d.process.pid, *kids]]
        time.sleep(1)
        assert [naps(pid) for pid in [d.process.pid, *kids]] == before
    finally:
        d.end()


@needs_kvm
def test_who_serves_viewers_may_die(tmp_path):
    """The domain goes on, viewers are hung up on, and the next one is served."""
    d = Domain(tmp_path, DRAW, extra="rng: false\ndisplay: {memory: 4M}\n").connect()
    try:
        counted(d)
        for _ in range(3):
            viewer = Viewer(str(tmp_path / "web.vnc"))
            viewer.key(0x61, 1)
            os.kill(int(below(d.process.pid)[0]), signal.SIGKILL)
            with pytest.raises((EOFError, ConnectionResetError)):
                viewer.hear(1)
            viewer.close()
            assert d.state() == "running"
    finally:
        d.end()


@needs_kvm
def test_a_viewer_stays_when_the_guest_begins_anew(tmp_path):
    d = Domain(tmp_path, DRAW, extra="rng: false\ndisplay: {memory: 4M}\n").connect()
    try:
        counted(d)
        viewer = Viewer(str(tmp_path / "web.vnc"))
        for _ in range(3):
            d.ok("reset")
            counted(d)
            viewer.key(0x61, 1)
        until(lambda: viewer.first_pixel() != bytes(3))     # it looks from time to time
        assert d.state() == "running"
        viewer.close()
    finally:
        d.end()


@needs_kvm
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, None])
def test_no_socket_is_left_behind(tmp_path, how):
    d = Domain(tmp_path, COUNT, extra="display: {}\nguest_agent: true\n").connect()
    try:
        names = {"web.sock", "web.console", "web.vnc", "web.agent"}
        assert names <= set(os.listdir(tmp_path))
        if how:
            d.process.send_signal(how)
        else:
            d.ok("quit")
        assert d.process.wait(20) == 0
        assert not names & set(os.listdir(tmp_path))
    finally:
        d.end()


@needs_kvm
def test_what_a_killed_one_leaves_the_next_one_replaces(tmp_path):
    for _ in range(5):
        d = Domain(tmp_path, COUNT, extra="display: {}\nguest_agent: true\n").connect()
        viewer = Viewer(str(tmp_path / "web.vnc"))
        viewer.socket.sendall(b"\6\0")         # who has begun to say something, and does not go on
        try:
            assert d.ok("query")["agent"]["path"] == str(tmp_path / "web.agent")
        finally:
            d.process.kill()
            d.process.wait(20)
        assert (tmp_path / "web.vnc").exists() and (tmp_path / "web.agent").exists()


@needs_kvm
def test_keys_are_refused_that_nobody_would_hear_or_nobody_knows(tmp_path):
    d = Domain(tmp_path, COUNT, extra="display: {}\n").connect()
    try:
        for arguments, code, text in (({"keys": "ctrl-alt-delete"}, 5, "no keyboard that its drivers listen to"),
                                      ({"text": "a"}, 5, "no keyboard"), ({}, 2, "expected one of keys and text"),
                                      ({"keys": "a", "text": "a"}, 2, "expected one of keys and text"),
                                      ({"keys": "hyper"}, 2, "'hyper' is no key"), ({"text": "a\u00e4"}, 2, "byte 0xc3 at 1")):
            error = d.call("send-key", **arguments)["error"]
            assert error["code"] == code and text in error["text"], (arguments, error)
        names = [k["name"] for k in d.ok("stats")["keyboards"] + d.ok("stats")["tablets"]]
        assert names == ["keyboard0", "tablet0"]
    finally:
        d.end()


@needs_kvm
def test_a_dark_screen_and_none_are_told_apart(tmp_path):
    d = Domain(tmp_path, COUNT, extra="display: {memory: 4M}\n").connect()
    try:
        answer = d.call("screenshot")["error"]
        assert (answer["code"], answer["text"]) == (5, "the screen is dark: the guest has set no mode")
    finally:
        d.end()
    d = Domain(tmp_path, COUNT, name="none").connect()
    try:
        answer = d.call("screenshot")["error"]
        assert answer["code"] == 3 and "no screen" in answer["text"]
    finally:
        d.end()


@needs_kvm
def test_a_domain_moves_while_it_is_looked_at(tmp_path):
    """Screen, agent's port and viewers at both ends: it arrives as it was shown, and who looked finds it there."""
    extra = "rng: false\ndisplay: {memory: 4M}\nguest_agent: true\n"
    source = Domain(tmp_path, DRAW, extra=extra).connect()
    there = tmp_path / "there"
    there.mkdir()
    destination = Domain(there, DRAW, args=["--incoming", "tcp:127.0.0.1:0", "--no-arbiter"], extra=extra).connect()
    try:
        counted(source)
        until(lambda: "listen" in destination.ok("query"))
        here, waits = Viewer(str(tmp_path / "web.vnc")), Viewer(str(there / "web.vnc"))
        colour = here.first_pixel()
        assert colour != bytes(3)
        with socket.socket(socket.AF_UNIX) as agent:
            agent.connect(str(tmp_path / "web.agent"))
            source.ok("migrate", to=destination.ok("query")["listen"], arbiter="none")
            destination.wait_state("running", 20)
            assert source.process.wait(20) == 0
        with pytest.raises((EOFError, ConnectionResetError)):
            here.hear(1)
        late = Viewer(str(there / "web.vnc"))
        assert (late.width, late.height, late.first_pixel()) == (WIDTH, HEIGHT, colour)
        assert len(below(destination.process.pid)) == 1
        assert picture(destination)[:3] == bytes.fromhex("112233")
        assert {"web.sock", "web.console", "web.vnc", "web.agent"} & set(os.listdir(tmp_path)) == set()
        for viewer in here, waits, late:
            viewer.close()
        destination.ok("quit")
        assert destination.process.wait(20) == 0
        assert {"web.sock", "web.console", "web.vnc", "web.agent"} & set(os.listdir(there)) == set()
    finally:
        source.end()
        destination.end()
