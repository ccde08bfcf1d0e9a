# SPDX-License-Identifier: Apache-2.0
"""artefacts - a small guest with Debian's stock kernel, made from what Debian installed; no root
needed, nothing mounted.

    guest.cpio    initrd of the guest: modules for virtio-blk and ext4, initrd
    root.img      its ext4 root disk: busybox, the programs it shall have, modules, init
    vmlinux       the ELF inside /boot/vmlinuz-*-amd64, for who wants that instead of the bzImage

The lab (tests/lab) and the demo (tests/cluster) boot it.  All is written into one directory and
made again only when something it comes from is newer.
"""
import glob
import lzma
import os
import re
import shutil
import struct
import subprocess
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
BUSYBOX = "/bin/busybox"
INITRD_MODULES = ["virtio_pci", "virtio_blk", "ext4"]
ROOT_MODULES = ["virtio_net", "virtio_rng", "button", "evdev"]
ASKED_MODULES = {"screen": ["bochs", "virtio_input", "evdev"], "agent": ["virtio_console"]}     # loaded for the word lab.NAME only
AGENT = "/usr/sbin/qemu-ga"     # with its libraries, where the package qemu-guest-agent is installed
ROOT_SIZE = 40 << 20
CMDLINE = "console=ttyS0 quiet panic=-1"
HURRY = "nokaslr mitigations=off tsc=reliable"      # only makes an emulated boot shorter


class Missing(Exception):
    """Something that is needed is not on this machine; the text says what."""


def kernel_version():
    """The newest Debian kernel that has both an image and modules."""
    for image in sorted(glob.glob("/boot/vmlinuz-*-amd64"), reverse=True):
        version = os.path.basename(image).removeprefix("vmlinuz-")
        if "cloud" not in version and os.path.isdir("/lib/modules/" + version):
            return version
    raise Missing("no /boot/vmlinuz-*-amd64 with modules (package linux-image-amd64)")


def bzimage(version):
    return "/boot/vmlinuz-" + version


def unpack_kernel(path):
    """The ELF inside a bzImage (Documentation/x86/boot.rst: payload_offset, payload_length)."""
    with open(path, "rb") as f:
        data = f.read()
    start = ((data[0x1f1] or 4) + 1) * 512
    offset, length = struct.unpack_from("<II", data, 0x248)
    payload = data[start + offset:start + offset + length]
    if payload[:6] != b"\xfd7zXZ\0":
        raise Missing(f"{path}: payload begins {payload[:6].hex()}, expected xz")
    elf = lzma.LZMADecompressor(format=lzma.FORMAT_XZ).decompress(payload)
    if elf[:4] != b"\x7fELF":
        raise Missing(f"{path}: the payload is no ELF file")
    return elf


class Cpio:
    """An initramfs in the "newc" format (Documentation/driver-api/early-userspace/buffer-format.rst)."""

    def __init__(self):
        self.out = bytearray()
        self.inode = 0
        self.dirs = set()

    def _entry(self, name, mode, data=b"", rdev=(0, 0)):
        self.inode += 1
        raw = name.encode() + b"\0"
        fields = [self.inode, mode, 0, 0, 1, 0, len(data), 0, 0, *rdev, len(raw), 0]
        self.out += b"070701" + b"".join(b"%08x" % v for v in fields) + raw
        self.out += b"\0" * (-len(self.out) % 4) + data
        self.out += b"\0" * (-len(self.out) % 4)

    def directory(self, name):
        if name and name not in self.dirs:
            self.directory(os.path.dirname(name))
            self.dirs.add(name)
            self._entry(name, 0o040755)

    def file(self, name, data, mode=0o644):
        self.directory(os.path.dirname(name))
        self._entry(name, 0o100000 | mode, data)

    def link(self, name, target):
        self.directory(os.path.dirname(name))
        self._entry(name, 0o120777, target.encode())

    def device(self, name, major, minor):
        self.directory(os.path.dirname(name))
        self._entry(name, 0o020600, rdev=(major, minor))

    def bytes(self):
        end = Cpio()
        end._entry("TRAILER!!!", 0)
        return bytes(self.out + end.out)


def read(path):
    with open(path, "rb") as f:
        return f.read()


def modules(version, names):
    """[(file name, contents)] of modules and what they need, in the order to load them."""
    found = {}
    for name in names:
        lines = subprocess.run(["/sbin/modprobe", "-S", version, "--show-depends", name], check=True,
                               stdout=subprocess.PIPE, text=True).stdout.splitlines()
        for words in (line.split() for line in lines):
            if words[0] != "insmod":
                continue
            base = os.path.basename(words[1]).removesuffix(".xz")
            if base not in found:
                data = read(words[1])
                found[base] = lzma.decompress(data) if words[1].endswith(".xz") else data
    return list(found.items())


