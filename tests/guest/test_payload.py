# SPDX-License-Identifier: Apache-2.0
"""The payload itself: it boots, works, notices corruption, and its disk trail shows a double run.

PAYLOAD names the ELF file, PAYLOAD_LINUX the same work as a Linux process, DROVER_HV our own VMM
(meson sets them).
"""
import os
import socket
import struct
import sys
import time
import zlib

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import diskcheck                                                # noqa: E402
import qemu                                                     # noqa: E402

PAYLOAD = os.environ['PAYLOAD']
PAYLOAD_LINUX = os.environ['PAYLOAD_LINUX']
DROVER_HV = os.environ.get('DROVER_HV', '')
needs_drover_hv = pytest.mark.skipif(not DROVER_HV or not qemu.have_kvm(),
                                     reason='no drover-hv, or no /dev/kvm')
ACCELS = ['tcg', pytest.param('kvm', marks=pytest.mark.skipif(
    not qemu.have_kvm(), reason='no /dev/kvm'))]


def run(accel, machine, options, **kw):
    return qemu.Guest(qemu.command(PAYLOAD, accel, machine, options, **kw))


@pytest.mark.parametrize('accel', ACCELS)
def test_two_cpus_rewrite_and_verify(accel):
    with run(accel, 'microvm', 'mem=64M ws=8M rate=20 cpus=2 report=500', cpus=2) as g:
        assert 'cpus=2 pages=16384 ws=2048' in g.serial.wait('D: payload', 60)
        g.serial.wait(lambda s: qemu.fields(s).get('sweeps', 0) >= 1, 60)
        mark = len(g.serial.lines)
        g.send('v')
        answer = qemu.fields(g.serial.wait('D: verified', 30, mark))
        reports = g.serial.reports()
    assert answer['pages'] == 16384 and answer['errors'] == 0
    assert all(r['errors'] == 0 for r in reports)
    assert reports[-1]['pages'] > reports[0]['pages'] > 0
    assert max(r['rate'] for r in reports) > 10


@pytest.mark.parametrize('fill', ['zero', 'text', 'random', 'mixed'])
def test_one_flipped_bit_is_found(fill):
    with run('tcg', 'microvm', f'mem=16M ws=4M rate=10 fill={fill} break=300 report=200') as g:
        line = g.serial.wait('D: corrupt', 60)
        assert qemu.fields(line)['page'] == 2048
        g.serial.wait(lambda s: s.startswith('D: t=') and qemu.fields(s)['errors'] >= 1, 30)


def test_reset_and_power_off_end_the_machine():
    for option in ('reset=200', 'poweroff=200'):
        for machine in ('microvm', 'q35'):
            with run('tcg', machine, f'mem=16M {option}') as g:
                assert g.proc.wait(timeout=60) == 0


def test_too_little_memory_is_said():
    with run('tcg', 'microvm', 'mem=1G') as g:
        g.serial.wait('D: panic mem', 60)


def new_disk(tmp_path):
    path = str(tmp_path / 'disk')
    with open(path, 'wb') as f:
        f.truncate(33 << 20)
    return path


def test_next_boot_continues_the_sequence(tmp_path):
    disk = new_disk(tmp_path)
    for inc in (1, 2):
        with run('tcg', 'q35', 'mem=16M disk=1 report=200', disk=disk) as g:
            g.serial.wait(lambda s: qemu.fields(s).get('seq', 0) >= 20 * inc, 60)
            g.send('q')
            assert g.proc.wait(timeout=60) == 0
    result = diskcheck.check(disk)
    assert result['problems'] == []
    assert [r['inc'] for r in result['runs']] == [1, 2]
    assert result['runs'][1]['first'] == result['runs'][0]['last'] + 1


def test_two_guests_at_once_are_seen(tmp_path):
    disk = new_disk(tmp_path)
    with run('tcg', 'q35', 'mem=16M disk=1 report=200', disk=disk) as a:
        a.serial.wait(lambda s: qemu.fields(s).get('seq', 0) >= 20, 60)
        with run('tcg', 'q35', 'mem=16M disk=1 report=200', disk=disk) as b:
            b.serial.wait(lambda s: qemu.fields(s).get('seq', 0) >= 40, 60)
            # Whoever is behind meets the other's records; the one ahead may never look back.
            end = time.monotonic() + 60
            while not any(r['foreign'] for g in (a, b) for r in g.serial.reports()):
                assert time.monotonic() < end, 'neither saw the other'
                time.sleep(0.2)
    assert diskcheck.check(disk)['problems']


