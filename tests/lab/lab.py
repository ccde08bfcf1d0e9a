# SPDX-License-Identifier: Apache-2.0
"""lab - hosts with a real kvm_amd, where there is no hardware for it.

A lab host (L1) is QEMU without KVM, emulating a CPU with SVM, that boots
Debian's stock kernel; its root is this machine's root, read-only.  Guests (L2)
run in it under its own /dev/kvm, through the ordinary kvm_amd module, so that
drover-hv meets a real KVM and stock Linux guests.  Slow (a Python loop takes
20 times as long), hence good for right and wrong, never for figures.

    with Lab(directory, drover_hv, work) as lab:
        a = lab.node("a")
        a.kvm()
        print(a.sh("uname -r"))
        job = a.start("drover-hv run /lab/web.yaml", "web")
        job.wait_for(r"guest: ready", 60)
"""
import contextlib
import ctypes
import glob
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "linux"))

import artefacts  # noqa: E402  (found by the line above)
import bootdisk  # noqa: E402

QEMU = "qemu-system-x86_64"
SKIP = 77               # the exit status by which meson knows a skipped test
NODE_MODULES = ["virtio_pci", "9p", "9pnet_virtio", "overlay"]
POKE = 5                # seconds without a command, after which a host that is waited for gets one
OOPS = re.compile(r"BUG: |Oops: |general protection|double fault|stack guard page|Kernel panic")


class LabError(Exception):
    pass


class HostDied(Exception):
    """A lab host itself ended, its kernel or the emulator: nothing that runs in user space there can
    be the cause, so the test is run once more (main()).  No LabError: who handles those lets it pass."""


def check_machine():
    """Raise artefacts.Missing when the lab cannot work here."""
    if os.uname().machine != "x86_64":
        raise artefacts.Missing("the lab emulates x86-64 and wants to run on it")
    if not shutil.which(QEMU):
        raise artefacts.Missing(f"no {QEMU} (package qemu-system-x86)")
    artefacts.kernel_version()


def tsc_khz():
    """TCG hands out this machine's TSC; telling its rate saves a calibration that fails under load."""
    with open("/proc/cpuinfo", encoding="ascii") as f:
        for line in f:
            if line.startswith("bogomips"):
                return int(float(line.split(":")[1]) * 500)
    raise artefacts.Missing("no bogomips in /proc/cpuinfo")


def die_with_parent():
    """In a child before exec: a test that is killed leaves no emulator behind."""
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


def sweep(directory):
    """Remove what earlier runs left for reading; each is named after its process."""
    for path in glob.glob(os.path.join(directory, "run-*-*")):
        if not os.path.exists("/proc/" + path.rsplit("run-", 1)[1].split("-")[0]):
            shutil.rmtree(path, ignore_errors=True)


class Job:
    """A program running in a lab host, its output in a file in the shared directory."""

    def __init__(self, node, name):
        self.node = node
        self.path = os.path.join(node.lab.share, f"{node.name}-{name}.log")
        self.rc_path = self.path + ".rc"
        self.pipe = f"/run/{name}.stdin"

    def output(self):
        try:
            with open(self.path, "rb") as f:
                return f.read().decode(errors="replace").replace("\r", "")
        except FileNotFoundError:
            return ""

    def rc(self):
        """Exit status, or None while it runs."""
        try:
            with open(self.rc_path, encoding="ascii") as f:
                text = f.read().strip()
        except FileNotFoundError:
            return None
        return int(text) if text else None

    def wait_for(self, pattern, timeout, count=1):
        """Wait until @pattern stands @count times in the output; the last match."""
        end = time.monotonic() + timeout
        while True:
            found = list(re.finditer(pattern, self.output()))
            if len(found) >= count:
                return found[count - 1]
            if self.rc() is not None:
                raise LabError(f"{self.path}: ended with {self.rc()} before '{pattern}':\n"
                               + self.tail())
            if time.monotonic() > end:
                raise LabError(f"{self.path}: no '{pattern}' in {timeout} s:\n" + self.tail())
            self.node.keep_awake()
            time.sleep(0.1)

    def wait(self, timeout):
        """Wait for its end; the exit status."""
        end = time.monotonic() + timeout
        while self.rc() is None:
            if time.monotonic() > end:
                raise LabError(f"{self.path}: still runs after {timeout} s:\n" + self.tail())
            self.node.keep_awake()
            time.sleep(0.1)
        return self.rc()

    def type(self, text):
        """Write @text and a newline to its standard input."""
        self.node.sh(f"echo '{text}' >{self.pipe}", 10)

    def answers(self):
        """For `work ask`: how many lines came back so far."""
        return max((int(n) for n in re.findall(r"work: answer (\d+),", self.output())), default=-1)

    def tail(self, lines=25):
        return "\n".join("    | " + line for line in self.output().splitlines()[-lines:])


