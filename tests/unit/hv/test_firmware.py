# SPDX-License-Identifier: Apache-2.0
"""drover-hv with a domain that begins in firmware: a few bytes of our own at the reset vector, and Debian's SeaBIOS.

DROVER_HV names the program.
"""
import pathlib
import signal
import subprocess
import time

import pytest

from test_drover_hv import COUNT, HV, Domain, elf, needs_kvm

pytestmark = needs_kvm

SEABIOS = pathlib.Path("/usr/share/seabios/bios-256k.bin")  # package seabios
ROM_SIZE = 256 << 10
# mov $0x2000, %ax; mov %ax, %es; 1: incw %es:0; jmp 1b
COUNT_16 = bytes.fromhex("b80020 8ec0 26ff060000 ebf9")


def say(text):
    """16-bit code: @text on the serial line (mov $0x3f8, %dx; mov $CHAR, %al; out %al, %dx; ...)."""
    return b"\xba\xf8\x03" + b"".join(bytes([0xb0, c, 0xee]) for c in text)


# inb $0x3fd; wait for a byte; read it
KEY = bytes.fromhex("bafd03 ec a801 74fb baf803 ec")
RESET_92 = bytes.fromhex("b001 e692 f4")            # mov $1, %al; out %al, $0x92; hlt
RESET_CF9 = bytes.fromhex("baf90c b006 ee f4")      # mov $0xcf9, %dx; mov $6, %al; out %al, %dx; hlt
OFF = bytes.fromhex("ba0406 b80020 ef f4")          # mov $0x604, %dx; mov $0x2000, %ax; out %ax, %dx; hlt


def rom(code, size=ROM_SIZE):
    """Firmware: @code, entered at f000:e000, in real mode."""
    image = bytearray(size)
    begin = size - 0x2000
    image[begin:begin + len(code)] = code
    image[-16:-11] = bytes.fromhex("ea00e000f0")         # ljmp $0xf000, $0xe000
    return bytes(image)


def mbr(code):
    """A disk with @code in its first sector, run without interrupts (cli): the BIOS shows what waits in its timer's."""
    return ((b"\xfa" + code).ljust(510, b"\0") + b"\x55\xaa").ljust(1 << 20, b"\0")


class FirmwareDomain(Domain):
    def __init__(self, tmp, tag, lines, *args):
        self.tmp = tmp
        self.file = tmp / f"{tag}.yaml"
        self.file.write_text(f"name: web\nmemory: 16M\nvcpus: 1\n{lines}")
        self.sock = tmp / f"{tag}.sock"
        self.said = tmp / f"{tag}.said"
        with open(self.said, "wb") as out:
            self.process = subprocess.Popen([HV, "run", str(self.file), "--control", str(self.sock), "--console", "stdio", *args],
                                            stdin=subprocess.PIPE, stdout=out, stderr=subprocess.PIPE)
        self.events = []

    def wait_said(self, text, count=1, seconds=120):
        deadline = time.monotonic() + seconds
        while self.said.read_bytes().count(text) < count:
            assert self.process.poll() is None, self.process.stderr.read()
            assert time.monotonic() < deadline, self.said.read_bytes()
            time.sleep(0.02)

    def type(self, text):
        self.process.stdin.write(text)
        self.process.stdin.flush()


@pytest.fixture
def begin(tmp_path):
    made = []

    def make(tag, lines, *args):
        made.append(FirmwareDomain(tmp_path, tag, lines, *args))
        return made[-1].connect()

    yield make
    for d in made:
        if d.process.poll() is None:
            d.process.send_signal(signal.SIGCONT)
        d.end()


def own(tmp, name, code):
    (tmp / name).write_bytes(rom(code))
    return f"firmware: bios\nfirmware_image: {tmp}/{name}\n"


@pytest.mark.parametrize("reset", [RESET_92, RESET_CF9], ids=["port 0x92", "port 0xcf9"])
def test_firmware_begins_at_the_reset_vector_and_after_each_reset(begin, tmp_path, reset):
    d = begin("a", own(tmp_path, "rom", say(b"here\n") + KEY + reset))
    for count in range(1, 4):
        d.wait_said(b"here\n", count)
        d.type(b"k")
    d.wait_said(b"here\n", 4)


def test_a_reset_boots_what_the_guest_was_started_with(begin, tmp_path):
    """The file may be gone or another one by then; and what the guest has done to the copy below 1 MiB is undone."""
    scribble = bytes.fromhex("b800f0 8ed8 c70600e0f4f4")    # mov $0xf000, %ax; mov %ax, %ds; movw $0xf4f4, 0xe000
    lines = own(tmp_path, "rom", say(b"old\n") + KEY + scribble + RESET_92)
    d = begin("a", lines)
    d.wait_said(b"old\n")
    own(tmp_path, "rom", say(b"new\n"))
    d.type(b"k")
    d.wait_said(b"old\n", 2)
    (tmp_path / "rom").unlink()
    d.type(b"k")
    d.wait_said(b"old\n", 3)
    assert b"new" not in d.said.read_bytes()


