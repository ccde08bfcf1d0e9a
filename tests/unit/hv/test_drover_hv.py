# SPDX-License-Identifier: Apache-2.0
"""drover-hv as a program: what it answers, what it refuses and with which exit code.

Guests are a few bytes of 32-bit code in a PVH ELF file, so every test takes milliseconds.
DROVER_HV names the program.
"""
import fcntl
import json
import mmap
import os
import pathlib
import signal
import socket
import struct
import subprocess
import time

import pytest

HV = os.environ["DROVER_HV"]
CODE = 0x100000
COUNT = bytes.fromhex("ff0500002000 ebf8")          # 1: incl 0x200000; jmp 1b
RESET = bytes.fromhex("b0fe e664 f4")               # reset by the keyboard controller
POWER_OFF = bytes.fromhex("c6050002a0fe34 f4")      # ACPI sleep control: S5
ECHO = bytes.fromhex("66bafd03 ec a801 74fb 66baf803 ec ee ebef")  # serial: wait, read, write
SAY = bytes.fromhex("66baf803 b048 ee b049 ee f4")  # "HI"

needs_kvm = pytest.mark.skipif(not os.access("/dev/kvm", os.R_OK | os.W_OK),
                               reason="no /dev/kvm here")


def elf(code):
    note = struct.pack("<III4sI", 4, 4, 18, b"Xen\0", CODE)
    at_note, at_code = 64 + 2 * 56, 64 + 2 * 56 + len(note)
    ehdr = b"\x7fELF\2\1\1" + bytes(9) + struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, CODE, 64, 0, 0, 64,
                                                     56, 2, 0, 0, 0)
    phdrs = struct.pack("<IIQQQQQQ", 4, 4, at_note, 0, 0, len(note), len(note), 4)
    phdrs += struct.pack("<IIQQQQQQ", 1, 5, at_code, 0, CODE, len(code), 4096, 1)
    return ehdr + phdrs + note + code


class Stream:
    """Lines both ways. One makefile("rw") forgets what it has read ahead, events above all, when something is written."""

    def __init__(self, connection):
        self.connection, self.reader = connection, connection.makefile("r")

    def readline(self):
        return self.reader.readline()

    def write(self, text):
        self.connection.sendall(text.encode())

    def flush(self):
        pass


class Domain:
    def __init__(self, tmp, code=COUNT, args=(), extra="", name="web", control=True):
        self.tmp = tmp
        (tmp / "kernel").write_bytes(elf(code))
        self.file = tmp / f"{name}.yaml"
        self.file.write_text(f"name: {name}\nmemory: 8M\nvcpus: 1\nkernel: {tmp}/kernel\n{extra}")
        self.sock = tmp / f"{name}.sock"
        args = [HV, "run", str(self.file), *args]
        if control:
            args += ["--control", str(self.sock)]
        self.process = subprocess.Popen(args, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True)
        self.events = []

    def connect(self):
        deadline = time.monotonic() + 10
        while True:
            s = socket.socket(socket.AF_UNIX)
            try:
                s.connect(str(self.sock))
                break
            except OSError:
                assert time.monotonic() < deadline, "no control socket"
                assert self.process.poll() is None, self.process.stderr.read()
                time.sleep(0.01)
        s.settimeout(10)
        self.raw = s
        self.stream = Stream(s)
        self.hello = json.loads(self.stream.readline())["drover-hv"]
        return self

    def call(self, execute, **arguments):
        self.stream.write(json.dumps({"execute": execute, "arguments": arguments, "id": 5}) + "\n")
        self.stream.flush()
        while True:
            reply = json.loads(self.stream.readline())
            if "event" not in reply:
                assert reply["id"] == 5
                return reply
            self.events.append(reply)

    def ok(self, execute, **arguments):
        reply = self.call(execute, **arguments)
        assert "return" in reply, reply
        return reply["return"]

    def state(self):
        return self.ok("query")["state"]

    def wait_state(self, state, seconds=5):
        deadline = time.monotonic() + seconds
        while self.state() != state:
            assert time.monotonic() < deadline, (self.state(), state)
            time.sleep(0.01)

    def wait_event(self, event):
        while True:
            for e in self.events:
                if e["event"] == event:
                    self.events.remove(e)
                    return e["data"]
            self.events.append(json.loads(self.stream.readline()))

    def end(self):
        if self.process.poll() is None:
            self.process.kill()
        return self.process.wait(10)


