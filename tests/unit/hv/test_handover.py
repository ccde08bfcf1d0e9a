# SPDX-License-Identifier: Apache-2.0
"""Two drover-hv and what may go wrong between them: who may run the domain afterwards, and what is said.

DROVER_HV names the program.
"""
import fcntl
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import struct
import subprocess
import threading
import time

import pytest

from test_drover_hv import COUNT, HV, RESET, Domain, Lease, elf, needs_kvm

pytestmark = needs_kvm

# 32 MiB from 4 MiB on get contents, a byte in each page:
# mov $0x400000, %edi; mov $0x2000, %ecx; 1: mov %edi, 1(%edi); add $0x1000, %edi; loop 1b
FILL = bytes.fromhex("bf00004000 b900200000 897f01 81c700100000 e2f5") + COUNT
BIG = {"code": FILL, "memory": "64M"}
SLOW = {"bandwidth": 4 << 20, "compress": "off", "channels": 1}  # eight seconds for those


class Vmm(Domain):
    """One of several drover-hv of the same domain."""

    def __init__(self, tmp, tag, *args, disks=(), extra="", code=COUNT, kernel=None, memory="8M", env=None, wrap=()):
        self.tmp, self.tag = tmp, tag
        if not kernel:
            kernel = tmp / "kernel"
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


def wire_record(kind, sequence, payload):
    head = struct.pack("<HHII", kind, 0, len(payload), sequence)
    return head + struct.pack("<I", crc32c(head + payload)) + payload


def test_strangers_fill_no_log(vmm, tmp_path):
    d = incoming(vmm, "destination", "--no-arbiter")
    host, port = d.listen.removeprefix("tcp:").rsplit(":", 1)
    offer = hello() + wire_record(2, 1, bytes(40)) + wire_record(3, 2, b"{}") + wire_record(4, 3, bytes(24))
    for _ in range(60):
        with socket.create_connection((host, int(port))) as s:
            s.sendall(offer)
            s.settimeout(5)
            try:
                while s.recv(65536):
                    pass
            except OSError:
                pass
    lines = [line for line in d.log().splitlines() if "CAPS: " in line]
    assert 0 < len(lines) < 30, d.log()
    assert d.state() == "incoming"


# --- guests that would rather stay ---

@pytest.mark.parametrize("code", [
    RESET,                                                 # nothing but resets
    bytes.fromhex("b032 e670 b099 e671") + COUNT,          # a clock in the 99th century
], ids=["resets", "clock"])
def test_no_guest_can_keep_its_host(vmm, tmp_path, code):
    """What a guest may do to its machine, the destination takes: or it would hold up a host's maintenance."""
    for n in range(5):
        s = vmm(f"source{n}", "--no-arbiter", code=code).connect()
        d = incoming(vmm, f"destination{n}", "--no-arbiter", code=code)
        s.wait_state("running")
        s.ok("migrate", to=d.listen, arbiter="none")
        m = s.wait_phase("done", "failed", "cancelled")
        assert m["phase"] == "done", m
        d.wait_state("running")
        d.end()


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


# --- S4: what the destination needs is tried before anything is given away ---

def refused_before_start(s, d, text, **arguments):
    s.ok("migrate", to=d.listen, **arguments)
    m = s.wait_phase("failed", "done", "cancelled")
    assert m["phase"] == "failed" and text in m["error"], m
    assert m["round"] == 0 and m["downtime_ms"] == 0
    assert s.state() == "running"


def record(path):
    return json.loads(pathlib.Path(f"{path}.drover").read_text())


@pytest.mark.parametrize("arbiter", ["disk", "cluster"])
def test_a_second_disk_that_is_missing_is_named_and_the_domain_runs_on(vmm, tmp_path, arbiter):
    shared = [disk(tmp_path / "shared" / "a"), disk(tmp_path / "shared" / "b")]
    s = vmm("source", disks=shared).connect()
    d = incoming(vmm, disks=[shared[0], tmp_path / "elsewhere" / "b"])
    refused_before_start(s, d, f"disk {tmp_path}/elsewhere/b: No such file", arbiter=arbiter)
    assert record(shared[0])["incarnation"] == 1
    assert d.process.wait(10) == 3