def drover_hv(tmp_path, options, memory, vcpus, disk=None, more=()):
    text = (f'name: payload\nmemory: {memory}M\nvcpus: {vcpus}\nkernel: {os.path.abspath(PAYLOAD)}\n'
            f'cmdline: {options}\n')
    if disk:
        text += f'disks:\n  - path: {disk}\n'
    path = tmp_path / 'payload.yaml'
    path.write_text(text)
    return qemu.Guest([DROVER_HV, 'run', str(path), '--incarnation', '1', '--console', 'stdio', *more])


@needs_drover_hv
def test_drover_hv_runs_it_on_two_cpus(tmp_path):
    with drover_hv(tmp_path, 'mem=64M ws=8M rate=20 cpus=2 report=500', 80, 2) as g:
        g.serial.wait(lambda s: qemu.fields(s).get('sweeps', 0) >= 1, 60)
        mark = len(g.serial.lines)
        g.send('v')
        answer = qemu.fields(g.serial.wait('D: verified', 30, mark))
        assert answer['pages'] == 16384 and answer['errors'] == 0
        g.send('q')
        assert g.proc.wait(timeout=30) == 0


@needs_drover_hv
def test_power_button_powers_off(tmp_path):
    path = str(tmp_path / 'payload.sock')
    with drover_hv(tmp_path, 'mem=16M report=200', 32, 1, more=('--control', path)) as g:
        g.serial.wait('D: t=', 60)
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(path)
            s.sendall(b'{"execute": "stop", "arguments": {"timeout_ms": 60000}}\n')
            g.serial.wait('D: power off', 10)
            assert g.proc.wait(timeout=10) == 0


@needs_drover_hv
def test_drover_hv_disk_keeps_the_trail_over_a_reset(tmp_path):
    disk = new_disk(tmp_path)
    with drover_hv(tmp_path, 'mem=16M disk=1 report=200', 32, 1, disk) as g:
        g.serial.wait(lambda s: qemu.fields(s).get('seq', 0) >= 20, 60)
        g.send('r')
        g.serial.wait(lambda s: qemu.fields(s).get('found_seq', 0) >= 20, 60)
        g.serial.wait(lambda s: qemu.fields(s).get('seq', 0) >= 60, 60)
        g.send('q')
        assert g.proc.wait(timeout=30) == 0
    result = diskcheck.check(disk)
    assert result['problems'] == [] and len(result['runs']) == 2


# ---- as a process; a guest's kernel may be this one as well as another ----

def linux(disk, options):
    return qemu.Guest([PAYLOAD_LINUX, disk, *options.split()])


def test_as_a_process_it_verifies_and_continues_the_sequence(tmp_path):
    disk = new_disk(tmp_path)
    for inc in (1, 2):
        with linux(disk, 'mem=16M ws=4M rate=10 cpus=2 disk=1 report=100') as g:
            g.serial.wait(lambda s: qemu.fields(s).get('seq', 0) >= 20 * inc, 60)
            g.send('v')
            answer = qemu.fields(g.serial.wait('D: verified', 30))
            assert answer['pages'] == 4096 and answer['errors'] == 0
            g.send('q')
            assert g.proc.wait(timeout=60) == 0
    result = diskcheck.check(disk)
    assert result['problems'] == []
    assert [r['inc'] for r in result['runs']] == [1, 2]


def test_as_a_process_it_finds_a_flipped_bit_and_another_writer(tmp_path):
    disk = new_disk(tmp_path)
    with linux(disk, 'mem=16M ws=4M rate=10 disk=1 break=300 report=100') as a:
        assert qemu.fields(a.serial.wait('D: corrupt', 60))['page'] == 2048
        with linux(disk, 'mem=16M disk=1 report=100') as b:
            b.serial.wait(lambda s: qemu.fields(s).get('seq', 0) >= 80, 60)
            a.serial.wait(lambda s: qemu.fields(s).get('foreign', 0) > 0, 60)
    assert diskcheck.check(disk)['problems']


