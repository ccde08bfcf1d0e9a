# SPDX-License-Identifier: Apache-2.0
"""guests - the two kinds of guest a domain of the bed may have.  Both do the same work and leave the same evidence: the
payload's report lines on the console, its trail on the disk (tests/guest).

    Payload   the payload is the whole guest: boots in milliseconds, runs on any KVM
    Debian    Debian's stock kernel, root on a virtio disk; the payload is a process in it: needs VMX or SVM

A kind says: title; own (MiB of memory it needs besides what it shall fill); greeting (what its console says when it is up,
if anything); machine(words, bed, name): the lines of the domain file that say what boots, to do the work of @words, with its
own disks - the caller adds the trail's.
"""

import os
import shutil
import sys

from cluster import TOP, build_dir

sys.path.insert(0, os.path.join(TOP, "tests", "linux"))

import artefacts  # noqa: E402  (found by the line above)


class Payload:
    title = "the payload of tests/guest"
    own = 64
    greeting = None

    @staticmethod
    def machine(words, bed, name):
        return [f"kernel: {os.path.join(build_dir(), 'tests/guest/payload.elf')}", f"cmdline: {words}", "disks:"]


class Debian:
    own = 256
    greeting = "guest: user space"

    def __init__(self):
        """Makes the root disk; raises artefacts.Missing when something for that is not there."""
        self.made = os.path.join(build_dir(), "tests/linux")
        program = os.path.join(build_dir(), "tests/guest/payload-linux")
        self.version = artefacts.make(self.made, {"payload": program})
        self.title = f"stock Debian, kernel {self.version} from /boot"

    def machine(self, words, bed, name):
        root = os.path.join(bed.shared, name + ".root")
        shutil.copy(os.path.join(self.made, "root.img"), root)
        words = " ".join("payload." + w for w in words.split())
        return [f"kernel: {artefacts.bzimage(self.version)}", f"initrd: {os.path.join(self.made, 'guest.cpio')}",
                f"cmdline: {artefacts.CMDLINE} {words}", "disks:", f"  - path: {root}"]


def hardware_kvm():
    """Is there VMX or SVM behind /dev/kvm?"""
    return any(os.path.exists(f"/sys/module/{m}") for m in ("kvm_intel", "kvm_amd"))
