# SPDX-License-Identifier: Apache-2.0
"""lab screen - stock Debian has a screen by its own drivers (bochs-drm, virtio_input): what it prints is seen, what is
typed arrives, and both after a move to another host.  Beside it its agent (qemu-ga, by virtio_console) does what it is asked.

usage: test_screen.py DROVER_HV WORK DIRECTORY DROVER
"""
import os
import re
import shutil
import sys
import time

from domain import Domain, move
from lab import HERE, LabError, main

sys.path.insert(0, os.path.join(HERE, ".."))
import png  # noqa: E402

DROVER = sys.argv[4]
ADDRESS = {"a": "10.99.0.1", "b": "10.99.0.2"}
# The letter H of the kernel's font of 8x16 pixels (lib/fonts/font_8x16.c), a row a byte.
GLYPH_H = bytes.fromhex("0000c6c6c6c6fec6c6c6c6c600000000")
WIDTH, HEIGHT = 1280, 800
PATIENCE = 240          # seconds, for what takes a second: an emulated host on a busy machine
ESC = r"\\033"           # what is typed goes through an echo that knows backslashes
INPUT_EVENT = re.compile(r"^(?:\d+ ){8}(\d+) (\d+) (\d+) \d+ *$", re.M)     # two numbers of time, then type, code, value


class Picture:
    def __init__(self, data):
        self.width, self.height, rows = png.pixels(data)
        self.pixels = b"".join(rows)

    def cell(self, column, row):
        """A character's place as 16 bytes, a bit for each pixel that is not black."""
        out = bytearray()
        for y in range(16 * row, 16 * row + 16):
            at = 3 * (self.width * y + 8 * column)
            bits = [any(self.pixels[at + 3 * x:at + 3 * x + 3]) for x in range(8)]
            out.append(sum(bit << (7 - x) for x, bit in enumerate(bits)))
        return bytes(out)


def drover(domain, *words):
    """The command drover in the domain's host: exit status and output."""
    quoted = " ".join(f"'{w}'" for w in words)
    return domain.node.run(f"python3 -B /lab/cli.py {domain.control_path} /lab/drover {quoted}", PATIENCE)


def asks(domain, *words):
    """The same, which must succeed: its output."""
    rc, out = drover(domain, *words)
    if rc:
        raise LabError(f"drover {' '.join(words)} ended with {rc}: {out}")
    return out


def shot(domain):
    """What is on the screen of @domain."""
    file = f"{domain.node.name}.png"
    asks(domain, "screenshot", "web", f"/lab/{file}")
    with open(domain.node.lab.path(file), "rb") as f:
        return Picture(f.read())


def cells(picture, row, n):
    return [picture.cell(i, row) for i in range(n)]


def prints(domain, letters, row):
    """Have the guest print H @letters times in @row of its screen, and see it there."""
    domain.job.type(f"printf \"{ESC}[?25l{ESC}[{row + 1};1H{ESC}[2K%s\" {'H' * letters} >/dev/tty1; echo printed-{row}")
    domain.job.wait_for(f"\\nprinted-{row}", PATIENCE)
    wanted = [GLYPH_H] * letters + [bytes(16)] * 4
    end = time.monotonic() + PATIENCE
    while (seen := cells(picture := shot(domain), row, len(wanted))) != wanted:
        if time.monotonic() > end:
            raise LabError(f"row {row} of the screen shows {[s.hex() for s in seen]}")
    return picture


def types(domain, number):
    """Type a command at the screen's shell, whose output goes to the serial port."""
    asks(domain, "send-key", "web", "ret", "--text", f"echo typed-$(({number}*7)) >/dev/ttyS0\n")
    domain.job.wait_for(f"typed-{7 * number}", PATIENCE)
    domain.node.lab.say(f"{domain.node.name}: what is typed at the screen arrives")


def keys_arrive(domain):
    """Each key as the guest's input layer has it."""
    domain.job.type("cd /sys/class/input; for d in event*; do grep -q keyboard $d/device/name && k=$d; done; cd /; "
                    "echo reading-$k; dd if=/dev/input/$k bs=24 count=12 2>/dev/null | hexdump -v -e '12/2 \"%u \" \"\\\\n\"'; "
                    "echo read-it".replace("'", "'\\''"))
    domain.job.wait_for(r"\nreading-event\d", PATIENCE)
    time.sleep(1)
    asks(domain, "send-key", "web", "ctrl-alt-f5")
    domain.job.wait_for(r"\nread-it", PATIENCE)
    got = [tuple(map(int, m)) for m in INPUT_EVENT.findall(domain.job.output())]
    keys = [(code, value) for kind, code, value in got if kind == 1]
    if keys != [(29, 1), (56, 1), (63, 1), (63, 0), (56, 0), (29, 0)]:
        raise LabError(f"ctrl-alt-f5 arrived as {got}")
    domain.node.lab.say("ctrl-alt-f5: six events of the right keys")


def agent_answers(domain):
    """Each thing that the agent can be asked, but the last."""
    for what, said in (("ping", "answers"), ("info", "version 7"), ("addresses", "127.0.0.1/8"), ("freeze", "1 file systems"),
                       ("thaw", "1 file systems")):
        out = asks(domain, "guest", "web", what)
        if said not in out:
            raise LabError(f"guest {what}: expected '{said}' in {out}")
    domain.node.lab.say(f"{domain.node.name}: the guest's agent answers")


def start(node, disk, turn):
    options = f"--no-arbiter --incarnation {turn}" + (" --incoming tcp:0.0.0.0:0" if turn > 1 else "")
    return Domain(node, "web", disk=disk, words="lab.screen lab.agent", options=options, log=f"web-{turn}", more=["display: {}", "guest_agent: true"])


def run(lab):
    shutil.copy(os.path.join(HERE, "cli.py"), lab.share)
    shutil.copy(DROVER, os.path.join(lab.share, "drover"))
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
    agent_answers(first)
    before = prints(first, 3, 7)
    second = start(b, disk, 2)
    move(first, second, ADDRESS["b"], 2)
    after = shot(second)
    if after.pixels != before.pixels:
        raise LabError("the picture is another one after the move")
    lab.say("the picture has moved with the domain")
    prints(second, 7, 9)
    types(second, 9)
    agent_answers(second)
    asks(second, "guest", "web", "shutdown")
    if second.job.wait(PATIENCE):
        raise LabError(f"ended with {second.job.rc()}:\n{second.job.tail()}")


if __name__ == "__main__":
    sys.exit(main(run, *sys.argv[1:4]))
