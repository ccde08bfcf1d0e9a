# SPDX-License-Identifier: Apache-2.0
"""lab firmware - a domain without a kernel boots from its disk: Debian's SeaBIOS, GRUB, Debian's stock kernel.

usage: test_firmware.py DROVER_HV WORK DIRECTORY

It reboots through its firmware, moves live to another host, and reboots there, from the firmware that it was
started with: at the other host the file is another one.
"""
import sys

from domain import CMDLINE, Domain, check_records, move
from lab import LabError, main

BIOS = "/usr/share/seabios/bios-256k.bin"
SAID = b"SeaBIOS (version "      # what the BIOS says first, and another one shall not say
OTHER = b"TheBIOS (version "
BOOT = 600              # seconds; it takes a minute here, where nobody else works
ADDRESS = {"a": "10.99.0.1", "b": "10.99.0.2"}


def bios(lab, name, words):
    """A BIOS that calls itself as @words say; its path inside the hosts."""
    with open(BIOS, "rb") as f:
        data = f.read()
    if SAID not in data or len(words) != len(SAID):
        raise LabError(f"{BIOS} does not say {SAID!r}")
    with open(lab.path(name), "wb") as f:
        f.write(data.replace(SAID, words))
    return f"/lab/{name}"


def prepare(node):
    """kvm, and an address on the cable."""
    node.kvm()
    node.sh(f"modprobe virtio_net && ip link set eth0 up && ip addr add {ADDRESS[node.name]}/24 dev eth0")


def start(node, disk, turn, firmware):
    options = f"-v --no-arbiter --incarnation {turn}" + (" --incoming tcp:0.0.0.0:0" if turn > 1 else "")
    return Domain(node, "disk", kernel=None, vcpus=2, disk=disk, options=options, log=f"disk-{turn}",
                  more=[f"firmware_image: {firmware}"])


def check_boot(domain, count, timeout):
    """It has come up for the @count-th time in this process: its BIOS has said so, and what GRUB adds to the kernel's
    command line is there.  (On the console both may be cut by what moves the cursor.)"""
    took = domain.wait_ready(timeout, count=count)
    domain.job.wait_for("firmware: " + SAID.decode().replace("(", r"\("), 5, count)
    domain.job.type("cat /proc/cmdline")
    domain.job.wait_for("BOOT_IMAGE=/vmlinuz ", 60, count)
    return took


def run(lab):
    a, b = lab.pair("a", "b")
    for node in a, b:
        prepare(node)
    disk = lab.boot_disk("disk.img", f"{CMDLINE} lab.work")
    first = start(a, disk, 1, bios(lab, "bios-a.bin", SAID))
    lab.say(f"BIOS, GRUB, kernel, 2 vCPUs: user space after {check_boot(first, 1, BOOT):.1f} s")
    said = first.job.wait_for(r"guest: user space .*", 5).group()
    if said.split(", ")[2:] != ["2 cpus", "root /dev/vda2 ext4"]:
        raise LabError(f"the guest says {said}")
    first.job.type("sync; reboot -f")
    check_boot(first, 2, BOOT)
    lab.say("reboot: through BIOS and GRUB again")
    before = int(first.job.wait_for(r"work: record (\d+),", 60, 2).group(1))
    second = start(b, disk, 2, bios(lab, "bios-b.bin", OTHER))
    move(first, second, ADDRESS["b"], 2)
    second.job.wait_for(rf"work: record (?!{before},)\d+,", 60)
    second.job.type("sync; reboot -f")
    check_boot(second, 1, BOOT)
    if OTHER.decode() in second.job.output():
        raise LabError("the guest was reset into the BIOS of the other host")
    lab.say("reboot at the destination: through the BIOS that it was started with")
    second.command("stop")
    second.job.wait_for("guest: power button", 120)
    if second.job.wait(120):
        raise LabError(f"it ended with {second.job.rc()}:\n{second.job.tail()}")
    lab.say(f"{check_records(lab, disk, 2)} records on the disk, in order")


if __name__ == "__main__":
    sys.exit(main(run, *sys.argv[1:4]))