@pytest.fixture
def domain(tmp_path):
    made = []

    def make(*args, **kwargs):
        made.append(Domain(tmp_path, *args, **kwargs))
        return made[-1]

    yield make
    for d in made:
        d.end()


def refused(tmp, *args, file=None):
    r = subprocess.run([HV, *(args or ("run", str(file)))], capture_output=True, text=True, timeout=20)
    assert r.stderr.count("\n") == 1, r.stderr  # one clear line
    return r.returncode, r.stderr


# --- bad input ---

def test_usage_errors_end_with_2(tmp_path):
    assert refused(tmp_path, "run")[0] == 2
    assert refused(tmp_path, "fly", "x.yaml")[0] == 2
    code, text = refused(tmp_path, "run", "x.yaml", "--frobnicate")
    assert code == 2 and "--frobnicate" in text
    code, text = refused(tmp_path, "run", "x.yaml", "--incarnation", "-3")
    assert code == 2 and "-3" in text
    (tmp_path / "x.yaml").write_text(f"name: web\nmemory: 8M\nkernel: {tmp_path}/kernel\n")
    for name in ("", "a/b", "x" * 64, "\udcff", "-x", "a\nb"):
        code, text = refused(tmp_path, "run", str(tmp_path / "x.yaml"), "--name", name)
        assert code == 2 and "--name" in text


def test_missing_file_ends_with_3(tmp_path):
    code, text = refused(tmp_path, file=tmp_path / "nope.yaml")
    assert code == 3 and "nope.yaml" in text


def test_wrong_file_names_line_and_field(tmp_path):
    f = tmp_path / "bad.yaml"
    f.write_text("name: web\nmemory: 4X\nvcpus: 1\nkernel: /k\n")
    code, text = refused(tmp_path, file=f)
    assert code == 2 and "bad.yaml:2" in text and "memory" in text


@needs_kvm
def test_missing_kernel_ends_with_3(domain, tmp_path):
    d = domain()
    d.end()
    (tmp_path / "kernel").unlink()
    code, text = refused(tmp_path, "run", str(d.file))
    assert code == 3 and "kernel" in text


@needs_kvm
def test_something_that_is_no_kernel_ends_with_2(domain, tmp_path):
    d = domain()
    d.end()
    (tmp_path / "kernel").write_text("#!/bin/sh\necho no\n")
    code, text = refused(tmp_path, "run", str(d.file))
    assert code == 2 and "not a kernel" in text


def test_no_kvm_ends_with_3(tmp_path):
    f = tmp_path / "web.yaml"
    f.write_text("name: web\nmemory: 8M\nvcpus: 1\nkernel: /k\n")
    r = subprocess.run(["unshare", "-m", "sh", "-c",
                        f"mount --bind /dev/null /dev/kvm 2>/dev/null || exit 77; exec {HV} run {f}"],
                       capture_output=True, text=True, timeout=20)
    if r.returncode == 77:
        pytest.skip("cannot hide /dev/kvm here")
    assert r.returncode == 3 and "/dev/kvm" in r.stderr


@needs_kvm
def test_disk_of_another_domain_is_refused_with_its_name(domain, tmp_path):
    (tmp_path / "disk").write_bytes(bytes(1 << 20))
    extra = f"disks:\n  - path: {tmp_path}/disk\n"
    first = domain(extra=extra).connect()
    second = domain(extra=extra, name="db")
    assert second.process.wait(10) == 5
    text = second.process.stderr.read()
    assert "web" in text and str(first.process.pid) in text
    assert not second.sock.exists()


@needs_kvm
def test_control_socket_in_use_is_refused(domain, tmp_path):
    domain().connect()
    second = domain()
    assert second.process.wait(10) == 5
    assert second.sock.exists()  # the first one's


@needs_kvm
def test_dead_control_socket_is_replaced(domain, tmp_path):
    d = domain().connect()
    d.process.send_signal(signal.SIGKILL)
    d.process.wait(10)
    assert d.sock.exists()
    assert domain().connect().state() == "running"


# --- states ---