def initramfs(init, mods):
    c = Cpio()
    for d in "proc", "sys", "dev", "newroot":
        c.directory(d)
    c.device("dev/console", 5, 1)
    c.file("bin/busybox", read(BUSYBOX), 0o755)
    for applet in subprocess.run([BUSYBOX, "--list"], check=True, stdout=subprocess.PIPE,
                                 text=True).stdout.split():
        if applet != "busybox":
            c.link("bin/" + applet, "busybox")
    for name, data in mods:
        c.file("modules/" + name, data)
    c.file("modules.order", "".join(n + "\n" for n, _ in mods).encode())
    c.file("init", read(init), 0o755)
    return c.bytes()


def root_modules(tree, order, mods, there):
    """Put modules into the image and their names into the list @order, but for those that are @there; what came."""
    new = {name: data for name, data in mods if name not in there}
    for name, data in new.items():
        with open(os.path.join(tree, "modules", name), "wb") as f:
            f.write(data)
    with open(os.path.join(tree, "modules", order), "w", encoding="ascii") as f:
        f.writelines(name + "\n" for name in new)
    return new


def copy_with_libraries(tree, program):
    """A program of Debian's into the image, at its place, with what it is linked to."""
    found = subprocess.run(["ldd", program], check=True, stdout=subprocess.PIPE, text=True).stdout
    for path in [program] + re.findall(r"(?:=> |^\s+)(/\S+) \(", found, re.M):
        os.makedirs(tree + os.path.dirname(path), exist_ok=True)
        shutil.copy(path, tree + path)


def root_image(path, version, programs):
    """An ext4 image with the guest's user space; @programs: {name: static program}."""
    tree = tempfile.mkdtemp(prefix="drover-root")
    try:
        for d in "bin", "sbin", "proc", "sys", "dev", "run", "modules", "etc":
            os.makedirs(os.path.join(tree, d))
        shutil.copy(BUSYBOX, os.path.join(tree, "bin/busybox"))
        for name, program in programs.items():
            shutil.copy(program, os.path.join(tree, "bin", name))
        if os.path.exists(AGENT):
            copy_with_libraries(tree, AGENT)
        shutil.copy(os.path.join(HERE, "init"), os.path.join(tree, "sbin/init"))
        os.chmod(os.path.join(tree, "sbin/init"), 0o755)
        there = dict(modules(version, INITRD_MODULES))
        for order, names in {"order": ROOT_MODULES, **ASKED_MODULES}.items():
            there |= root_modules(tree, order, modules(version, names), there)
        with open(path, "wb") as f:
            f.truncate(ROOT_SIZE)
        subprocess.run(["/sbin/mkfs.ext4", "-q", "-F", "-d", tree, "-L", "root",
                        "-E", "root_owner=0:0,nodiscard", path], check=True)
    finally:
        shutil.rmtree(tree)


def stale(target, version, *sources):
    """Is @target not there, or older than what it is made of?"""
    return not os.path.exists(target) or any(
        os.path.getmtime(target) <= os.path.getmtime(s)
        for s in (os.path.abspath(__file__), bzimage(version), *sources))


def write(path, data):
    with open(path + ".new", "wb") as f:
        f.write(data)
    os.replace(path + ".new", path)


def make(directory, programs):
    """Make what is missing or old in @directory; @programs: {name: static program} for its /bin.
    Returns the kernel version."""
    version = kernel_version()
    if not os.path.exists(BUSYBOX):
        raise Missing("no /bin/busybox (package busybox-static)")
    os.makedirs(directory, exist_ok=True)
    init, initrd = os.path.join(HERE, "init"), os.path.join(HERE, "initrd")
    cpio, root = os.path.join(directory, "guest.cpio"), os.path.join(directory, "root.img")
    if stale(cpio, version, initrd):
        write(cpio, initramfs(initrd, modules(version, INITRD_MODULES)))
    if stale(root, version, init, *programs.values(), *filter(os.path.exists, [AGENT])):
        root_image(root + ".new", version, programs)
        os.replace(root + ".new", root)
    return version


def make_vmlinux(directory, version):
    path = os.path.join(directory, "vmlinux")
    if stale(path, version):
        write(path, unpack_kernel(bzimage(version)))
