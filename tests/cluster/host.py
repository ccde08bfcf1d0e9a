# SPDX-License-Identifier: Apache-2.0
"""host - one virtual host: network, mount, PID, UTS and IPC namespaces with a PID 1 of their own.

Nothing here has a name outside the processes that hold it: the namespaces are unnamed, and every process dies with the
one that started it (PR_SET_PDEATHSIG down to PID 1, and the kernel from there).  So a test that is killed, even by
SIGKILL, leaves nothing but a directory in /tmp, which the next one sweeps.

    power cut   kill PID 1; the kernel kills everything else in the namespace before PID 1 is gone
    freeze      SIGSTOP every process of the namespace (a host that hangs and comes back)
    reset       power cut, then the same directories with new namespaces: a reboot
"""

import os
import signal
import subprocess
import time

HERE = os.path.dirname(os.path.abspath(__file__))
DEATH = ["setpriv", "--pdeathsig", "KILL", "--"]   # dies with us
# How many times slower than usual this machine is (an emulated one): everything here waits so much longer, and looks so
# much less often.
SLOW = max(1.0, float(os.environ.get("DROVER_BED_SLOW", "1")))
NAMES = ["--mount", "--uts", "--ipc", "--pid", "--net"]


def clock():
    """Seconds on the clock all of Drover uses (the same in every namespace)."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def wait_for(what, true, timeout, pause=0.02):
    """Wait until true() is truthy and return that; fail with @what after @timeout seconds."""
    end = clock() + timeout * SLOW
    while True:
        got = true()
        if got:
            return got
        if clock() > end:
            raise TimeoutError(f"waited {timeout * SLOW:g} s for: {what}")
        time.sleep(pause * SLOW)


def start_time(pid):
    """When a process began, in clock ticks since boot: with the pid it names one process for ever."""
    with open(f"/proc/{pid}/stat", encoding="utf-8") as f:
        fields = f.read().rpartition(")")[2].split()
    return None if fields[0] == "Z" else int(fields[19])


class Host:
    """One virtual host of a Bed; n is its corosync nodeid."""

    def __init__(self, bed, n):
        self.bed, self.n, self.name = bed, n, f"n{n}"
        self.dir = os.path.join(bed.dir, self.name)
        self.address = f"10.77.0.{n}"     # cluster network
        self.management = f"10.77.1.{n}"  # the network BMCs are on
        self.unshare = None               # Popen that holds PID 1
        self.pid = 0                      # PID 1 as seen from outside
        self.pid_ns = None                # its PID namespace, while it is on
        self.daemons = {}                 # name -> pid as seen from outside
        os.makedirs(os.path.join(self.dir, "log"), exist_ok=True)
        os.makedirs(os.path.join(self.dir, "state"), exist_ok=True)

    # ---- power

    def power_on(self):
        """Fresh namespaces, wired to the bridges; nothing runs yet."""
        assert not self.on(), f"{self.name} is on"
        self.unshare = subprocess.Popen(
            DEATH + ["unshare", *NAMES, "--fork", "--kill-child=KILL", "--propagation", "private",
                     os.path.join(HERE, "hostinit"), self.dir, self.name],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self.log("init"), start_new_session=True)
        if self.unshare.stdout.readline() != b"up\n":
            raise RuntimeError(f"{self.name} did not come up: {self.read_log('init')}")
        with open(f"/proc/{self.unshare.pid}/task/{self.unshare.pid}/children", encoding="utf-8") as f:
            self.pid = int(f.read().split()[0])
        self.pid_ns = self._namespace(self.pid)
        self.bed.plug_in(self)
        with open(os.path.join(self.dir, "power.pid"), "w", encoding="utf-8") as f:
            f.write(f"{self.pid} {start_time(self.pid)}\n")

    def on(self):
        return self.unshare is not None and self.unshare.poll() is None

    def power_cut(self):
        """Cut the power; returns the time of the cut, when nothing of the host is left."""
        inside = self.processes()
        when = clock()
        try:
            os.kill(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.gone()
        alive = [p for p in inside if self._namespace(p)]
        assert not alive, f"{self.name} is without power, but processes {alive} live"
        return when

    def gone(self, timeout=30):
        """Wait until the host is off, by whatever cut its power."""
        if self.unshare:
            self.unshare.wait(timeout * SLOW)
            self.unshare.stdout.close()
        self.unshare, self.pid, self.daemons = None, 0, {}

    def _namespace(self, pid):
        """The PID namespace of a live process, or None."""
        try:
            return os.readlink(f"/proc/{pid}/ns/pid") if start_time(pid) is not None else None
        except OSError:
            return None

    def processes(self):
        """All live processes of the host, as pids seen from outside."""
        mine = self._namespace(self.pid) if self.pid else None
        if not mine:
            return []
        return [int(p) for p in os.listdir("/proc") if p.isdigit() and self._namespace(p) == mine]

    def freeze(self):
        """Stop every process of the host, as if it hung; returns the time."""
        when, stopped = clock(), set()
        while True:   # until no process is new: one may have been born while we walked
            new = set(self.processes()) - stopped
            if not new:
                break
            for p in new:
                self._signal(p, signal.SIGSTOP)
            stopped |= new
        return when

    def thaw(self):
        """Also the nsenter(1) in front of each program that run() started: it stops itself when its child does, and a host
        whose power is cut is not off before all of them have seen their children end."""
        for p in self.processes() + self._entering():
            self._signal(p, signal.SIGCONT)
        return clock()

    def _entering(self):
        """Processes outside whose children are in the host."""
        found = []
        for p in filter(str.isdigit, os.listdir("/proc")):
            try:
                inside = os.readlink(f"/proc/{p}/ns/pid_for_children") == self.pid_ns
            except OSError:
                continue
            if inside and self._namespace(p) != self.pid_ns:
                found.append(int(p))
        return found

    @staticmethod
    def _signal(pid, sig):
        try:
            os.kill(pid, sig)
        except ProcessLookupError:
            pass

    # ---- programs

    def enter(self):
        """What to put before a command so that it runs on this host."""
        return ["nsenter", "-t", str(self.pid), "-m", "-u", "-i", "-n", "-p", "--"]

    def run(self, *command, timeout=30, check=False, **more):
        """Run a command on the host and wait for it."""
        r = subprocess.run(self.enter() + list(command), capture_output=True, text=True, timeout=timeout * SLOW,
                           stdin=None if "input" in more else subprocess.DEVNULL, env=self.bed.env, check=False, **more)
        if check and r.returncode:
            raise RuntimeError(f"{self.name}: {' '.join(command)}: exit {r.returncode}: {r.stderr.strip() or r.stdout.strip()}")
        return r

    def start(self, name, *command):
        """Start a daemon, a child of the host's PID 1; what it prints goes to its log.  Returns its pid, seen from outside."""
        before = set(self.processes())
        with self.log(name) as log:
            subprocess.run(self.enter() + ["setsid", "--fork", *command], stdin=subprocess.DEVNULL, stdout=log,
                           stderr=subprocess.STDOUT, env=self.bed.env, check=True)
        self.daemons[name] = next((p for p in self.processes() if p not in before and self._child_of_init(p)), 0)
        return self.daemons[name]

    def _child_of_init(self, pid):
        try:
            with open(f"/proc/{pid}/stat", encoding="utf-8") as f:
                return int(f.read().rpartition(")")[2].split()[1]) == self.pid
        except OSError:
            return False

    def daemon_alive(self, name):
        return bool(self._namespace(self.daemons.get(name, 0)))

    def kill_daemon(self, name, sig=signal.SIGKILL, timeout=10):
        """Signal one daemon alone, and wait for its end if it must end; returns the time of the signal."""
        when = clock()
        os.kill(self.daemons[name], sig)
        if sig in (signal.SIGKILL, signal.SIGTERM):
            wait_for(f"{name} on {self.name} to end", lambda: not self.daemon_alive(name), timeout)
            del self.daemons[name]
        return when

    # ---- logs

    def log(self, name):
        return open(os.path.join(self.dir, "log", name + ".log"), "ab")

    def read_log(self, name):
        try:
            with open(os.path.join(self.dir, "log", name + ".log"), encoding="utf-8", errors="replace") as f:
                return f.read()
        except FileNotFoundError:
            return ""
