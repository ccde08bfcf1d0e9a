#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""test_reader - what the engine sends is what docs/stream.md says, by an independent reader.

usage: test_reader.py TEST_MIGRATE [DIR...]   (the program that can capture a migration; streams that were kept)"""

import os
import struct
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


def kept(directory):
    """What the second reader finds in a stream of tests/streams is what its recorder had in memory."""
    with open(os.path.join(directory, "expected"), encoding="utf-8") as f:
        expected = f.read().splitlines()
    found = stream_reader.verify(directory)
    assert found["memory"] == expected, f"{directory}: {found['memory']}, expected {expected}"
    print(f"{directory}: {found['memory']}, devices {list(found['devices'] or ())}")
    return found["devices"]


def state_must_be_wrong(state, change):
    try:
        stream_reader.read_machine(change(state))
    except (stream_reader.Wrong, struct.error) as e:
        print(f"device state changed: {e}")
    else:
        sys.exit("a change in the device state was not noticed")


def device_state(directory):
    """That of a machine: the second reader would see another field, size or count."""
    with open(os.path.join(directory, "control.src"), "rb") as f:
        control = list(stream_reader.records(f.read(), "control.src"))
    state = stream_reader.read_state([p for n, p in control if n == "DEV_STATE"])
    stream_reader.read_machine(state)
    at = state.index(b"\x05cpuid")
    head = at + 6 + 2 + 4                                               # its only field
    state_must_be_wrong(state, lambda d: d[:head] + b"\1" + d[head + 1:])             # tag 1
    state_must_be_wrong(state, lambda d: d[:head + 2] + b"\x29" + d[head + 3:])        # elements of 41 bytes
    state_must_be_wrong(state, lambda d: d[:head + 4] + b"\xff\xff\xff\xff" + d[head + 8:])
    state_must_be_wrong(state, lambda d: d[:head + 4] + b"\0\0\0\0" + d[head + 8:])
    state_must_be_wrong(state, lambda d: d + b"\0")
    state_must_be_wrong(state, lambda d: d[:-1])


def main(program, *streams):
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

    assert streams, "no stream was kept"
    machines = [directory for directory in streams if kept(directory)]
    assert machines, "no stream of a whole machine was kept"
    for directory in machines:
        device_state(directory)


if __name__ == "__main__":
    main(*sys.argv[1:])
