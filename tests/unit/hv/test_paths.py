# SPDX-License-Identifier: Apache-2.0
"""What a VMM names to the kernel while a guest runs: nothing, but that its socket may go.

DROVER_HV names the program.
"""
import re
import shutil
import socket

import pytest

from test_drover_hv import RESET, needs_kvm
from test_handover import disk, incoming, vmm  # pylint: disable=unused-import

pytestmark = needs_kvm

# 1: incl 0x200000; cmpl $0x10000, 0x200000; jne 1b; movl $0, 0x200000; reset by the keyboard controller
RESET_NOW_AND_THEN = bytes.fromhex("ff0500002000 813d0000200000000100 75ec c7050000200000000000") + RESET

# Of a VMM whose main loop runs: its own sockets at the end, in vain where it has no right to (its porter removes them).
# The thread sanitizer reads maps, and there the C library may open what the filters of system calls keep it from.
MAY_BE_NAMED = re.compile(r"/proc/self/maps|.*/(source|destination)\.sock")


def named_while_it_runs(trace):
    """Paths that a VMM, without its helpers, gave to the kernel after its main loop had begun."""
    lines = [line.split(maxsplit=1) for line in trace.read_text().splitlines()]
    helpers = {pid for pid, call in lines if re.search('PR_SET_NAME, "drover-hv-(disks|door|ports|usher)"', call)}
    assert len(helpers) >= 3
    helpers |= {pid for pid, call in lines[1:] if re.match(r"execve(at)?\(", call)}     # who serves viewers is begun by the usher
    main, runs, named = lines[0][0], False, []
    for pid, call in lines:
        runs = runs or (pid == main and call.startswith("epoll_wait("))
        path = re.match(r'(?!prctl)\w+\((?:[^",]+, )?"([^"]+)"', call)
        if runs and pid not in helpers and path:
            named.append(path[1])
    assert runs
    return named


def people_of(v):
    """A viewer and somebody who speaks to the agent, at their sockets."""
    q = v.query()
    viewer, agent = (socket.socket(socket.AF_UNIX) for _ in range(2))
    viewer.settimeout(20)
    viewer.connect(q["vnc"])
    hello = viewer.recv(12)
    viewer.sendall(hello)
    assert viewer.recv(2) == b"\1\1"        # no password
    viewer.sendall(b"\1")
    assert viewer.recv(4) == bytes(4)
    viewer.sendall(b"\1")
    assert len(viewer.recv(24)) == 24
    agent.connect(q["agent"]["path"])
    return viewer, agent


@pytest.mark.skipif(not shutil.which("strace"), reason="no strace here")
def test_a_vmm_that_runs_opens_nothing_by_path(vmm, tmp_path):
    """It is reset, migrated, takes and gives back its disk, at both ends: its broker and what it has open are enough."""
    shared = [disk(tmp_path / "disk")]

    def traced(tag):
        return ["strace", "-f", "-qq", "-o", str(tmp_path / f"{tag}.trace"), "-e", "trace=%file,prctl,epoll_wait"]

    # Leaks are looked for by ptrace(2), as tracing is done; a race, to be named or to be seen to be none, has the
    # program and its libraries opened in the middle of the run (test_handover.py looks for both).
    env = {"ASAN_OPTIONS": "detect_leaks=0", "TSAN_OPTIONS": "report_bugs=0"}
    more = {"extra": "display: {memory: 4M}\nguest_agent: true\n", "env": env}
    s = vmm("source", disks=shared, code=RESET_NOW_AND_THEN, wrap=traced("source"), **more).connect()
    s.wait_event("guest")
    d = incoming(vmm, disks=shared, wrap=traced("destination"), **more)
    people = [people_of(v) for v in (s, d)]
    s.ok("migrate", to="tcp:127.0.0.1:1", arbiter="disk")
    s.wait_phase("failed")
    s.ok("migrate", to=d.listen, arbiter="disk")
    d.wait_state("running", seconds=20)
    (tmp_path / "kernel").unlink()
    for _ in range(2):
        assert d.wait_event("guest")["what"] == "reset"
    d.ok("pause")
    d.ok("resume")
    d.ok("quit")
    assert d.process.wait(20) == 0 and s.process.wait(20) == 0
    for tag in ("source", "destination"):
        named = named_while_it_runs(tmp_path / f"{tag}.trace")
        assert [n for n in named if not MAY_BE_NAMED.fullmatch(n)] == []
    for viewer, agent in people:
        viewer.close()
        agent.close()
