# SPDX-License-Identifier: Apache-2.0
"""drover_api - an API that a test plays, for drover to talk to; the program's path is the test's first argument."""

import http.server
import json
import os
import shutil
import socketserver
import subprocess
import sys
import tempfile
import threading
import unittest

DROVER = os.path.abspath(sys.argv.pop(1)) if len(sys.argv) > 1 else "drover"

WEB = {"name": "web", "state": "running", "phase": "running", "wanted": True, "ha": True, "group": "east", "node": "n1",
       "target": None, "incarnation": 3, "moved_incarnation": 2, "failures": 0, "moves": 2, "max_restart": 3, "reason": "", "why": "",
       "memory": 4 << 30, "vcpus": 2}
MAIL = dict(WEB, name="mail", state="lost", ha=False, group="", node="n2", why="proof that n2 is dead", memory=1536 << 20,
            vcpus=16)
CONF = "name: web\nmemory: 64M\nkernel: /boot/vmlinuz\n"


class Api:
    """Answers by a table {"METHOD path": answer or list of answers}; remembers what it was asked."""

    def __init__(self, answers):
        self.dir = tempfile.mkdtemp(prefix="drover-cli.")
        self.path = os.path.join(self.dir, "sock")
        self.answers, self.asked = answers, []
        api = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def reply(self):
                length = int(self.headers.get("Content-Length") or 0)
                key = f"{self.command} {self.path.removeprefix('/v1/')}"
                api.asked.append((key, self.rfile.read(length).decode()))
                answer = api.answers.get(key, (404, {"code": 3, "text": f"nothing at {key}"}))
                if isinstance(answer, list):
                    answer = answer.pop(0) if len(answer) > 1 else answer[0]
                if answer is None:  # a droverd that ends now
                    self.close_connection = True
                    return
                status, body = answer if isinstance(answer, tuple) else (200, answer)
                data = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                try:
                    self.wfile.write(data)
                except BrokenPipeError:   # who asked is gone
                    self.close_connection = True

            do_GET = do_POST = do_DELETE = reply

            def address_string(self):
                return "test"

            def log_message(self, *args):
                pass

        class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
            daemon_threads = True

        self.server = Server(self.path, Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()
        shutil.rmtree(self.dir)

    def run(self, *args, stdin=""):
        return subprocess.run([DROVER, "--socket", self.path, *args], input=stdin, capture_output=True, text=True,
                              timeout=20, check=False)


DONE = {"code": 0, "text": "ok"}


class Case(unittest.TestCase):
    def fails(self, result, code, text):
        self.assertEqual(result.returncode, code, result.stderr)
        self.assertIn(text, result.stderr)
        self.assertEqual(len(result.stderr.splitlines()), 1, result.stderr)
        self.assertEqual(result.stdout, "")
