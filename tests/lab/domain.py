# SPDX-License-Identifier: Apache-2.0
"""domain - one drover-hv in a lab host, with the lab's guest in it."""
import json
import os
import re
import struct
import subprocess
import time

from lab import LabError, artefacts, bootdisk

CMDLINE = f"{artefacts.CMDLINE} {artefacts.HURRY}"


def lapic_registers(state):
    """The registers of a saved LAPIC that are not zero: offset (Intel SDM 3A 11.4.1) and value."""
    values = struct.unpack("<256I", bytes.fromhex(state))
    return " ".join(f"{4 * i:03x}={v:x}" for i, v in enumerate(values) if v)


class Domain:
    def __init__(self, node, name, kernel="vmlinux", vcpus=1, memory="256M", disk=None, bridge=None,
                 words="", options="", log=None, more_disks=(), cpu=None, more=()):
        """@kernel: None for a domain that boots from its disk.  @log: name of its log, when several processes of one name run here in turn.
        @more_disks: devices of the host, used without its cache.  @cpu, @more: of its file: its CPU, further lines."""
        self.node, self.name, self.vcpus = node, name, vcpus
        self.control_path = f"/run/{name}.sock"
        conf = [f"name: {name}", f"memory: {memory}", f"vcpus: {vcpus}"]
        if kernel:
            conf += [f"kernel: /lab/{kernel}", "initrd: /lab/guest.cpio", f'cmdline: "{CMDLINE} {words}"']
        if disk or more_disks:
            conf += ["disks:"] + [f"  - path: {path}" for path in [disk] if path]
        for path in more_disks:
            conf += [f"  - path: {path}", "    direct: true"]
        if cpu:
            conf.append(f"cpu: {cpu}")
        if bridge:
            conf += ["nics:", f"  - {{bridge: {bridge}, queues: {vcpus}}}"]
        conf += more
        file = f"{node.name}-{name}.yaml"
        with open(node.lab.path(file), "w", encoding="ascii") as f:
            f.write("\n".join(conf) + "\n")
        self.begun = time.monotonic()
        self.job = node.start(f"exec /lab/drover-hv run --console stdio --control {self.control_path} "
                              f"{options} /lab/{file}", log or name)

    def command(self, name, timeout=60, **arguments):
        """A command on the control socket: what it returns."""
        line = json.dumps({"execute": name, "arguments": arguments, "id": 1})
        out = self.node.sh(f"/lab/work control {self.control_path} '{line}'", timeout)
        for answer in (json.loads(text) for text in out.splitlines() if text.startswith("{")):
            if "return" in answer:
                return answer["return"]
            if "error" in answer:
                raise LabError(f"{self.name}: {name}: {answer['error']}")
        raise LabError(f"{self.name}: {name}: no answer in {out}")

    def wait_control(self, timeout):
        """Wait until the process listens for commands."""
        end = time.monotonic() + timeout
        while self.node.run(f"test -S {self.control_path}")[0]:
            if self.job.rc() is not None or time.monotonic() > end:
                raise LabError(f"{self.name}: no control socket in {timeout} s:\n{self.job.tail()}")
            time.sleep(0.3)

    def wait_ready(self, timeout, count=1):
        """Wait for the guest's user space; seconds since the start."""
        try:
            self.job.wait_for("guest: ready", timeout, count)
        except LabError as e:
            raise LabError(f"{e}\n{self.standing()}") from None
        return time.monotonic() - self.begun

    def standing(self):
        """For a guest that hangs: where its vCPUs are, twice, and what they have done."""
        told = []
        try:
            for _ in range(2):
                told.append(f"    {json.dumps(self.command('stats'))}")
                for i in range(self.vcpus):
                    s = self.command("state", device=f"vcpu{i}")
                    regs = struct.unpack("<18Q", bytes.fromhex(s["regs"]))
                    told.append(f"    vcpu{i}: mp_state {s['mp_state']} rip 0x{regs[16]:x} rflags 0x{regs[17]:x} "
                                f"rsp 0x{regs[6]:x} lapic {lapic_registers(s['lapic.regs'])}")
                time.sleep(3)
        except (LabError, KeyError, ValueError, struct.error) as e:
            told.append(f"    and no more: {e}")
        return "\n".join(told)

    def wait_state(self, state, timeout, source=None):
        """Wait until it is in @state; for one that arrives, @source's failure to send it ends the wait."""
        self.wait_control(timeout)
        end = time.monotonic() + timeout
        while (now := self.command("query"))["state"] != state:
            failed = source and re.search(r".*migration to .*", source.job.output())
            if failed:
                raise LabError(f"{source.node.name}: {failed.group()}")
            if time.monotonic() > end:
                raise LabError(f"{self.name}: still {now} after {timeout} s, expected {state}")
            time.sleep(0.3)
        return now


def move(source, target, address, turn):
    """Move @source's guest to @target, which waits for it at @address as incarnation @turn."""
    listen = target.wait_state("incoming", 60)["listen"]
    source.command("migrate", to=f"tcp:{address}:{listen.rsplit(':', 1)[1]}", arbiter="none", incarnation=turn,
                   downtime_ms=300, dead_ms=20000)
    target.wait_state("running", 150, source)
    seen = target.command("query").get("migration", {})
    rc = source.job.wait(60)
    if rc:
        raise LabError(f"source ended with {rc}:\n{source.job.tail()}")
    target.node.lab.say(f"{source.node.name} -> {target.node.name}: outcome {seen.get('outcome')}, "
                        f"{seen.get('total_ms', 0) / 1000:.1f} s, {seen.get('round')} rounds, "
                        f"{seen.get('sent', 0) >> 20} MiB sent")


def check_records(lab, image, part=0):
    """Read the guest's records off its disk image, or partition @part of it: how many there are, all in order."""
    local = lab.path(os.path.basename(image))
    if part:
        artefacts.write(local + ".part", bootdisk.partition(local, part))
        local += ".part"
    subprocess.run(["/sbin/e2fsck", "-p", local], check=False, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL)
    data = subprocess.run(["/sbin/debugfs", "-R", "cat /records", local], check=True,
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
    if len(data) % 64:
        raise LabError(f"{image}: {len(data)} bytes of records, not a multiple of 64")
    for i in range(len(data) // 64):
        record = data[i * 64:(i + 1) * 64].decode(errors="replace")
        if not record.startswith(f"record {i:010d} at ") or record[-1] != "\n":
            raise LabError(f"{image}: record {i} is {record!r}")
    return len(data) // 64