class Node:
    """One lab host, with one CPU.  Of hosts with two, one in two lost its kernel within ten boots of a
    guest: after an exit, QEMU 7.2 now and then finds none of the host's pages, or runs on with the
    guest's GS.  With one CPU that was never seen."""

    def __init__(self, lab, name, memory=1024, link=None, cpu="max"):
        self.lab, self.name = lab, name
        self.agent_path = os.path.join(lab.sockets, name + ".agent")
        self.console_path = os.path.join(lab.share, name + "-console.log")
        self.agent = None
        self.process = None
        self.begun = self.poked = time.monotonic()
        self._launch(memory, link, cpu)

    def _launch(self, memory, link, cpu):
        words = (f"tsc_early_khz={tsc_khz()} console=ttyS0 quiet loglevel=4 nokaslr mitigations=off "
                 "tsc=reliable random.trust_cpu=on oops=panic panic=-1 rdinit=/init nowatchdog audit=0 "
                 f"selinux=0 apparmor=0 lab.node={self.name}")
        args = [QEMU, "-accel", "tcg,thread=multi,tb-size=512", "-M", "pc", "-cpu", f"{cpu},+svm",
                "-smp", "1", "-m", str(memory), "-nodefaults", "-no-user-config",
                "-display", "none", "-no-reboot",
                "-chardev", f"file,id=con,path={self.console_path}", "-serial", "chardev:con",
                "-chardev", f"socket,id=agent,path={self.agent_path},server=on,wait=off",
                "-device", "isa-serial,chardev=agent,index=1",
                "-kernel", self.lab.file("vmlinux"), "-initrd", self.lab.file("node.cpio"),
                "-append", words,
                "-fsdev", "local,id=root,path=/,security_model=none,readonly=on,multidevs=remap",
                "-device", "virtio-9p-pci,fsdev=root,mount_tag=hostroot",
                "-fsdev", f"local,id=lab,path={self.lab.share},security_model=none,multidevs=remap",
                "-device", "virtio-9p-pci,fsdev=lab,mount_tag=lab"]
        if link:
            args += ["-netdev", link, "-device",
                     f"virtio-net-pci,netdev=n0,romfile=,mac=52:54:00:00:00:{ord(self.name[-1]):02x}"]
        self.process = subprocess.Popen(args, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=open(self.console_path + ".qemu", "wb"),
                                        preexec_fn=die_with_parent)

    def console(self):
        with open(self.console_path, "rb") as f:
            return f.read().decode(errors="replace")

    def last_words(self):
        """Of its console: from the kernel's complaint on, if there is one."""
        said = self.console()
        oops = OOPS.search(said)
        return said[oops.start():][:3000] if oops else said[-2000:]

    def check_alive(self):
        if self.process.poll() is not None:
            with open(self.console_path + ".qemu", "rb") as f:
                said = f.read().decode(errors="replace")
            raise HostDied(f"lab host {self.name} ended with {self.process.returncode}: {said}\n"
                           + self.last_words())

    def keep_awake(self):
        """To be called while waiting.  QEMU's helper_vmrun() changes a CPU's pending interrupts without
        the lock, so one can be lost, a timer's too, and an idle host then sleeps on; the next
        interrupt brings it back.  Our command is one."""
        self.check_alive()
        if time.monotonic() - self.poked > POKE:
            self.run("true", 120)

    def wait_ready(self, timeout=120):
        end = time.monotonic() + timeout
        while not (os.path.exists(self.console_path) and "node: ready" in self.console()):
            self.check_alive()
            if time.monotonic() > end:
                raise LabError(f"lab host {self.name} not up in {timeout} s:\n" + self.last_words())
            time.sleep(0.1)
        self.agent = socket.socket(socket.AF_UNIX)
        self.agent.connect(self.agent_path)
        self.run("true")    # what the shell said before its first command is of no interest
        self.lab.say(f"host {self.name} up in {time.monotonic() - self.begun:.1f} s")
        return self

    def run(self, command, timeout=60):
        """Run a shell command in the host: (exit status, output)."""
        mark = f"~{time.monotonic_ns()}"
        self.poked = time.monotonic()
        self.agent.sendall(f"{{ {command}\n}} </dev/null 2>&1; echo {mark}:$?~\n".encode())
        end, got = time.monotonic() + timeout, b""
        pattern = re.compile(mark.encode() + rb":(\d+)~")
        while not (m := pattern.search(got)):
            self.check_alive()
            left = end - time.monotonic()
            if left <= 0:
                raise LabError(f"{self.name}: '{command}' still runs after {timeout} s:\n"
                               + got.decode(errors="replace"))
            if select.select([self.agent], [], [], min(left, 1))[0]:
                data = self.agent.recv(65536)
                if not data:
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        self.process.wait(10)
                    self.check_alive()
                    raise LabError(f"{self.name}: its agent hung up")
                got += data
        return int(m.group(1)), got[:m.start()].decode(errors="replace").replace("\r", "").strip()

    def sh(self, command, timeout=60):
        """Run a shell command that must succeed; its output."""
        rc, out = self.run(command, timeout)
        if rc:
            raise LabError(f"{self.name}: '{command}' ended with {rc}:\n{out}")
        return out

    def start(self, command, name):
        """Run a shell command in the background: a Job.  Its standard input is a pipe that
        Job.type() writes to."""
        job = Job(self, name)
        for path in job.path, job.rc_path:
            if os.path.exists(path):
                os.unlink(path)
        script = job.path + ".sh"
        with open(script, "w", encoding="ascii") as f:
            f.write(f"{command}\n")
        out = "/lab/" + os.path.basename(job.path)
        self.sh(f"rm -f {job.pipe}; mkfifo {job.pipe}; setsid sh -c "
                f"'sh {out}.sh >{out} 2>&1; echo $? >{out}.rc' 0<>{job.pipe} >/dev/null 2>&1 &")
        return job

    def kvm(self):
        """Load kvm_amd: real SVM code on the emulated CPU, nested paging included."""
        self.sh("modprobe kvm_amd nested=0 npt=1 && test -c /dev/kvm")
        return self

    def kill(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
        if self.process:
            self.process.wait()


class Lab:
    """One test run: a shared directory (seen as /lab in every host) and its hosts."""

    def __init__(self, directory, drover_hv, work, keep=False):
        check_machine()
        self.directory, self.keep = directory, keep
        self.begun = time.monotonic()
        self.version = self._make(work)
        sweep(directory)
        self.share = tempfile.mkdtemp(prefix=f"run-{os.getpid()}-", dir=directory)
        self.sockets = tempfile.mkdtemp(prefix="drover-lab-")   # a socket's path has 107 bytes
        self.nodes = []
        shutil.copy(os.path.join(HERE, "node-stage2"), self.share)
        shutil.copy(work, os.path.join(self.share, "work"))
        if drover_hv:
            for program in "drover-hv", "drover-hv-viewer":     # which lies beside it
                shutil.copy(os.path.join(os.path.dirname(drover_hv), program), self.share)
        shutil.copy(artefacts.bzimage(self.version), os.path.join(self.share, "bzImage"))
        for name in "vmlinux", "guest.cpio":
            os.link(self.file(name), os.path.join(self.share, name))

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        for n in self.nodes:
            n.kill()
        shutil.rmtree(self.sockets, ignore_errors=True)
        if kind and value:
            print(f"what the hosts and guests said is in {self.share} until the next run")
        elif not self.keep:
            shutil.rmtree(self.share, ignore_errors=True)

    def _make(self, work):
        """What is booted: the guest, and the first stage of a lab host (modules for 9p and overlay)."""
        version = artefacts.make(self.directory, {"work": work})
        artefacts.make_vmlinux(self.directory, version)
        init = os.path.join(HERE, "node-init")
        if artefacts.stale(self.file("node.cpio"), version, init):
            artefacts.write(self.file("node.cpio"),
                            artefacts.initramfs(init, artefacts.modules(version, NODE_MODULES)))
        return version

    def file(self, name):
        return os.path.join(self.directory, name)

    def path(self, name):
        """A file of the shared directory, as this machine sees it."""
        return os.path.join(self.share, name)

    def say(self, text):
        print(f"[{time.monotonic() - self.begun:6.1f}] {text}", flush=True)

    def disk(self, name):
        """A fresh copy of the guest's root disk; its path inside the hosts."""
        shutil.copy(self.file("root.img"), self.path(name))
        return "/lab/" + name

    def boot_disk(self, name, words):
        """A fresh disk that a BIOS boots, with @words on the kernel's command line; its path inside the hosts."""
        shutil.copy(bootdisk.make(self.directory, self.version, words), self.path(name))
        return "/lab/" + name

    def node(self, name, **args):
        n = Node(self, name, **args)
        self.nodes.append(n)
        return n.wait_ready()

    def pair(self, a, b, cpus=("max", "max"), **args):
        """Two hosts with a cable between them (eth0 of each); @cpus: what QEMU emulates in each."""
        ends = [os.path.join(self.sockets, n + ".wire") for n in (a, b)]
        for name, cpu, here, there in (a, cpus[0], *ends), (b, cpus[1], *reversed(ends)):
            link = (f"dgram,id=n0,local.type=unix,local.path={here},"
                    f"remote.type=unix,remote.path={there}")
            self.nodes.append(Node(self, name, link=link, cpu=cpu, **args))
        return [n.wait_ready() for n in self.nodes[-2:]]


def main(run, drover_hv, work, directory):
    """Have run(lab) in a fresh lab, once more if a host dies of itself; the program's exit status."""
    for last in False, True:
        try:
            with Lab(directory, drover_hv, work) as lab:
                run(lab)
                lab.say("done")
            return 0
        except artefacts.Missing as e:
            print(f"skipped: {e}")
            return SKIP
        except (LabError, HostDied) as e:
            if last or isinstance(e, LabError):
                print(f"FAILED: {e}")
                return 1
            print(f"once more, for a lab host died: {e}")
