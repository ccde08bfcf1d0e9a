#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""qcow2_corpus - seeds for the fuzz target qcow2: small images, written from the specification and not by our code.

    qcow2_corpus.py DIR       (tests/fuzz/corpus/qcow2)

What an input is made of: tests/fuzz/qcow2.c.
"""
import os
import struct
import sys
import zlib

PARENT = 1
COPIED, ZIP, ZERO = 1 << 63, 1 << 62, 1
CLUSTER = 512


class Image:
    """Clusters of 512 bytes: header, refcount table, one block of 16 bits, L1, then whatever is added."""

    def __init__(self, size=65536, version=3, backing=None, **features):
        self.size, self.version, self.features, self.backing = size, version, features, backing
        self.clusters = [bytes(CLUSTER)] * 4
        self.counts = [1, 1, 1, 1]
        self.l1 = [0] * ((size + CLUSTER * 64 - 1) // (CLUSTER * 64))
        self.l2 = {}

    def add(self, data, count=1):
        self.clusters.append(data.ljust(CLUSTER, b"\0"))
        self.counts.append(count)
        return (len(self.clusters) - 1) * CLUSTER

    def table(self, i):
        if i not in self.l2:
            self.l2[i] = (self.add(b""), [0] * 64)
            self.l1[i] = self.l2[i][0] | COPIED
        return self.l2[i][1]

    def entry(self, guest, value):
        self.table(guest // 64)[guest % 64] = value

    def data(self, guest):
        self.entry(guest, self.add(bytes([guest]) * CLUSTER) | COPIED)

    def zipped(self, guest):
        c = zlib.compressobj(9, zlib.DEFLATED, -12)
        self.entry(guest, ZIP | self.add(c.compress(bytes([guest]) * CLUSTER) + c.flush()))

    def header(self):
        f = self.features
        head = struct.pack(">4sIQIIQIIQQIIQ", b"QFI\xfb", self.version, 0, 0, f.get("bits", 9), self.size, 0, len(self.l1), 3 * CLUSTER,
                           CLUSTER, 1, f.get("snapshots", 0), f.get("snapshots_at", 0))
        if self.version == 3:
            head += struct.pack(">QQQII", f.get("incompatible", 0), f.get("compatible", 0), f.get("autoclear", 0), 4, 104)
        if self.backing:
            name, kind = self.backing
            head += struct.pack(">II8sII", 0xe2792aca, len(kind), kind, 0, 0)
            head = head[:8] + struct.pack(">QI", len(head), len(name)) + head[20:] + name
        return head.ljust(CLUSTER, b"\0")

    def bytes(self):
        out = list(self.clusters)
        out[0] = self.header()
        out[1] = struct.pack(">Q", 2 * CLUSTER).ljust(CLUSTER, b"\0")
        out[2] = struct.pack(f">{len(self.counts)}H", *self.counts).ljust(CLUSTER, b"\0")
        out[3] = struct.pack(f">{len(self.l1)}Q", *self.l1).ljust(CLUSTER, b"\0")
        for at, entries in self.l2.values():
            out[at // CLUSTER] = struct.pack(">64Q", *entries)
        return b"".join(out)


def plain(**features):
    m = Image(**features)
    for guest in (0, 1, 3, 9, 127):
        m.data(guest)
    return m


def some_of_each(**features):
    m = plain(**features)
    m.zipped(4)
    m.zipped(8)
    if m.version == 3:
        m.entry(5, ZERO)
        m.entry(6, m.add(b"x") | ZERO | COPIED)
    return m


def snapshot():
    m = plain(snapshots=1, snapshots_at=40 * CLUSTER)
    for at, entries in m.l2.values():
        m.counts[at // CLUSTER] += 1
        for i, e in enumerate(entries):
            if e:
                m.counts[(e & ~COPIED) // CLUSTER] += 1
                entries[i] = e & ~COPIED
    m.l1 = [e & ~COPIED for e in m.l1]
    l1 = m.add(struct.pack(f">{len(m.l1)}Q", *m.l1))
    m.features["snapshots_at"] = m.add(struct.pack(">QIHHIIQIIQQ2s", l1, len(m.l1), 1, 1, 0, 0, 0, 0, 16, 0, m.size, b"1s"))
    return m


def twice():
    """Two clusters of the guest's in one of the file, which is counted twice."""
    m = plain()
    at = m.add(b"both", 2)
    m.entry(10, at)
    m.entry(11, at)
    return m


def lie(change):
    m = some_of_each()
    change(m)
    return m


SEEDS = {
    "empty": (0, 0, Image()),
    "plain": (0, 0, plain()),
    "plain-2": (0, 0, plain(version=2)),
    "longer": (0, 3, plain()),
    "some-of-each": (0, 0, some_of_each()),
    "some-of-each-2": (0, 0, some_of_each(version=2)),
    "odd-size": (0, 0, plain(size=65536 + 512)),
    "snapshot": (0, 0, snapshot()),
    "twice": (0, 0, twice()),
    "autoclear": (0, 0, plain(autoclear=1 << 40)),
    "lazy": (0, 0, plain(compatible=1)),
    "dirty": (0, 0, plain(incompatible=1)),
    "extended": (0, 0, plain(incompatible=16)),
    "child-raw": (PARENT, 0, some_of_each(backing=(b"base", b"raw"))),
    "child-qcow2": (PARENT, 0, some_of_each(backing=(b"base", b"qcow2"))),
    "child-2": (PARENT, 0, plain(version=2, backing=(b"base", b"raw"))),
    "child-larger-than-parent": (PARENT, 0, plain(size=1 << 18, backing=(b"base", b"raw"))),
    "child-alone": (0, 0, plain(backing=(b"base", b"raw"))),
    "no-counts": (0, 0, lie(lambda m: m.counts.__setitem__(slice(4, None), [0] * (len(m.counts) - 4)))),
    "same-place": (0, 0, lie(lambda m: m.entry(2, m.l2[0][1][1]))),
    "over-table": (0, 0, lie(lambda m: m.entry(2, 3 * CLUSTER | COPIED))),
    "past-end": (0, 0, lie(lambda m: m.entry(2, 1 << 40 | COPIED))),
    "zip-past-end": (0, 0, lie(lambda m: m.entry(2, ZIP | (len(m.clusters) * CLUSTER - 10) | 1 << 61))),
    "zip-garbage": (0, 0, lie(lambda m: m.entry(2, ZIP | m.l2[0][0]))),
    "two-tables-in-one-place": (0, 0, lie(lambda m: m.l1.__setitem__(1, m.l1[0]))),
}


def main():
    os.makedirs(sys.argv[1], exist_ok=True)
    for name, (flags, longer, image) in SEEDS.items():
        with open(os.path.join(sys.argv[1], name), "wb") as f:
            f.write(bytes([flags, longer]) + image.bytes())


main()
