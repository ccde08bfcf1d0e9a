#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""test_reader - what the engine sends is what docs/stream.md says, by an independent reader.

usage: test_reader.py TEST_MIGRATE   (the program that can capture a migration)"""

import os
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import stream_reader    # noqa: E402


def must_be_wrong(directory, name, change):
    path = os.path.join(directory, name)
    with open(path, "rb") as f:
        good = f.read()
    with open(path, "wb") as f:
        f.write(change(good))
    try:
        stream_reader.verify(directory)
    except stream_reader.Wrong as e:
        print(f"{name} changed: {e}")
    else:
        sys.exit(f"a change in {name} was not noticed")
    with open(path, "wb") as f:
        f.write(good)


def main(program):
    assert stream_reader.crc32c(b"123456789") == 0xE3069283
    with tempfile.TemporaryDirectory() as directory:
        subprocess.run([program, "capture"], check=True, timeout=60,
                       env=dict(os.environ, DROVER_CAPTURE=directory))
        found = stream_reader.verify(directory)
        print(found)
        assert found["connections"] == 3 and found["rounds"] >= 2 and found["zero"] and found["data"], found
        assert found["stored"] < found["data"] * 4096, "nothing was packed"
        must_be_wrong(directory, "data1.src", lambda d: d[:-56])                            # no FINAL
        must_be_wrong(directory, "data0.src", lambda d: d[:200] + bytes([d[200] ^ 1]) + d[201:])
        must_be_wrong(directory, "control.src", lambda d: d[:len(d) // 2])
        must_be_wrong(directory, "control.dst", lambda d: d + d[-32:])                      # repeated


if __name__ == "__main__":
    main(sys.argv[1])