def test_a_kernel_that_is_missing_is_named_before_the_guest_needs_it(vmm, tmp_path):
    kernel = tmp_path / "kernel2"
    shared = [disk(tmp_path / "disk")]
    s, d = vmm("source", disks=shared).connect(), incoming(vmm, disks=shared, kernel=kernel)
    refused_before_start(s, d, f"kernel: {kernel}: No such file")


def mounted(tmp, what, *options):
    """Options of unshare(1) that run a program where @what looks different."""
    return ["unshare", "-m", "sh", "-c", f'{what} && exec "$0" "$@"']


def test_a_read_only_mount_is_refused(vmm, tmp_path):
    shared = [disk(tmp_path / "shared" / "disk")]
    s = vmm("source", disks=shared).connect()
    here = tmp_path / "shared"
    d = incoming(vmm, disks=shared, wrap=mounted(tmp_path, f"mount --bind {here} {here} && mount -o remount,ro,bind {here}"))
    refused_before_start(s, d, "Read-only file system", arbiter="disk")


def test_a_full_file_system_is_refused_before_start(vmm, tmp_path):
    here = tmp_path / "small"
    here.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "none", str(here)], check=True)
    try:
        shared = [disk(here / "disk", 64 << 10)]
        s, d = vmm("source", disks=shared).connect(), incoming(vmm, disks=shared)
        with open(here / "filler", "wb", buffering=0) as f, pytest.raises(OSError):
            while True:
                f.write(bytes(4096))
        refused_before_start(s, d, "No space left", arbiter="disk")
    finally:
        for v in (s, d):
            v.end()
        subprocess.run(["umount", "-l", str(here)], check=True)


def test_a_disk_that_grew_is_fine_and_one_that_shrank_is_refused(vmm, tmp_path):
    big = disk(tmp_path / "disk", 2 << 20)
    s, d = vmm("source", disks=[big]).connect(), incoming(vmm, disks=[big])
    os.truncate(big, 1 << 20)
    refused_before_start(s, d, f"disk {big}: 1048576 bytes", arbiter="disk")
    d = incoming(vmm, "second", disks=[big])
    os.truncate(big, 4 << 20)
    s.ok("migrate", to=d.listen, arbiter="disk")
    assert s.wait_phase("failed", "done")["phase"] == "done"
    assert d.state() == "running"


