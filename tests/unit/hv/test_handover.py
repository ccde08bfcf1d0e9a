# SPDX-License-Identifier: Apache-2.0
"""Two drover-hv and what may go wrong between them: who may run the domain afterwards, and what is said.

DROVER_HV names the program.
"""
import os
import pathlib
import signal
import socket
import struct
import subprocess
import threading
import time

import pytest

from test_drover_hv import COUNT, HV, Domain, elf, needs_kvm

pytestmark = needs_kvm

# 32 MiB from 4 MiB on get contents: mov $0x400000, %edi; mov $0x800000, %ecx; 1: mov %edi, (%edi); add $4, %edi; loop 1b
FILL = bytes.fromhex("bf00004000 b900008000 893f 83c704 e2f9") + COUNT
BIG = {"code": FILL, "memory": "64M"}
SLOW = {"bandwidth": 4 << 20, "compress": "off", "channels": 1}  # eight seconds for those


class Vmm(Domain):
    """One of several drover-hv of the same domain."""

    def __init__(self, tmp, tag, *args, disks=(), extra="", code=COUNT, kernel=None, memory="8M", env=None, wrap=()):
        self.tmp, self.tag = tmp, tag
        kernel = kernel or tmp / "kernel"
        if not kernel.exists():
            kernel.write_bytes(elf(code))
        self.file = tmp / f"{tag}.yaml"
        listed = "".join(f"  - path: {d}\n" for d in disks)
        self.file.write_text(f"name: web\nmemory: {memory}\nvcpus: 1\nkernel: {kernel}\n{extra}" +
                             (f"disks:\n{listed}" if disks else ""))
        self.sock = tmp / f"{tag}.sock"
        self.err = tmp / f"{tag}.err"
        with open(self.err, "w") as err:
            self.process = subprocess.Popen(
                [*wrap, HV, "run", str(self.file), "--control", str(self.sock), *args],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=err, env={**os.environ, **(env or {})})
        self.events = []

    def connect(self):
        deadline = time.monotonic() + 10
        while not self.sock.exists():
            assert time.monotonic() < deadline and self.process.poll() is None, self.log()
            time.sleep(0.01)
        return super().connect()

    def log(self):
        return self.err.read_text()

    def query(self):
        return self.ok("query")

    def migration(self):
        return self.query().get("migration", {})

    def wait_phase(self, *phases, seconds=10):
        deadline = time.monotonic() + seconds
        while (m := self.migration()).get("phase") not in phases:
            assert time.monotonic() < deadline, (phases, m, self.log())
            time.sleep(0.02)
        return m

    def wait_why(self, text, seconds=10):
        deadline = time.monotonic() + seconds
        while text not in (q := self.query())["why"]:
            assert time.monotonic() < deadline, (text, q["state"], q["why"], self.log())
            time.sleep(0.02)
        return q


@pytest.fixture
def vmm(tmp_path):
    made = []

    def make(*args, **kwargs):
        made.append(Vmm(tmp_path, *args, **kwargs))
        return made[-1]

    yield make
    for v in made:
        if v.process.poll() is None:
            v.process.send_signal(signal.SIGCONT)
        v.end()


def disk(path, size=1 << 20):
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(bytes(size))
    return path


def incoming(vmm, tag="destination", *args, **kwargs):
    d = vmm(tag, "--incoming", "tcp:127.0.0.1:0", *args, **kwargs).connect()
    deadline = time.monotonic() + 5
    while "listen" not in (q := d.query()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    d.listen = q["listen"]
    return d


# --- G6: decide ---

def test_decide_is_refused_before_anybody_asks(vmm, tmp_path):
    d = incoming(vmm)
    reply = d.call("decide", outcome="commit", incarnation=2)
    assert reply["error"]["code"] == 5 and "no source has come" in reply["error"]["text"]
    assert d.state() == "incoming"


def test_decide_without_incarnation_is_about_the_migration_under_way(vmm, tmp_path):
    shared = [disk(tmp_path / "disk")]
    s, d = vmm("source", disks=shared).connect(), incoming(vmm, disks=shared)
    s.ok("migrate", to=d.listen, arbiter="cluster")
    assert d.wait_event("ask") == {"outcome": "commit", "incarnation": 2}
    assert d.call("decide", outcome="commit", incarnation=7)["error"]["code"] == 2
    d.ok("decide", outcome="commit")
    d.wait_state("running")
    assert d.query()["incarnation"] == 2
    assert s.process.wait(10) == 0


def test_a_commit_before_grant_is_refused_and_an_abort_cancels(vmm, tmp_path):
    s = vmm("source", **BIG).connect()
    time.sleep(0.3)
    d = incoming(vmm, **BIG)
    s.ok("migrate", to=d.listen, arbiter="cluster", **SLOW)
    s.wait_phase("precopy")
    for v in (s, d):
        reply = v.call("decide", outcome="commit", incarnation=2)
        assert reply["error"]["code"] == 5 and "nothing is to be decided" in reply["error"]["text"]
    s.ok("decide", outcome="abort", incarnation=2)
    assert s.wait_phase("cancelled", "failed")["phase"] == "cancelled"
    assert s.state() == "running"


# --- G5: strangers ---

def crc32c(data, c=0):
    c ^= 0xffffffff
    for byte in data:
        c ^= byte
        for _ in range(8):
            c = c >> 1 ^ (0x82f63b78 if c & 1 else 0)
    return c ^ 0xffffffff


def hello():
    payload = b"DROVERMS" + struct.pack("<IHHII", 1, 0, 0, 1, 0) + bytes(16)
    head = struct.pack("<HHII", 1, 0, 40, 0)
    return head + struct.pack("<I", crc32c(head + payload)) + payload


def drip(sock):
    try:
        for byte in hello()[:-1]:
            sock.sendall(bytes([byte]))
            time.sleep(0.9)
    except OSError:
        pass


def test_strangers_neither_end_nor_delay_an_incoming_migration(vmm, tmp_path):
    """A stray HELLO, one that drips, port scans and more idle connections than are listened to at once."""
    d = incoming(vmm, "destination", "--no-arbiter")
    host, port = d.listen[4:].rsplit(":", 1)
    crowd = [socket.create_connection((host, int(port))) for _ in range(70)]
    threading.Thread(target=drip, args=(crowd[0],), daemon=True).start()
    crowd[1].sendall(hello())
    crowd[2].sendall(hello())
    crowd[2].close()
    crowd[3].sendall(b"GET / HTTP/1.1\r\n\r\n")
    time.sleep(0.3)
    assert d.state() == "incoming"
    s = vmm("source").connect()
    crowd += [socket.create_connection((host, int(port))) for _ in range(70)]
    begin = time.monotonic()
    s.ok("migrate", to=d.listen, arbiter="none")
    assert s.wait_phase("done", "failed")["phase"] == "done"
    assert time.monotonic() - begin < 3
    assert d.state() == "running"


def test_a_source_that_does_not_fit_is_told_and_the_next_one_comes_through(vmm, tmp_path):
    d = incoming(vmm, "destination", "--no-arbiter")
    wrong = vmm("wrong", memory="16M").connect()
    wrong.ok("migrate", to=d.listen, arbiter="none")
    assert "memory: 16777216 there, 8388608 here" in wrong.wait_phase("failed")["error"]
    assert wrong.state() == "running" and d.state() == "incoming"
    s = vmm("source").connect()
    s.ok("migrate", to=d.listen, arbiter="none")
    assert s.wait_phase("done", "failed")["phase"] == "done"
