# SPDX-License-Identifier: Apache-2.0
"""lab screen - stock Debian has a screen by its own drivers (bochs-drm, virtio_input): what it prints is seen, what is
typed arrives, and both after a move to another host.

usage: test_screen.py DROVER_HV WORK DIRECTORY
"""
import os
import re
import shutil
import sys
import time

from domain import Domain, move
from lab import HERE, LabError, main

ADDRESS = {"a": "10.99.0.1", "b": "10.99.0.2"}
# The letter H of the kernel's font of 8x16 pixels (lib/fonts/font_8x16.c), a row a byte.
GLYPH_H = bytes.fromhex("0000c6c6c6c6fec6c6c6c6c600000000")
WIDTH, HEIGHT = 1280, 800
ESC = r"\\033"           # what is typed goes through an echo that knows backslashes
INPUT_EVENT = re.compile(r"^(?:\d+ ){8}(\d+) (\d+) (\d+) \d+ *$", re.M)     # two numbers of time, then type, code, value


class Picture:
    def __init__(self, data):
        magic, size, depth, self.pixels = data.split(b"\n", 3)
        self.width, self.height = map(int, size.split())
        if (magic, depth, len(self.pixels)) != (b"P6", b"255", 3 * self.width * self.height):
            raise LabError(f"a picture of {magic} {size} {depth}, {len(self.pixels)} bytes")

    def cell(self, column, row):
        """A character's place as 16 bytes, a bit for each pixel that is not black."""
        out = bytearray()
        for y in range(16 * row, 16 * row + 16):
            at = 3 * (self.width * y + 8 * column)
            bits = [any(self.pixels[at + 3 * x:at + 3 * x + 3]) for x in range(8)]
            out.append(sum(bit << (7 - x) for x, bit in enumerate(bits)))
        return bytes(out)


def shot(domain):
    """What is on the screen of @domain."""
    node = domain.node
    node.sh(f"python3 -B /lab/shot.py {domain.control_path} /lab/{node.name}.ppm", 120)
    with open(node.lab.path(f"{node.name}.ppm"), "rb") as f:
        return Picture(f.read())


def prints(domain, letters, row):
    """Have the guest print H @letters times in @row of its screen, and see it there."""
    domain.job.type(f"printf \"{ESC}[?25l{ESC}[{row + 1};1H{ESC}[2K%s\" {'H' * letters} >/dev/tty1; echo printed-{row}")
    domain.job.wait_for(f"\\nprinted-{row}", 60)
    wanted = [GLYPH_H] * letters + [bytes(16)] * 4
    end = time.monotonic() + 60
    while (seen := [(picture := shot(domain)).cell(i, row) for i in range(len(wanted))]) != wanted:
        if time.monotonic() > end:
            raise LabError(f"row {row} of the screen shows {[s.hex() for s in seen]}")
    return picture


def types(domain, number):
    """Type a command at the screen's shell, whose output goes to the serial port."""
    domain.command("send-key", text=f"echo typed-$(({number}*7)) >/dev/ttyS0\n")
    domain.job.wait_for(f"typed-{7 * number}", 60)
    domain.node.lab.say(f"{domain.node.name}: what is typed at the screen arrives")


def keys_arrive(domain):
    """Each key as the guest's input layer has it."""
    domain.job.type("cd /sys/class/input; for d in event*; do grep -q keyboard $d/device/name && k=$d; done; cd /; "
                    "echo reading-$k; dd if=/dev/input/$k bs=24 count=12 2>/dev/null | hexdump -v -e '12/2 \"%u \" \"\\\\n\"'; "
                    "echo read-it".replace("'", "'\\''"))
    domain.job.wait_for(r"\nreading-event\d", 60)
    time.sleep(1)
    domain.command("send-key", keys="ctrl-alt-f5")
    domain.job.wait_for(r"\nread-it", 60)
    got = [tuple(map(int, m)) for m in INPUT_EVENT.findall(domain.job.output())]
    keys = [(code, value) for kind, code, value in got if kind == 1]
    if keys != [(29, 1), (56, 1), (63, 1), (63, 0), (56, 0), (29, 0)]:
        raise LabError(f"ctrl-alt-f5 arrived as {got}")
    domain.node.lab.say("ctrl-alt-f5: six events of the right keys")


def start(node, disk, turn):
    options = f"--no-arbiter --incarnation {turn}" + (" --incoming tcp:0.0.0.0:0" if turn > 1 else "")
    return Domain(node, "web", disk=disk, words="lab.screen", options=options, log=f"web-{turn}", more=["display: {}"])


def run(lab):
    shutil.copy(os.path.join(HERE, "shot.py"), lab.share)
    a, b = lab.pair("a", "b")
    for node in a, b:
        node.kvm()
        node.sh(f"modprobe virtio_net; ip link set eth0 up && ip addr add {ADDRESS[node.name]}/24 dev eth0")
    disk = lab.disk("web.img")
    first = start(a, disk, 1)
    lab.say(f"guest up after {first.wait_ready(180):.1f} s")
    picture = prints(first, 10, 5)
    if (picture.width, picture.height) != (WIDTH, HEIGHT):
        raise LabError(f"a screen of {picture.width}x{picture.height}, the monitor likes {WIDTH}x{HEIGHT}")
    lab.say("what the guest prints is on its screen")
    types(first, 6)
    keys_arrive(first)
    before = prints(first, 3, 7)
    second = start(b, disk, 2)
    move(first, second, ADDRESS["b"], 2)
    after = shot(second)
    if after.pixels != before.pixels:
        raise LabError("the picture is another one after the move")
    lab.say("the picture has moved with the domain")
    prints(second, 7, 9)
    types(second, 9)
    second.job.type("poweroff -f")
    if second.job.wait(60):
        raise LabError(f"ended with {second.job.rc()}:\n{second.job.tail()}")


if __name__ == "__main__":
    sys.exit(main(run, *sys.argv[1:4]))
