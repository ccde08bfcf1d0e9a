#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""drover guest against an agent that a test plays: its protocol, its deadlines, and what a hostile one cannot do.

usage: test_drover_guest.py PATH-OF-DROVER
"""

import json
import os
import socket
import subprocess
import sys
import threading
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from test_drover import Api  # noqa: E402
from test_drover_vmm import Vmm  # noqa: E402

QEMU_GA = "/usr/sbin/qemu-ga"


class Agent:
    """Behind a domain's agent socket: answers by a function of the request, with bytes or what JSON can be made of."""

    def __init__(self, api, answer, opened=True):
        self.path, self.answer, self.asked = os.path.join(api.dir, "web.agent"), answer, []
        self.vmm = Vmm(api, lambda *_: {"return": {"agent": {"path": self.path, "open": opened}}})
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen(4)
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        try:
            client, _ = self.listener.accept()
        except OSError:
            return
        with client:
            got = b""
            while True:
                data = client.recv(65536)
                if not data:
                    return
                got += data
                while b"\n" in got:
                    line, got = got.split(b"\n", 1)
                    request = json.loads(line.split(b"\xff")[-1])
                    self.asked.append(request)
                    reply = self.answer(request)
                    try:
                        for part in reply if isinstance(reply, list) else [reply]:
                            client.sendall(part if isinstance(part, bytes) else json.dumps(part).encode() + b"\n")
                    except OSError:
                        return
                    if reply == b"":
                        return

    def close(self):
        self.listener.close()
        self.vmm.close()


def synced(then):
    """An agent that is in step, and answers everything else by @then."""
    def answer(request):
        if request["execute"] == "guest-sync-delimited":
            return b"\xff" + json.dumps({"return": request["arguments"]["id"]}).encode() + b"\n"
        return then(request)
    return answer


