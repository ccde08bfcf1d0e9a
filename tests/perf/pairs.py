# SPDX-License-Identifier: Apache-2.0
"""Two VMMs on this machine, the payload in one of them, and one migration measured from outside.

QemuPair and DroverPair do the same things in the same order, so that what is compared is the
VMM: start both, let the payload fill its memory and work for a second, migrate, verify
every page on the other side.  measure() returns

  total_s      from the command to the source's word that it is done
  downtime_ms  from the source's word that its vCPUs stand to the destination's that they run, by
               the times in their own events (one machine, one clock)
  own_ms       the figure that the source reports: QEMU's leaves out what the destination does,
               Drover's goes on until the destination's word has come back
  gap_ms       the longest gap that the guest felt, from the command on
  bytes        sent, as the VMM reports it
  cpu_s        CPU time of both processes in that time (the guest's own included)
  errors       pages that were not what they should be
"""
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '..', 'guest'))
import qemu                                                     # noqa: E402

SETTLE = 0.8            # seconds of work between the fill and the migration
LIMIT = 60              # seconds that a migration may take


class JsonLines:
    """A UNIX stream socket that speaks one JSON object per line (QMP, and drover-hv)."""

    def __init__(self, path, timeout=10):
        end = time.monotonic() + timeout
        while True:
            self.sock = socket.socket(socket.AF_UNIX)
            try:
                self.sock.connect(path)
                break
            except OSError:
                self.sock.close()
                if time.monotonic() > end:
                    raise
                time.sleep(0.01)
        self.buf = b''
        self.events = []

    def receive(self, timeout):
        """The next object, or None."""
        end = time.monotonic() + timeout
        while b'\n' not in self.buf:
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.sock], [], [], left)[0]:
                return None
            data = self.sock.recv(1 << 16)
            if not data:
                raise ConnectionError('the VMM closed its control socket')
            self.buf += data
        line, self.buf = self.buf.split(b'\n', 1)
        return json.loads(line)

    def execute(self, command, timeout=10, **arguments):
        self.sock.sendall((json.dumps({'execute': command, 'arguments': arguments}) + '\n').encode())
        end = time.monotonic() + timeout
        while True:
            m = self.receive(end - time.monotonic())
            if m is None:
                raise TimeoutError(f'no answer to {command} in {timeout} s')
            if 'event' in m:
                self.events.append(m)
            elif 'error' in m:
                raise RuntimeError(f'{command}: {m["error"]}')
            elif 'return' in m:
                return m['return']

    def wait_event(self, fits, timeout):
        """The first event, past or to come, that fits; it is taken out of the list."""
        end = time.monotonic() + timeout
        while True:
            for m in self.events:
                if fits(m):
                    self.events.remove(m)
                    return m
            m = self.receive(end - time.monotonic())
            if m is None:
                raise TimeoutError('no such event in time')
            if 'event' in m:
                self.events.append(m)

    def close(self):
        self.sock.close()


def cpu_seconds(pid):
    """CPU time of a process, by its own clock (clock_getcpuclockid(3)); 0 when it is gone."""
    try:
        return time.clock_gettime((~pid << 3) | 2)
    except OSError:
        return 0.0


def payload_options(fill, mib, ws_mib, rate):
    return f'mem={mib}M fill={fill} ws={ws_mib}M rate={rate} sweep=0 report=500'


class Warm:
    """Memory of this machine that is present and can be let go of (warm.c); MiB."""

    def __init__(self, program):
        self.proc = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def _command(self, text):
        self.proc.stdin.write(text + '\n')
        self.proc.stdin.flush()
        if self.proc.stdout.readline() != 'ok\n':
            raise RuntimeError(f'warm: {text} failed')

    def hold(self, mib):
        self._command(f'hold {mib}')

    def free(self, mib):
        self._command(f'free {mib}')

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.proc.kill()
        self.proc.wait()


class Cold:
    """The machine as it is."""

    def hold(self, mib):
        pass

    free = hold

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        pass


class Pair:
    """Common part: processes, serial lines, the payload's own judgement."""

    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix='drover-perf-')
        self.procs = []
        self.controls = []

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        for c in self.controls:
            c.close()
        for p in self.procs:
            if p.poll() is None:
                p.send_signal(signal.SIGKILL)
            p.wait()
        shutil.rmtree(self.dir, ignore_errors=True)

    def settle(self, source_lines):
        source_lines.wait('D: filled', LIMIT)
        time.sleep(SETTLE)
        source_lines.wait(lambda s: s.startswith('D: t='), 10)

    def cpu(self):
        return sum(cpu_seconds(p.pid) for p in self.procs)

    def judge(self, source, dest, source_mark, send):
        """After the migration: verify all pages over there, and find the longest gap."""
        mark = len(dest.lines)
        send('p')
        dest.wait(lambda s: s.startswith('D: t='), 10, mark)
        reports = [qemu.fields(s) for lines in (source.lines[source_mark:], dest.lines)
                   for _, s in lines if s.startswith('D: t=') and 'gap_us=' in s]
        gap = max((r['gap_us'] for r in reports if isinstance(r.get('gap_us'), int)), default=0)
        send('v')
        verified = qemu.fields(dest.wait('D: verified', 30, mark))
        return gap / 1000, verified['errors'], verified['pages']


