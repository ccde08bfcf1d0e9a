#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""vhd_corpus - seeds for the fuzz target vhd: small images, written from the specification and not by our code.

    vhd_corpus.py DIR       (tests/fuzz/corpus/vhd)

What an input is made of: tests/fuzz/vhd.c.
"""
import os
import struct
import sys

NONE = 0xffffffff
FIX, PARENT = 1, 2


def checksum(data, at):
    return ~sum(data[:at] + data[at + 4:]) & 0xffffffff


def footer(kind, size, header=512, creator=b"drov"):
    p = bytearray(512)
    struct.pack_into(">8sIIQI4sI4sQQHBBII16s", p, 0, b"conectix", 2, 0x10000, header if kind != 2 else 2**64 - 1, 7, creator,
                     0x10000, b"Wi2k", size, size, size // 512 // 68, 4, 17, kind, 0, bytes(range(16)))
    struct.pack_into(">I", p, 64, checksum(p, 64))
    return bytes(p)


def header(entries, block, table=1536, locators=(), name="p.vhd"):
    p = bytearray(1024)
    struct.pack_into(">8sQQIIII16sII", p, 0, b"cxsparse", 2**64 - 1, table, 0x10000, entries, block, 0, b"q" * 16, 0, 0)
    p[64:64 + 2 * len(name)] = name.encode("utf-16-be")
    for i, locator in enumerate(locators):
        struct.pack_into(">4sIIIQ", p, 576 + 24 * i, *locator)
    struct.pack_into(">I", p, 36, checksum(p, 36))
    return bytes(p)


def sparse(kind, size, block, placed, bits=0xff, text=b"", locators=(), table=None):
    """Blocks of @placed, in that order; @table: entries instead of what is right."""
    count = (size + block - 1) // block
    bitmap = (block // 4096 + 511) // 512 * 512
    tables = 1536 + (4 * count + 511) // 512 * 512
    start = tables + (len(text) + 511) // 512 * 512
    bat = [NONE] * count
    for i, n in enumerate(placed):
        bat[n] = (start + i * (bitmap + block)) // 512
    bat = struct.pack(f">{count}I", *(table or bat)).ljust(tables - 1536, b"\xff") + text.ljust(start - tables, b"\0")
    body = (bytes([bits]) * bitmap + bytes(block)) * len(placed)
    return footer(kind, size) + header(count, block, locators=locators) + bat + body + footer(kind, size)


RELATIVE = ".\\p.vhd".encode("utf-16-le")
LOCATORS = [(b"W2ru", 1, len(RELATIVE), 0, 2048), (b"MacX", 1, 20, 0, 2048)]
DYNAMIC = sparse(3, 65536, 4096, [3, 0])
CHILD = sparse(4, 65536, 4096, [3, 0], bits=0xa5, text=RELATIVE, locators=LOCATORS)

SEEDS = {
    "fixed": (FIX, 0, bytes(8192) + footer(2, 8192)),
    "fixed-with-forged-start": (FIX, 0, footer(3, 8192) + bytes(8192 - 512) + footer(2, 8192)),
    "dynamic": (FIX, 0, DYNAMIC),
    "dynamic-empty": (FIX, 0, sparse(3, 65536, 4096, [])),
    "dynamic-longer": (FIX, 3, DYNAMIC),
    "dynamic-2M": (FIX, 40, sparse(3, 4 << 20, 2 << 20, [])),
    "dynamic-odd-size": (FIX, 0, sparse(3, 65536 + 512, 4096, [16])),
    "dynamic-no-end": (0, 0, DYNAMIC[:-512]),
    "dynamic-no-start": (0, 0, b"x" + DYNAMIC[1:]),
    "dynamic-virtual-pc": (FIX, 0, DYNAMIC.replace(b"drov", b"vpc ")),
    "overlap": (FIX, 0, sparse(3, 65536, 4096, [3, 0], table=[4, 4] + [NONE] * 14)),
    "half-over": (FIX, 0, sparse(3, 65536, 4096, [3, 0], table=[4, 6] + [NONE] * 14)),
    "child": (FIX | PARENT, 0, CHILD),
    "child-alone": (FIX, 0, CHILD),
    "child-all-its-own": (FIX | PARENT, 0, sparse(4, 65536, 4096, [1, 2], text=RELATIVE, locators=LOCATORS)),
    "child-larger-than-parent": (FIX | PARENT, 0, sparse(4, 131072, 4096, [31], bits=0, text=RELATIVE, locators=LOCATORS)),
}


def main():
    os.makedirs(sys.argv[1], exist_ok=True)
    for name, (flags, longer, image) in SEEDS.items():
        with open(os.path.join(sys.argv[1], name), "wb") as f:
            f.write(bytes([flags, longer]) + image)


main()