class Guest(unittest.TestCase):
    def ask(self, answer, *args, opened=True):
        with Api({}) as api:
            agent = Agent(api, answer, opened)
            r = api.run("guest", "web", *args)
            agent.close()
        return r, agent.asked

    def check(self, result, code, out="", err=""):
        r = result[0]
        self.assertEqual((r.returncode, r.stdout, r.stderr), (code, out, err))

    def test_each_order_is_its_command(self):
        for word, command, value, said in (
                ("ping", "guest-ping", {}, "the agent in 'web' answers\n"),
                ("info", "guest-info", {"version": "7.2.22", "supported_commands": [{"enabled": True}, {"enabled": False}]},
                 "agent in 'web': version 7.2.22, 1 commands\n"),
                ("freeze", "guest-fsfreeze-freeze", 3,
                 "3 file systems of 'web' stand still; let them go on with 'drover guest web thaw'\n"),
                ("thaw", "guest-fsfreeze-thaw", 3, "3 file systems of 'web' go on\n")):
            result = self.ask(synced(lambda _, v=value: {"return": v}), word)
            self.check(result, 0, said)
            self.assertEqual([q["execute"] for q in result[1]], ["guest-sync-delimited", command])

    def test_addresses_are_a_table(self):
        nics = [{"name": "lo", "ip-addresses": [{"ip-address": "127.0.0.1", "prefix": 8}]},
                {"name": "eth0", "hardware-address": "52:54:00:00:00:01",
                 "ip-addresses": [{"ip-address": "10.0.0.2", "prefix": 24}, {"ip-address": "fe80::1", "prefix": 64}]},
                {"name": "eth1", "hardware-address": "52:54:00:00:00:02"}]
        self.check(self.ask(synced(lambda _: {"return": nics}), "addresses"), 0,
                   "INTERFACE  MAC                ADDRESS\n"
                   "lo         -                  127.0.0.1/8\n"
                   "eth0       52:54:00:00:00:01  10.0.0.2/24\n"
                   "eth0       52:54:00:00:00:01  fe80::1/64\n"
                   "eth1       52:54:00:00:00:02  -\n")
        r, _ = self.ask(synced(lambda _: {"return": nics}), "addresses", "-o", "json")
        self.assertEqual(json.loads(r.stdout), nics)

    def test_a_shutdown_needs_no_answer(self):
        for silence in (b" ", b""):
            result = self.ask(synced(lambda _, s=silence: s), "shutdown")
            self.check(result, 0, "the guest of 'web' shuts down\n")
            self.assertEqual(result[1][1]["arguments"], {"mode": "powerdown"})
        self.check(self.ask(synced(lambda _: {"error": {"class": "GenericError", "desc": "no shutdown here"}}), "shutdown"), 1,
                   err="drover: web: the guest's agent refuses: no shutdown here\n")

    def test_what_was_left_by_others_is_not_an_answer(self):
        def late(request):
            if request["execute"] != "guest-sync-delimited":
                return {"return": {}}
            number = request["arguments"]["id"]
            return [{"return": {"old": 1}}, b'{"half": ', b'\xff{"return": %d}\n' % (number + 1), b"noise\xff\xff",
                    {"return": number}]
        self.check(self.ask(late, "ping"), 0, "the agent in 'web' answers\n")

    def test_a_refusal_is_told_clean(self):
        self.check(self.ask(synced(lambda _: {"error": {"desc": "no\x1b[2J\nway"}}), "freeze"), 1,
                   err="drover: web: the guest's agent refuses: no?[2J?way\n")
        evil = [{"name": "e\x1b[2J", "hardware-address": "\u202e", "ip-addresses": [{"ip-address": "\x9b2J" * 100, "prefix": "x"}]}]
        r, _ = self.ask(synced(lambda _: {"return": evil}), "addresses")
        self.assertEqual(r.returncode, 0)
        self.assertTrue(all(c.isprintable() or c == "\n" for c in r.stdout), r.stdout)

    def test_answers_of_other_shapes_are_shown_as_nothing(self):
        for value in (7, "x", [], [1, 2], [{"ip-addresses": 5}], {"supported_commands": 5}, None):
            for word in ("ping", "info", "addresses", "freeze", "thaw"):
                self.assertEqual(self.ask(synced(lambda _, v=value: {"return": v}), word)[0].returncode, 0, (word, value))

    def test_an_agent_that_does_not_answer_is_told(self):
        began = time.monotonic()
        self.check(self.ask(lambda _: b" ", "ping"), 4, err="drover: web: the guest's agent does not answer\n")
        self.assertGreater(time.monotonic() - began, 5)

    def test_a_flood_ends_it(self):
        for flood in ([b"x" * 65536] * 64, [b"noise\n" * 10000] * 64):
            r, _ = self.ask(lambda _, f=flood: f, "ping")
            self.assertEqual(r.returncode, 1, r.stderr)
            self.assertIn("the guest's agent:", r.stderr)
        r, _ = self.ask(synced(lambda _: [b"x" * 65536] * 64), "info")
        self.assertEqual(r.returncode, 1, r.stderr)
        self.assertIn("an answer of more than 1048576 bytes", r.stderr)
        deep = b'{"return":' + b"[" * 100000 + b"]" * 100000 + b"}\n"
        self.assertEqual(self.ask(synced(lambda _: deep), "info")[0].returncode, 1)

    def test_who_is_busy_or_not_there_is_told_apart(self):
        self.check(self.ask(lambda _: b"", "ping"), 5,
                   err="drover: web: the guest's agent: hung up: somebody else speaks to it, or the guest is gone\n")
        self.check(self.ask(lambda _: b"", "ping", opened=False), 5, err="drover: web: no agent runs in the guest\n")
        with Api({}) as api:
            vmm = Vmm(api, lambda *_: {"return": {}})
            r = api.run("guest", "web", "ping")
            vmm.close()
        self.assertEqual(r.returncode, 3)
        self.assertIn("no port for an agent", r.stderr)

    @unittest.skipUnless(os.path.exists(QEMU_GA), f"no {QEMU_GA} (package qemu-guest-agent)")
    def test_the_real_agent_understands_it(self):
        """qemu-ga of this machine at a socket, which may tell and not do anything."""
        with Api({}) as api:
            path = os.path.join(api.dir, "web.agent")
            block = "guest-shutdown,guest-fsfreeze-freeze,guest-fsfreeze-freeze-list,guest-fsfreeze-thaw"
            agent = subprocess.Popen([QEMU_GA, "-m", "unix-listen", "-p", path, "-t", api.dir, "-f", os.path.join(api.dir, "pid"),
                                      "-b", block], stderr=subprocess.DEVNULL)
            vmm = Vmm(api, lambda *_: {"return": {"agent": {"path": path, "open": True}}})
            try:
                deadline = time.monotonic() + 20
                while not os.path.exists(path):
                    self.assertLess(time.monotonic(), deadline)
                    time.sleep(0.01)
                for word, said in (("ping", "the agent in 'web' answers"), ("info", "version "), ("addresses", "127.0.0.1/8")):
                    r = api.run("guest", "web", word)
                    self.assertEqual(r.returncode, 0, r.stderr)
                    self.assertIn(said, r.stdout)
                for word in ("freeze", "thaw", "shutdown"):
                    r = api.run("guest", "web", word)
                    self.assertEqual(r.returncode, 1, r.stderr)
                    self.assertIn("the guest's agent refuses: ", r.stderr)
            finally:
                agent.kill()
                agent.wait(20)
                vmm.close()

    def test_other_words_are_refused(self):
        with Api({}) as api:
            r = api.run("guest", "web", "destroy")
        self.assertEqual(r.returncode, 2)
        self.assertIn("expected ping, info, addresses, shutdown, freeze or thaw", r.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
