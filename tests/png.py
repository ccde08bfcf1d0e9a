# SPDX-License-Identifier: Apache-2.0
"""png - pixels out of a PNG file of the one kind that drover writes: eight bits each of red, green and blue."""
import zlib


def pixels(data):
    """(width, height, rows of RGB) of a PNG file with eight bits a colour; filters of all kinds."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    at, packed = 8, b""
    while at < len(data):
        length, kind = int.from_bytes(data[at:at + 4], "big"), data[at + 4:at + 8]
        body = data[at + 8:at + 8 + length]
        assert zlib.crc32(kind + body) == int.from_bytes(data[at + 8 + length:at + 12 + length], "big")
        if kind == b"IHDR":
            width, height = (int.from_bytes(body[i:i + 4], "big") for i in (0, 4))
            assert body[8:] == bytes([8, 2, 0, 0, 0])
        packed += body if kind == b"IDAT" else b""
        at += 12 + length
    raw, rows, above = zlib.decompress(packed), [], bytes(3 * width)
    for y in range(height):
        start = y * (3 * width + 1)
        kind, line, row = raw[start], raw[start + 1:start + 1 + 3 * width], bytearray()
        if kind <= 2 and not any(line):     # most of a screen, and slow below
            row = bytearray(above if kind == 2 else line)
        for i, b in enumerate(line[len(row):]):
            left, up, corner = row[i - 3] if i >= 3 else 0, above[i], above[i - 3] if i >= 3 else 0
            guess = left + up - corner
            paeth = min((left, up, corner), key=lambda v: abs(guess - v))
            row.append((b + [0, left, up, (left + up) // 2, paeth][kind]) & 255)
        rows.append(bytes(row))
        above = bytes(row)
    return width, height, rows
