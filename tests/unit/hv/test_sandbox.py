# SPDX-License-Identifier: Apache-2.0
"""What is left to somebody who has taken over a thread of a VMM: a drover-hv that attacks itself (sandbox_probe.c).

DROVER_HV names that program, SYSCALLS cmd/drover-hv/syscalls.py, CC a compiler.
"""
import contextlib
import ctypes
import os
import pathlib
import re
import socket
import subprocess
import sys
import tempfile
import time

import pytest

from test_drover_hv import Lease, needs_kvm
from test_handover import disk, incoming, vmm  # pylint: disable=unused-import

pytestmark = needs_kvm

ATTACKS = ["open", "remove", "socket", "unix", "connect", "kill", "tgkill", "ptrace", "read-process", "execve", "fork", "mount", "root",
           "code", "ring", "module"]
ROOT = pathlib.Path(os.environ["SYSCALLS"]).resolve().parents[2]
FOLDERS = ["base", "conf", "net", "hv", "migrate", "cmd/drover-hv"]
THREADS = ["main", "vcpu", "device", "gate", "engine", "send", "receive"]
# What stands behind the filters: the user, no capabilities, Landlock. The rest is up to the filters alone.
BEHIND = ["open", "remove", "connect", "kill", "tgkill", "ptrace", "read-process", "mount", "root", "module"]


LANDLOCK = ["open", "remove", "connect"]        # only that stands behind the filters there


@pytest.fixture
def victim():
    """A process of root's that sleeps."""
    with subprocess.Popen(["sleep", "600"]) as p:
        yield p
        p.kill()


@pytest.fixture
def open_dir():
    """A directory in which anybody may do anything: only Landlock keeps files there out of reach."""
    with tempfile.TemporaryDirectory(prefix="drover-sandbox-") as path:
        os.chmod(path, 0o777)
        yield pathlib.Path(path)


@pytest.fixture
def port():
    """Somebody takes connections there."""
    with socket.create_server(("127.0.0.1", 0)) as s:
        yield str(s.getsockname()[1])


@pytest.fixture
def target(open_dir, victim, port):
    """What an attack is about."""
    def of(attack):
        if attack in ("kill", "tgkill", "ptrace", "read-process"):
            return str(victim.pid)
        if attack == "connect":
            return port
        if attack == "mount":
            (open_dir / "mount").mkdir()
            return str(open_dir / "mount")
        path = open_dir / "of-another-domain"
        path.write_text("secret")
        path.chmod(0o666)
        return str(path)
    return of


def landlock_abi():
    """landlock_create_ruleset(2), LANDLOCK_CREATE_RULESET_VERSION"""
    return ctypes.CDLL(None).syscall(444, None, 0, 1)


def filtered(program):
    """Has it filters? A sanitizer's build has none."""
    return b"__asan_init" not in program and b"__tsan_init" not in program


FILTERED = filtered(pathlib.Path(os.environ["DROVER_HV"]).read_bytes())
needs_filters = pytest.mark.skipif(not FILTERED, reason="a sanitizer's build has no filters")


def move(source, destination):
    """One of the two ends itself while it is asked."""
    with contextlib.suppress(OSError, ValueError, AssertionError):
        source.connect().ok("migrate", to=destination.listen, arbiter="none")


def make(vmm, tmp_path, kind, env):
    """A VMM in which a thread of @kind comes to be, and what it said when it had ended."""
    if kind in ("engine", "send"):
        d, v = incoming(vmm), vmm("source", env=env)
        move(v, d)
    elif kind == "receive":
        v, s = incoming(vmm, env=env), vmm("source")
        move(s, v)
    elif kind == "gate":
        Lease(tmp_path / "lease").set(60)
        v = vmm("source", "--lease", str(tmp_path / "lease"), env=env)
    else:
        v = vmm("source", disks=[disk(tmp_path / "disk")], env=env)
    return v.process.wait(20), v.log()


