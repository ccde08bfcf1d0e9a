# SPDX-License-Identifier: Apache-2.0
"""api - droverd's REST API over its UNIX socket, reached from outside the host's namespaces: for looking often and fast.

Commands go through the drover program, as an operator gives them; this only reads.
"""

import http.client
import json
import socket

from host import SLOW


class Connection(http.client.HTTPConnection):
    def __init__(self, path, timeout):
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


def get(host, what, timeout=5):
    """GET /v1/@what from @host's droverd, or None when it does not answer."""
    if not host.pid:
        return None
    c = Connection(f"/proc/{host.pid}/root/run/drover/droverd.sock", timeout * SLOW)
    try:
        c.request("GET", "/v1/" + what)
        r = c.getresponse()
        body = json.loads(r.read())
        return body if r.status == 200 else None
    except (OSError, http.client.HTTPException, ValueError):
        return None
    finally:
        c.close()


def rows(answer, key):
    """A list, whether it comes bare or under its name."""
    return answer if isinstance(answer, list) else (answer or {}).get(key, [])


def nodes(host):
    return rows(get(host, "nodes"), "nodes")


def domains(host):
    return rows(get(host, "domains"), "domains")


def history(host, after=0):
    return rows(get(host, f"history?after={after}"), "history")
