# SPDX-License-Identifier: Apache-2.0
"""chaos_plan - what shall go wrong, and when: a pure function of the seed, so that a run can be had again.

Each fault is a line: after how many seconds, what, where, for how long.  Faults overlap; at most MINORITY hosts are meant to
be without their part in the cluster at once, which chaos.py sees to when it carries them out: of what is drawn it leaves out
what a host cannot have at that moment.
"""

import random
from typing import NamedTuple

# What may happen to a host, how often (weight), and for how long (seconds).
FAULTS = {
    "kill corosync": (4, 0.1, 4), "restart corosync": (4, 0.1, 2), "end corosync": (2, 0.1, 4),
    "kill droverd": (6, 0.1, 4), "restart droverd": (4, 0.1, 6),
    "kill vmm": (6, 0, 0), "power cut": (4, 1, 6),
    "stop corosync": (4, 0.1, 6), "stop droverd": (4, 0.1, 6), "stop vmm": (4, 0.1, 6), "freeze": (3, 0.1, 8),
    "kill broker": (4, 0, 0), "stop broker": (4, 0.1, 6),
    "cut": (5, 0.2, 8), "cut in": (3, 0.2, 8), "cut out": (3, 0.2, 8),
    "full": (5, 1, 10), "read-only": (5, 1, 10),
    "slow start": (3, 1, 8), "token": (2, 0, 0),
    # Shorter than W of the shortest token (2.1 s): what storage holds for longer is refused, or its host reset (docs/ha.md, Storage).
    "storage hangs": (3, 0.2, 2),
}


class Fault(NamedTuple):
    at: float
    what: str
    host: int
    lasts: float
    pick: float      # in [0, 1): which VMM, which token

    def __str__(self):
        return f"{self.at:8.2f} s  {self.what:17} n{self.host}  {self.lasts:.2f} s"


def faults(seed, hosts, every):
    """Without end, one every @every seconds on average."""
    rng = random.Random(seed)
    weights = [w for w, _, _ in FAULTS.values()]
    at = 0.0
    while True:
        at += rng.expovariate(1 / every)
        what = rng.choices(list(FAULTS), weights)[0]
        _, least, most = FAULTS[what]
        yield Fault(at, what, rng.randint(1, hosts), rng.uniform(least, most), rng.random())


def moves(seed, domains, hosts):
    """Which domain is migrated where, without end."""
    rng = random.Random(f"moves {seed}")
    while True:
        yield rng.randrange(domains), rng.randint(1, hosts)
