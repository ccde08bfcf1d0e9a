# SPDX-License-Identifier: Apache-2.0
"""demo - the story ./demo tells, after it has built: one domain, one migration, one power cut.  80 columns, 40 lines.

What is shown as fact is measured from outside: the guest's own words on its serial port, its trail on the disk, the BMC's
log, the clock of this process.

    DROVER_BED_SLOW=8 demo.py --fill 64M      on an emulated machine: longer waits, less work, a smaller guest
"""

import argparse
import os
import signal
import subprocess
import sys
import threading

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import api
import cluster
import guests
from domains import Domain
from host import SLOW, clock, wait_for

FILLED, WORKING_SET = 512, 32       # MiB
TIMES = round(SLOW)                 # an emulated machine gets so much less to do
RATE = max(50 // TIMES, 1)          # pages per millisecond
TTY = sys.stdout.isatty()
BOLD, PLAIN = ("\033[1m", "\033[0m") if TTY else ("", "")


def step(n, text):
    print(f"\n{BOLD}{n}  {text}{PLAIN}")


def fact(text, figure=""):
    print(f"   {text:<63}{figure:>10}", flush=True)


def seconds(s):
    return f"{s:.2f} s"


def progress(done, text):
    """The line that is written over and over while something moves."""
    if TTY:
        bar = "#" * int(done * 24) + "-" * (24 - int(done * 24))
        print(f"\r   [{bar}] {done:4.0%}  {text:<40}", end="", flush=True)


def watch_migration(source, name, over):
    """Draw the source's own figures until @over is set."""
    while not over.wait(0.05 * TIMES):
        d = api.get(source, f"domains/{name}", timeout=1) or {}
        m = d.get("migration") or {}
        total = m.get("total", 0)
        if total:
            done = m.get("done", 0) if m["round"] == 0 else total - min(m.get("remaining", 0), total)
            progress(done / total, f"round {m['round']}, {m.get('sent', 0) >> 20} MiB sent, {m.get('phase', '')}")


def move(work, source, to):
    """One migration.  Only an emulated host may be silent for longer than the engine's dead time: the domain stays where it
    is then, which is said, and it is tried again."""
    for left in range(4 if TIMES > 1 else 0, -1, -1):
        try:
            work.migrate(to, from_host=source)
            return
        except RuntimeError as e:
            if not left or "no sign of life" not in str(e):
                raise
            fact(f"given up: a host was silent for too long; it stays on {source.name}", "once more")


def migrate(bed, work, source, to):
    work.console.take_gap()
    pages = int(work.console.last_report()["pages"])
    over = threading.Event()
    drawer = threading.Thread(target=watch_migration, args=(source, work.name, over), daemon=True)
    drawer.start()
    began = clock()
    try:
        move(work, source, to)
    finally:
        took = clock() - began
        over.set()
        drawer.join(2)
    wait_for("the guest to report from its new host", lambda: work.console.reports_from(to, began + took) >= 2, 10)
    if TTY:
        print("\r" + " " * 79 + "\r", end="")
    m = (api.get(source, f"domains/{work.name}") or {}).get("migration") or {}
    if m.get("total_ms"):
        fact(f"moved: {m['sent'] >> 20} MiB sent for {m['total'] >> 20} MiB of memory, in {m['round']} rounds",
             seconds(m["total_ms"] / 1000))
        fact("downtime: its virtual CPUs stood still for", f"{m['downtime_ms']:.0f} ms")
    fact("the longest gap in time that the guest itself felt", f"{work.console.take_gap() / 1000:.0f} ms")
    pages = int(work.console.last_report()["pages"]) - pages
    fact("pages it rewrote and checked in the meantime, none corrupt", f"{pages:,}")


def power_cut(bed, work, victim):
    survivors = [h for h in bed.hosts if h is not victim]
    boot = work.disk.newest().boot
    seen = {h.n: (api.history(h) or [{"seq": 0}])[-1]["seq"] for h in survivors}
    when = victim.power_cut()
    written, _ = work.disk.wait_other_boot(boot, timeout=60)
    wait_for("the cluster to say that it runs", lambda: work.owner(survivors[0]) in survivors, 10)
    said = sorted((line["boot_ms"] / 1000, line["text"]) for h in survivors for line in api.history(h, seen[h.n]))

    def first(what, text):
        when_said = next((t for t, line in said if what in line), None)
        if when_said:
            fact(text, "+" + seconds(when_said - when))

    first("was lost", "nothing of the host is left; the others miss it")
    first("off by fence_ipmilan", "its BMC confirms to fence_ipmilan that it is off")
    first("is dead", "proved dead: the domain may start elsewhere")
    to = work.owner(survivors[0])
    first(f"{work.name}: VMM is running", f"restarted on {to.name}")
    fact(f"it writes to its disk again, on {to.name}", "+" + seconds(written - when))
    return to


def start_domain(bed, guest, filled):
    """The domain of the story, at work."""
    more = "" if TIMES == 1 else f"tick_us={min(1000 * TIMES, 100000)} sweep={max(16 // TIMES, 1)}"
    return Domain(bed, memory=f"{filled + guest.own}M", mem=f"{filled}M", ws=f"{min(WORKING_SET, filled)}M", rate=RATE,
                  disk_ms=5 * TIMES, report=100 * TIMES, guest=guest, more=more)


def story(guest, filled):
    token = 1000 * TIMES
    step(1, "Three hosts, each with namespaces, a BMC, corosync and droverd of its own")
    began = clock()
    with cluster.Bed(hosts=3, token=token) as bed:
        bed.start()
        fact(f"n1, n2 and n3 agree (corosync token {token} ms)", seconds(clock() - began))

        step(2, f"A domain that works: {filled}M of memory filled, {RATE} pages/ms rewritten and checked")
        began = clock()
        work = start_domain(bed, guest, filled)
        try:
            work.start()
            source = work.owner()
            fact(f"runs on {source.name}, and leaves a numbered trail on its disk", seconds(clock() - began))
            if guest.greeting:
                said = work.console.wait_line(guest.greeting)[2]
                fact("it says: " + said.partition(", ")[2])

            wait_for("the guest to work for a second", lambda: work.console.reports_from(source, began) >= 10, 30)
            to = bed.host(source.n % 3 + 1)
            step(3, f"Live migration, {source.name} to {to.name}")
            migrate(bed, work, source, to)

            step(4, f"Power cut of {to.name}")
            at = power_cut(bed, work, to)

            step(5, "The checks")
            pages = work.verify_all(at)
            fact(f"memory: all {pages:,} pages verified by the guest, 0 corrupt", "clean")
            work.clean()
            runs = work.disk.runs()
            fact(f"disk: {runs[-1]['last']:,} records, none missing, never two writers", "clean")
        except BaseException:
            if os.environ.get("DROVER_BED_KEEP"):
                print(bed.logs())
            raise
        finally:
            work.close()
        began = clock()
    print(f"\nAll of it is switched off and removed again ({clock() - began:.2f} s).")


def choose(kind):
    """The guest to show: stock Debian where it can run, else the payload; a line that says which and why."""
    if kind == "payload" or kind == "auto" and not guests.hardware_kvm():
        why = "No VMX or SVM behind /dev/kvm here: the" if kind == "auto" else "The"
        return guests.Payload, f"{why} domain is {guests.Payload.title}."
    try:
        guest = guests.Debian()
    except (guests.artefacts.Missing, OSError, subprocess.SubprocessError) as e:
        if kind == "debian":
            raise RuntimeError(f"no Debian guest: {e}") from e
        return guests.Payload, f"{e}: the domain is {guests.Payload.title}."
    return guest, f"The domain is {guest.title}."


def arguments(argv):
    p = argparse.ArgumentParser(prog="demo", description=__doc__.splitlines()[0])
    p.add_argument("--guest", choices=["auto", "debian", "payload"], default="auto", help="what boots (auto: by the hardware)")
    p.add_argument("--fill", default=f"{FILLED}M", help="memory the guest fills, in MiB (default: %(default)s)")
    a = p.parse_args(argv)
    if not a.fill.removesuffix("M").isdigit() or not 16 <= int(a.fill.removesuffix("M")) <= 65536:
        p.error(f"--fill: got '{a.fill}', expected 16M to 65536M")
    a.fill = int(a.fill.removesuffix("M")) // 2 * 2     # guest memory comes in units of 2 MiB
    return a


def main(argv):
    a = arguments(argv)
    why = cluster.missing()
    if why:
        print(f"demo: {why}", file=sys.stderr)
        return 1
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        guest, says = choose(a.guest)
        print(f"\n{says}")
        story(guest, a.fill)
    except KeyboardInterrupt:
        print("\ninterrupted: everything is switched off and removed again", file=sys.stderr)
        return 130
    except (TimeoutError, RuntimeError, AssertionError, subprocess.SubprocessError) as e:
        print(f"\ndemo: {e}\n(DROVER_BED_KEEP=1 ./demo --no-install shows the logs)", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
