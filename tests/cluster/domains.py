# SPDX-License-Identifier: Apache-2.0
"""domains - a domain of the bed: a guest (guests.py), driven by the drover command, watched through its console and its disk.

What the guest says itself (its serial port, its trail on the disk: tests/guest/disk.c) is the evidence; what drover says
about it is only compared with that.
"""

import os
import re
import socket
import sys
import threading

import api
from cluster import TOP
from guests import Payload
from host import SLOW, clock, wait_for

sys.path.insert(0, os.path.join(TOP, "tests", "guest"))

import diskcheck  # noqa: E402  (found by the line above)

LANE_BYTES = diskcheck.LANES * diskcheck.SECTOR
LOOKS = 1000     # at a sector that is being written: one look or two are enough


def drover(host, *args, timeout=30, check=True):
    """Run the drover command on a host."""
    return host.run("drover", *args, timeout=timeout, check=check)


class Disk:
    """The payload's disk, a file all hosts see."""

    def __init__(self, path, megabytes=34):
        self.path = path
        with open(path, "wb") as f:
            f.truncate(megabytes << 20)

    def _lanes(self):
        with open(self.path, "rb") as f:
            lanes = f.read(LANE_BYTES)
        sectors = (lanes[i:i + diskcheck.SECTOR] for i in range(0, LANE_BYTES, diskcheck.SECTOR))
        return [r for r in map(diskcheck.parse, sectors) if r]

    def newest(self):
        """The newest record in the lanes, or None."""
        for _ in range(LOOKS):
            try:
                return max(self._lanes(), key=lambda r: r.seq, default=None)
            except diskcheck.Torn:   # being written now; without it an older boot's record would seem the newest
                continue
        raise AssertionError(f"{self.path}: a lane stays torn")

    def seq(self):
        r = self.newest()
        return r.seq if r else 0

    def written(self):
        """The highest number in the ring: a record gets there before its lane, which is all that newest() looks at."""
        return max((r.seq for r in diskcheck.read(self.path)[1].values()), default=0)

    def wait_written(self, after=None, timeout=30):
        """Wait for a record newer than @after; returns (clock(), record)."""
        after = self.seq() if after is None else after
        return wait_for("the guest to write to its disk",
                        lambda: (r := self.newest()) and r.seq > after and (clock(), r), timeout, pause=0.002)

    def wait_other_boot(self, boot, timeout=60):
        """Wait for the first record of another boot than @boot; returns (clock(), record)."""
        return wait_for("another boot of the guest to write to its disk",
                        lambda: (r := self.newest()) and r.boot != boot and (clock(), r), timeout, pause=0.002)

    def problems(self):
        return diskcheck.check_live(self.path)["problems"]

    def runs(self):
        return diskcheck.check(self.path)["runs"]