@needs_filters
@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("kind", THREADS)
def test_whoever_takes_over_a_thread_gets_nowhere(vmm, tmp_path, victim, target, kind, attack):
    arg = target(attack)
    status, said = make(vmm, tmp_path, kind, {"DROVER_PROBE": f"{kind} {attack} {arg}"})
    killed = re.search(rf"error: sandbox: thread {kind} made system call \d+, (\w+)\(", said)
    assert "SUCCEEDED" not in said and status in (1, 3), said
    assert killed or f"probe: {kind} {attack}: refused" in said, said
    assert victim.poll() is None
    print(f"{kind:8} {attack:13} {'ends the process: ' + killed[1] if killed else 'is refused'}")


@pytest.mark.parametrize("attack", BEHIND)
@pytest.mark.parametrize("kind", THREADS)
def test_what_stands_behind_the_filters_is_enough_for_most(vmm, tmp_path, victim, target, kind, attack):
    """Each wall by itself: here the user, no capabilities and Landlock."""
    if os.geteuid():
        pytest.skip("this is not root, so the VMM is of our own user")
    if attack in LANDLOCK and not FILTERED:
        pytest.skip("a sanitizer's build has no Landlock")
    arg = target(attack)
    status, said = make(vmm, tmp_path, kind, {"DROVER_PROBE": f"{kind} {attack} {arg}", "DROVER_PROBE_NO_FILTERS": "1"})
    if attack in LANDLOCK and ("no Landlock" in said or attack == "connect" and landlock_abi() < 4):
        pytest.skip("this kernel's Landlock does not know that")
    assert status == 3 and f"probe: {kind} {attack}: refused" in said, said
    assert victim.poll() is None


def children(pid):
    return pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


@contextlib.contextmanager
def looked_at(vmm, tmp_path, env=None):
    """A VMM to whose screen somebody comes, and its usher."""
    v = vmm("source", "--paused", extra="display: {}\n", env=env).connect()
    with socket.socket(socket.AF_UNIX) as viewer:
        viewer.settimeout(20)
        viewer.connect(str(tmp_path / "source.vnc"))
        yield v, [pid for pid in children(v.process.pid) if pathlib.Path(f"/proc/{pid}/comm").read_text() == "drover-hv-usher\n"][0], viewer


def serving(usher):
    """Who serves viewers by now: no more than one."""
    deadline = time.monotonic() + 20
    while not (found := children(usher)):
        assert time.monotonic() < deadline
        time.sleep(0.002)
    assert len(found) == 1
    return found[0]


def attack_as_viewer(vmm, tmp_path, victim, open_dir, arg, attack, env=None):
    """It ends. One that gets what it wants lives on."""
    env = {"DROVER_PROBE": f"viewer {attack} {arg}", **(env or {})}
    with looked_at(vmm, tmp_path, env) as (v, usher, _):
        first, deadline = serving(usher), time.monotonic() + 20
        while first in children(usher):
            assert time.monotonic() < deadline
            time.sleep(0.002)
        assert v.state() == "paused" and victim.poll() is None and not os.path.ismount(open_dir / "mount")
        assert attack not in ("open", "remove") or (open_dir / "of-another-domain").read_text() == "secret"


@needs_filters
@pytest.mark.parametrize("attack", ATTACKS)
def test_who_serves_viewers_and_is_taken_over_ends(vmm, tmp_path, victim, open_dir, target, attack):
    attack_as_viewer(vmm, tmp_path, victim, open_dir, target(attack), attack)
    print(f"{'viewer':8} {attack:13} ends the process: of itself")


@pytest.mark.parametrize("attack", BEHIND)
def test_what_stands_behind_the_filter_of_viewers(vmm, tmp_path, victim, open_dir, target, attack):
    if os.geteuid():
        pytest.skip("this is not root, so it is of our own user")
    if attack in LANDLOCK and (not FILTERED or landlock_abi() < (4 if attack == "connect" else 1)):
        pytest.skip("a sanitizer's build, or this kernel, has no such Landlock")
    attack_as_viewer(vmm, tmp_path, victim, open_dir, target(attack), attack, {"DROVER_PROBE_NO_FILTERS": "1"})


