#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""stream_reader - a second reader of the migration stream, written from docs/stream.md alone.

usage: stream_reader.py DIR

DIR holds what a migration sent (drover-hv with DROVER_CAPTURE=DIR): control.src, control.dst, data0.src ...
Each record is checked: header, sequence, checksum, bounds, order; PAGES are unpacked, so that the memory of
the domain is known at the end. Prints a summary; exit code 0 when everything is as the text says."""

import os
import struct
import sys

MAGIC = b"DROVERMS"
PAGE, EXTENT, CHUNK = 4096, 512, 65536
HEADER = struct.Struct("<HHIII")
# type: (name, min, max)
RECORDS = {
    1: ("HELLO", 40, 40), 2: ("CAPS", 40, 40), 3: ("DESCRIBE", 2, 65536), 4: ("MEM_MAP", 6, 24582),
    5: ("START", 0, 0), 6: ("PAGES", 28, 2099352), 7: ("ROUND_SYNC", 8, 8), 8: ("FINAL", 40, 40),
    9: ("DEV_STATE", 9, 1048584), 10: ("READY", 16, 16), 11: ("GRANT", 8, 8), 12: ("DECISION", 16, 16),
    13: ("RUNNING", 16, 16), 14: ("ABORT", 8, 488), 15: ("PING", 0, 0), 16: ("ROUND_DONE", 8, 8),
    17: ("CANNOT_RUN", 8, 488),
    0x8001: ("PROGRESS", 40, 40),
}
# Device state: bytes of one element by tag, * an array, = one of the same count as the field before.
FIELDS = {
    "cpuid": "40*",
    "vcpu": "4 4 144 312 1* 16* 128 1* 64 4* =8*",
    "vm": "8 112 16 16 8 4 4 4 8*",
    "serial": "1 1 1 1 1 1 1 1 1*",
    "rtc": "1 1* 8",
    "power": "4 1 1 1 1",
    "pci": "4",
    "bridge": "1*",
    "lpc": "1* 1",
    "pm": "1* 1* 1* 8",
    "debugcon": "4",
    "fw_cfg": "2 4 4",
    "virtio": "8 4 4 1 1 1 2 2 2* =2* =1* =8* =8* =8* =2* =2* 1* 8* =4* =4* =1*",
    ".blk": "8 4",
    ".net": "1* 2 2",
    "display": "2* 1*",
    ".keyboard": "1 1 2*",
    ".tablet": "1 1 2*",
    ".console": "1 1 1 1",
}
CONTROL_SOURCE = ["HELLO", "CAPS", "DESCRIBE", "MEM_MAP", "PROGRESS", "DEV_STATE", "GRANT"]
CONTROL_DESTINATION = ["HELLO", "CAPS", "START", "ROUND_DONE", "READY", "DECISION", "RUNNING"]


class Wrong(Exception):
    """The stream is not what docs/stream.md says."""


def crc_table():
    table = []
    for i in range(256):
        for _ in range(8):
            i = (i >> 1) ^ (0x82F63B78 if i & 1 else 0)
        table.append(i)
    return table


TABLE = crc_table()


def crc32c(data, crc=0):
    crc ^= 0xFFFFFFFF
    table = TABLE
    for b in data:
        crc = table[(crc ^ b) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


def unpack_lz4(block, raw):
    """One block of the LZ4 block format."""
    out = bytearray()
    at = 0
    try:
        while True:
            token = block[at]
            at += 1
            length = token >> 4
            if length == 15:
                while True:
                    length += block[at]
                    at += 1
                    if block[at - 1] != 255:
                        break
            if at + length > len(block):
                raise Wrong("LZ4: literals pass the end")
            out += block[at:at + length]
            at += length
            if at == len(block):
                break
            offset = block[at] | block[at + 1] << 8
            at += 2
            length = token & 15
            if length == 15:
                while True:
                    length += block[at]
                    at += 1
                    if block[at - 1] != 255:
                        break
            length += 4
            if not 0 < offset <= len(out):
                raise Wrong(f"LZ4: offset {offset}")
            while length:                       # may overlap itself
                piece = bytes(out[-offset:][:length])
                out += piece
                length -= len(piece)
    except IndexError:
        raise Wrong("LZ4: ends early") from None
    if len(out) != raw:
        raise Wrong(f"LZ4: {len(out)} bytes, expected {raw}")
    return bytes(out)


def records(data, where):
    """(name, payload) of each record."""
    at = sequence = 0
    while at < len(data):
        if len(data) - at < HEADER.size:
            raise Wrong(f"{where}: ends inside a header")
        kind, flags, length, number, crc = HEADER.unpack_from(data, at)
        if kind not in RECORDS and not kind & 0x8000:
            raise Wrong(f"{where}: record type {kind:#x}")
        name, low, high = RECORDS.get(kind, ("optional", 0, CHUNK))
        if flags or number != sequence or not low <= length <= high:
            raise Wrong(f"{where}: {name}: flags {flags}, sequence {number} (expected {sequence}), length {length}")
        payload = data[at + HEADER.size:at + HEADER.size + length]
        if len(payload) != length:
            raise Wrong(f"{where}: {name} {number}: ends inside the payload")
        if crc32c(payload, crc32c(data[at:at + 12])) != crc:
            raise Wrong(f"{where}: {name} {number}: checksum")
        yield name, payload
        at += HEADER.size + length
        sequence += 1


def counted(data, at, what, size=None):
    """The elements of a counted array at @at, and where it ends."""
    if len(data) - at < 6:
        raise Wrong(f"{what}: ends before its count")
    one, n = struct.unpack_from("<HI", data, at)
    at += 6
    if not one or size not in (None, one) or n * one > len(data) - at:
        raise Wrong(f"{what}: {n} elements of {one} bytes, {len(data) - at} bytes are left")
    return [data[at + i * one:at + (i + 1) * one] for i in range(n)], at + n * one


def check_hello(payload, role, channel, expect=None):
    magic, version, got_role, got_channel, n, zero = struct.unpack_from("<8sIHHII", payload)
    if magic != MAGIC or version != 1 or zero or not 1 <= n <= 32:
        raise Wrong(f"HELLO: {magic} {version} {n} {zero}")
    if (got_role, got_channel) != (role, channel):
        raise Wrong(f"HELLO: role {got_role}, channel {got_channel}, expected {role}, {channel}")
    identity = payload[24:40]
    if expect and expect != (n, identity):
        raise Wrong("HELLO: another migration")
    return n, identity


def check_order(names, allowed, where):
    """Names come in the order of @allowed, PING anywhere."""
    rank = 0
    for name in names:
        if name in ("PING", "optional"):
            continue
        if name not in allowed[rank:]:
            raise Wrong(f"{where}: {name} after {allowed[rank]}")
        rank = allowed.index(name)


class Memory:
    """What the destination's memory must hold, by (region, page)."""

    def __init__(self, mem_map):
        self.sizes = {}
        regions, end = counted(mem_map, 0, "MEM_MAP", 24)
        if end != len(mem_map):
            raise Wrong(f"MEM_MAP: {len(mem_map) - end} bytes after the last region")
        for entry in regions:
            region, kind, _gpa, size = struct.unpack("<IIQQ", entry)
            if kind or size % PAGE or region in self.sizes:
                raise Wrong(f"MEM_MAP: region {region} of kind {kind}, {size} bytes")
            self.sizes[region] = size // PAGE
        self.pages = {}

    def describe(self):
        """One line for each region, as `expected` beside a kept stream has it."""
        lines = []
        for region, pages in self.sizes.items():
            crc = crc32c(b"".join(self.pages[region, page] for page in range(pages)))
            lines.append(f"region {region}: {pages * PAGE} bytes, crc32c {crc:08x}")
        return lines

    def take(self, payload):
        """Returns (round, zero pages, data pages, stored bytes) of a PAGES record."""
        region, round_, base, n_runs, n_chunks, stored = struct.unpack_from("<IIQHHI", payload)
        limit = min(EXTENT, self.sizes.get(region, 0) - base)
        if base % EXTENT or limit <= 0 or not 1 <= n_runs <= 512:
            raise Wrong(f"PAGES: region {region}, base {base}, {n_runs} runs")
        at, low, places, zeros = 24, 0, [], 0
        for _ in range(n_runs):
            first, count = struct.unpack_from("<HH", payload, at)
            at += 4
            zero, count = count >> 15, count & 0x7FFF
            if not count or first < low or first + count > limit:
                raise Wrong(f"PAGES: run {first}+{count} in {low}..{limit}")
            low = first + count
            for page in range(first, low):
                if zero:
                    zeros += 1
                    self.pages[region, base + page] = bytes(PAGE)
                else:
                    places.append(base + page)
        raw_left = len(places) * PAGE
        lengths = struct.unpack_from(f"<{n_chunks}I", payload, at)
        at += 4 * n_chunks
        if n_chunks != -(-raw_left // CHUNK) or sum(lengths) != stored or at + stored != len(payload):
            raise Wrong(f"PAGES: {n_chunks} chunks, {stored} bytes for {len(places)} pages")
        string = bytearray()
        for length in lengths:
            raw = min(CHUNK, raw_left)
            if not 0 < length <= raw:
                raise Wrong(f"PAGES: chunk of {length} bytes for {raw}")
            block = payload[at:at + length]
            string += block if length == raw else unpack_lz4(block, raw)
            at += length
            raw_left -= raw
        for i, page in enumerate(places):
            self.pages[region, page] = bytes(string[i * PAGE:(i + 1) * PAGE])
        return round_, zeros, len(places), stored


def read_data(data, channel, hello, memory):
    """Yields once per round: all connections must be in the same one."""
    where = f"data{channel}"
    round_ = in_round = 0
    total = [0, 0, 0, 0]
    done = False
    for i, (name, payload) in enumerate(records(data, where)):
        if done:
            raise Wrong(f"{where}: {name} after FINAL")
        if i == 0:
            if name != "HELLO":
                raise Wrong(f"{where}: begins with {name}")
            check_hello(payload, 1, channel, hello)
        elif name == "PAGES":
            got, zeros, pages, stored = memory.take(payload)
            if got != round_:
                raise Wrong(f"{where}: PAGES of round {got} in round {round_}")
            in_round += 1
            total = [total[0] + 1, total[1] + zeros, total[2] + pages, total[3] + stored]
        elif name == "ROUND_SYNC":
            if struct.unpack("<II", payload) != (round_, in_round):
                raise Wrong(f"{where}: ROUND_SYNC {struct.unpack('<II', payload)}, counted {round_}, {in_round}")
            round_, in_round = round_ + 1, 0
            yield total
        elif name == "FINAL":
            if list(struct.unpack("<QQQQII", payload)) != total + [round_, channel]:
                raise Wrong(f"{where}: FINAL {struct.unpack('<QQQQII', payload)}, counted {total}")
            done = True
        else:
            raise Wrong(f"{where}: {name} does not belong here")
    if not done:
        raise Wrong(f"{where}: no FINAL")
    yield total


def read_state(parts):
    total, at = None, 0
    for part in parts:
        size, offset = struct.unpack_from("<II", part)
        if offset != at or (total is not None and size != total):
            raise Wrong(f"DEV_STATE: part at {offset} of {size}, expected {at} of {total}")
        total, at = size, at + len(part) - 8
    if total is None or at != total:
        raise Wrong(f"DEV_STATE: {at} of {total} bytes")
    return b"".join(part[8:] for part in parts)


def fields_of(name):
    if "." in name:
        return FIELDS[name[name.index("."):]].split()
    kind = name.rstrip("0123456789")
    return FIELDS["virtio" if kind in ("blk", "net", "rng", "keyboard", "tablet", "console") else kind].split()


def read_fields(name, data):
    """How many elements of each field came."""
    known, counts, at, last = fields_of(name), {}, 0, -1
    while at < len(data):
        (tag,) = struct.unpack_from("<H", data, at)
        if not last < tag < len(known):
            raise Wrong(f"{name}: field {tag} after {last}, {len(known)} are known")
        spec = known[tag]
        elements, at = counted(data, at + 2, f"{name} {tag}", int(spec.strip("=*")))
        if spec[-1] != "*" and len(elements) != 1 or spec[0] == "=" and len(elements) != counts.get(tag - 1):
            raise Wrong(f"{name}: field {tag}: {len(elements)} elements, {spec}")
        counts[tag], last = len(elements), tag
    return counts


def read_machine(state):
    """{name: {tag: elements}} of each record of a machine's state."""
    form, flags, magic, version, n = struct.unpack_from("<II4sHH", state)
    if form != 1 or flags & ~1 or version != 1:
        raise Wrong(f"device state: format {form}, flags {flags}, {magic} {version}")
    at, found = 16, {}
    for _ in range(n):
        length = state[at]
        name = state[at + 1:at + 1 + length].decode("ascii")
        version, size = struct.unpack_from("<HI", state, at + 1 + length)
        at += 7 + length
        if version != 1 or name in found or size > len(state) - at:
            raise Wrong(f"device state: {name}: version {version}, {size} bytes")
        found[name] = read_fields(name, state[at:at + size])
        at += size
    if at != len(state):
        raise Wrong(f"device state: {len(state) - at} bytes after the last record")
    return found


def verify(directory):
    """A dict of what was found; raises Wrong."""
    def load(name):
        with open(os.path.join(directory, name), "rb") as f:
            return f.read()

    control = list(records(load("control.src"), "control.src"))
    answers = list(records(load("control.dst"), "control.dst"))
    check_order([n for n, _ in control], CONTROL_SOURCE, "control.src")
    check_order([n for n, _ in answers], CONTROL_DESTINATION, "control.dst")
    hello = check_hello(control[0][1], 0, 0)
    check_hello(answers[0][1], 2, 0, hello)
    memory = Memory(dict(control)["MEM_MAP"])
    readers = [read_data(load(f"data{i}.src"), i, hello, memory) for i in range(hello[0])]
    rounds, totals = 0, []
    while True:                                 # round by round: the barrier of ROUND_SYNC
        step = [next(r, None) for r in readers]
        if step.count(None) not in (0, len(step)):
            raise Wrong("connections have different numbers of rounds")
        if None in step:
            break
        rounds, totals = rounds + 1, step
    done = [struct.unpack("<II", p) for n, p in answers if n == "ROUND_DONE"]
    if done != [(i, 0) for i in range(rounds - 1)]:     # the last step ends with FINAL
        raise Wrong(f"ROUND_DONE: {done} for {rounds - 1} rounds")
    missing = sum(memory.sizes.values()) - len(memory.pages)
    if missing:
        raise Wrong(f"{missing} pages were never sent")
    ready = struct.unpack("<QQ", dict(answers)["READY"])
    if ready[0] != sum(t[1] + t[2] for t in totals):
        raise Wrong(f"READY: {ready[0]} pages")
    state = read_state([p for n, p in control if n == "DEV_STATE"])
    return {"rounds": rounds, "connections": hello[0], "pages": len(memory.pages),
            "zero": sum(t[1] for t in totals), "data": sum(t[2] for t in totals),
            "stored": sum(t[3] for t in totals),
            "state": len(state), "devices": read_machine(state) if state[8:12] == b"DRVS" else None,
            "memory": memory.describe()}


def main(argv):
    if len(argv) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        print(verify(argv[0]))
    except (Wrong, KeyError, struct.error) as e:
        print(f"stream_reader: {e!r}", file=sys.stderr)
        return 1
    except FileNotFoundError as e:
        print(f"stream_reader: {e}", file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
