# SPDX-License-Identifier: Apache-2.0
"""lab demo - the demo with stock Debian, whole, in a lab host: three hosts in namespaces, a live
migration, a power cut, fencing, restart, clean checks.

usage: test_demo.py BUILD WORK DIRECTORY

An emulated host is some twenty times slower than a real one, so the demo gets more patience, a longer
token and less work (DROVER_BED_SLOW); what it shows must be the same.
"""
import os
import re
import shutil
import sys

from lab import LabError, artefacts, main

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SLOW, FILL = 6, "64M"
PROGRAMS = ["cmd/droverd/droverd", "cmd/drover/drover", "cmd/drover-hv/drover-hv",
            "tests/guest/payload-linux"]
# What must stand in its story, in this order.
STORY = [r"stock Debian, kernel \S+ from /boot", r"n1, n2 and n3 agree",
         r"leaves a numbered trail on its disk", r"kernel \S+, 1 cpus, root /dev/vda ext4",
         r"Live migration, n\d to n\d", r"its virtual CPUs stood still", r"the guest itself felt",
         r"none corrupt", r"Power cut of n\d", r"the others miss it", r"confirms to fence_ipmilan",
         r"proved dead", r"restarted on n\d", r"it writes to its disk again",
         r"0 corrupt +clean", r"never two writers +clean"]


def pack(lab, build):
    """Programs, scripts and guest, in the shared directory: a lab host sees nothing of our /tmp."""
    for name in "cluster", "guest", "linux":
        shutil.copytree(os.path.join(TOP, "tests", name), lab.path(f"tree/tests/{name}"))
    for name in PROGRAMS:
        path = lab.path("tree/build/" + name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        shutil.copy2(os.path.join(build, name), path)
    artefacts.make(lab.path("tree/build/tests/linux"),
                   {"payload": lab.path("tree/build/tests/guest/payload-linux")})


def check_story(told):
    at = 0
    for pattern in STORY:
        found = re.compile(pattern).search(told, at)
        if not found:
            raise LabError(f"the demo did not tell '{pattern}', or not in its turn")
        at = found.end()


def run(lab, build):
    pack(lab, build)
    node = lab.node("a", memory=3072).kvm()
    node.sh("modprobe -a veth bridge && cp -a /lab/tree /srv/drover", 120)
    job = node.start(f"DROVER_BED_SLOW={SLOW} exec /usr/bin/python3 -B "
                     f"/srv/drover/tests/cluster/demo.py --fill {FILL}", "demo")
    try:
        rc = job.wait(500)
    finally:
        print(job.output())
    if rc:
        raise LabError(f"the demo ended with {rc}")
    check_story(job.output())


if __name__ == "__main__":
    BUILD, WORK, DIRECTORY = sys.argv[1:4]
    sys.exit(main(lambda lab: run(lab, BUILD), None, WORK, DIRECTORY))