def test_who_serves_viewers_and_gets_somewhere_is_seen_to(vmm, tmp_path):
    """What the two tests above would see: without a filter it can make code."""
    env = {"DROVER_PROBE": "viewer code", "DROVER_PROBE_NO_FILTERS": "1"}
    with looked_at(vmm, tmp_path, env) as (_, usher, _):
        first = serving(usher)
        time.sleep(0.7)         # more than the usher rests
        assert children(usher) == [first]


def rights(pid):
    """As the kernel tells: users, capabilities of all sets, may it get more, has it a filter."""
    status = dict(line.split(":\t", 1) for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line)
    return set(status["Uid"].split()), {status[c] for c in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")}, status["NoNewPrivs"], \
        status["Seccomp"]


def test_who_serves_viewers_has_no_rights_and_nothing_else_of_the_vmm(vmm, tmp_path):
    with looked_at(vmm, tmp_path) as (v, usher, viewer):
        assert viewer.recv(12) == b"RFB 003.008\n"
        pid = serving(usher)
        for who in (usher, pid):
            users, caps, no_more, _ = rights(who)
            assert caps == {"0" * 16} and no_more == "1" and users == rights(v.process.pid)[0]
        assert rights(pid)[3] == ("2" if filtered(pathlib.Path(os.environ["DROVER_HV"]).read_bytes()) else "0")
        files = {os.readlink(fd) for fd in pathlib.Path(f"/proc/{pid}/fd").iterdir()}
        assert {f for f in files if not f.startswith(("socket:", "anon_inode:"))} == {"/dev/null"}, files
        maps = pathlib.Path(f"/proc/{pid}/maps").read_text()
        assert re.findall(r" (\S+) \S+ \S+ \S+ +/memfd:", maps) == ["r--s"], maps


def helper_lives(v, name):
    """Is there still one of that name, and no zombie of it? The VMM waits for them at its end."""
    pids = pathlib.Path(f"/proc/{v.process.pid}/task/{v.process.pid}/children").read_text().split()
    mine = [pid for pid in pids if pathlib.Path(f"/proc/{pid}/comm").read_text().strip() == name]
    assert len(mine) == 1
    return pathlib.Path(f"/proc/{mine[0]}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"


HELPERS = {"broker": "drover-hv-disks", "porter": "drover-hv-door"}


@needs_filters
@pytest.mark.parametrize("attack", ["socket", "kill", "tgkill", "ptrace", "read-process", "execve", "fork", "mount", "root", "code",
                                    "ring", "module"])
@pytest.mark.parametrize("kind", HELPERS)
def test_a_helper_that_is_taken_over_ends(vmm, victim, target, kind, attack):
    """It has nowhere to say so (the kernel's log has it), and its VMM goes on. One that gets what it wants lives on (sandbox_probe.c)."""
    if kind == "porter" and attack in ("socket", "code"):
        attack = "open"         # sockets and libraries are its trade; it opens to read
    arg = target(attack)
    v = vmm("source", "--paused", env={"DROVER_PROBE": f"{kind} {attack} {arg}"}).connect()
    deadline = time.monotonic() + 20
    while helper_lives(v, HELPERS[kind]):
        assert time.monotonic() < deadline, v.log()
        time.sleep(0.01)
    assert v.state() == "paused" and victim.poll() is None and not os.path.ismount(arg)


@pytest.mark.parametrize("kind,attack", [("porter", "socket"), ("broker", "open")])
def test_a_helper_that_does_its_trade_lives(vmm, target, kind, attack):
    """So a helper that had got anywhere would be seen to live."""
    v = vmm("source", "--paused", env={"DROVER_PROBE": f"{kind} {attack} {target(attack)}"}).connect()
    time.sleep(0.3)
    assert helper_lives(v, HELPERS[kind])
    v.end()


def test_helpers_that_are_not_attacked_live(vmm):
    """What the test above takes for the end of one is no accident."""
    v = vmm("source", "--paused").connect()
    assert v.state() == "paused"
    time.sleep(0.3)
    assert all(helper_lives(v, name) for name in HELPERS.values())


def test_threads_have_no_rights(vmm, tmp_path):
    """As the kernel tells: of each thread the user, the groups, the capabilities."""
    v = vmm("source", disks=[disk(tmp_path / "disk")]).connect()
    v.wait_state("running")
    time.sleep(0.3)             # the last one may still be on its way to its first request
    for task in pathlib.Path(f"/proc/{v.process.pid}/task").iterdir():
        status = dict(line.split(":\t", 1) for line in (task / "status").read_text().splitlines() if ":\t" in line)
        caps = {status[c] for c in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")}
        assert caps == {"0" * 16}, (task, status)
        # A thread of a sanitizer's own never says what it is, and without filters nobody says it for it.
        assert status["NoNewPrivs"] == "1" or not FILTERED, (task, status)
        if not os.geteuid():
            assert int(status["Uid"].split()[0]) >= 0x70000000 and not status["Groups"].strip(), status
        assert len(set(status["Uid"].split())) == 1 == len(set(status["Gid"].split()))


@needs_filters
def test_the_last_word_stands_in_the_life_file(vmm, tmp_path):
    """So droverd knows why it ended, and tells (ha history)."""
    vmm("source").end()         # for its kernel
    (tmp_path / "other.yaml").write_text(f"name: web\nmemory: 8M\nvcpus: 1\nkernel: {tmp_path}/kernel\n")
    with open(tmp_path / "life", "ab") as life:
        done = subprocess.run([os.environ["DROVER_HV"], "run", str(tmp_path / "other.yaml"), "--console", str(tmp_path / "c"), "--life",
                               str(life.fileno())], pass_fds=[life.fileno()], env={**os.environ, "DROVER_PROBE": "vcpu socket"},
                              stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=20, check=False)
    assert done.returncode == 1
    assert re.fullmatch(r"end failed 1 sandbox: thread vcpu made system call 41, socket\(.*\), which is not in its list\n",
                        (tmp_path / "life").read_text())


@needs_filters
def test_without_the_sandbox_nothing_holds_and_that_is_told(vmm, tmp_path, victim):
    """The attacks are real: each of them would succeed."""
    v = vmm("source", "--no-sandbox").connect()
    v.wait_state("running")
    assert "no sandbox" in v.log()
    assert pathlib.Path(f"/proc/{v.process.pid}/status").read_text().count("Seccomp:\t0") == 1
    assert victim.poll() is None


def test_the_table_of_calls():
    """What each kind of thread may ask of the kernel; and nothing is in it that leads out."""
    said = subprocess.run([sys.executable, os.environ["SYSCALLS"], "--table", str(ROOT), *FOLDERS, "--", *os.environ["CC"].split()],
                          check=True, stdout=subprocess.PIPE, text=True).stdout
    print(said)
    table = dict(line.split(":", 1) for line in said.splitlines())
    for kind in [*THREADS, "viewer"]:
        calls = set(re.findall(r"(?:^| )([a-z0-9_]+)(?![A-Za-z0-9_!])", table[kind]))
        assert "futex" in calls
        assert not calls & {"openat", "open", "socket", "connect", "bind", "execve", "fork", "vfork", "clone3", "ptrace", "kill", "mount",
                            "io_uring_setup", "bpf", "setuid", "setresuid", "unshare", "setns", "process_vm_writev", "pidfd_open"}, kind
    assert "ioctl" not in table["viewer"] and "clone" not in table["viewer"] and "usher" not in table
    assert "ioctl(1=KVM_RUN)" in table["vcpu"] and "KVM_RUN" not in table["device"] + table["receive"] + table["send"]
