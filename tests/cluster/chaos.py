#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""chaos - five hosts, eight domains, faults at random, and checks that do not ask the product.

    chaos.py [--seed N] [--faults N] [--every SECONDS] [--long] [--plan]

Judged by the guests' trails on the disks (never two writers, every flushed record there), by the BMCs' logs (who was powered
off, against what this driver had done to that host, and against whether its domains wrote until then), and by the guests'
writing again when all is mended.  Exit status 0
when all of it holds.  --plan prints what would be done.
"""

import argparse
import itertools
import os
import random
import re
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import chaos_faults  # noqa: E402  (found by the line above)
import chaos_plan  # noqa: E402
from chaos_bed import ChaosBed, LunDomain  # noqa: E402
from chaos_trails import Trails  # noqa: E402
from chaos_writers import Writers  # noqa: E402
from cluster import missing  # noqa: E402
from domains import Domain, drover  # noqa: E402
from host import clock  # noqa: E402

HOSTS, DOMAINS, TOKEN = 5, 8, 1000
BLAME = 20      # seconds after a fault for which a fencing may be put down to it
PAUSE_MAX = 300 # seconds between two starts of what fails again and again (docs/ha.md)
MINORITY = 2    # hosts hurt at once, at most


class Chaos:
    def __init__(self, bed, plan, seed, faults):
        self.bed, self.plan, self.seed, self.left = bed, plan, seed, faults
        self.domains, self.wrong = [], []
        self.hurt = {h.n: [] for h in bed.hosts}     # [(fault, from, to or None)]
        self.undo = []                               # [(when, host, fault, what)]
        self.off_seen = {h.n: 0 for h in bed.hosts}
        self.ended = threading.Event()
        self.done = {}

    def say(self, text):
        print(f"{clock() - self.began:8.2f}  {text}", flush=True)

    def begin(self):
        bed = self.bed
        self.began = clock()
        bed.start(timeout=60)
        for i in range(DOMAINS):
            name = f"d{i}"
            kind = LunDomain if name in bed.luns else Domain
            self.domains.append(kind(bed, name=name))
        for h in bed.hosts:
            bed.attach(h)
        for i, d in enumerate(self.domains):
            d.start(bed.host(i % HOSTS + 1), timeout=60)
        self.say(f"{HOSTS} hosts, {DOMAINS} domains, {len(bed.luns)} of them on LUNs; seed {self.seed}")

    # ---- doing and undoing

    def hurt_now(self):
        return {n for n, list_ in self.hurt.items() if any(to is None for _, _, to in list_)} | \
               {h.n for h in self.bed.hosts if not h.on()}

    def do(self, f):
        h = self.bed.host(f.host)
        if not h.on() or (len(self.hurt_now() - {h.n}) >= MINORITY and f.what not in chaos_faults.GLOBAL) or \
                any(what == f.what and to is None for what, _, to in self.hurt[h.n]):
            return
        when = clock()
        try:
            undo = chaos_faults.FAULTS[f.what](self.bed, h, f)
        except (OSError, RuntimeError, subprocess.SubprocessError) as e:
            if not self.dies(h):
                raise
            self.say(f"{f.what} on {h.name}: {e}")
            return
        if undo is None:
            return
        self.done[f.what] = self.done.get(f.what, 0) + 1
        self.left -= 1
        self.say(f"{f.what} on {h.name} for {f.lasts:.2f} s")
        self.hurt[h.n].append((f.what, when, None))
        self.undo.append((when + f.lasts, h, f.what, undo))

    def dies(self, h):
        """Something failed on it: was it fenced under our hands? Its PID 1 is gone as soon as nothing of it waits in the kernel."""
        self.bed.thaw_storage()
        for _ in range(100):
            if not h.on():
                return True
            time.sleep(0.1)
        return False

    def try_on(self, h, do):
        """Do something to a host that may be powered off under our hands."""
        try:
            return do()
        except (OSError, RuntimeError, subprocess.SubprocessError):
            if not self.dies(h):
                raise
            return None

    def mend(self):
        for entry in list(self.undo):
            when, h, what, undo = entry
            if when <= clock() and self.try_on(h, undo) is not chaos_faults.NOT_YET:
                self.undo.remove(entry)
                self.hurt[h.n] = [(w, a, clock() if w == what and to is None else to) for w, a, to in self.hurt[h.n]]
        for h in self.bed.hosts:
            if not h.on() and not any(x[1] is h for x in self.undo):
                self.try_on(h, lambda h=h: self.boot(h))
            elif h.on() and not any(x[1] is h for x in self.undo):
                for name in ("corosync", "droverd"):     # what systemd's Restart=always does
                    if not h.daemon_alive(name):
                        self.try_on(h, lambda h=h, name=name: chaos_faults.start_daemon(self.bed, h, name))

    def boot(self, h):
        h.gone()
        h.power_on()
        self.bed.attach(h)
        h.start("corosync", "corosync", "-f")
        for _ in range(100):     # droverd waits for corosync to form its ring by itself, not for its socket
            if not h.run("corosync-cmapctl", "-g", "totem.token").returncode:
                break
            time.sleep(0.05)
        self.bed.start_droverd(h)
        self.say(f"{h.name} boots")

    def migrate_all_the_time(self):
        asked = done = 0
        for d, to in chaos_plan.moves(self.seed, DOMAINS, HOSTS):
            if self.ended.wait(0.5):
                break
            h = self.bed.host(to)
            if h.on():
                try:
                    asked += 1
                    done += drover(h, "migrate", f"d{d}", h.name, timeout=20, check=False).returncode == 0
                except Exception:    # pylint: disable=broad-except  (the host may go at any instant)
                    pass
        self.done["migrations"] = f"{done} of {asked}"

    # ---- judging

    def blame(self, n, when):
        """What of our doing explains that host @n was powered off at @when."""
        return [w for w, a, to in self.hurt[n] if w not in chaos_faults.HARMLESS and a <= when <= (to or when) + BLAME]

    def out_of_the_ring(self, n, when):
        """Faults of others can leave a host out of the ring for longer than its lease; but one that was stopped in order is spared."""
        ordered = any(w.startswith("restart") and a <= when <= (to or when) + BLAME for w, a, to in self.hurt[n])
        return ["without a lease for what others had"] if not ordered and self.writers.gated(n, when) else []

    def check_fencing(self):
        for n, bmc in self.bed.bmcs.items():
            times = bmc.power_off_times()
            for when in times[self.off_seen[n]:]:
                why = self.blame(n, when) or self.out_of_the_ring(n, when)
                self.say(f"n{n} was powered off: {', '.join(why) or 'FOR NOTHING'}")
                if not why:
                    last = self.hurt[n][-1][0] if self.hurt[n] else "nothing"
                    self.wrong.append(f"n{n} was fenced at {when - self.began:.2f} while alive (last fault there: {last})")
            self.off_seen[n] = len(times)

    def found(self, d, problem):
        if (d.name, problem) not in self.seen:
            self.seen.add((d.name, problem))
            self.say(f"{d.name}: {problem}")
            self.wrong.append(f"{d.name}: {problem}")

    def check_trails(self):
        """All of them, now."""
        for d in self.domains:
            try:
                problems = d.disk.problems()
            except AssertionError as e:
                problems = [str(e)]
            for p in problems:
                self.found(d, p)

    def pauses(self, d):
        """It failed often in a row: it is started again, but not at once."""
        return any(s and s["state"] == "backoff" for s in (d.state(h) for h in self.bed.hosts if h.on()))

    def check_alive(self):
        """All is mended: every domain writes again."""
        before, end = {d.name: d.disk.seq() for d in self.domains}, clock() + 90
        missing_, late = set(before), end + PAUSE_MAX
        while missing_ and clock() < end:
            self.mend()
            missing_ = {d.name for d in self.domains if d.name in missing_ and d.disk.seq() <= before[d.name]}
            time.sleep(0.2)
            if clock() >= end and end < late and all(self.pauses(d) for d in self.domains if d.name in missing_):
                end = late
        for d in self.domains:
            if d.name in missing_:
                says = next((s for s in (d.state(h) for h in self.bed.hosts if h.on()) if s), None)
                self.wrong.append(f"{d.name} does not run 90 s after all was mended: {says}")

    def run(self):
        self.seen = set()
        self.writers = Writers(self.bed, self.domains)
        self.writers.start()
        mover = threading.Thread(target=self.migrate_all_the_time, daemon=True)
        mover.start()
        start, trails = clock(), Trails(self.domains, self.found)
        for f in self.plan:
            while clock() < start + f.at:
                self.mend()
                self.check_fencing()
                trails.look()
                time.sleep(0.05)
            start += max(0, clock() - start - f.at - 0.5)    # what was late makes the rest late: faults do not pile up
            self.mend()
            self.do(f)
            if not self.left:
                break
        while self.undo:
            self.mend()
            time.sleep(0.05)
        trails.close()
        self.say("no more faults")
        self.ended.set()
        mover.join(30)
        self.check_alive()
        self.check_fencing()
        self.check_trails()
        self.writers.close()


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 31))
    p.add_argument("--faults", type=int, default=80, help="carried out")
    p.add_argument("--every", type=float, default=5.0, help="seconds between two that are drawn, on average; about every second "
                   "one finds a host that cannot have it")
    p.add_argument("--long", action="store_true", help="500 faults, about an hour")
    p.add_argument("--plan", action="store_true", help="print what would be done, do nothing")
    o = p.parse_args()
    o.faults = 500 if o.long else o.faults
    plan = chaos_plan.faults(o.seed, HOSTS, o.every)
    print(f"seed {o.seed}, {o.faults} faults; again with: --seed {o.seed} --faults {o.faults} --every {o.every:g}")
    if o.plan:
        print("\n".join(str(f) for f in itertools.islice(plan, o.faults)))
        return 0
    why = missing()
    if why:
        print(f"SKIP {why}")
        return 77
    with ChaosBed(luns=[f"d{i}" for i in range(0, DOMAINS, 2)], hosts=HOSTS, token=TOKEN) as bed:
        c = Chaos(bed, plan, o.seed, o.faults)
        try:
            c.begin()
            c.run()
        finally:
            c.ended.set()
            for d in c.domains:
                d.close()
        print("done: " + ", ".join(f"{k} {v}" for k, v in sorted(c.done.items(), key=str)))
        if c.wrong:
            print(bed.logs(60) if os.environ.get("DROVER_CHAOS_LOGS") else "", end="")
        for w in c.wrong:
            print(f"wrong: {re.sub(chr(10), ' ', w)}")
        print(f"chaos: {'does not hold' if c.wrong else 'holds'}, seed {o.seed}")
        return 1 if c.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
