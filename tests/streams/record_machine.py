#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""record_machine - writes what two drover-hv say while a small machine moves, by the name of the directory:

    1-machine    one device of each kind
    1-firmware   the same, beginning in firmware
    1-screen     a screen, and what a person and an agent use

usage: unshare -rn sh -c 'ip link set lo up; DROVER_HV=build/cmd/drover-hv/drover-hv record_machine.py DIR/1-WHAT'

Needs /dev/kvm. A NIC makes a tap device, hence the network of its own."""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.dont_write_bytecode = True
sys.path[:0] = [str(HERE.parent / "unit/hv"), str(HERE.parent / "unit/migrate")]
import stream_reader                                # noqa: E402
from test_drover_hv import COUNT, Domain, HV, elf   # noqa: E402
from test_firmware import COUNT_16, rom             # noqa: E402
from test_screen import DRAW                        # noqa: E402

# Contents in 64 pages from 4 MiB on: mov $0x400000, %edi; mov $64, %ecx; 1: mov %edi, 1(%edi); add $0x1000, %edi; loop 1b
FILL = bytes.fromhex("bf00004000 b940000000 897f01 81c700100000 e2f5") + COUNT


class Vmm(Domain):
    def __init__(self, tmp, tag, capture, *args):
        self.sock = tmp / f"{tag}.sock"
        self.process = subprocess.Popen([HV, "run", str(tmp / "web.yaml"), "--control", str(self.sock), "--no-arbiter", "--no-sandbox", *args],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                        text=True, env={**os.environ, "DROVER_CAPTURE": str(capture)})
        self.events = []


DEVICES = "disks:\n  - path: {tmp}/disk\nnics:\n  - mac: 52:54:00:00:00:01\n"
MACHINES = {    # what its kernel does, what else is in its file
    "1-machine": (FILL, "kernel: {tmp}/kernel\n" + DEVICES),
    "1-firmware": (FILL, "firmware: bios\nfirmware_image: {tmp}/rom\n" + DEVICES),
    "1-screen": (DRAW, "kernel: {tmp}/kernel\nrng: false\ndisplay:\n  memory: 4M\nguest_agent: true\n"),
}


def record(tmp, out):
    kernel, more = MACHINES[out.name]
    (tmp / "kernel").write_bytes(elf(kernel))
    (tmp / "rom").write_bytes(rom(COUNT_16))
    (tmp / "disk").write_bytes(bytes(1 << 20))
    (tmp / "web.yaml").write_text("name: web\nuuid: 6ba7b810-9dad-41d1-80b4-00c04fd430c8\nmemory: 8M\nvcpus: 2\n" +
                                  more.format(tmp=tmp))
    destination = Vmm(tmp, "destination", out, "--incoming", "tcp:127.0.0.1:0").connect()
    while "listen" not in (q := destination.ok("query")):
        time.sleep(0.01)
    source = Vmm(tmp, "source", out).connect()
    time.sleep(0.3)                                 # its guest has filled its pages
    try:
        source.ok("migrate", to=q["listen"], arbiter="none", compress="on", channels=2)
        destination.wait_state("running", 20)
        assert source.process.wait(10) == 0
    finally:
        source.end()
        destination.end()


def main(out):
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as tmp:
        record(Path(tmp), out)
    for name in out.iterdir():
        name.chmod(0o644)
    (out / "expected").write_text("\n".join(stream_reader.verify(out)["memory"]) + "\n")


if __name__ == "__main__":
    if len(sys.argv) != 2 or Path(sys.argv[1]).name not in MACHINES:
        sys.exit(__doc__)
    main(sys.argv[1])