@needs_kvm
def test_pause_and_resume(domain):
    d = domain().connect()
    assert d.hello["name"] == "web" and d.hello["incarnation"] == 1 and d.hello["protocol"] == 1
    d.wait_state("running")
    d.ok("pause")
    assert d.wait_event("state") == {"state": "paused", "why": "operator"}
    assert d.state() == "paused"
    d.ok("resume")
    assert d.state() == "running"


@needs_kvm
def test_paused_start_waits_for_resume(domain):
    d = domain(args=["--paused"]).connect()
    assert d.state() == "paused"
    d.ok("resume")
    assert d.state() == "running"


@needs_kvm
def test_power_off_ends_with_0_and_leaves_nothing_behind(domain, tmp_path):
    d = domain(POWER_OFF, args=["--paused"]).connect()
    d.ok("resume")
    assert d.wait_event("guest")["what"] == "poweroff"
    assert d.process.wait(10) == 0
    assert not d.sock.exists() and not (tmp_path / "web.console").exists()


@needs_kvm
def test_reset_starts_again(domain):
    d = domain(RESET, args=["--paused"]).connect()
    d.ok("resume")
    for _ in range(3):
        assert d.wait_event("guest")["what"] == "reset"


@needs_kvm
def test_a_guest_that_resets_all_the_time_is_told_about_seldom(domain):
    d = domain(RESET).connect()
    time.sleep(2)
    d.ok("quit")
    said = d.process.communicate(timeout=10)[1].splitlines()
    told = [e for e in d.events if e["event"] == "guest"]
    assert 15 <= sum("guest: reset" in line for line in said) <= 25, len(said)
    assert len(told) <= 25 and len(said) < 60, (len(told), len(said))


@needs_kvm
def test_reset_ends_with_no_reboot(domain):
    assert domain(RESET, args=["--no-reboot"]).process.wait(10) == 0


@needs_kvm
def test_stop_presses_the_button_then_pulls_the_plug(domain):
    d = domain().connect()
    d.ok("stop", timeout_ms=200)
    assert d.state() == "running"
    assert d.wait_event("state") in ({"state": "stopped", "why": "stopped by force"},
                                     {"state": "running", "why": ""})
    assert d.process.wait(10) == 0


@needs_kvm
@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_in_order(domain, sig):
    d = domain().connect()
    d.process.send_signal(sig)
    assert d.process.wait(10) == 0
    assert not d.sock.exists()


# --- control socket ---

@needs_kvm
def test_bad_requests_are_answered_not_obeyed(domain):
    d = domain().connect()
    assert d.call("fly")["error"]["code"] == 2
    assert d.call("stop", force=1)["error"]["text"] == "arguments: force: expected true or false"
    assert d.call("pause", now=True)["error"]["code"] == 2
    assert d.call("state", device="nope")["error"]["code"] == 3
    d.stream.write("this is not JSON\n")
    d.stream.flush()
    assert "not JSON" in json.loads(d.stream.readline())["error"]["text"]
    d.stream.write("[1]\n")
    d.stream.flush()
    assert json.loads(d.stream.readline())["error"]["code"] == 2
    assert d.state() == "running"


@needs_kvm
def test_endless_line_drops_that_client_only(domain):
    d = domain().connect()
    other = socket.socket(socket.AF_UNIX)
    other.connect(str(d.sock))
    try:
        for _ in range(40):
            other.sendall(b"x" * 4096)
        other.settimeout(5)
        while other.recv(65536):
            pass
    except OSError:
        pass
    assert d.state() == "running"


@needs_kvm
def test_client_that_does_not_read_is_dropped(domain):
    d = domain().connect()
    deaf = socket.socket(socket.AF_UNIX)
    deaf.connect(str(d.sock))
    deaf.settimeout(0.5)
    try:
        for _ in range(3000):
            deaf.sendall(b'{"execute":"state"}\n')
    except OSError:
        pass
    d.raw.settimeout(60)
    assert d.state() == "running"