class QemuPair(Pair):
    """Debian's QEMU, machine microvm (its leanest), driven by QMP."""

    SETTINGS = {
        'plain': ([], {}),
        'multifd': (['multifd'], {'multifd-channels': 2}),
        'multifd+zstd': (['multifd'], {'multifd-channels': 2, 'multifd-compression': 'zstd'}),
        'xbzrle': (['xbzrle'], {}),
    }

    def __init__(self, payload, setting, options, memory):
        super().__init__()
        self.setting = setting
        self.port = free_port()
        self.source = self._start(payload, options, memory, 'src', [])
        self.dest = self._start(payload, options, memory, 'dst', ['-incoming', 'defer'])

    def _start(self, payload, options, memory, name, extra):
        path = os.path.join(self.dir, name)
        args = qemu.command(payload, 'kvm', 'microvm', options, memory=memory)
        args += ['-qmp', f'unix:{path},server=on,wait=off'] + extra
        guest = qemu.Guest(args)
        self.procs.append(guest.proc)
        guest.qmp = JsonLines(path)
        self.controls.append(guest.qmp)
        guest.qmp.receive(10)
        guest.qmp.execute('qmp_capabilities')
        return guest

    def _configure(self, qmp, is_source):
        capabilities, parameters = self.SETTINGS[self.setting]
        qmp.execute('migrate-set-capabilities', capabilities=[
            {'capability': c, 'state': True} for c in capabilities + ['events']])
        parameters = dict(parameters)
        if is_source:
            parameters.update({'max-bandwidth': 1 << 50, 'downtime-limit': 300})
        if parameters:
            qmp.execute('migrate-set-parameters', **parameters)

    def measure(self, before=lambda: None):
        """@before is called right before the command."""
        source, dest = self.source, self.dest
        self._configure(source.qmp, True)
        self._configure(dest.qmp, False)
        dest.qmp.execute('migrate-incoming', uri=f'tcp:127.0.0.1:{self.port}')
        self.settle(source.serial)
        before()
        mark, cpu, start = len(source.serial.lines), self.cpu(), time.monotonic()
        source.qmp.execute('migrate', uri=f'tcp:127.0.0.1:{self.port}')
        event = source.qmp.wait_event(
            lambda m: m['event'] == 'MIGRATION' and m['data']['status'] in ('completed', 'failed'),
            LIMIT)
        total, cpu = time.monotonic() - start, self.cpu() - cpu
        if event['data']['status'] != 'completed':
            raise RuntimeError('the migration failed')
        stop = source.qmp.wait_event(lambda m: m['event'] == 'STOP', 5)
        resume = dest.qmp.wait_event(lambda m: m['event'] == 'RESUME', 10)
        time.sleep(0.1)         # QEMU works its figures out after it said completed
        info = source.qmp.execute('query-migrate')
        gap, errors, pages = self.judge(source.serial, dest.serial, mark, dest.send)
        return {'total_s': total, 'downtime_ms': (stamp(resume) - stamp(stop)) * 1000,
                'own_ms': info['downtime'], 'gap_ms': gap,
                'bytes': info['ram']['transferred'], 'cpu_s': cpu, 'errors': errors,
                'pages': pages}


class DroverPair(Pair):
    """Two drover-hv, driven by their control sockets (docs/control.md)."""

    def __init__(self, program, payload, options, memory):
        super().__init__()
        self.program = program
        text = (f'name: perf\nmemory: {memory}M\nvcpus: 1\nrng: false\n'
                f'kernel: {os.path.abspath(payload)}\ncmdline: {options}\n')
        self.file = os.path.join(self.dir, 'perf.yaml')
        with open(self.file, 'w', encoding='utf-8') as f:
            f.write(text)
        self.port = free_port()
        self.source = self._start('src', 1, [])
        self.dest = self._start('dst', 2, ['--incoming', f'tcp:127.0.0.1:{self.port}'])

    def _start(self, name, incarnation, extra):
        path = os.path.join(self.dir, name + '.sock')
        guest = qemu.Guest([self.program, 'run', self.file, '--incarnation', str(incarnation),
                            '--control', path, '--console', 'stdio', '--no-arbiter'] + extra)
        self.procs.append(guest.proc)
        guest.control = JsonLines(path)
        self.controls.append(guest.control)
        greeting = guest.control.receive(10)
        if 'drover-hv' not in greeting:
            raise RuntimeError(f'not a drover-hv: {greeting}')
        return guest

    def measure(self, before=lambda: None):
        """@before is called right before the command."""
        source, dest = self.source, self.dest
        self.settle(source.serial)
        before()
        mark, cpu, start = len(source.serial.lines), self.cpu(), time.monotonic()
        source.control.execute('migrate', to=f'tcp:127.0.0.1:{self.port}', arbiter='none',
                               incarnation=2, downtime_ms=300)
        event = source.control.wait_event(
            lambda m: m['event'] == 'migration' and
            m['data']['phase'] in ('done', 'failed', 'cancelled', 'in-doubt'), LIMIT)
        total, cpu = time.monotonic() - start, self.cpu() - cpu
        info = event['data']
        if info['phase'] != 'done':
            raise RuntimeError(f'the migration failed: {info}')
        stop = source.control.wait_event(is_state('paused'), 5)
        resume = dest.control.wait_event(is_state('running'), 5)
        gap, errors, pages = self.judge(source.serial, dest.serial, mark, dest.send)
        return {'total_s': total, 'downtime_ms': (resume['time_ns'] - stop['time_ns']) / 1e6,
                'own_ms': info['downtime_ms'], 'gap_ms': gap, 'bytes': info['sent'],
                'cpu_s': cpu, 'errors': errors, 'pages': pages}


def is_state(state):
    return lambda m: m['event'] == 'state' and m['data']['state'] == state


def stamp(event):
    """The time of a QMP event in seconds."""
    return event['timestamp']['seconds'] + event['timestamp']['microseconds'] / 1e6


def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]
