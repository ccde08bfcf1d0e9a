# SPDX-License-Identifier: Apache-2.0
"""bootdisk - a disk that a BIOS boots: GRUB, and Debian's stock kernel with the guest of artefacts.py;
no root needed, nothing mounted.

    sector 0       GRUB's boot sector and the partition table
    sector 1 ...   GRUB's core image, with all it needs in it and what it shall do
    partition 1    ext2: kernel and initrd
    partition 2    the guest's root disk (root.img)
"""
import os
import shutil
import struct
import subprocess
import tempfile

from artefacts import Missing, bzimage, read, stale

GRUB = "/usr/lib/grub/i386-pc"
GRUB_MODULES = ["biosdisk", "part_msdos", "ext2", "linux"]
SECTOR = 512
ALIGN = 1 << 20         # where partitions begin; before the first is room for GRUB
BOOT_SIZE = 48 << 20
LINUX = 0x83            # type of a partition
ACTIVE = 0x80


def grub_core(path, cmdline):
    """GRUB's core image at @path; it boots the kernel of partition 1 with @cmdline at once."""
    config = path + ".cfg"
    with open(config, "w", encoding="ascii") as f:
        f.write("set root=hd0,msdos1\n"
                f"linux /vmlinuz {cmdline} lab.root=/dev/vda2\ninitrd /guest.cpio\nboot\n")
    if not shutil.which("grub-mkimage"):
        raise Missing("no grub-mkimage (package grub-common)")
    subprocess.run(["grub-mkimage", "-O", "i386-pc", "-d", GRUB, "-p", "/", "-c", config, "-o", path, *GRUB_MODULES],
                   check=True)
    return read(path)


def file_system(path, size, files):
    """An ext2 image with @files: {name: path of its contents}."""
    tree = tempfile.mkdtemp(prefix="drover-boot")
    try:
        for name, source in files.items():
            shutil.copy(source, os.path.join(tree, name))
        with open(path, "wb") as f:
            f.truncate(size)
        subprocess.run(["/sbin/mkfs.ext2", "-q", "-F", "-d", tree, "-E", "root_owner=0:0,nodiscard", path], check=True)
    finally:
        shutil.rmtree(tree)


def boot_sector(partitions):
    """GRUB's boot sector, which reads the core from sector 1 on, with a table of (first, count) in sectors."""
    code = bytearray(read(os.path.join(GRUB, "boot.img")))
    code[446:510] = bytes(64)       # code for floppy disks
    for i, (first, count) in enumerate(partitions):
        struct.pack_into("<B3sB3sII", code, 446 + 16 * i, 0 if i else ACTIVE, b"\xff\xff\xff", LINUX, b"\xff\xff\xff",
                         first, count)
    code[510:512] = b"\x55\xaa"
    return bytes(code)


def make(directory, version, cmdline):
    """Make boot.img in @directory, beside what artefacts.make() has put there, if it is missing or old."""
    if not os.path.exists(os.path.join(GRUB, "boot.img")):
        raise Missing(f"no {GRUB}/boot.img (package grub-pc-bin)")
    path, cpio, root = (os.path.join(directory, n) for n in ("boot.img", "guest.cpio", "root.img"))
    if not stale(path, version, cpio, root, os.path.abspath(__file__)):
        return path
    core = grub_core(os.path.join(directory, "core.img"), cmdline)
    if len(core) > ALIGN - SECTOR:
        raise Missing(f"GRUB's core image has {len(core)} bytes")
    boot = os.path.join(directory, "bootfs.img")
    file_system(boot, BOOT_SIZE, {"vmlinuz": bzimage(version), "guest.cpio": cpio})
    parts, at = [], ALIGN
    for source in boot, root:
        parts.append((at // SECTOR, os.path.getsize(source) // SECTOR))
        at += os.path.getsize(source)
    with open(path + ".new", "wb") as f:
        f.write(boot_sector(parts) + core)
        for (first, _), source in zip(parts, (boot, root)):
            f.seek(first * SECTOR)
            f.write(read(source))
    os.replace(path + ".new", path)
    return path


def partition(path, number):
    """The bytes of partition @number (from 1) of the disk image at @path."""
    with open(path, "rb") as f:
        table = f.read(SECTOR)
        first, count = struct.unpack_from("<II", table, 446 + 16 * (number - 1) + 8)
        f.seek(first * SECTOR)
        return f.read(count * SECTOR)