def test_a_dry_run_tells_what_is_missing_and_moves_nothing(vmm, tmp_path):
    shared = [disk(tmp_path / "a")]
    s = vmm("source", disks=shared).connect()
    d = incoming(vmm, disks=shared)
    size = shared[0].stat().st_size
    os.truncate(shared[0], size // 2)
    s.ok("migrate", to=d.listen, dry_run=True, arbiter="cluster")
    assert "but the guest knows" in s.wait_phase("failed", "cancelled")["error"]
    os.truncate(shared[0], size)
    s.ok("migrate", to=d.listen, dry_run=True)
    m = s.wait_phase("failed", "cancelled")
    assert m["phase"] == "cancelled" and m["dry_run"] and "error" not in m
    assert s.state() == "running" and d.state() == "incoming"
    s.ok("migrate", to=d.listen)  # the same destination still waits
    assert s.wait_phase("failed", "done")["phase"] == "done"


def test_who_hears_that_a_migration_is_over_may_begin_the_next(vmm, tmp_path):
    """At once, whether by an event or by asking: else a failed one that is tried again is refused as running."""
    shared = [disk(tmp_path / "a")]
    s = vmm("source", disks=shared).connect()
    d = incoming(vmm, disks=shared)
    for asked in [False, True] * 20:
        s.ok("migrate", to=d.listen, dry_run=True)
        while asked and s.migration()["phase"] != "cancelled":
            pass
        while not asked and s.wait_event("migration")["phase"] != "cancelled":
            pass
        s.events.clear()


def test_why_a_source_gives_up_before_it_has_said_all_is_told_at_both_ends(vmm, tmp_path):
    """Not that it gave up, which is no reason: here the process that opens its disks has ended."""
    shared = [disk(tmp_path / "disk")]
    s = vmm("source", disks=shared).connect()
    s.wait_state("running")
    children = pathlib.Path(f"/proc/{s.process.pid}/task/{s.process.pid}/children").read_text().split()
    os.kill(int(children[0]), signal.SIGKILL)
    d = incoming(vmm, disks=shared)
    for _ in range(3):
        refused_before_start(s, d, "the process that opens disks has ended", arbiter="cluster")
    deadline = time.monotonic() + 5
    while "source: " not in d.log():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert "the process that opens disks has ended" in d.log() and "expected DESCRIBE" not in s.log() + d.log()


# --- S5: the same path is not the same disk ---

@pytest.mark.parametrize("arbiter", ["disk", "cluster", "none"])
def test_the_same_path_on_another_file_is_refused_and_the_domain_runs_on(vmm, tmp_path, arbiter):
    for host in ("h1", "h2"):
        disk(tmp_path / host / "disk")
    path = tmp_path / "srv" / "disk"
    path.parent.mkdir()
    there = {h: mounted(tmp_path, f"mount --bind {tmp_path}/{h} {tmp_path}/srv") for h in ("h1", "h2")}
    s = vmm("source", disks=[path], wrap=there["h1"]).connect()
    d = incoming(vmm, "destination", "--no-arbiter", disks=[path], wrap=there["h2"])
    refused_before_start(s, d, f"disk {path}: not the file that the source has", arbiter=arbiter)
    assert d.process.wait(10) != 0


def test_a_copy_of_disk_and_record_is_no_shared_disk(vmm, tmp_path):
    """Also after a domain was moved by hand, or a replica lags behind: the record of the last time is not enough."""
    disk(tmp_path / "h1" / "disk")
    path = tmp_path / "srv" / "disk"
    path.parent.mkdir()
    there = {h: mounted(tmp_path, f"mount --bind {tmp_path}/{h} {tmp_path}/srv") for h in ("h1", "h2")}
    s = vmm("source", disks=[path], wrap=there["h1"]).connect()
    subprocess.run(["cp", "-a", str(tmp_path / "h1"), str(tmp_path / "h2")], check=True)
    d = incoming(vmm, disks=[path], wrap=there["h2"])
    refused_before_start(s, d, "another record", arbiter="disk")


def replace(path, how):
    """The file that a domain has open loses its name, to nothing or to a copy that is older by now; its record stays beside the name."""
    os.rename(path, f"{path}.old")
    if how == "copied":
        shutil.copy(f"{path}.old", path)
    elif how == "linked":
        shutil.copy(f"{path}.old", f"{path}.new")
        os.symlink(f"{path}.new", path)
        shutil.copy(f"{path}.drover", f"{path}.new.drover")


@pytest.mark.parametrize("arbiter", ["disk", "cluster", "none"])
@pytest.mark.parametrize("how", ["copied", "linked", "gone"])
def test_a_disk_that_lost_its_name_to_another_file_does_not_move_to_that_one(vmm, tmp_path, arbiter, how):
    """Restored from a backup, or moved to another place, under a running domain: what the guest has in memory belongs to the file it has open."""
    shared = [disk(tmp_path / "second"), disk(tmp_path / "disk")]
    s = vmm("source", disks=shared).connect()
    s.wait_state("running")
    replace(shared[1], how)
    d = incoming(vmm, "destination", "--no-arbiter", disks=shared)
    refused_before_start(s, d, f"disk {shared[1]}: {'nothing there' if how == 'gone' else 'not the one that the domain has open'}", arbiter=arbiter)
    os.rename(f"{shared[1]}.old", shared[1])   # as the text says
    s.ok("migrate", to=d.listen, arbiter="none")
    assert s.wait_phase("failed", "done")["phase"] == "done" and d.state() == "running"


def test_a_disk_that_loses_its_name_while_its_domain_moves_is_noticed_before_it_is_let_go(vmm, tmp_path):
    shared = [disk(tmp_path / "disk")]
    s = vmm("source", disks=shared, **BIG).connect()
    time.sleep(0.3)
    d = incoming(vmm, disks=shared, **BIG)
    s.ok("migrate", to=d.listen, arbiter="disk", **{**SLOW, "bandwidth": 24 << 20})
    s.wait_phase("precopy")
    replace(shared[0], "copied")
    m = s.wait_phase("failed", "done")
    assert m["phase"] == "failed" and "not the one that the domain has open" in m["error"], m
    assert s.state() == "running" and d.process.wait(10) != 0


# --- S3: late ---

def test_a_frozen_destination_never_runs_an_old_image_on_a_newer_disk(vmm, tmp_path):
    shared = [disk(tmp_path / "disk")]
    s = vmm("source", disks=shared).connect()
    d = incoming(vmm, disks=shared, env={"DROVER_FAULT": "destination:grant:stop"})
    s.ok("migrate", to=d.listen, arbiter="disk")
    s.wait_phase("failed", "done")
    assert s.state() == "running"
    taken_back = s.query()["incarnation"]
    assert taken_back == record(shared[0])["incarnation"] == 3  # never 2, which was granted
    s.ok("stop", force=True)
    s.process.wait(10)
    again = vmm("again", "--incarnation", str(taken_back), disks=shared).connect()
    assert again.state() == "running"
    again.ok("stop", force=True)
    again.process.wait(10)
    d.process.send_signal(signal.SIGCONT)
    assert d.process.wait(15) == 5
    assert "somebody has had it since" in d.log()
    assert record(shared[0])["incarnation"] == taken_back


def test_a_destination_frozen_while_its_source_died_is_late_even_if_the_granted_number_was_used(vmm, tmp_path):
    shared = [disk(tmp_path / "disk")]
    s = vmm("source", disks=shared, env={"DROVER_FAULT": "source:grant:kill"}).connect()
    d = incoming(vmm, disks=shared, env={"DROVER_FAULT": "destination:grant:stop"})
    s.ok("migrate", to=d.listen, arbiter="disk")
    s.process.wait(10)
    again = vmm("again", "--incarnation", "2", disks=shared).connect()
    assert again.state() == "running"
    again.ok("stop", force=True)
    again.process.wait(10)
    d.process.send_signal(signal.SIGCONT)
    assert d.process.wait(15) == 5


def test_a_domain_that_came_back_moves_under_the_next_number(vmm, tmp_path):
    shared = [disk(tmp_path / "disk")]
    s = vmm("source", disks=shared).connect()
    d = incoming(vmm, disks=shared, env={"DROVER_FAULT": "destination:grant:kill"})
    s.ok("migrate", to=d.listen, arbiter="disk")
    assert s.wait_phase("failed", "done")["phase"] == "failed"
    assert s.query()["incarnation"] == 3
    d = incoming(vmm, "second", disks=shared)
    s.ok("migrate", to=d.listen, arbiter="disk")
    assert s.wait_phase("failed", "done")["phase"] == "done"
    assert d.query()["incarnation"] == record(shared[0])["incarnation"] == 4


# --- S8: taking it back ---

def test_a_disk_that_is_busy_at_take_back_is_waited_for_and_named(vmm, tmp_path):
    shared = [disk(tmp_path / "disk")]
    s = vmm("source", disks=shared).connect()
    d = incoming(vmm, disks=shared, env={"DROVER_FAULT": "destination:grant:stop"})
    s.ok("migrate", to=d.listen, arbiter="cluster")
    s.wait_phase("grant", "in-doubt")
    with open(shared[0], "r+b") as backup:
        fcntl.lockf(backup, fcntl.LOCK_EX | fcntl.LOCK_NB)
        s.ok("decide", outcome="abort", incarnation=2)
        q = s.wait_why("cannot go on: disk")
        assert q["state"] == "paused" and q["migration"]["phase"] == "take-back"
        reply = s.call("resume")
        assert reply["error"]["code"] == 5 and "is open by" in reply["error"]["text"]
    s.wait_state("running")
    assert s.query()["incarnation"] == 1  # the cluster's log remembers that 2 was given to nobody


def test_a_source_whose_disk_was_used_meanwhile_never_resumes(vmm, tmp_path):
    shared = [disk(tmp_path / "disk")]
    s = vmm("source", disks=shared).connect()
    d = incoming(vmm, disks=shared, env={"DROVER_FAULT": "destination:grant:stop"})
    s.ok("migrate", to=d.listen, arbiter="cluster")
    s.wait_phase("grant", "in-doubt")
    other = vmm("other", "--incarnation", "9", disks=shared).connect()
    other.ok("stop", force=True)
    other.process.wait(10)
    s.ok("decide", outcome="abort", incarnation=2)
    assert s.wait_phase("failed")["phase"] == "failed"
    q = s.wait_why("was used by incarnation 9")
    assert q["state"] == "paused"
    for command in ({"execute": "resume"}, {"execute": "migrate", "to": d.listen}):
        reply = s.call(**command)
        assert reply["error"]["code"] == 5 and "incarnation 9" in reply["error"]["text"]
    s.ok("stop", force=True)


# --- a disk that was let go while the lease was away ---

def by_hand(tmp_path):
    """The cluster is away; an operator frees the disk by word, runs the domain for a while and ends it."""
    freed = subprocess.run([HV, "adopt", str(tmp_path / "web.yaml")], capture_output=True, text=True, timeout=20, check=False)
    assert freed.returncode == 0, freed.stderr


@pytest.mark.parametrize("option", [["--name", "other"], ["--control", "/s"], ["--console", "/c"], ["--paused"], ["--no-reboot"],
                                    ["--no-arbiter"]])
def test_adopt_refuses_what_it_would_not_do(tmp_path, option):
    """A record that names the domain of the file where another name was asked for is no answer."""
    (tmp_path / "disk").write_bytes(bytes(4096))
    (tmp_path / "web.yaml").write_text(f"name: web\nmemory: 64M\nkernel: /k\ndisks: [{{path: {tmp_path}/disk}}]\n")
    r = subprocess.run([HV, "adopt", *option, str(tmp_path / "web.yaml")], capture_output=True, text=True, timeout=20, check=False)
    assert (r.returncode, os.path.exists(tmp_path / "disk.drover")) == (2, False), r.stderr


@pytest.mark.parametrize("name", ["web", "other"])
def test_a_domain_whose_disk_was_used_while_it_stood_still_is_not_continued(vmm, tmp_path, name):
    """What it has in memory is older than the disk: it ends as failed, and the cluster starts it afresh."""
    shared = [disk(tmp_path / "disk")]
    lease = Lease(tmp_path / "lease")
    lease.set(60)
    s = vmm("web", "--lease", str(tmp_path / "lease"), "--incarnation", "5", "--cluster", "c1", disks=shared).connect()
    s.wait_state("running")
    lease.set(0)
    s.wait_state("gated")
    deadline = time.monotonic() + 5
    while "the disks are free" not in s.log():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    if name == "web":
        by_hand(tmp_path)
    text = (tmp_path / "web.yaml").read_text().replace("name: web", f"name: {name}")
    (tmp_path / "hand.yaml").write_text(text)
    hand = Domain.__new__(Domain)
    hand.sock, hand.events = tmp_path / "hand.sock", []
    with open(tmp_path / "hand.err", "w", encoding="utf-8") as err:
        hand.process = subprocess.Popen([HV, "run", str(tmp_path / "hand.yaml"), "--control", str(hand.sock)],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=err)
    while not hand.sock.exists():
        assert hand.process.poll() is None, (tmp_path / "hand.err").read_text()
        time.sleep(0.01)
    hand.connect()
    hand.wait_state("running")
    lease.set(60)                            # while it runs there: no, and asked again
    time.sleep(0.5)
    assert s.state() == "gated"
    hand.ok("stop", force=True)
    hand.process.wait(10)
    assert s.process.wait(10) == 5, s.log()
    assert "older than the disk" in s.log()


def test_a_domain_whose_disk_nobody_used_goes_on(vmm, tmp_path):
    shared = [disk(tmp_path / "disk"), disk(tmp_path / "second")]
    lease = Lease(tmp_path / "lease")
    lease.set(60)
    s = vmm("web", "--lease", str(tmp_path / "lease"), "--incarnation", "5", "--cluster", "c1", disks=shared).connect()
    s.wait_state("running")
    for _ in range(2):
        lease.set(0)
        s.wait_state("gated")
        time.sleep(0.6)
        lease.set(60)
        s.wait_state("running")
    assert "the disks are free" in s.log()


def test_a_domain_whose_disk_lost_its_name_while_it_stood_still_is_not_continued(vmm, tmp_path):
    """The record is the one it left, but lies beside another file."""
    shared = [disk(tmp_path / "disk")]
    lease = Lease(tmp_path / "lease")
    lease.set(60)
    s = vmm("web", "--lease", str(tmp_path / "lease"), "--incarnation", "5", "--cluster", "c1", disks=shared).connect()
    s.wait_state("running")
    lease.set(0)
    deadline = time.monotonic() + 5
    while "the disks are free" not in s.log():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    replace(shared[0], "copied")
    lease.set(60)
    assert s.process.wait(10) == 5, s.log()
    assert "another file has its name" in s.log()


# --- L12: memory ---

GROUPS = pathlib.Path("/sys/fs/cgroup/memory")


@pytest.mark.skipif(not os.access(GROUPS / "tasks", os.W_OK), reason="no control groups to make here")
def test_a_domain_that_does_not_fit_into_memory_is_refused_before_it_costs_anybody_anything(vmm, tmp_path):
    group = GROUPS / f"drover-test-{os.getpid()}"
    group.mkdir()
    try:
        # Less than what it needs, enough for two processes to begin; the thread sanitizer keeps more of each.
        limit = 48 if b"__tsan_init" in pathlib.Path(HV).read_bytes() else 24
        (group / "memory.limit_in_bytes").write_text(str(limit << 20))
        s = vmm("source", **BIG).connect()
        time.sleep(0.5)
        d = incoming(vmm, "destination", "--no-arbiter", **BIG,
                     wrap=["sh", "-c", f'echo $$ > {group}/cgroup.procs && exec "$0" "$@"'])
        refused_before_start(s, d, "memory: the domain needs", arbiter="none")
    finally:
        s.end(), d.end()
        deadline = time.monotonic() + 20
        while (group / "cgroup.procs").read_text():     # its helpers end when they hear of it
            assert time.monotonic() < deadline
            time.sleep(0.01)
        group.rmdir()


# --- L16: limits ---

def test_what_a_migration_may_cost_is_the_domain_files_unless_the_command_says_otherwise(vmm, tmp_path):
    limits = "migration:\n  downtime: 50ms\n  timeout: 2s\n  bandwidth: 4M\n  throttle: 0\n"
    s = vmm("source", **BIG, extra=limits).connect()
    time.sleep(0.3)
    d = incoming(vmm, "destination", "--no-arbiter", **BIG)
    s.ok("migrate", to=d.listen, arbiter="none", compress="off", channels=1, throttle=30)
    m = s.wait_phase("failed", "done")
    assert m["limits"] == {"downtime_ms": 50, "timeout_ms": 2000, "bandwidth": 4 << 20, "throttle": 30}
    assert m["phase"] == "failed" and "not done after 2" in m["error"] and "30 % allowed" in m["error"]
    assert s.state() == "running"
    assert "downtime up to 50 ms, timeout 2s, bytes per second 4M, vCPUs held back up to 30 %" in s.log()


def test_nobody_is_throttled_unasked(vmm, tmp_path):
    s = vmm("source").connect()
    d = incoming(vmm, "destination", "--no-arbiter")
    s.ok("migrate", to=d.listen, arbiter="none")
    s.wait_phase("done")
    assert "timeout none, bytes per second no limit, vCPUs held back up to 0 %" in s.log()


@pytest.mark.skipif(b"__tsan_init" in pathlib.Path(HV).read_bytes(),
                    reason="the thread sanitizer does not know threads that the C library begins in a forked process")
def test_the_other_end_may_have_a_name(vmm):
    """It is looked up by the porter, which is not there for more than that."""
    s, d = vmm("source").connect(), incoming(vmm, "destination", "--no-arbiter")
    s.ok("migrate", to=f"tcp:localhost:{d.listen.rsplit(':', 1)[1]}", arbiter="none")
    assert s.wait_phase("failed", "done")["phase"] == "done", s.log() + d.log()
    d.wait_state("running")
    s = vmm("third").connect()
    s.ok("migrate", to="tcp:nobody.invalid:1", arbiter="none")
    assert "nobody.invalid" in s.wait_phase("failed", seconds=30)["error"]
    assert s.state() == "running"


def link_local():
    """An address of this host's that needs the name of a link, or None."""
    for line in pathlib.Path("/proc/net/if_inet6").read_text().splitlines():
        address, _, _, scope, _, link = line.split()
        if scope == "20":
            return ":".join(re.findall("....", address)) + "%" + link
    return None


@pytest.mark.skipif(not os.path.exists("/proc/net/if_inet6") or not link_local(), reason="no link-local address here")
def test_whoever_comes_from_a_link_local_address_is_named_by_its_number(vmm):
    """To know the name of a link the C library makes a socket, which no VMM may."""
    s, d = vmm("source").connect(), vmm("destination", "--no-arbiter", "--incoming", f"tcp:[{link_local()}]:0").connect()
    while "listen" not in (q := d.query()):
        time.sleep(0.01)
    assert re.fullmatch(r"tcp:\[fe80:[0-9a-f:]+%\d+\]:\d+", q["listen"])
    s.ok("migrate", to=q["listen"], arbiter="none")
    assert s.wait_phase("failed", "done")["phase"] == "done", s.log()
    d.wait_state("running")