def test_firmware_moves_with_its_guest(begin, tmp_path):
    """At the destination the file is another one; there the guest is reset into what it was started with."""
    source = begin("source", own(tmp_path, "here", say(b"from the source\n") + KEY + RESET_CF9), "--no-arbiter")
    source.wait_said(b"from the source\n")
    there = begin("destination", own(tmp_path, "there", say(b"of the destination\n")), "--no-arbiter", "--incoming",
                  "tcp:127.0.0.1:0")
    deadline = time.monotonic() + 30
    while "listen" not in (q := there.ok("query")):
        assert time.monotonic() < deadline
    source.ok("migrate", to=q["listen"], arbiter="none")
    there.wait_state("running", 30)
    there.type(b"k")
    there.wait_said(b"from the source\n")
    assert there.said.read_bytes() == b"from the source\n"


def test_a_destination_that_has_other_memory_is_refused(begin, tmp_path):
    """Firmware of another size, or none: said before anything is sent, and the guest runs on where it is."""
    source = begin("source", own(tmp_path, "here", say(b"begins\n") + KEY + say(b"runs on\n") + KEY), "--no-arbiter")
    source.wait_said(b"begins\n")
    (tmp_path / "small").write_bytes(rom(b"\xf4", 64 << 10))
    (tmp_path / "kernel").write_bytes(elf(COUNT))
    for tag, lines, why in (("smaller", f"firmware: bios\nfirmware_image: {tmp_path}/small\n",
                             "262144 bytes at 0xfffc0000 there, region 2 of 65536"),
                            ("without", f"kernel: {tmp_path}/kernel\n", "regions of memory: firmware there, nothing here")):
        there = begin(tag, lines, "--no-arbiter", "--incoming", "tcp:127.0.0.1:0")
        deadline = time.monotonic() + 30
        while "listen" not in (q := there.ok("query")):
            assert time.monotonic() < deadline
        source.call("migrate", to=q["listen"], arbiter="none")
        while (m := source.ok("query").get("migration", {})).get("phase") != "failed":
            assert time.monotonic() < deadline, m
            time.sleep(0.05)
        assert why in str(m)
        source.wait_state("running", 30)
        there.end()
    source.type(b"k")
    source.wait_said(b"runs on\n")


def test_firmware_powers_off(begin, tmp_path):
    d = begin("a", own(tmp_path, "rom", say(b"here\n") + KEY + OFF))
    d.wait_said(b"here\n")
    d.type(b"k")
    assert d.process.wait(30) == 0, d.process.stderr.read()


def test_what_is_no_firmware_is_refused(tmp_path):
    for size in 0, 4096, ROM_SIZE + 1, 512 << 10:
        (tmp_path / "rom").write_bytes(bytes(size))
        d = FirmwareDomain(tmp_path, "a", f"firmware: bios\nfirmware_image: {tmp_path}/rom\n")
        assert d.process.wait(30) != 0
        assert f"{size} bytes, expected a file of 64 to 256 KiB in whole pages" in d.process.stderr.read().decode()
    d = FirmwareDomain(tmp_path, "a", "firmware: bios\nfirmware_image: /nowhere/rom\n")
    assert d.process.wait(30) != 0
    assert "firmware: /nowhere/rom: No such file or directory" in d.process.stderr.read().decode()


def test_who_has_a_kernel_has_none_of_this(tmp_path):
    d = Domain(tmp_path).connect()
    names = set(d.ok("state"))
    d.end()
    assert not names & {"bridge", "lpc", "pm", "debugcon", "fw_cfg"}


@pytest.mark.skipif(not SEABIOS.exists(), reason="no SeaBIOS here (package seabios)")
def test_seabios_boots_the_first_disk_of_the_file(begin, tmp_path):
    """Its first sector is run, which resets; and again through the BIOS."""
    (tmp_path / "first").write_bytes(mbr(say(b"first disk\n") + KEY + RESET_CF9))
    (tmp_path / "second").write_bytes(mbr(say(b"second disk\n")))
    d = begin("a", f"disks:\n  - path: {tmp_path}/first\n  - path: {tmp_path}/second\n", "-v")
    for count in 1, 2:
        d.wait_said(b"first disk\n", count)
        assert d.said.read_bytes().count(b"SeaBIOS (version") == count
        d.type(b"k")
    assert b"second disk" not in d.said.read_bytes()


@pytest.mark.skipif(not SEABIOS.exists(), reason="no SeaBIOS here (package seabios)")
def test_the_bios_waits_by_the_clock_for_who_calls_it(begin, tmp_path):
    """INT 15h, AH 86h: it ends by the periodic interrupt of the clock, or never."""
    wait = bytes.fromhex("fb b90100 bae803 b88600 86c4 cd15 fa")    # 66.5 ms; sti around it
    (tmp_path / "disk").write_bytes(mbr(wait + say(b"waited\n")))
    d = begin("a", f"disks:\n  - path: {tmp_path}/disk\n")
    d.wait_said(b"waited\n")