@needs_kvm
def test_clients_that_stay_keep_nobody_out(domain):
    """droverd must come in again after a restart: a VMM that it cannot steer is killed."""
    d = domain().connect()
    crowd = []
    for _ in range(200):
        s = socket.socket(socket.AF_UNIX)
        s.connect(str(d.sock))
        crowd.append(s)
    late = Domain.__new__(Domain)
    late.sock, late.process, late.events = d.sock, d.process, []
    assert late.connect().state() == "running"
    # ... and who asks now and then is not who makes room.
    for _ in range(200):
        s = socket.socket(socket.AF_UNIX)
        s.connect(str(d.sock))
        crowd.append(s)
        assert late.state() == "running"


@needs_kvm
def test_half_a_request_waits_for_the_rest(domain):
    d = domain().connect()
    d.raw.sendall(b'{"execute": "que')
    time.sleep(0.05)
    d.raw.sendall(b'ry"}\n{"execute": "query", "id": "b"}\n')
    answers = []
    while len(answers) < 2:
        answer = json.loads(d.stream.readline())
        if "event" not in answer:
            answers.append(answer)
    assert answers[0]["return"]["name"] == "web" and "id" not in answers[0]
    assert answers[1]["id"] == "b"


@needs_kvm
def test_stats_and_state_tables(domain):
    d = domain().connect()
    stats = d.ok("stats")
    assert stats["memory"]["size"] == 8 << 20 and len(stats["vcpus"]) == 1
    assert "serial0" in d.ok("state")
    assert "cmos" in d.ok("state", device="rtc0")
    assert d.state() == "running"


# --- console ---

@needs_kvm
def test_console_socket_shows_what_was_said_before(domain, tmp_path):
    d = domain(SAY).connect()
    time.sleep(0.2)
    c = socket.socket(socket.AF_UNIX)
    c.connect(str(tmp_path / "web.console"))
    c.settimeout(5)
    assert c.recv(1) + c.recv(1) == b"HI"


@needs_kvm
def test_console_client_that_is_late_misses_nothing_for_a_while(domain, tmp_path):
    """Byte by byte, as guests write, and far more than a socket takes of such."""
    # wait for a key; mov $200000, %ecx; 1: mov %cl, %al; out; loop 1b; "." for ever
    said = 200000
    d = domain(bytes.fromhex("66bafd03 ec a801 74fb 66baf803 ec") + b"\xb9" + struct.pack("<I", said) +
               bytes.fromhex("88c8 ee e2fb f4")).connect()
    c = socket.socket(socket.AF_UNIX)
    c.settimeout(20)
    c.connect(str(tmp_path / "web.console"))
    c.sendall(b"!")
    exits, quiet = 0, 0
    while quiet < 5:        # until the guest rests
        now = d.ok("stats")["vcpus"][0]["exits_io"]
        quiet, exits = (quiet + 1 if now == exits and now >= said else 0), now
        time.sleep(0.05)
    got = bytearray()
    while len(got) < said:
        got += c.recv(65536)
    assert got == bytes((said - i) & 0xff for i in range(said))


@needs_kvm
def test_guest_that_never_stops_writing_does_not_make_it_deaf(domain):
    d = domain(bytes.fromhex("66baf803 ee ebfd")).connect()
    for _ in range(20):
        assert d.state() == "running"


@needs_kvm
def test_console_carries_keys_both_ways(domain, tmp_path):
    domain(ECHO).connect()
    c = socket.socket(socket.AF_UNIX)
    c.connect(str(tmp_path / "web.console"))
    c.settimeout(10)
    text = bytes(range(32, 127)) * 30  # more than the guest's input ring holds
    c.sendall(text)
    got = b""
    while len(got) < len(text):
        got += c.recv(4096)
    assert got == text


@needs_kvm
def test_what_was_typed_before_a_hang_up_arrives(domain, tmp_path):
    domain(ECHO).connect()

    def connect():
        c = socket.socket(socket.AF_UNIX)
        c.settimeout(10)
        c.connect(str(tmp_path / "web.console"))
        return c

    reader = connect()
    reader.sendall(b"!")  # from now on there is something to show to who comes
    assert reader.recv(1) == b"!"
    # Few enough that the reader cannot miss any while it is busy here, and once more than the guest's ring holds.
    for text in (b"quit", bytes(range(32, 127))):
        client = connect()
        client.sendall(text)
        client.close()
        other = connect()  # hangs up while the first one's typing waits
        other.sendall(b"~last")
        other.close()
        got = b""
        while len(got) < len(text) + 5:
            got += reader.recv(4096)
        assert got == text + b"~last"


