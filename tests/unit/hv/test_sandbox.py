# SPDX-License-Identifier: Apache-2.0
"""What is left to somebody who has taken over a thread of a VMM: a drover-hv that attacks itself (sandbox_probe.c).

DROVER_HV names that program, SYSCALLS cmd/drover-hv/syscalls.py, CC a compiler.
"""
import contextlib
import os
import pathlib
import re
import subprocess
import sys
import time

import pytest

from test_drover_hv import Lease, needs_kvm
from test_handover import disk, incoming, vmm  # pylint: disable=unused-import

pytestmark = needs_kvm

ATTACKS = ["open", "remove", "socket", "unix", "kill", "tgkill", "ptrace", "read-process", "execve", "fork", "mount", "root",
           "code", "ring", "module"]
ROOT = pathlib.Path(os.environ["SYSCALLS"]).resolve().parents[2]
FOLDERS = ["base", "conf", "net", "hv", "migrate", "cmd/drover-hv"]
THREADS = ["main", "vcpu", "device", "gate", "engine", "send", "receive"]
# What stands behind the filters: the user, no capabilities, Landlock. The rest is up to the filters alone.
BEHIND = ["open", "remove", "kill", "tgkill", "ptrace", "read-process", "mount", "root", "module"]


@pytest.fixture
def victim():
    """A process of root's that sleeps."""
    with subprocess.Popen(["sleep", "600"]) as p:
        yield p
        p.kill()


def target(attack, tmp_path, victim):
    if attack in ("kill", "tgkill", "ptrace", "read-process"):
        return str(victim.pid)
    if attack == "mount":
        (tmp_path / "mount").mkdir()
        return str(tmp_path / "mount")
    path = tmp_path / "of-another-domain"
    path.write_text("secret")
    path.chmod(0o666)       # that it is anybody's does not help
    return str(path)


def filtered(program):
    """Has it filters? A sanitizer's build has none."""
    return b"__asan_init" not in program and b"__tsan_init" not in program


needs_filters = pytest.mark.skipif(not filtered(pathlib.Path(os.environ["DROVER_HV"]).read_bytes()),
                                   reason="a sanitizer's build has no filters")


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
def test_whoever_takes_over_a_thread_gets_nowhere(vmm, tmp_path, victim, kind, attack):
    arg = target(attack, tmp_path, victim)
    status, said = make(vmm, tmp_path, kind, {"DROVER_PROBE": f"{kind} {attack} {arg}"})
    killed = re.search(rf"error: sandbox: thread {kind} made system call \d+, (\w+)\(", said)
    assert "SUCCEEDED" not in said and status in (1, 3), said
    assert killed or f"probe: {kind} {attack}: refused" in said, said
    assert victim.poll() is None
    print(f"{kind:8} {attack:13} {'ends the process: ' + killed[1] if killed else 'is refused'}")


@pytest.mark.parametrize("attack", BEHIND)
@pytest.mark.parametrize("kind", THREADS)
def test_what_stands_behind_the_filters_is_enough_for_most(vmm, tmp_path, victim, kind, attack):
    """Each wall by itself: here the user, no capabilities and Landlock."""
    if os.geteuid():
        pytest.skip("this is not root, so the VMM is of our own user")
    arg = target(attack, tmp_path, victim)
    status, said = make(vmm, tmp_path, kind, {"DROVER_PROBE": f"{kind} {attack} {arg}", "DROVER_PROBE_NO_FILTERS": "1"})
    assert status == 3 and f"probe: {kind} {attack}: refused" in said, said
    assert victim.poll() is None


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
def test_a_helper_that_is_taken_over_ends(vmm, tmp_path, victim, kind, attack):
    """It has nowhere to say so (the kernel's log has it), and its VMM goes on. One that gets what it wants lives on (sandbox_probe.c)."""
    if (kind, attack) == ("porter", "socket"):
        attack = "open"         # sockets are its trade; it opens to read
    arg = target(attack, tmp_path, victim)
    v = vmm("source", "--paused", env={"DROVER_PROBE": f"{kind} {attack} {arg}"}).connect()
    deadline = time.monotonic() + 20
    while helper_lives(v, HELPERS[kind]):
        assert time.monotonic() < deadline, v.log()
        time.sleep(0.01)
    assert v.state() == "paused" and victim.poll() is None and not os.path.ismount(tmp_path / "mount")


@pytest.mark.parametrize("kind,attack", [("porter", "socket"), ("broker", "open")])
def test_a_helper_that_does_its_trade_lives(vmm, tmp_path, victim, kind, attack):
    """So a helper that had got anywhere would be seen to live."""
    v = vmm("source", "--paused", env={"DROVER_PROBE": f"{kind} {attack} {target(attack, tmp_path, victim)}"}).connect()
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
        assert caps == {"0" * 16} and status["NoNewPrivs"] == "1", (task, status)
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
    for kind in THREADS:
        calls = set(re.findall(r"(?:^| )([a-z0-9_]+)(?![A-Za-z0-9_!])", table[kind]))
        assert "futex" in calls
        assert not calls & {"openat", "open", "socket", "connect", "bind", "execve", "fork", "vfork", "clone3", "ptrace", "kill", "mount",
                            "io_uring_setup", "bpf", "setuid", "setresuid", "unshare", "setns", "process_vm_writev", "pidfd_open"}, kind
    assert "ioctl(1=KVM_RUN)" in table["vcpu"] and "KVM_RUN" not in table["device"] + table["receive"] + table["send"]
