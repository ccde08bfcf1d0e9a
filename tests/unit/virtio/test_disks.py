#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Disks of whole domains: who may have them, and what is said to whom may not.

usage: test_disks.py DROVER_HV PAYLOAD DROVER        (exit 77 without /dev/kvm)
"""
import contextlib
import fcntl
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "guest"))

import diskcheck  # noqa: E402  (found by the line above)

F_OFD_SETLK = 37
LEASE_MAGIC = 0x657361656c766f72  # conf/lease_page.h
EXIT_REFUSED = 5
EXIT_NOTFOUND = 3


def unmount(where):
    """The process that opens disks ends a moment after its VMM, and has files open there until then."""
    end = time.monotonic() + 20
    while subprocess.run(["umount", where], stderr=subprocess.DEVNULL, check=False).returncode and os.path.ismount(where):
        if time.monotonic() > end:
            raise TimeoutError(f"{where} is still in use")
        time.sleep(0.05)


class Control:
    """The control socket of one drover-hv."""

    def __init__(self, path):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(20)
        end = time.monotonic() + 10
        while True:
            try:
                self.sock.connect(path)
                break
            except OSError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.02)
        self.lines = self.sock.makefile("rw")
        self.lines.readline()

    def command(self, name, **arguments):
        self.lines.write(json.dumps({"execute": name, "arguments": arguments, "id": 1}) + "\n")
        self.lines.flush()
        while True:
            answer = json.loads(self.lines.readline())
            if "error" in answer:
                raise AssertionError(f"{name}: {answer['error']}")
            if "return" in answer:
                return answer["return"]


def stopped(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as f:
        return f.read().rsplit(")", 1)[1].split()[0] == "T"


class Disks(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.TemporaryDirectory(prefix="drover-disks-")
        self.disk = os.path.join(self.dir.name, "disk.img")
        with open(self.disk, "wb") as f:
            f.truncate(8 << 20)
        self.yaml = os.path.join(self.dir.name, "web.yaml")
        with open(self.yaml, "w", encoding="ascii") as f:
            f.write(f"name: web\nuuid: 0b8e0f0e-1c1a-4a2b-9d8f-3a1b2c3d4e5f\nmemory: 64M\nvcpus: 1\n"
                    f"rng: false\nkernel: {PAYLOAD}\ncmdline: \"mem=16M ws=4M rate=5 disk=1\"\n"
                    f"disks:\n  - path: {self.disk}\n")
        self.running = []

    def tearDown(self):
        for p in self.running:
            if p.poll() is None:
                p.kill()
            p.wait()
        self.dir.cleanup()

    def start(self, name, *options, fault=""):
        base = os.path.join(self.dir.name, name)
        # No pipe: nobody would read it.
        with open(base + ".err", "w", encoding="ascii") as err:
            p = subprocess.Popen([DROVER_HV, "run", self.yaml, "--control", base + ".sock",
                                  "--console", base + ".console", *options],
                                 stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=err,
                                 env=os.environ | {"DROVER_FAULT": fault} if fault else None)
        self.running.append(p)
        return p, base

    def wait_state(self, control, state, seconds):
        end = time.monotonic() + seconds
        while (now := control.command("query")["state"]) != state:
            self.assertLess(time.monotonic(), end, f"still {now}, expected {state}")
            time.sleep(0.05)

    def refused(self, *options):
        p, base = self.start("second", *options)
        p.wait(20)
        with open(base + ".err", encoding="ascii") as f:
            return p.returncode, f.read()

    def test_a_disk_has_one_domain_at_a_time(self):
        first, base = self.start("first", "--incarnation", "3")
        self.wait_state(Control(base + ".sock"), "running", 10)
        rc, said = self.refused("--incarnation", "4")
        self.assertEqual(rc, EXIT_REFUSED, said)
        self.assertIn(f"is open by domain web (host {socket.gethostname()}, pid {first.pid})", said)
        self.assertIsNone(first.poll())
        # Killed, it leaves its incarnation: nobody older may follow.
        first.kill()
        first.wait()
        rc, said = self.refused("--incarnation", "2")
        self.assertEqual(rc, EXIT_REFUSED, said)
        self.assertIn("was used by incarnation 3 of domain web", said)

    def sh(self, *command):
        r = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
        if r.returncode:
            self.skipTest(f"{command[0]}: {r.stderr.strip()}")
        return r.stdout.strip()

    def test_a_disk_that_this_host_has_mounted_is_refused(self):
        """Somebody mounted it to mend it, and forgot: two writers that no lock keeps apart. By its image and by the device."""
        self.sh("mkfs.ext4", "-q", "-F", "-E", "offset=1048576", self.disk, "6M")
        loop = self.sh("losetup", "--find", "--show", "--offset", "1048576", self.disk)
        place = os.path.join(self.dir.name, "a place")
        os.mkdir(place)
        try:
            self.sh("mount", loop, place)
            try:
                rc, said = self.refused("--incarnation", "1")
                self.assertEqual(rc, EXIT_REFUSED, said)
                self.assertIn(f"is mounted on this host at {place}", said)
                with open(self.yaml, encoding="ascii") as f:
                    text = f.read()
                with open(self.yaml, "w", encoding="ascii") as f:
                    f.write(text.replace(self.disk, loop))
                rc, said = self.refused("--incarnation", "1")
                self.assertEqual(rc, EXIT_REFUSED, said)
                self.assertIn(f"is mounted on this host at {place}", said)
                with open(self.yaml, "w", encoding="ascii") as f:
                    f.write(text)
            finally:
                unmount(place)
            _, base = self.start("first", "--incarnation", "1")
            self.wait_state(Control(base + ".sock"), "running", 10)
        finally:
            subprocess.run(["losetup", "-d", loop], check=False)

    def test_a_disk_of_which_a_partition_is_mounted_is_refused(self):
        with open(self.disk, "r+b") as f:    # an MBR: one Linux partition of 4 MiB behind the first
            f.seek(446)
            f.write(struct.pack("<8B2I", 0, 0, 0, 0, 0x83, 0, 0, 0, 2048, 8192) + bytes(48) + b"\x55\xaa")
        loop = self.sh("losetup", "--find", "--show", "--partscan", self.disk)
        place = os.path.join(self.dir.name, "place")
        os.mkdir(place)
        try:
            self.sh("mkfs.ext4", "-q", loop + "p1")
            self.sh("mount", loop + "p1", place)
            try:
                rc, said = self.refused("--incarnation", "1")
                self.assertEqual(rc, EXIT_REFUSED, said)
                self.assertIn(f"is mounted on this host at {place}", said)
            finally:
                unmount(place)
        finally:
            subprocess.run(["losetup", "-d", loop], check=False)

    def record(self):
        with open(self.disk + ".drover", encoding="ascii") as f:
            return json.load(f)

    def test_standalone_goes_on_where_the_record_ends(self):
        """The README's own command, again, after the domain was somebody's incarnation 3."""
        first, base = self.start("first", "--incarnation", "3")
        self.wait_state(Control(base + ".sock"), "running", 10)
        first.kill()
        first.wait()
        _, base = self.start("again")
        control = Control(base + ".sock")
        self.wait_state(control, "running", 10)
        self.assertEqual(control.command("query")["incarnation"], 4)
        self.assertEqual(self.record()["incarnation"], 4)
        # The lock decides who continues: a second one does not.
        rc, said = self.refused()
        self.assertEqual(rc, EXIT_REFUSED, said)

    def test_another_cluster_needs_an_operator(self):
        """A cluster that was set up anew counts from 1, and once more with each try."""
        first, base = self.start("first", "--cluster", "old", "--incarnation", "2")
        self.wait_state(Control(base + ".sock"), "running", 10)
        adopt = [DROVER_HV, "adopt", self.yaml]
        self.assertEqual(subprocess.run(adopt, stderr=subprocess.DEVNULL).returncode, EXIT_REFUSED)
        first.kill()
        first.wait()
        for options in ([], *(["--cluster", "new", "--incarnation", str(n)] for n in range(1, 5))):
            rc, said = self.refused(*options)
            self.assertEqual(rc, EXIT_REFUSED, said)
            self.assertIn("if it is no more: drover-hv adopt FILE", said)
        self.assertEqual(subprocess.run(adopt, stderr=subprocess.DEVNULL).returncode, 0)
        _, base = self.start("third", "--cluster", "new", "--incarnation", "1")
        self.wait_state(Control(base + ".sock"), "running", 10)
        self.assertEqual(self.record()["cluster"], "new")

    def test_the_lock_and_the_guests_writes_are_one_open_file(self):
        first, base = self.start("first")
        self.wait_state(Control(base + ".sock"), "running", 10)
        fds = [fd for fd in os.listdir(f"/proc/{first.pid}/fd")
               if os.readlink(f"/proc/{first.pid}/fd/{fd}") == self.disk]
        self.assertEqual(len(fds), 1, "one disk, one open file")
        with open(f"/proc/{first.pid}/fdinfo/{fds[0]}", encoding="ascii") as f:
            info = f.read()
        self.assertRegex(info, "lock:.*OFDLCK.*WRITE")
        flags = int(info.split("flags:")[1].split()[0], 8)
        self.assertFalse(flags & os.O_NONBLOCK, "a disk must never be asked not to wait")

    def test_all_disks_or_none(self):
        """The second disk cannot be had: the first one's record still names nobody."""
        second = os.path.join(self.dir.name, "second.img")
        with open(self.yaml, "a", encoding="ascii") as f:
            f.write(f"  - path: {second}\n")
        rc, said = self.refused()
        self.assertEqual(rc, EXIT_NOTFOUND, said)
        self.assertFalse(os.path.exists(self.disk + ".drover"))
        with open(second, "wb") as f:
            f.truncate(1 << 20)
        os.mkdir(second + ".drover.new")     # its record cannot be written
        rc, said = self.refused()
        self.assertNotEqual(rc, 0)
        self.assertIn(second, said)
        self.assertFalse(os.path.exists(self.disk + ".drover"))

    def test_an_image_of_another_format(self):
        with open(self.disk, "r+b") as f:
            f.write(b"QFI\xfb\0\0\0\3")
        rc, said = self.refused()
        self.assertEqual(rc, 2, said)
        self.assertIn("looks like qcow2", said)
        with open(self.yaml, "a", encoding="ascii") as f:
            f.write("    format: raw\n")
        _, base = self.start("first")
        self.wait_state(Control(base + ".sock"), "running", 10)

    def image_moves(self, word, name, *more):
        """What is flushed before the disk changes hands is all there, and QEMU reads what both have written."""
        rc, said = self.refused()
        self.assertEqual(rc, 2, said)
        self.assertIn(f"`format: {word}`", said)
        self.rewrite(lambda text: text.replace("disk=1", "disk=1 disk_ms=1"), "\n".join([f"    format: {word}", *more]))
        _, base = self.start("source")
        source = Control(base + ".sock")
        self.wait_state(source, "running", 10)
        time.sleep(1)
        target, base = self.start("target", "--incoming", "tcp:127.0.0.1:0")
        control = Control(base + ".sock")
        written = source.command("stats")["disks"][0]["writes"]
        source.command("migrate", to=control.command("query")["listen"], arbiter="disk", incarnation=2)
        self.wait_state(control, "running", 20)
        before = control.command("stats")["disks"][0]
        time.sleep(1)
        after = control.command("stats")["disks"][0]
        self.assertGreater(after["flushes"], before["flushes"])
        self.assertEqual(after["errors"], 0)
        target.kill()
        target.wait()
        self.sh("qemu-img", "convert", "-f", name, "-O", "raw", self.disk, self.disk + ".raw")
        seen = diskcheck.check(self.disk + ".raw")
        self.assertEqual(seen["problems"], [])
        self.assertEqual(len(seen["runs"]), 1)      # one guest, on two VMMs
        # Each record is written twice.
        self.assertGreater(2 * seen["last"], written + after["writes"] - before["writes"])

    @unittest.skipUnless(shutil.which("qemu-img"), "no qemu-img (package qemu-utils)")
    def test_a_vhd_moves_with_its_domain(self):
        os.unlink(self.disk)
        self.sh("qemu-img", "create", "-f", "vpc", self.disk, "64M")
        self.image_moves("vhd", "vpc")

    @unittest.skipUnless(shutil.which("qemu-img"), "no qemu-img (package qemu-utils)")
    def test_a_qcow2_moves_with_its_domain(self):
        os.unlink(self.disk)
        self.sh("qemu-img", "create", "-f", "qcow2", self.disk, "64M")
        self.image_moves("qcow2", "qcow2")
        rc = subprocess.run(["qemu-img", "check", "-q", self.disk], check=False).returncode
        self.assertIn(rc, (0, 3))       # 3: the VMM was killed, and clusters have leaked; nothing is wrong

    @unittest.skipUnless(shutil.which("qemu-img"), "no qemu-img (package qemu-utils)")
    def test_a_qcow2_moves_with_what_it_lies_on(self):
        base = self.disk + ".base"
        os.rename(self.disk, base)
        self.sh("qemu-img", "create", "-f", "qcow2", "-b", base, "-F", "raw", self.disk)
        with open(base, "rb") as f:
            before = f.read()
        self.image_moves("qcow2", "qcow2", f"    parents: [{base}]")
        with open(base, "rb") as f:
            self.assertEqual(f.read(), before)

    def test_a_differencing_vhd_has_what_its_parent_had(self):
        """Named parents are read, locked against writers, and recognised; without them nothing starts."""
        base, child = self.disk + ".base.vhd", self.disk + ".child.vhd"
        self.sh(DROVER, "disk", "create", base, "64M")
        self.rewrite(lambda text: text.replace("disk=1", "disk=1 disk_ms=1").replace(self.disk, base), "    format: vhd")
        p, where = self.start("first")
        control = Control(where + ".sock")
        self.wait_disk(control, "flushes", 5)
        p.kill()
        p.wait()
        self.sh(DROVER, "disk", "create", child, "--parent", base)
        with open(base, "rb") as f:
            before = f.read()
        self.rewrite(lambda text: text.replace(base, child))
        rc, said = self.refused()
        self.assertNotEqual(rc, 0)
        self.assertIn("differs from a parent", said)
        self.rewrite(lambda text: text, f"    parents: [{base}]")
        p, where = self.start("second")
        control = Control(where + ".sock")
        self.wait_disk(control, "flushes", 5)
        lock = os.open(base, os.O_RDWR)
        with self.assertRaises(OSError):        # nobody becomes its writer
            fcntl.fcntl(lock, F_OFD_SETLK, struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))
        os.close(lock)
        target, where = self.start("target", "--incoming", "tcp:127.0.0.1:0")
        other = Control(where + ".sock")
        control.command("migrate", to=other.command("query")["listen"], arbiter="disk", incarnation=2)
        self.wait_state(other, "running", 20)
        self.wait_disk(other, "flushes", other.command("stats")["disks"][0]["flushes"] + 5)
        target.kill()
        target.wait()
        with open(base, "rb") as f:
            self.assertEqual(f.read(), before)
        self.sh(DROVER, "disk", "info", child)
        os.utime(base)
        rc, said = self.refused()
        self.assertNotEqual(rc, 0)
        self.assertIn("was changed", said)

    def small_store(self, *options, name="store", size="64k", make="truncate -s 8M", vmm=""):
        """A domain on a file system of its own with little room, which its guest fills."""
        store = os.path.join(self.dir.name, name)
        os.mkdir(store)
        self.rewrite(lambda text: text.replace(self.disk, os.path.join(store, "disk.img"))
                     .replace("disk=1", "disk=1 disk_ms=1"), *options)
        base = os.path.join(self.dir.name, f"small.{size}")
        with open(base + ".err", "w", encoding="ascii") as err:
            p = subprocess.Popen(["unshare", "-m", "--propagation", "private", "sh", "-c",
                                  f"mount -t tmpfs -o size={size} none {store} && {make} {store}/disk.img && "
                                  f"exec {DROVER_HV} run {self.yaml} --control {base}.sock --console {base}.console {vmm}"],
                                 stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=err)
        self.running.append(p)
        return p, store, Control(base + ".sock")

    def rewrite(self, change, *more):
        with open(self.yaml, encoding="utf-8") as f:
            text = change(f.read())
        with open(self.yaml, "w", encoding="utf-8") as f:
            f.write(text + "".join(line + "\n" for line in more))

    @unittest.skipIf(os.geteuid(), "mounts a file system")
    def test_a_full_store_holds_the_domain_until_there_is_space(self):
        p, store, control = self.small_store()
        self.wait_state(control, "paused", 20)
        why = control.command("query")["why"]
        self.assertIn("No space left on device", why)
        self.assertIn("disk.img", why)
        with self.assertRaisesRegex(AssertionError, "No space left"):
            control.command("resume")
        time.sleep(3)     # longer than the pause between two tries
        self.assertEqual(control.command("query")["state"], "paused")
        subprocess.run(["nsenter", "-t", str(p.pid), "-m", "mount", "-o", "remount,size=64m", store], check=True)
        self.wait_state(control, "running", 10)
        disk = control.command("stats")["disks"][0]
        self.assertEqual(disk["errors"], 0, "the guest heard of an error")
        time.sleep(1)
        self.assertGreater(control.command("stats")["disks"][0]["writes"], disk["writes"])
        self.assertEqual(diskcheck.check_live(f"/proc/{p.pid}/root{store}/disk.img")["problems"], [])

    def full_store_on_an_image(self, word, sizes):
        """Whatever finds no space, a guest's data or the image's tables, its guest hears of no error and loses nothing."""
        image, first = os.path.join(self.dir.name, "image"), self.yaml
        self.sh(DROVER, "disk", "create", image, "8M", "--format", word)
        domains = {}
        for kib in sizes:      # each stops somewhere else; all at once, for they wait most of the time
            self.yaml = os.path.join(self.dir.name, f"s{kib}.yaml")
            shutil.copy(first, self.yaml)
            self.rewrite(lambda text, kib=kib: text.replace("name: web", f"name: s{kib}").replace("5e5f", f"{kib:04}"))
            domains[kib] = self.small_store(f"    format: {word}", name=f"s{kib}", size=f"{kib}k", make=f"cp {image}")
        for _, _, control in domains.values():
            self.wait_state(control, "paused", 60)
            self.assertIn("No space left on device", control.command("query")["why"])
        time.sleep(2.5)
        for p, store, control in domains.values():
            self.assertEqual(control.command("query")["state"], "paused")
            subprocess.run(["nsenter", "-t", str(p.pid), "-m", "mount", "-o", "remount,size=64m", f"{store}"], check=True)
        for kib, (p, store, control) in domains.items():
            self.wait_state(control, "running", 30)
            self.wait_disk(control, "flushes", control.command("stats")["disks"][0]["flushes"] + 5)
            self.assertEqual(control.command("stats")["disks"][0]["errors"], 0, "the guest heard of an error")
            copy = os.path.join(self.dir.name, f"copy{kib}")
            p.send_signal(signal.SIGSTOP)
            shutil.copy(f"/proc/{p.pid}/root{store}/disk.img", copy)
            p.kill()
            p.wait()
            self.sh(DROVER, "disk", "convert", copy, copy + ".raw", "--from", word, "--format", "raw")
            self.assertEqual(diskcheck.check(copy + ".raw")["problems"], [])
            self.sh(DROVER, "disk", "check", copy, "--from", word)

    @unittest.skipIf(os.geteuid(), "mounts a file system")
    def test_a_full_store_holds_the_domain_on_a_vhd_too(self):
        self.full_store_on_an_image("vhd", (64, 68, 72, 2136))

    @unittest.skipIf(os.geteuid(), "mounts a file system")
    def test_a_full_store_holds_the_domain_on_a_qcow2_too(self):
        self.full_store_on_an_image("qcow2", (20, 24, 28, 32, 2136))

    @unittest.skipIf(os.geteuid(), "mounts a file system")
    def test_a_reason_that_is_cut_inside_a_character_is_still_told(self):
        # "disk PATH: why" takes 120 bytes of a path, which are odd many behind an even number
        odd = len(self.dir.name) % 2
        _, _, control = self.small_store(name="x" * odd + "ä" * 80)
        self.wait_state(control, "paused", 20)
        self.assertIn("No space left on device", control.command("query")["why"])

    @unittest.skipIf(os.geteuid(), "mounts a file system")
    def test_an_operators_pause_and_a_full_store_end_in_any_order(self):
        p, store, control = self.small_store()
        self.wait_state(control, "paused", 20)
        control.command("pause")
        subprocess.run(["nsenter", "-t", str(p.pid), "-m", "mount", "-o", "remount,size=64m", store], check=True)
        time.sleep(3)
        self.assertEqual(control.command("query")["why"], "operator")
        try:
            control.command("resume")
        except AssertionError as busy:      # what failed is only now tried again
            self.assertIn("tried again now", str(busy))
        self.wait_state(control, "running", 10)

    @unittest.skipIf(os.geteuid(), "mounts a file system")
    def test_a_full_store_is_the_guests_business_when_asked(self):
        _, _, control = self.small_store("    on_error: report")
        end = time.monotonic() + 20
        while control.command("stats")["disks"][0]["errors"] == 0:
            self.assertLess(time.monotonic(), end, "no error ever reached the guest")
            time.sleep(0.1)
        self.assertEqual(control.command("query")["state"], "running")

    @contextlib.contextmanager
    def store_that_can_hang(self):
        """The domain's disk on a file system of its own, which fsfreeze(8) keeps from answering; its place."""
        image, store = os.path.join(self.dir.name, "store.img"), os.path.join(self.dir.name, "store")
        disk = os.path.join(store, "disk.img")
        os.mkdir(store)
        with open(image, "wb") as f:
            f.truncate(32 << 20)
        self.sh("mkfs.ext4", "-q", "-F", image)
        self.sh("mount", "-o", "loop", image, store)
        try:
            with open(disk, "wb") as f:
                f.write(bytes(8 << 20))
            self.rewrite(lambda text: text.replace(self.disk, disk))
            yield store
        finally:
            subprocess.run(["fsfreeze", "-u", store], check=False, stderr=subprocess.DEVNULL)
            for p in self.running:
                p.kill()
                p.wait()
            unmount(store)

    def wait_disk(self, control, figure, least):
        end = time.monotonic() + 20
        while control.command("stats")["disks"][0][figure] < least:
            self.assertLess(time.monotonic(), end, f"{figure} of the disk never were {least}")
            time.sleep(0.05)

    def hang(self, control, store):
        self.wait_disk(control, "writes", 20)
        self.sh("fsfreeze", "-f", store)
        self.wait_disk(control, "in_flight", 1)

    def assert_answers(self, control, state):
        begin = time.monotonic()
        self.assertEqual(control.command("query")["state"], state)
        self.assertLess(time.monotonic() - begin, 2, "clients wait for the disk")

    @unittest.skipIf(os.geteuid(), "mounts a file system")
    def test_a_reset_waits_for_a_disk_that_does_not_answer(self):
        """Guests reset because their storage hangs: no reason to end them, however long that takes."""
        with self.store_that_can_hang() as store:
            p, base = self.start("first")
            control = Control(base + ".sock")
            self.hang(control, store)
            with socket.socket(socket.AF_UNIX) as console:
                console.connect(base + ".console")
                console.sendall(b"r")
                self.wait_state(control, "paused", 10)
            self.assertIn("reset: blk0: 1 requests still in flight", control.command("query")["why"])
            with self.assertRaisesRegex(AssertionError, "still in flight"):
                control.command("resume")
            time.sleep(7)     # longer than anything else waits for a disk
            self.assert_answers(control, "paused")
            self.sh("fsfreeze", "-u", store)
            self.wait_state(control, "running", 10)
            self.wait_disk(control, "writes", control.command("stats")["disks"][0]["writes"] + 20)
            p.kill()
            p.wait()
            result = diskcheck.check(os.path.join(store, "disk.img"))
            self.assertEqual(result["problems"], [])
            self.assertEqual(len(result["runs"]), 2)

    @contextlib.contextmanager
    def lease_page(self):
        """Its path, and a function that sets how long it is valid."""
        lease = os.path.join(self.dir.name, "lease")
        page = os.open(lease, os.O_RDWR | os.O_CREAT, 0o600)
        os.truncate(page, 4096)

        def until(seconds):
            now = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
            os.pwrite(page, struct.pack("<QQQ", LEASE_MAGIC, 1, now + seconds * 10**9 if seconds else 0), 0)

        until(600)
        yield lease, until
        os.close(page)

    @unittest.skipIf(os.geteuid(), "mounts a file system")
    def test_a_gated_domain_whose_disk_does_not_answer_does(self):
        """It wants to let go of its disks, again and again; neither clients nor a lease that returns wait for that."""
        with self.lease_page() as (lease, until), self.store_that_can_hang() as store:
            _, base = self.start("first", "--lease", lease)
            control = Control(base + ".sock")
            self.hang(control, store)
            until(0)
            self.wait_state(control, "gated", 10)
            time.sleep(1)     # by then it tries
            for _ in range(3):
                self.assert_answers(control, "gated")
            until(600)
            self.wait_state(control, "running", 2)
            self.sh("fsfreeze", "-u", store)
            self.wait_disk(control, "writes", control.command("stats")["disks"][0]["writes"] + 20)

    @unittest.skipIf(os.geteuid(), "mounts a file system")
    def test_a_domain_that_takes_its_disk_again_answers_while_that_hangs(self):
        """Its record cannot be written: the lease is back before the storage."""
        with self.lease_page() as (lease, until), self.store_that_can_hang() as store:
            _, base = self.start("first", "--lease", lease)
            control = Control(base + ".sock")
            self.wait_disk(control, "writes", 20)
            until(0)
            self.wait_let_go(control)
            self.sh("fsfreeze", "-f", store)
            until(600)
            for _ in range(5):
                time.sleep(0.5)
                self.assert_answers(control, "gated")
            self.sh("fsfreeze", "-u", store)
            self.wait_state(control, "running", 10)
            self.wait_disk(control, "writes", control.command("stats")["disks"][0]["writes"] + 20)

    def wait_let_go(self, control):
        end = time.monotonic() + 10
        while control.command("stats")["disks"][0]["open"]:
            self.assertLess(time.monotonic(), end, "the disk never was let go")
            time.sleep(0.05)

    @unittest.skipIf(os.geteuid(), "mounts a file system")
    def test_what_an_image_could_not_save_before_its_disk_was_let_go_is_told(self):
        """A full store keeps its tables in memory, and the lease ends: the flush that waited must not succeed on the disk opened anew."""
        image = os.path.join(self.dir.name, "image")
        self.sh(DROVER, "disk", "create", image, "8M")
        with self.lease_page() as (lease, until):
            # Room for its head, and for the two pages that the guest writes to first; none for a footer behind its first block.
            p, store, control = self.small_store("    format: vhd", size="12k", make=f"cp {image}", vmm=f"--lease {lease}")
            self.wait_state(control, "paused", 20)
            self.assertIn("No space left on device", control.command("query")["why"])
            until(0)
            self.wait_let_go(control)
            subprocess.run(["nsenter", "-t", str(p.pid), "-m", "mount", "-o", "remount,size=64m", f"{store}"], check=True)
            before = control.command("stats")["disks"][0]
            until(600)
            self.wait_state(control, "running", 10)
            end = time.monotonic() + 10
            while (disk := control.command("stats")["disks"][0])["flushes"] + disk["errors"] == before["flushes"]:
                self.assertLess(time.monotonic(), end, "the guest never flushed again")
                time.sleep(0.02)
            self.assertGreater(disk["errors"], 0, "the guest heard that what it wrote is durable")

    def test_a_missing_disk(self):
        os.unlink(self.disk)
        rc, said = self.refused()
        self.assertEqual(rc, EXIT_NOTFOUND, said)
        self.assertIn(self.disk, said)

    def test_rule_h_a_reader_of_the_disk_is_no_destination(self):
        """In the moment between two owners a backup takes the disk.  The destination cannot have it
        and gives up; the source must wait, not believe that the destination runs."""
        _, base = self.start("source")
        source = Control(base + ".sock")
        self.wait_state(source, "running", 10)
        # It freezes when it hears GRANT, before it takes the disk, which the source has let go.
        target, base = self.start("target", "--incoming", "tcp:127.0.0.1:0",
                                  fault="destination:grant:stop")
        listen = Control(base + ".sock").command("query")["listen"]
        source.command("migrate", to=listen, arbiter="disk", incarnation=2)
        end = time.monotonic() + 20
        while not stopped(target.pid):
            self.assertLess(time.monotonic(), end, "the destination never heard GRANT")
            time.sleep(0.01)
        reader = os.open(self.disk, os.O_RDONLY)
        fcntl.fcntl(reader, F_OFD_SETLK, struct.pack("hhqqi4x", fcntl.F_RDLCK, os.SEEK_SET, 0, 0, 0))
        target.send_signal(signal.SIGCONT)
        self.assertNotEqual(target.wait(20), 0)
        time.sleep(1)
        self.assertEqual(source.command("query")["state"], "granted")
        os.close(reader)
        self.wait_state(source, "running", 10)


if __name__ == "__main__":
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        print("skipped: no /dev/kvm")
        sys.exit(77)
    DROVER_HV, PAYLOAD, DROVER = (os.path.abspath(p) for p in sys.argv[1:4])
    unittest.main(argv=sys.argv[:1], verbosity=2, warnings="ignore")