@needs_kvm
def test_who_hung_up_keeps_nobody_out_of_the_console(domain, tmp_path):
    """A guest that reads nothing, and operators who typed more than it has room for and went away."""
    d = domain(SAY).connect()
    time.sleep(0.2)

    def connect():
        c = socket.socket(socket.AF_UNIX)
        c.settimeout(5)
        c.connect(str(tmp_path / "web.console"))
        return c

    for _ in range(20):
        c = connect()
        assert c.recv(1) + c.recv(1) == b"HI"
        c.sendall(b"is anybody there?" * 2000)
        time.sleep(0.02)
        c.close()
    stay = [connect() for _ in range(8)]
    for c in stay:
        assert c.recv(1) + c.recv(1) == b"HI"
    # All places are taken by somebody who is there: that is said.
    c = connect()
    assert b"8 consoles" in c.recv(200)
    assert c.recv(1) == b""
    assert d.state() == "running"


@needs_kvm
def test_console_on_stdio(domain):
    d = domain(ECHO, args=["--console", "stdio"])
    d.process.stdin.write("hello")
    d.process.stdin.flush()
    assert d.process.stdout.read(5) == "hello"


# --- rule G ---

class Lease:
    def __init__(self, path):
        self.file = open(path, "w+b")
        self.file.truncate(4096)
        self.map = mmap.mmap(self.file.fileno(), 4096)
        self.map[8:16] = struct.pack("<Q", 1)
        self.map[0:8] = struct.pack("<Q", 0x657361656C766F72)

    def set(self, seconds):
        until = time.clock_gettime_ns(time.CLOCK_BOOTTIME) + int(seconds * 1e9) if seconds else 0
        self.map[16:24] = struct.pack("<Q", until)


@needs_kvm
def test_domain_stops_before_its_lease_ends_and_goes_on_when_it_returns(domain, tmp_path):
    lease = Lease(tmp_path / "lease")
    lease.set(60)  # until it runs, however long a busy host takes to start it
    d = domain(args=["--lease", str(tmp_path / "lease")]).connect()
    early = False
    for _ in range(10):     # a busy host may let this test look too late
        d.wait_state("running")
        end = time.monotonic() + 0.6
        lease.set(0.6)
        d.wait_state("gated")
        early = time.monotonic() < end
        assert d.call("resume")["error"]["code"] == 5
        lease.set(60)
        if early:
            break
    assert early
    d.wait_state("running")
    lease.set(0)
    d.wait_state("gated")


@needs_kvm
def test_gated_domain_is_not_migrated(domain, tmp_path):
    """Neither at once nor when it has let go of its disks, and not when an operator has paused it besides."""
    (tmp_path / "disk").write_bytes(bytes(1 << 20))
    lease = Lease(tmp_path / "lease")
    lease.set(60)
    d = domain(args=["--lease", str(tmp_path / "lease")], extra=f"disks:\n  - path: {tmp_path}/disk\n").connect()
    d.wait_state("running")
    listener = socket.create_server(("127.0.0.1", 0))
    to = f"tcp:127.0.0.1:{listener.getsockname()[1]}"
    refusal = {"code": 5, "text": "cannot migrate: this host has no valid lease"}
    lease.set(0)
    d.wait_state("gated")
    assert d.call("migrate", to=to, arbiter="disk")["error"] == refusal
    time.sleep(0.5)  # the disks are free by now
    assert d.call("migrate", to=to, arbiter="disk")["error"] == refusal
    d.ok("pause")
    assert d.call("migrate", to=to, arbiter="disk")["error"] == refusal
    listener.settimeout(0.2)
    with pytest.raises(TimeoutError):
        listener.accept()
    lease.set(60)
    time.sleep(0.3)
    d.ok("resume")
    d.ok("migrate", to=to, arbiter="disk")


