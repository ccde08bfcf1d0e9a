# SPDX-License-Identifier: Apache-2.0
"""lab boot - stock Debian under drover-hv, on a real kvm_amd: each way in, each way out.

usage: test_boot.py DROVER_HV WORK DIRECTORY
"""
import sys

from domain import Domain, check_records
from lab import LabError, main


def expect(what, got, wanted):
    if got != wanted:
        raise LabError(f"{what}: got {got!r}, expected {wanted!r}")


def bzimage_works_on_its_disk(lab, node):
    """A bzImage boots by the 64-bit protocol to user space with its root on a virtio disk, with
    two vCPUs; takes input on its console; the power button ends it."""
    disk = lab.disk("bzimage.img")
    d = Domain(node, "bzimage", kernel="bzImage", vcpus=2, disk=disk, words="lab.work")
    took = d.wait_ready(180)
    said = d.job.wait_for(r"guest: user space .*", 5).group()
    expect("cpus and root", said.split(", ")[2:], ["2 cpus", "root /dev/vda ext4"])
    d.job.wait_for(r"work: record 9,", 30)
    d.job.type("echo answer-$((6*7))")
    d.job.wait_for(r"answer-42", 20)
    lab.say(f"bzImage, 2 vCPUs: user space on its virtio disk after {took:.1f} s")
    d.command("stop")
    d.job.wait_for("guest: power button", 30)
    expect("exit status after the power button", d.job.wait(60), 0)
    lab.say(f"power button: off, {check_records(lab, disk)} records on the disk in order")


def pvh_reboots_and_powers_off(lab, node):
    """The ELF of the same kernel boots by PVH; a reboot starts it again in the same process, and a
    power-off ends it."""
    d = Domain(node, "pvh", vcpus=2, disk=lab.disk("pvh.img"))
    took = d.wait_ready(120)
    lab.say(f"PVH ELF, 2 vCPUs: user space after {took:.1f} s")
    d.job.type("reboot -f")
    d.wait_ready(120, count=2)
    lab.say("reboot: user space again")
    d.job.type("poweroff -f")
    expect("exit status after power-off", d.job.wait(60), 0)
    lab.say("power-off: ended with 0")


def many_vcpus_boot(lab, node):
    """32 vCPUs come up."""
    d = Domain(node, "many", vcpus=32, memory="512M", disk=lab.disk("many.img"))
    took = d.wait_ready(300)
    said = d.job.wait_for(r"guest: user space .*", 5).group()
    expect("cpus", said.split(", ")[2], "32 cpus")
    lab.say(f"32 vCPUs: user space after {took:.1f} s")
    d.job.type("poweroff -f")
    expect("exit status", d.job.wait(120), 0)


def run(lab):
    node = lab.node("a", memory=1536).kvm()
    for case in bzimage_works_on_its_disk, pvh_reboots_and_powers_off, many_vcpus_boot:
        case(lab, node)


if __name__ == "__main__":
    sys.exit(main(run, *sys.argv[1:4]))