class Console(threading.Thread):
    """Reads the guest's serial port wherever the guest is; keeps its last lines and what they count up to."""

    def __init__(self, domain):
        super().__init__(daemon=True)
        self.domain, self.text, self.lines = domain, "", []
        self.errors = self.gap_us = 0
        self.ended = threading.Event()
        self.lock = threading.Lock()
        self.start()

    def _sockets(self):
        for h in self.domain.bed.hosts:
            if h.pid:
                yield h, f"/proc/{h.pid}/root/run/drover/hv/{self.domain.name}.console"

    def run(self):
        open_sockets = {}
        while not self.ended.wait(0.02 * SLOW):
            for h, path in self._sockets():
                if (h.n, h.pid) not in open_sockets and os.path.exists(path):
                    s = socket.socket(socket.AF_UNIX)
                    s.setblocking(False)
                    try:
                        s.connect(path)
                        open_sockets[(h.n, h.pid)] = (s, [""])
                    except OSError:
                        s.close()
            for key, (s, part) in list(open_sockets.items()):
                try:
                    data = s.recv(65536)
                except BlockingIOError:
                    continue
                except OSError:
                    data = b""
                if not data:
                    s.close()
                    del open_sockets[key]
                    continue
                *lines, part[0] = (part[0] + data.decode("ascii", "replace")).split("\n")
                for line in lines:
                    self._line(key[0], line.strip())
        for s, _ in open_sockets.values():
            s.close()

    def _line(self, n, line):
        fields = dict(re.findall(r"(\w+)=(\d+)", line)) if line.startswith("D: ") else {}
        with self.lock:
            self.lines.append((clock(), n, line))
            self.errors += int(fields.get("errors", 0)) > 0 or "corrupt" in line
            self.gap_us = max(self.gap_us, int(fields.get("gap_us", 0)))

    def take_gap(self):
        """The longest gap any guest felt since the last call, in microseconds."""
        with self.lock:
            gap, self.gap_us = self.gap_us, 0
        return gap

    def last_report(self):
        """The fields of the newest report: pages, errors, seq, ..."""
        with self.lock:
            for _, _, line in reversed(self.lines):
                if line.startswith("D: t="):
                    return dict(re.findall(r"(\w+)=([\d.]+)", line))
        return {}

    def reports_from(self, host, after):
        """How many reports have come from @host since clock() @after."""
        with self.lock:
            return sum(n == host.n and when > after and line.startswith("D: t=") for when, n, line in self.lines)

    def wait_line(self, what, after=0.0, timeout=30):
        """Wait for a line with @what in it that came after clock() @after; returns it."""
        def look():
            with self.lock:
                return next((x for x in self.lines if x[0] > after and what in x[2]), None)
        return wait_for(f"the guest to say '{what}'", look, timeout)

    def close(self):
        self.ended.set()
        self.join(5)


class Domain:
    """A domain whose guest does the payload's work. mem: how much memory it fills and checks."""

    def __init__(self, bed, name="work", memory="64M", mem="16M", ws="4M", rate=20, vcpus=1, disk_ms=2, report=50,
                 fill="mixed", ha=True, guest=Payload, more=""):
        """@guest: what boots (guests.py); @more: further words for the payload."""
        self.bed, self.name = bed, name
        self.disk = Disk(os.path.join(bed.shared, name + ".disk"))
        self.path = os.path.join(bed.shared, name + ".yaml")
        words = f"fill={fill} mem={mem} ws={ws} rate={rate} cpus={vcpus} disk=1 disk_ms={disk_ms} report={report} {more}"
        lines = [f"name: {name}", f"memory: {memory}", f"vcpus: {vcpus}", *guest.machine(words.strip(), bed, name),
                 f"  - path: {self.disk.path}"] + (["ha:", "  max_restart: 10"] if ha else [])
        with open(self.path, "w", encoding="utf-8") as f:
            f.write("\n".join(lines) + "\n")
        self.console = Console(self)

    def start(self, host=None, timeout=30):
        """Hand the domain to the cluster; returns when it has written to its disk."""
        drover(host or self.bed.host(1), "start", self.path, timeout=timeout)
        return self.disk.wait_written(timeout=timeout)

    def state(self, host):
        """What the cluster's record, as @host has it, says of the domain."""
        return next((d for d in api.domains(host) if d["name"] == self.name), None)

    def owner(self, host=None):
        """The host the cluster says it runs on."""
        host = host or next(h for h in self.bed.hosts if h.on())
        d = self.state(host)
        return next((h for h in self.bed.hosts if d and h.name == d.get("node")), None)

    def migrate(self, to, timeout=60, from_host=None):
        return drover(from_host or to, "migrate", self.name, to.name, timeout=timeout)

    def verify_all(self, host, timeout=30):
        """Have the guest verify every page it ever filled; returns how many."""
        path = f"/proc/{host.pid}/root/run/drover/hv/{self.name}.console"
        when = clock()
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(path)
            s.sendall(b"v")
            said = self.console.wait_line("D: verified", when, timeout)[2]
        fields = dict(re.findall(r"(\w+)=(\d+)", said))
        assert int(fields["errors"]) == 0, said
        return int(fields["pages"])

    def clean(self):
        """No corrupt page, no second writer."""
        problems = self.disk.problems()
        assert not problems, problems
        report = self.console.last_report()
        assert self.console.errors == 0 and int(report.get("errors", 0)) == 0, report
        assert int(report.get("foreign", 0)) == 0 and int(report.get("io_errors", 0)) == 0, report

    def close(self):
        self.console.close()
