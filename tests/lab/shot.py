# SPDX-License-Identifier: Apache-2.0
"""shot - the screen of a domain, over its control socket, as a PPM file.

usage: shot.py SOCKET FILE

For lab hosts, which have no droverd that `drover screenshot` could ask.
"""
import json
import socket
import sys


def ask(lines, row):
    lines.write(json.dumps({"execute": "screenshot", "arguments": {"row": row}, "id": 1}) + "\n")
    lines.flush()
    for line in lines:
        answer = json.loads(line)
        if answer.get("id") == 1:
            return answer
    sys.exit("closed without an answer")


def main(path, out):
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(60)
        s.connect(path)
        lines, rows, seen, size = s.makefile("rw"), [], 0, None
        while not size or seen < size[1]:
            answer = ask(lines, seen)
            if "error" in answer:
                sys.exit(answer["error"]["text"])
            part = answer["return"]
            size = (part["width"], part["height"])
            rows.append(bytes.fromhex(part["rgb"]))
            seen += part["rows"]
    with open(out, "wb") as f:
        f.write(b"P6\n%d %d\n255\n" % size + b"".join(rows))


if __name__ == "__main__":
    main(*sys.argv[1:])
