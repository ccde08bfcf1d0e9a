# SPDX-License-Identifier: Apache-2.0
"""Run the payload under QEMU and read its report lines; used by tests and benchmarks."""
import os
import re
import subprocess
import threading
import time

QEMU = 'qemu-system-x86_64'
PAIR = re.compile(r'(\w+)=(\S+)')


def fields(line):
    """{'t': 1.0, 'pages': 123, 'fill': 'mixed', ...} of a line that begins with D:"""
    out = {}
    for key, value in PAIR.findall(line):
        try:
            out[key] = float(value) if '.' in value else int(value, 0)
        except ValueError:
            out[key] = value
    return out


class Lines:
    """What comes out of a serial port, line by line, with the time of arrival."""

    def __init__(self, stream):
        self.lines = []
        self.ended = False
        self._stream = stream
        self._cond = threading.Condition()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for raw in self._stream:
            with self._cond:
                self.lines.append((time.monotonic(), raw.decode('ascii', 'replace').strip()))
                self._cond.notify_all()
        with self._cond:
            self.ended = True
            self._cond.notify_all()

    def wait(self, what, timeout, start=0):
        """The first line from number `start` on that `what` (a string or a predicate) fits."""
        fits = (lambda s: what in s) if isinstance(what, str) else what
        end = time.monotonic() + timeout
        with self._cond:
            while True:
                while start < len(self.lines):
                    if fits(self.lines[start][1]):
                        return self.lines[start][1]
                    start += 1
                left = end - time.monotonic()
                if left <= 0 or self.ended:
                    raise TimeoutError(f'no line with {what!r}; last: '
                                       f'{[s for _, s in self.lines[-3:]]}')
                self._cond.wait(left)

    def reports(self):
        return [fields(s) for _, s in self.lines if s.startswith('D: t=')]


def command(payload, accel, machine, options, memory=128, cpus=1, disk=None):
    cpu = 'host,-arch-capabilities' if accel == 'kvm' else 'max'
    args = [QEMU, '-accel', accel, '-cpu', cpu, '-M', machine, '-m', str(memory),
            '-smp', str(cpus), '-nodefaults', '-no-user-config', '-display', 'none',
            '-no-reboot', '-serial', 'stdio', '-kernel', payload, '-append', options]
    if disk:
        args += ['-drive', f'file={disk},format=raw,if=none,id=d,file.locking=off',
                 '-device', 'virtio-blk-pci,drive=d,disable-legacy=on']
    return args


class Guest:
    """One QEMU with the payload; a context manager that leaves nothing behind."""

    def __init__(self, args):
        self.proc = subprocess.Popen(args, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                     stderr=subprocess.DEVNULL)
        self.serial = Lines(self.proc.stdout)

    def send(self, char):
        self.proc.stdin.write(char.encode())
        self.proc.stdin.flush()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        if self.proc.poll() is None:
            self.proc.kill()
        self.proc.wait()


def have_kvm():
    return os.access('/dev/kvm', os.R_OK | os.W_OK)
