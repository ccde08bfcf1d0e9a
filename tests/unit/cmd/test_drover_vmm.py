#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The verbs of drover that speak to a domain's VMM themselves, against an API and a VMM that a test plays.

usage: test_drover_vmm.py PATH-OF-DROVER
"""

import json
import os
import pathlib
import socket
import subprocess
import sys
import threading
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "../..")]
import png  # noqa: E402
from test_drover import DROVER, WEB, Api  # noqa: E402


class Vmm:
    """A control socket: answers by a function of command and arguments; remembers what it was asked."""

    def __init__(self, api, answer):
        self.path, self.answer, self.asked = os.path.join(api.dir, "web.sock"), answer, []
        api.answers["GET domains/web"] = dict(WEB, vmm={"state": "running", "pid": 1, "control": self.path})
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen(4)
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            with client, client.makefile("rw") as f:
                f.write(json.dumps({"drover-hv": {"protocol": 1}}) + "\n")
                for line in f:
                    request = json.loads(line)
                    self.asked.append(request)
                    reply = self.answer(request["execute"], request.get("arguments", {}))
                    f.write(json.dumps({"event": "state", "data": {}}) + "\n" + (reply if isinstance(reply, str) else json.dumps(reply)) + "\n")
                    f.flush()

    def close(self):
        self.listener.close()


class Screenshot(unittest.TestCase):
    def shoot(self, answer, *args):
        with Api({}) as api:
            vmm = Vmm(api, answer)
            out = os.path.join(api.dir, "out.png")
            r = subprocess.run([DROVER, "--socket", api.path, "screenshot", "web", *(args or [out])], capture_output=True,
                               timeout=60, check=False)
            data = pathlib.Path(out).read_bytes() if os.path.exists(out) else None
            vmm.close()
        return r, data, vmm

    @staticmethod
    def screen(width, height, at_once):
        def answer(_command, args):
            row = args["row"]
            rows = min(at_once, height - row)
            pixels = bytes((x + 3 * y) % 256 for y in range(row, row + rows) for x in range(3 * width))
            return {"return": {"width": width, "height": height, "row": row, "rows": rows, "rgb": pixels.hex()}}
        return answer

    def test_slices_become_one_png(self):
        r, data, vmm = self.shoot(self.screen(70, 65, 20))
        self.assertEqual(r.returncode, 0, r.stderr)
        self.assertIn(b"out.png: 70x65", r.stdout)
        width, height, rows = png.pixels(data)
        self.assertEqual((width, height), (70, 65))
        for y, row in enumerate(rows):
            self.assertEqual(row, bytes((x + 3 * y) % 256 for x in range(210)))
        self.assertEqual([q["arguments"]["row"] for q in vmm.asked], [0, 20, 40, 60])

    def test_standard_output_gets_nothing_else(self):
        r, _, _ = self.shoot(self.screen(64, 64, 64), "-")
        self.assertEqual(png.pixels(r.stdout)[:2], (64, 64))

    def test_a_mode_that_changes_begins_anew(self):
        small, large, asked = self.screen(64, 64, 10), self.screen(80, 64, 64), []

        def answer(command, args):
            asked.append(args["row"])
            return (small if len(asked) < 3 else large)(command, args)
        r, data, _ = self.shoot(answer)
        self.assertEqual(r.returncode, 0, r.stderr)
        self.assertEqual(png.pixels(data)[:2], (80, 64))
        self.assertEqual(asked, [0, 10, 20, 0])

    def test_what_a_vmm_says_is_not_believed(self):
        good = self.screen(64, 64, 64)("", {"row": 0})["return"]
        for wrong in ({"width": 0}, {"width": 1 << 40}, {"height": -1}, {"rows": 65}, {"rows": 0}, {"row": 1}, {"rgb": "00"},
                      {"rgb": "zz" * 64 * 64 * 3}, {"rgb": None}):
            r, data, _ = self.shoot(lambda *_, w=wrong: {"return": dict(good, **w)})
            self.assertEqual((r.returncode, data), (1, None), wrong)
            self.assertIn(b"no picture", r.stderr)
        for line in ("no JSON", "[1]", "{"):
            r, data, _ = self.shoot(lambda *_, w=line: w)
            self.assertIn(r.returncode, (1, 2))
            self.assertIsNone(data)

    def test_a_refusal_keeps_its_code_and_leaves_no_file(self):
        r, data, _ = self.shoot(lambda *_: {"error": {"code": 5, "text": "the screen is dark"}})
        self.assertEqual((r.returncode, r.stderr, data), (5, b"drover: web: the screen is dark\n", None))

    def test_elsewhere_says_where(self):
        with Api({"GET domains/web": WEB}) as api:
            r = api.run("screenshot", "web", "x.png")
            self.assertEqual(r.returncode, 5)
            self.assertIn("runs on n1: use drover screenshot there", r.stderr)


class SendKey(unittest.TestCase):
    def send(self, answer, *args):
        with Api({}) as api:
            vmm = Vmm(api, answer)
            r = api.run("send-key", "web", *args)
            vmm.close()
        return r, [(q["execute"], q["arguments"]) for q in vmm.asked]

    def test_keys_then_text_in_order(self):
        r, asked = self.send(lambda *_: {"return": {}}, "ctrl-alt-f2", "ret", "--text", "root\n")
        self.assertEqual((r.returncode, r.stdout), (0, "keys sent to 'web'\n"), r.stderr)
        self.assertEqual(asked, [("send-key", {"keys": "ctrl-alt-f2"}), ("send-key", {"keys": "ret"}), ("send-key", {"text": "root\n"})])

    def test_a_refusal_ends_it(self):
        r, asked = self.send(lambda *_: {"error": {"code": 2, "text": "keys: 'x1' is no key"}}, "x1", "ret")
        self.assertEqual((r.returncode, r.stderr), (2, "drover: web: keys: 'x1' is no key\n"))
        self.assertEqual(len(asked), 1)

    def test_nothing_to_send_is_a_mistake(self):
        r, asked = self.send(lambda *_: {"return": {}})
        self.assertEqual((r.returncode, asked), (2, []))
        self.assertIn("expected keys", r.stderr)


class Vnc(unittest.TestCase):
    def test_the_socket_is_what_the_vmm_says(self):
        for answer, code, out, err in (({"vnc": "/run/web.vnc"}, 0, "/run/web.vnc\n", ""),
                                       ({}, 3, "", "drover: web: the domain has no screen ('display' in its file)\n")):
            with Api({}) as api:
                vmm = Vmm(api, lambda *_, a=answer: {"return": a})
                r = api.run("vnc", "web")
                vmm.close()
            self.assertEqual((r.returncode, r.stdout, r.stderr), (code, out, err))


if __name__ == "__main__":
    unittest.main(verbosity=2)
