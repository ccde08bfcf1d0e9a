#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""diskcheck - tell from a disk of the payload who wrote on it, and whether two did at once.

The layout is described in disk.c.  What must hold:

  sequence     records follow one another without a hole
  order        incarnations never go back; a boot's records are one run
  chain        each record carries the checksum of the one before it
  time         within one boot the clock goes forward
  lane         what an incarnation says it wrote last still stands in the ring
  foreign      no guest found a record that it had not written itself

Exit code: 0 clean, 1 not clean, 2 usage, 3 file not found.
"""
import argparse
import collections
import json
import struct
import sys
import zlib

SECTOR = 512
LANES = 64
RING_MAX = 65536
MAGIC = 0x3143455252565244
FIELDS = 'seq inc boot first_seq ns tsc tsc_khz nonce previous foreign'
Record = collections.namedtuple('Record', FIELDS + ' crc')
LAYOUT = struct.Struct('<11Q')
ZERO = bytes(SECTOR)


class Torn(Exception):
    pass


def parse(sector):
    """A Record, None for a sector never written, or Torn."""
    if sector == ZERO:
        return None
    values = LAYOUT.unpack_from(sector)
    crc, = struct.unpack_from('<I', sector, SECTOR - 4)
    if values[0] != MAGIC or zlib.crc32(sector[:SECTOR - 4]) != crc:
        raise Torn
    return Record(*values[1:], crc)


def read(path):
    """(lanes, ring): {index: Record}, and the list of sectors that are neither record nor empty."""
    with open(path, 'rb') as f:
        head = f.read(LANES * SECTOR)       # lanes first: a guest that runs writes them last
        body = f.read(RING_MAX * SECTOR)
    torn = []

    def sectors(data, base):
        found = {}
        for i in range(len(data) // SECTOR):
            try:
                r = parse(data[i * SECTOR:(i + 1) * SECTOR])
            except Torn:
                torn.append(base + i)
                continue
            if r:
                found[i] = r
        return found

    lanes, ring = sectors(head, 0), sectors(body, LANES)
    return lanes, ring, len(body) // SECTOR, torn


def runs_of(records):
    """Neighbouring records of one (incarnation, boot)."""
    runs = []
    for r in records:
        if runs and (runs[-1]['inc'], runs[-1]['boot']) == (r.inc, r.boot):
            runs[-1]['last'] = r.seq
        else:
            runs.append({'inc': r.inc, 'boot': r.boot, 'first': r.seq, 'last': r.seq})
    return runs


def check_ring(records, problems):
    for a, b in zip(records, records[1:]):
        if b.seq != a.seq + 1:
            problems.append(f'sequence: {a.seq} is followed by {b.seq}')
            continue
        if b.previous != a.crc:
            problems.append(f'chain: record {b.seq} (incarnation {b.inc}) was written after another '
                            f'record {a.seq} than the one that stands there')
        if b.inc < a.inc:
            problems.append(f'order: record {b.seq} is of incarnation {b.inc}, '
                            f'after one of {a.inc}')
        if (a.inc, a.boot) == (b.inc, b.boot) and b.ns <= a.ns:
            problems.append(f'time: record {b.seq} is not later than record {a.seq}')
    for r in records:
        if r.foreign:
            problems.append(f'foreign: from record {r.seq} on, incarnation {r.inc} saw another writer')
            break
    seen = set()
    for run in runs_of(records):
        key = run['inc'], run['boot']
        if key in seen:
            problems.append(f'order: incarnation {run["inc"]} writes again at {run["first"]}, '
                            f'after another one')
        seen.add(key)


def check_lanes(lanes, by_seq, problems):
    oldest = min(by_seq, default=0)
    for r in sorted(lanes.values()):
        if r.foreign:
            problems.append(f'foreign: incarnation {r.inc} saw another writer')
        if r.seq < oldest:
            continue
        there = by_seq.get(r.seq)
        if there != r:
            who = f'incarnation {there.inc}' if there else 'nobody'
            problems.append(f'lane: incarnation {r.inc} wrote record {r.seq}, '
                            f'which is now that of {who}')


def check(path):
    """What is on the disk: {records, first, last, runs, problems}."""
    lanes, ring, size, torn = read(path)
    problems = [f'torn: sector {s} is not a whole record' for s in torn]
    for slot, r in ring.items():
        if r.seq % size != slot:
            problems.append(f'sequence: slot {slot} holds record {r.seq}')
    records = sorted(ring.values())
    check_ring(records, problems)
    check_lanes(lanes, {r.seq: r for r in records}, problems)
    return {'records': len(records), 'first': records[0].seq if records else 0,
            'last': records[-1].seq if records else 0, 'runs': runs_of(records),
            'problems': problems}


def check_live(path, tries=3):
    """The same for a disk that is being written: what two looks both find is real."""
    result = check(path)
    while result['problems'] and tries > 1:
        tries -= 1
        again = check(path)
        both = [p for p in again['problems'] if p in result['problems']]
        result = dict(again, problems=both)
    return result


def main():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument('disk')
    ap.add_argument('-o', choices=['text', 'json'], default='text', help='output')
    ap.add_argument('--live', action='store_true', help='the disk is being written')
    args = ap.parse_args()
    try:
        result = check_live(args.disk) if args.live else check(args.disk)
    except OSError as e:
        print(f'diskcheck: {args.disk}: {e.strerror}', file=sys.stderr)
        return 3
    if args.o == 'json':
        print(json.dumps(result))
    else:
        print(f'{result["records"]} records, {result["first"]} to {result["last"]}')
        for run in result['runs']:
            print(f'  incarnation {run["inc"]}: {run["first"]} to {run["last"]}')
        for p in result['problems'][:20]:
            print(f'PROBLEM {p}')
        more = len(result['problems']) - 20
        if more > 0:
            print(f'and {more} more')
        print('clean: one writer at a time' if not result['problems'] else 'NOT CLEAN')
    return 1 if result['problems'] else 0


if __name__ == '__main__':
    sys.exit(main())
