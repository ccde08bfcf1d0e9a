# SPDX-License-Identifier: Apache-2.0
"""chaos_writers - was a host's lease over when its power was cut?  Told by what its domains wrote to their disks, not by the product.

A domain writes a record every few milliseconds for as long as its VMM may; without a lease the VMM is gated.  So a host none of
whose domains has written anything for a while held no lease: the others' ring was without it for longer than that."""

import collections
import os
import threading
import time

from host import clock

EVERY = 0.1     # seconds between two looks
KEPT = 30       # seconds
QUIET = 0.4     # who has written nothing for so long before his end was gated


class Writers(threading.Thread):
    def __init__(self, bed, domains):
        super().__init__(daemon=True)
        self.bed, self.domains = bed, {d.name: d for d in domains}
        self.looks = collections.deque(maxlen=int(KEPT / EVERY))     # (when, {host: domains that run there}, {domain: number})
        self.ended = threading.Event()

    def _where(self):
        """{host number: names of the domains whose only VMM is there}."""
        hosts = {}
        for h in self.bed.hosts:
            try:
                hosts[os.readlink(f"/proc/{h.pid}/ns/pid")] = h.n
            except OSError:
                pass
        found = collections.defaultdict(set)
        for p in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{p}/cmdline", encoding="utf-8", errors="replace") as f:
                    words = f.read().split("\0")
                if not words[0].endswith("drover-hv") or "run" not in words[1:2]:
                    continue
                name = os.path.basename(words[2]).partition(".")[0]
                found[name].add(hosts.get(os.readlink(f"/proc/{p}/ns/pid")))
            except OSError:     # it has ended
                pass
        where = collections.defaultdict(set)
        for name, on in found.items():
            if len(on) == 1 and name in self.domains:
                where[on.pop()].add(name)
        return where

    def run(self):
        while not self.ended.wait(EVERY):
            try:
                self.looks.append((clock(), self._where(), {n: d.disk.seq() for n, d in self.domains.items()}))
            except AssertionError:     # a record stays torn while storage hangs
                pass

    def gated(self, n, when):
        """Whether it is seen that host @n held no lease when its power went at @when; what was not seen is no proof."""
        before = [look for look in list(self.looks) if look[0] <= when]
        if not before or when - before[-1][0] > 5 * EVERY:
            return False
        names = before[-1][1].get(n, set())
        quiet = [look for look in before if look[0] >= before[-1][0] - QUIET - EVERY]
        return bool(names) and quiet[-1][0] - quiet[0][0] >= QUIET and all(quiet[0][2][x] == quiet[-1][2][x] for x in names)

    def close(self):
        self.ended.set()
        self.join()
