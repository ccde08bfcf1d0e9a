# SPDX-License-Identifier: Apache-2.0
"""chaos_faults - one function per kind of fault: does it to a host of a ChaosBed and returns what undoes it, or None when the
host cannot have that fault now (it is off, no VMM runs there, ...)."""

import os
import signal
import subprocess
import time


TOKENS = (700, 1000, 1500, 3000)


def vmms(h):
    """The processes of drover-hv on a host."""
    found = []
    for p in h.processes():
        try:
            with open(f"/proc/{p}/comm", encoding="utf-8") as f:
                if f.read().startswith("drover-hv"):
                    found.append(p)
        except OSError:
            pass
    return sorted(found)


def start_daemon(bed, h, name):
    """As systemd would: unless the host is off or it runs already."""
    if not h.on() or h.daemon_alive(name):
        return
    if name == "corosync":
        h.start("corosync", "corosync", "-f")
    else:
        bed.start_droverd(h)


def _end(bed, h, name, sig):
    if not h.daemon_alive(name):
        return None
    os.kill(h.daemons[name], sig)
    return lambda: start_daemon(bed, h, name)


def _stop(pids):
    for p in pids:
        os.kill(p, signal.SIGSTOP)

    def undo():
        for p in pids:
            try:
                os.kill(p, signal.SIGCONT)
            except ProcessLookupError:
                pass
    return undo


def _stop_daemon(h, name):
    return _stop([h.daemons[name]]) if h.daemon_alive(name) else None


def _kill_vmm(bed, h, f):
    running = vmms(h)
    if not running:
        return None
    os.kill(running[int(f.pick * len(running))], signal.SIGKILL)
    return lambda: None


def _stop_vmm(bed, h, f):
    running = vmms(h)
    return _stop([running[int(f.pick * len(running))]]) if running else None


def _power_cut(bed, h, f):
    bed.thaw_storage()     # what waits for storage in the kernel ends by no signal, as it does when the power goes
    h.power_cut()
    return lambda: None    # chaos.py switches on whatever is off


def _freeze(bed, h, f):
    h.freeze()
    return lambda: h.on() and h.thaw()


def _cut(direction):
    def do(bed, h, f):
        bed.cut(h, direction)

        def undo():
            subprocess.run(["nsenter", "-t", str(h.pid), "-n", "--", "nft", "delete table inet bed"],
                           check=False, capture_output=True)
        return undo
    return do


def _full(bed, h, f):
    junk = os.path.join(bed.state(h), "junk")
    subprocess.run(["sh", "-c", f"cat /dev/zero >{junk}"], check=False, capture_output=True)
    return lambda: os.path.exists(junk) and os.unlink(junk)


def _read_only(bed, h, f):
    """For whoever opens it from now on: a mount over the one in which VMMs have files open for writing."""
    state = bed.state(h)
    h.run("mount", "--bind", state, state, check=True)
    for _ in range(50):     # busy for as long as a file that was opened through it just now is being written
        if not h.run("mount", "-o", "remount,bind,ro", state).returncode:
            break
        time.sleep(0.02)
    else:
        h.run("mount", "-o", "remount,bind,ro", state, check=True)
    return lambda: h.on() and h.run("mount", "-o", "remount,bind,rw", state)


def _slow_start(bed, h, f):
    path = os.path.join(bed.dir, f"slow.{h.name}")
    with open(path, "w", encoding="utf-8") as out:
        out.write(f"{f.lasts:.1f}")
    return lambda: os.path.exists(path) and os.unlink(path)


def _storage(bed, h, f):
    frozen = subprocess.run(["fsfreeze", "-f", bed.shared], check=False, capture_output=True, text=True)
    if "busy" in frozen.stderr.lower():     # it hangs already, by another host's turn
        return None
    frozen.check_returncode()
    return bed.thaw_storage


def _token(bed, h, f):
    """A new token, as an operator gives it out."""
    bed.set_token(TOKENS[int(f.pick * len(TOKENS))])
    h.run("corosync-cfgtool", "-R")     # tells all that are there
    return lambda: None


FAULTS = {
    "kill corosync": lambda b, h, f: _end(b, h, "corosync", signal.SIGKILL),
    "restart corosync": lambda b, h, f: _end(b, h, "corosync", signal.SIGTERM),
    "kill droverd": lambda b, h, f: _end(b, h, "droverd", signal.SIGKILL),
    "restart droverd": lambda b, h, f: _end(b, h, "droverd", signal.SIGTERM),
    "stop corosync": lambda b, h, f: _stop_daemon(h, "corosync"),
    "stop droverd": lambda b, h, f: _stop_daemon(h, "droverd"),
    "kill vmm": _kill_vmm, "stop vmm": _stop_vmm, "power cut": _power_cut, "freeze": _freeze,
    "cut": _cut("both"), "cut in": _cut("in"), "cut out": _cut("out"),
    "full": _full, "read-only": _read_only, "slow start": _slow_start, "storage hangs": _storage, "token": _token,
}
# These leave the host alive and leased by all rules: it must not be fenced for them.
HARMLESS = {"kill vmm", "stop vmm", "full", "slow start", "token", "restart droverd", "restart corosync"}
# These take everybody's storage, not a host.
GLOBAL = {"storage hangs", "token"}
