#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the first inputs of the virtqueue, virtio, pci, devstate and firmware fuzz targets.

usage: virtio_corpus.py [DIRECTORY]   (default: corpus/ beside this file)
"""
import os
import struct
import sys

NEXT, WRITE, INDIRECT = 1, 2, 4


def desc(addr, length, flags=0, following=0):
    return struct.pack("<QIHH", addr, length, flags, following)


def ring(size, descs, heads, base):
    """Descriptor table and available ring, `base` being where they lie."""
    table = b"".join(descs).ljust(16 * size, b"\0")
    avail = struct.pack("<HH", 0, len(heads)) + struct.pack("<%dH" % len(heads), *heads)
    return table + avail.ljust(6 + 2 * size, b"\0")


def virtqueue():
    size_log, size = 4, 16
    head = bytes([size_log | 16 | 32, 0, 0])
    data = 0x10000
    plain = ring(size, [desc(data, 16, NEXT, 1), desc(data + 4096, 512, WRITE | NEXT, 2),
                        desc(data + 8192, 1, WRITE)], [0], 0)
    yield "chain", head + plain
    circle = ring(size, [desc(data, 16, NEXT, 1), desc(data, 16, NEXT, 0)], [0], 0)
    yield "circle", head + circle
    table = 0x800
    memory = ring(size, [desc(table, 32, INDIRECT)], [0, 0, 0], 0).ljust(table, b"\0")
    memory += desc(data, 100, NEXT, 1) + desc(data + 500, 100, WRITE)
    yield "indirect", head + memory
    nested = ring(size, [desc(table, 16, INDIRECT)], [0], 0).ljust(table, b"\0")
    yield "nested", head + nested + desc(table, 16, INDIRECT)
    yield "huge", head + ring(size, [desc(0, 0xffffffff), desc(1 << 63, 16)], [0, 1], 0)
    yield "order", head + ring(size, [desc(data, 16, WRITE | NEXT, 1), desc(data, 16)], [0], 0)


def virtio():
    base, size_log, size = 0x10000, 4, 16
    buffers = 0x20000
    memory = 0x2000  # where the request's parts are, in the input

    def blk(kind, sector, data, length, flag, extra=b"", features=64):
        at = base + memory
        r = ring(size, [desc(at, 16, NEXT, 1),
                        desc(data, length, flag | NEXT, 2),
                        desc(buffers + 0x8000, 1, WRITE)], [0], base)
        r = r.ljust(memory, b"\0") + struct.pack("<IIQ", kind, 0, sector) + extra
        return bytes([0, size_log | 16 | 32 | features, 1, 0]) + r

    yield "read", blk(0, 8, buffers, 4096, WRITE)
    yield "write", blk(1, 8, buffers, 4096, 0)
    yield "write-through", blk(1, 8, buffers, 4096, 0, features=0)
    yield "beyond", blk(0, 2047, buffers, 4096, WRITE)
    yield "odd", blk(0, 0, buffers, 100, WRITE)
    yield "flush", blk(4, 0, buffers, 1, 0)
    yield "id", blk(8, 0, buffers, 20, WRITE)
    seg = base + memory + 16
    yield "discard", blk(11, 0, seg, 16, 0, struct.pack("<QII", 16, 8, 0))
    yield "zeroes", blk(13, 0, seg, 16, 0, struct.pack("<QII", 16, 8, 1))
    many = ring(size, [desc(buffers + 2048 * i, 2048, WRITE) for i in range(8)],
                list(range(8)), base)
    yield "net-rx", bytes([1, size_log | 16 | 64, 8, 200]) + many
    one = ring(size, [desc(buffers, 12, NEXT, 1), desc(buffers + 64, 80)], [0], base)
    yield "net-tx", bytes([1, size_log | 64, 1, 0]) + one
    at = base + memory
    ctrl = ring(size, [desc(at, 2, NEXT, 1), desc(buffers, 1, WRITE)], [0], base)
    yield "net-ctrl", bytes([1, size_log | 64, 1, 0]) + ctrl.ljust(memory, b"\0") + b"\3\0"
    yield "rng", bytes([2, size_log | 16, 8, 0]) + many


def access(where, slot, offset, width_log, value=None):
    op = width_log | (4 if value is not None else 0) | where << 3
    return struct.pack("<BBHI", op, slot, offset, value or 0)


def pci():
    ecam, bar = 1, 2
    walk = b"".join(access(ecam, slot, off, 2) for slot in range(4) for off in range(0, 256, 4))
    yield "walk", walk
    ports = b"".join(access(0, 0, 0, 2, 0x80000000 | s << 11 | r << 2) + access(0, 0, 4, 2)
                     for s in range(4) for r in range(4))
    yield "ports", ports
    move = b"".join([access(ecam, 1, 4, 1, 6), access(ecam, 1, 0x10, 2, 0xffffffff),
                     access(ecam, 1, 0x10, 2), access(ecam, 1, 0x10, 2, 0xd0000000),
                     access(ecam, 1, 0x10, 2, 0xc0008000), access(ecam, 2, 4, 1, 6)])
    yield "move", move
    for device in range(3):
        seq = [access(ecam, device + 1, 4, 1, 6), access(bar, device, 0x14, 0, 0),
               access(bar, device, 0x14, 0, 3), access(bar, device, 0x08, 2, 1),
               access(bar, device, 0x0c, 2, 1), access(bar, device, 0x14, 0, 11)]
        for q in range(3):
            seq += [access(bar, device, 0x16, 1, q), access(bar, device, 0x18, 1, 16),
                    access(bar, device, 0x20, 2, 0x10000), access(bar, device, 0x28, 2, 0x11000),
                    access(bar, device, 0x30, 2, 0x12000), access(bar, device, 0x1a, 1, q + 1),
                    access(bar, device, 0x1c, 1, 1)]
        seq += [access(bar, device, 0x14, 0, 15), access(bar, device, 0x3000, 1, 0),
                access(bar, device, 0x4000, 2, 0xfee00000), access(bar, device, 0x400c, 2, 0),
                access(bar, device, 0x6000, 3), access(bar, device, 0x1000, 0),
                access(bar, device, 0x2000, 3)]
        yield "negotiate%d" % device, b"".join(seq)


def field(tag, layout, *values):
    """A counted array (docs/stream.md): tag, bytes of one element, how many."""
    return struct.pack("<HHI", tag, struct.calcsize("<" + layout), len(values)) + struct.pack(
        "<%d%s" % (len(values), layout), *values)


def devstate():
    # entries: blk0, blk0.blk, net0, net0.net, rng0; tags as in dev_fields of hv/virtio/virtio_state.c
    def running(n):
        at = [0x10000, 0x20000, 0x30000][:n]
        queues = [field(8, "H", *[16] * n), field(9, "H", *range(1, n + 1)), field(10, "B", *[1] * n),
                  field(11, "Q", *at), field(12, "Q", *[a + 0x1000 for a in at]),
                  field(13, "Q", *[a + 0x2000 for a in at]),
                  field(14, "H", *[5] * n), field(15, "H", *[5] * n)]
        return field(0, "Q", 1 << 32 | 1 << 29) + field(3, "B", 0x0f) + b"".join(queues)
    yield "net-runs", bytes([2]) + running(3)
    yield "blk-runs", bytes([0]) + running(1)
    yield "rng-runs", bytes([4]) + running(1)
    yield "blk", bytes([1]) + field(0, "Q", 1 << 20) + field(1, "I", 512)
    yield "net", bytes([3]) + field(0, "B", *bytes(6)) + field(1, "H", 3)
    yield "pending", bytes([0]) + field(17, "Q", 0xfee00000, 0xfee00000) + field(20, "B", 1, 1)
    yield "queues-too-many", bytes([0]) + field(8, "H", *[16] * 5)
    yield "queues-differ", bytes([0]) + field(8, "H", 16, 16) + field(9, "H", 1)
    yield "count-without-end", bytes([0]) + struct.pack("<HHI", 11, 8, 2) + bytes(8)


def firmware():
    # entries: q35, lpc, pm, debugcon, fw_cfg; what is before the state is as long as that and what pads it
    def port(where, offset, width, value=None):
        return struct.pack("<BHBI", where << 3 | width | (value is not None) << 2, offset, 0, value or 0)

    def dma(control, key, how, value):
        return struct.pack("<BBBBI", 31 << 3, control, key, how, value)

    def with_state(accesses, entry, state):
        state = bytes([entry]) + state
        size = max(len(accesses), len(state) + 7 & ~7)
        return accesses.ljust(size, b"\0") + state.ljust(size, b"\0")
    fw_cfg, port_a, pm, con, pci, bridge, lpc = 0, 1, 2, 3, 4, 16, 17
    read = b"".join(port(fw_cfg, 1, 0) for _ in range(20))
    yield "directory", with_state(port(fw_cfg, 0, 1, 0x19) + read, 4, field(0, "H", 0x20) + field(1, "I", 5))
    yield "dma", with_state(dma(10, 0x19, 0, 300) + dma(2, 0, 0, 0x2000) + dma(12, 0x20, 1, 0xffffffff) +
                            dma(2, 0, 1, 0xffffffff) + dma(2, 0, 2, 64) + dma(16, 0, 0, 64) + dma(10, 0x20, 8, 0xfffff8),
                            4, field(2, "I", 1))
    yield "power", with_state(port(pm, 2, 1, 0x100) + port(pm, 8, 2) + port(pm, 4, 1, 0x2000) + port(port_a, 0, 0, 3) +
                              port(pm, 0x7e, 2, 1), 2, field(0, "B", 0, 1) + field(1, "B", 0, 1) + field(3, "Q", 1 << 23))
    yield "says", with_state(b"".join(port(con, 0, 0, c) for c in b"SeaBIOS\x1b[2J\n"), 3, field(0, "I", 131071))
    yield "bridges", with_state(b"".join(port(bridge, r, 0, 0x33) for r in range(0x90, 0x97)) +
                                port(bridge, 0x60, 2, 0xe0000001) + port(lpc, 0x40, 2, 0xb001) + port(lpc, 0x60, 2, 0x80808080) +
                                port(pci, 0, 2, 0x8000f840) + port(pci, 4, 2), 1, field(0, "B", *bytes(256)) + field(1, "B", 2))


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    out = sys.argv[1] if len(sys.argv) > 1 else os.path.join(here, "corpus")
    for make in (virtqueue, virtio, pci, devstate, firmware):
        where = os.path.join(out, make.__name__)
        os.makedirs(where, exist_ok=True)
        for name, data in make():
            with open(os.path.join(where, name), "wb") as f:
                f.write(data)


if __name__ == "__main__":
    main()