# ---- the checker on made-up disks: each rule, one way to break it ----

class Writer:
    """What disk.c does, without its reading first."""

    def __init__(self, path, inc, boot, seq=0, crc=0):
        self.path, self.inc, self.boot, self.seq, self.crc, self.first = path, inc, boot, seq, crc, seq + 1
        self.ns = 0

    def write(self, count=1, lane=True, skip=0, foreign=0):
        for _ in range(count):
            self.seq += 1 + skip
            self.ns += 1000
            body = diskcheck.LAYOUT.pack(diskcheck.MAGIC, self.seq, self.inc, self.boot, self.first,
                                         self.ns, self.ns, 1, self.boot * 1000003 + self.seq, self.crc,
                                         foreign)
            body += bytes(diskcheck.SECTOR - 4 - len(body))
            self.crc = zlib.crc32(body)
            sector = body + struct.pack('<I', self.crc)
            with open(self.path, 'r+b') as f:
                f.seek((diskcheck.LANES + self.seq % diskcheck.RING_MAX) * diskcheck.SECTOR)
                f.write(sector)
                if lane:
                    f.seek(self.inc % diskcheck.LANES * diskcheck.SECTOR)
                    f.write(sector)
        return self

    def successor(self, inc, boot=99):
        return Writer(self.path, inc, boot, self.seq, self.crc)


def problems(path):
    return ' '.join(diskcheck.check(path)['problems'])


def test_handing_over_is_clean(tmp_path):
    a = Writer(new_disk(tmp_path), 1, 7).write(50)
    a.successor(2).write(50)
    assert problems(a.path) == ''


def test_ring_that_went_round_is_clean(tmp_path):
    path = new_disk(tmp_path)
    a = Writer(path, 1, 7, seq=diskcheck.RING_MAX - 20).write(10)
    a.successor(2).write(30)
    assert problems(path) == ''


def test_reset_within_an_incarnation_is_clean(tmp_path):
    a = Writer(new_disk(tmp_path), 1, 7).write(50)
    a.successor(1, boot=8).write(50)
    assert problems(a.path) == ''


def test_hole_is_seen(tmp_path):
    a = Writer(new_disk(tmp_path), 1, 7).write(50).write(skip=1)
    assert 'sequence: 50 is followed by 52' in problems(a.path)


def test_old_incarnation_after_a_new_one_is_seen(tmp_path):
    a = Writer(new_disk(tmp_path), 1, 7).write(50)
    b = a.successor(2).write(50)
    a.seq, a.crc = b.seq, b.crc
    a.write()
    assert 'order:' in problems(a.path)


def test_overtaken_writer_leaves_its_lane(tmp_path):
    """The other overwrites all that it wrote to the ring: only the lane remembers."""
    a = Writer(new_disk(tmp_path), 1, 7).write(50)
    b = a.successor(2)
    a.write(10)
    b.write(50)
    assert 'lane: incarnation 1 wrote record 60' in problems(a.path)


def test_two_copies_of_one_boot_break_the_chain(tmp_path):
    """Source and destination of a migration both run: same incarnation, same boot."""
    a = Writer(new_disk(tmp_path), 1, 7).write(50)
    b = Writer(a.path, 1, 7, a.seq, a.crc)
    b.first, b.ns = a.first, a.ns + 7
    b.write(5)
    b.boot = 7
    a.write(3)
    assert 'chain:' in problems(a.path)


def test_what_a_guest_noticed_is_told(tmp_path):
    a = Writer(new_disk(tmp_path), 1, 7).write(50).write(foreign=1)
    assert 'foreign:' in problems(a.path)


def test_torn_record_is_seen(tmp_path):
    a = Writer(new_disk(tmp_path), 1, 7).write(50)
    with open(a.path, 'r+b') as f:
        f.seek((diskcheck.LANES + 20) * diskcheck.SECTOR + 100)
        f.write(b'x')
    assert 'torn' in problems(a.path)