@needs_kvm
@pytest.mark.parametrize("other", ["new", "restored", "another"])
def test_a_disk_that_was_replaced_while_gated_is_not_written(domain, tmp_path, other):
    """What the guest has in memory is about the disk it had; the cluster may start it anew from this one."""
    disk, record = tmp_path / "a/disk", tmp_path / "a/disk.drover"
    for d in "ab":
        (tmp_path / d).mkdir()
        (tmp_path / d / "disk").write_bytes(bytes(1 << 20))
    (tmp_path / "at").symlink_to("a")
    lease = Lease(tmp_path / "lease")
    lease.set(60)
    d = domain(args=["--lease", str(tmp_path / "lease"), "--incarnation", "7"],
               extra=f"disks:\n  - path: {tmp_path}/at/disk\n").connect()
    d.wait_state("running")
    lease.set(0)
    d.wait_state("gated")
    time.sleep(0.6)  # the disks are free by now
    if other == "new":
        disk.unlink()
        disk.write_bytes(bytes(1 << 20))
        record.unlink()
    elif other == "restored":  # together with its record, from before
        old = json.loads(record.read_text())
        record.write_text(json.dumps(old | {"incarnation": 5, "pid": 1}))
    else:
        (tmp_path / "at").unlink()
        (tmp_path / "at").symlink_to("b")
    lease.set(60)
    assert d.process.wait(5) == 5
    assert "this domain left" in d.process.stderr.read()


@needs_kvm
def test_returning_lease_does_not_undo_the_operators_pause(domain, tmp_path):
    lease = Lease(tmp_path / "lease")
    lease.set(60)
    d = domain(args=["--lease", str(tmp_path / "lease")]).connect()
    d.wait_state("running")
    d.ok("pause")
    lease.set(0)
    time.sleep(0.3)
    lease.set(60)
    time.sleep(0.3)
    assert d.state() == "paused"
    d.ok("resume")
    assert d.state() == "running"


@needs_kvm
def test_without_a_valid_lease_it_never_starts(domain, tmp_path):
    Lease(tmp_path / "lease")
    d = domain(SAY, args=["--lease", str(tmp_path / "lease")]).connect()
    assert d.state() == "gated"
    c = socket.socket(socket.AF_UNIX)
    c.connect(str(tmp_path / "web.console"))
    c.settimeout(0.3)
    with pytest.raises(TimeoutError):
        c.recv(1)


def vcpu_ticks(pid):
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        if (task / "comm").read_text() == "vcpu0\n":
            fields = (task / "stat").read_text().rsplit(")", 1)[1].split()
            return int(fields[11]) + int(fields[12])
    raise AssertionError("no vcpu0")


@needs_kvm
def test_full_log_pipe_does_not_keep_a_domain_running_past_its_lease(domain, tmp_path):
    lease = Lease(tmp_path / "lease")
    lease.set(60)
    d = domain(args=["--lease", str(tmp_path / "lease")]).connect()
    # nobody reads its standard error: in the end the main thread waits in write(2)
    fcntl.fcntl(d.process.stderr.fileno(), fcntl.F_SETPIPE_SZ, 4096)
    wchan = pathlib.Path(f"/proc/{d.process.pid}/wchan")
    deadline = time.monotonic() + 20
    while "pipe" not in wchan.read_text():
        assert time.monotonic() < deadline, wchan.read_text()
        other = socket.socket(socket.AF_UNIX)  # a line too long: dropped, and that is logged
        other.settimeout(0.2)
        try:
            other.connect(str(d.sock))
            other.sendall(b"x" * 65536)
            while other.recv(4096):
                pass
        except OSError:
            pass
    a = vcpu_ticks(d.process.pid)
    deadline = time.monotonic() + 10
    while vcpu_ticks(d.process.pid) - a <= 3:  # it still runs, however small its share of a busy host is
        assert time.monotonic() < deadline
        time.sleep(0.02)
    lease.set(0)
    time.sleep(0.3)
    a = vcpu_ticks(d.process.pid)
    time.sleep(0.3)
    assert vcpu_ticks(d.process.pid) - a <= 1


@needs_kvm
def test_lease_file_that_is_too_short_is_refused(domain, tmp_path):
    (tmp_path / "short").write_bytes(b"short")
    (tmp_path / "directory").mkdir()
    os.mkfifo(tmp_path / "fifo")  # opened in the way of a file it waits for a writer
    for name in ("short", "directory", "fifo"):
        d = domain(args=["--lease", str(tmp_path / name)])
        assert d.process.wait(10) == 2
        assert "not a lease page" in d.process.stderr.read()
