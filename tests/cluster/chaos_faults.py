# SPDX-License-Identifier: Apache-2.0
"""chaos_faults - one function per kind of fault: does it to a host of a ChaosBed and returns what undoes it, or None when the
host cannot have that fault now (it is off, no VMM runs there, ...)."""

import os
import signal
import subprocess
import threading
import time


TOKENS = (700, 1000, 1500, 3000)
NOT_YET = object()     # what undoes a fault returns this while the fault is still being done


def vmms(h, name="drover-hv"):
    """The processes of drover-hv on a host, or those that each has begun for its disks."""
    found = []
    for p in h.processes():
        try:
            with open(f"/proc/{p}/comm", encoding="utf-8") as f:
                if f.read().strip() == name:
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
        bed.start_droverd(h, "--wait", "30")


def _end(bed, h, name, sig):
    if not h.daemon_alive(name):
        return None
    os.kill(h.daemons[name], sig)
    return lambda: start_daemon(bed, h, name)


def _restart_corosync(bed, h):
    """By its unit, which ends droverd first (droverd.service: PartOf=, After=)."""
    if not h.daemon_alive("corosync"):
        return None

    def end():
        for name in ("droverd", "corosync"):
            pid = h.daemons.get(name)
            try:
                if h.daemon_alive(name):
                    os.kill(pid, signal.SIGTERM)
            except ProcessLookupError:     # the host's power was cut
                return
            while h.daemons.get(name) == pid and h.daemon_alive(name):
                time.sleep(0.02)
    ending = threading.Thread(target=end, daemon=True)
    ending.start()

    def undo():
        if ending.is_alive():
            return NOT_YET
        start_daemon(bed, h, "corosync")
        start_daemon(bed, h, "droverd")
        return None
    return undo


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


def _kill_broker(bed, h, f):
    running = vmms(h, "drover-hv-disks")
    if not running:
        return None
    os.kill(running[int(f.pick * len(running))], signal.SIGKILL)
    return lambda: None


def _stop_broker(bed, h, f):
    running = vmms(h, "drover-hv-disks")
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
    state, aside = bed.state(h), os.path.join(bed.dir, f"aside.{h.name}")
    os.makedirs(aside, exist_ok=True)
    # Put there when it is finished: a daemon that starts just now would open its record through it, and keep it busy.
    h.run("mount", "--bind", state, aside, check=True)
    h.run("mount", "-o", "remount,bind,ro", aside, check=True)
    h.run("mount", "--move", aside, state, check=True)
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
    """A new token, as an operator gives it out: on another host when this one's corosync does not answer."""
    bed.set_token(TOKENS[int(f.pick * len(TOKENS))])
    for at in [h] + [o for o in bed.hosts if o is not h and o.on()]:
        try:
            at.run("corosync-cfgtool", "-R", timeout=5)     # tells all that are there
            return lambda: None
        except subprocess.TimeoutExpired:
            pass
    return None


FAULTS = {
    "kill corosync": lambda b, h, f: _end(b, h, "corosync", signal.SIGKILL),
    "restart corosync": lambda b, h, f: _restart_corosync(b, h),
    "end corosync": lambda b, h, f: _end(b, h, "corosync", signal.SIGTERM),
    "kill droverd": lambda b, h, f: _end(b, h, "droverd", signal.SIGKILL),
    "restart droverd": lambda b, h, f: _end(b, h, "droverd", signal.SIGTERM),
    "stop corosync": lambda b, h, f: _stop_daemon(h, "corosync"),
    "stop droverd": lambda b, h, f: _stop_daemon(h, "droverd"),
    "kill vmm": _kill_vmm, "stop vmm": _stop_vmm, "kill broker": _kill_broker, "stop broker": _stop_broker, "power cut": _power_cut, "freeze": _freeze,
    "cut": _cut("both"), "cut in": _cut("in"), "cut out": _cut("out"),
    "full": _full, "read-only": _read_only, "slow start": _slow_start, "storage hangs": _storage, "token": _token,
}
# These leave the host alive and leased by all rules: it must not be fenced for them.
HARMLESS = {"kill vmm", "stop vmm", "kill broker", "stop broker", "full", "slow start", "token", "restart droverd", "restart corosync"}
# These take everybody's storage, not a host.
GLOBAL = {"storage hangs", "token"}
