# SPDX-License-Identifier: Apache-2.0
"""lab cpu - what stock Debian finds of its processor, and where that lets it move, on two hosts of which one has more.

usage: test_cpu.py DROVER_HV WORK DIRECTORY
"""
import re
import sys
import time

from domain import Domain, move
from lab import LabError, main
from test_boot import expect

ADDRESS = {"a": "10.99.0.1", "b": "10.99.0.2"}
LESS = ("avx2", "fma", "rdrand")     # which host b has not
LEVEL = "{model: x86-64-v2, topology: {sockets: 2, threads: 2}}"


def prepare(node):
    node.kvm()
    node.sh(f"modprobe virtio_net && ip link set eth0 up && ip addr add {ADDRESS[node.name]}/24 dev eth0")


def start(node, name, disk, turn=1, cpu="{model: host}", vcpus=1):
    options = f"--no-arbiter --incarnation {turn}" + (" --incoming tcp:0.0.0.0:0" if turn > 1 else "")
    return Domain(node, name, vcpus=vcpus, disk=disk, options=options, log=f"{name}-{turn}", cpu=cpu)


def cpuinfo(domain):
    """What /proc/cpuinfo says of each of the guest's processors: [{key: value}]."""
    domain.job.type("cat /proc/cpuinfo; echo told-$((6*7))")
    domain.job.wait_for("told-42", 60)
    text = domain.job.output().replace("\r", "")
    text = text[text.rindex("processor\t: 0\n"):]
    return [dict(re.findall(r"^(.+?)\s*:[ ]?(.*)$", part, re.M)) for part in re.split(r"\n(?=processor\t)", text)]


def check_level(cpus):
    flags = cpus[0]["flags"].split()
    expect("name", cpus[0]["model name"], "x86-64-v2 Processor")
    expect("family, model, stepping", [cpus[0][k] for k in ("cpu family", "model", "stepping")], ["15", "107", "1"])
    missing = {"cx16", "lahf_lm", "popcnt", "pni", "sse4_1", "sse4_2", "ssse3", "x2apic", "hypervisor"} - set(flags)
    if missing:
        raise LabError(f"the guest lacks {sorted(missing)}")
    if more := {"avx", "avx2", "fma", "xsave", "aes", "rdrand", "movbe", "bmi1", "smep", "erms", "pku", "svm"} & set(flags):
        raise LabError(f"the guest sees {sorted(more)}")
    expect("addresses", cpus[0]["address sizes"], "39 bits physical, 48 bits virtual")
    # 2 sockets of 2 cores of 2 threads
    expect("processors", len(cpus), 8)
    expect("siblings and cores", {(c["siblings"], c["cpu cores"]) for c in cpus}, {("4", "2")})
    expect("sockets", [c["physical id"] for c in cpus], ["0"] * 4 + ["1"] * 4)
    expect("cores", [c["core id"] for c in cpus], ["0", "0", "1", "1"] * 2)


def check_refused(source, target):
    """A guest that saw what the other host has not stays, and the features are named before anything is sent."""
    listen = target.wait_state("incoming", 60)["listen"]
    source.command("migrate", to=f"tcp:{ADDRESS['b']}:{listen.rsplit(':', 1)[1]}", arbiter="none", incarnation=2, dead_ms=20000)
    end = time.monotonic() + 60
    while not (why := source.command("query").get("migration", {}).get("error")):
        if time.monotonic() > end:
            raise LabError("the migration was not refused")
        time.sleep(0.5)
    source.node.lab.say(f"refused: {why}")
    if "lacks what the guest uses: " not in why or not all(re.search(rf"\b{name}\b", why) for name in LESS):
        raise LabError(f"{LESS} were expected in: {why}")
    expect("state", source.command("query")["state"], "running")


def what_a_model_lacks_is_named(lab, a, b):
    """A host that has not all of a model does not start the domain."""
    d = Domain(a, "v4", cpu="{model: x86-64-v4}")
    expect("exit status where the host lacks of the model", d.job.wait(60), 5)
    if "lacks what the domain's model x86-64-v4 has: avx512f" not in d.job.output():
        raise LabError(d.job.output())


def a_level_is_seen_and_moves(lab, a, b):
    """The guest finds the level and the topology, and nothing else, wherever it is."""
    level = start(a, "level", lab.disk("level.img"), cpu=LEVEL, vcpus=8)
    lab.say(f"x86-64-v2, 8 vCPUs: user space after {level.wait_ready(300):.1f} s")
    check_level(cpuinfo(level))
    for turn, node in (2, b), (3, a):
        there = start(node, "level", "/lab/level.img", turn, LEVEL, 8)
        move(level, there, ADDRESS[node.name], turn)
        level = there
        level.job.type("")
        check_level(cpuinfo(level))
    level.job.type("poweroff -f")
    expect("exit status", level.job.wait(120), 0)


def a_guest_that_saw_more_stays(lab, a, b):
    """A guest without a model moves to no host that has less."""
    host = start(a, "host", lab.disk("host.img"))
    host.wait_ready(180)
    check_refused(host, start(b, "host", "/lab/host.img", turn=2))
    host.job.type("poweroff -f")
    expect("exit status", host.job.wait(60), 0)


def run(lab):
    a, b = lab.pair("a", "b", cpus=("max", ",".join(["max"] + [f"{name}=off" for name in LESS])))
    for node in a, b:
        prepare(node)
    for case in what_a_model_lacks_is_named, a_level_is_seen_and_moves, a_guest_that_saw_more_stays:
        case(lab, a, b)


if __name__ == "__main__":
    sys.exit(main(run, *sys.argv[1:4]))
