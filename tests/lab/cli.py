# SPDX-License-Identifier: Apache-2.0
"""cli - drover in a lab host that has no droverd: a program that knows one domain stands in for it.

usage: cli.py CONTROL-SOCKET DROVER VERB NAME [ARGUMENT...]
"""
import http.server
import json
import os
import socketserver
import subprocess
import sys
import tempfile
import threading


def main(control, drover, *words):
    domain = json.dumps({"name": words[1], "state": "running", "node": "here", "vmm": {"control": control}}).encode()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", str(len(domain)))
            self.end_headers()
            self.wfile.write(domain)

        def address_string(self):
            return "cli"

        def log_message(self, *args):
            pass

    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "sock")
        with socketserver.UnixStreamServer(path, Handler) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            rc = subprocess.run([drover, "--socket", path, *words], check=False).returncode
            server.shutdown()
    return rc


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
