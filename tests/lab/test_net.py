# SPDX-License-Identifier: Apache-2.0
"""lab net - the host's side of a network card on Debian's stock kernel: the tests of tests/unit/net that need
what the kernel below may be built without (VLAN filtering of bridges, for one), and none may be skipped here.

usage: test_net.py DROVER_HV WORK DIRECTORY PROGRAM...
"""
import os
import sys

from lab import LabError, main

MODULES = "tun bridge 8021q veth nf_tables"


def run(lab):
    node = lab.node("a")
    node.sh(f"modprobe -a {MODULES}")
    for program in map(os.path.abspath, sys.argv[4:]):
        said = node.sh(f"{program} 2>&1", 300)
        for line in said.splitlines():
            if "[       OK ]" in line:
                lab.say(line.split("] ", 1)[1])
        if "SKIPPED" in said or "PASSED" not in said:
            raise LabError(f"{program}:\n{said}")


if __name__ == "__main__":
    sys.exit(main(run, *sys.argv[1:4]))
