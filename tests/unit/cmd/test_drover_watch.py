#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""drover watch: what happens, a line each, over restarts of droverd, until nobody wants it any more.

usage: test_drover_watch.py PATH-OF-DROVER
"""

import json
import os
import re
import signal
import socket
import subprocess
import unittest

from drover_api import DROVER, MAIL, WEB, Api, Case

STAMP = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}  ")


def line(seq, text, boot=None):
    return {"seq": seq, "time_ms": 1000, "boot_ms": boot or 10 + seq, "level": "info", "text": text}


class Watch(Case):
    def watch(self, api, *args, **kwargs):
        p = subprocess.Popen([DROVER, "--socket", api.path, *args], stdout=kwargs.pop("stdout", subprocess.PIPE), stderr=subprocess.PIPE,
                             text=True, **kwargs)
        self.addCleanup(lambda: (p.kill(), p.wait(), [f.close() for f in (p.stdout, p.stderr) if f]))
        return p

    def ends(self, p, code):
        out, err = p.communicate(timeout=30)
        self.assertEqual(p.returncode, code, err)
        return out, err

    def answers(self, domains, history=None):
        return {"GET domains": domains, "GET history?after=0": [history or [line(1, "old")]],
                "GET history?after=1": [[]]}

    def test_states_and_hosts_that_change_are_told_and_nothing_else(self):
        moving = dict(WEB, state="migrating")
        lost = dict(WEB, state="lost", node="n2", why="proof that n2 is dead")
        with Api(self.answers([[WEB, MAIL], [WEB, MAIL], [moving, MAIL], [lost, MAIL], [lost], [lost, MAIL], [dict(lost, failures=9), MAIL]])) as api:
            p = self.watch(api, "watch")
            said = [STAMP.sub("", p.stdout.readline()).rstrip() for _ in range(4)]
            self.assertEqual(said, ["domain   web: migrating on n1, was running on n1",
                                    "domain   web: lost on n2 (proof that n2 is dead), was migrating on n1",
                                    "domain   mail: removed, was lost on n2",
                                    "domain   mail: lost on n2 (proof that n2 is dead)"])
            p.send_signal(signal.SIGINT)
            self.assertEqual(self.ends(p, 0), ("", ""))

    def test_the_history_is_told_from_now_on_over_a_restart(self):
        """The next droverd numbers anew; that it is away is said once, and waited for without an end."""
        later = [line(1, "old"), line(2, "new")]
        anew = [line(1, "after", 50), line(2, "more", 51)]
        api = Api({"GET domains": [[WEB]], "GET history?after=0": [[line(1, "old")], later, anew], "GET history?after=1": [None, None, None, None, anew[1:]]})
        with api:
            p = self.watch(api, "watch")
            said = [p.stdout.readline().split("  ")[-1].strip() for _ in range(3)]
            self.assertEqual(said, ["new", "after", "more"])
            p.send_signal(signal.SIGINT)
            self.assertEqual(self.ends(p, 0), ("", "drover: droverd hung up without an answer; what was asked may still happen; waiting for it\n"))

    def test_of_one_domain_only_what_is_about_it(self):
        texts = ["web: VMM is running", "root on n1: stop web: done", "web2: VMM is running", "my-web is up", "web.old: gone", "it was web.", "nothing"]
        with Api({"GET domains": [[WEB, MAIL], [WEB, dict(MAIL, state="running")]],
                  "GET history?after=0": [[line(1, "old web")], [line(1, "old web")] + [line(i + 2, t) for i, t in enumerate(texts)]],
                  f"GET history?after={len(texts)}": [[line(len(texts) + 1, texts[-1])]]}) as api:
            p = self.watch(api, "watch", "web", "-o", "json")
            said = [json.loads(p.stdout.readline()) for _ in range(4)]
            self.assertEqual(said[0], dict(said[0], event="domain", name="web", was=None, why=""))
            self.assertEqual(said[0]["is"], {"state": "running", "node": "n1"})
            self.assertEqual([s["text"] for s in said[1:]], [texts[0], texts[1], texts[5]])
            self.assertTrue(all(s["event"] == "history" for s in said[1:]))
            p.send_signal(signal.SIGINT)
            self.assertEqual(self.ends(p, 0), ("", ""))
            self.fails(api.run("watch", "nobody"), 3, "no domain called nobody")
            r = api.run("watch", "nobody", "-o", "json")    # a line like the others
            self.assertEqual((r.returncode, r.stdout), (3, '{"code":3,"error":"no domain called nobody"}\n'))

    def test_a_droverd_that_is_not_there_is_told_at_once(self):
        r = subprocess.run([DROVER, "--socket", "/nonexistent/sock", "watch"], capture_output=True, text=True, timeout=20, check=False)
        self.fails(r, 1, "droverd is not running")

    def test_it_ends_when_nobody_reads_any_more(self):
        """Also where nothing happens that would be written."""
        for args in (["watch"], ["ha", "history", "--follow"]):
            with Api(self.answers([[WEB]])) as api:
                read, write = os.pipe()
                p = self.watch(api, *args, stdout=write)
                os.close(write)
                while not api.asked:
                    self.assertIsNone(p.poll())
                os.close(read)
                p.wait(30)

    def test_output_that_does_not_arrive_is_a_failure(self):
        with Api(self.answers([[WEB]])) as api, open("/dev/full", "w", encoding="utf-8") as full:
            p = self.watch(api, "watch", "web", stdout=full)
            self.assertIn("standard output", p.communicate(timeout=30)[1])
            self.assertEqual(p.returncode, 1)

    def test_an_interrupt_that_a_script_ignores_is_ignored(self):
        with Api(self.answers([[WEB], [WEB], [WEB], [MAIL]])) as api:
            p = self.watch(api, "watch", "web", preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN))
            p.stdout.readline()
            p.send_signal(signal.SIGINT)
            self.assertIn("web: removed", p.stdout.readline())
            p.terminate()
            self.ends(p, -signal.SIGTERM)

    def test_an_interrupt_ends_it_while_droverd_hangs(self):
        with Api(self.answers([[WEB]])) as api:
            p = self.watch(api, "watch", "web")
            p.stdout.readline()
            os.rename(api.path, api.path + ".old")
            with socket.socket(socket.AF_UNIX) as mute:
                mute.bind(api.path)
                mute.listen(1)
                mute.settimeout(30)
                c, _ = mute.accept()
                p.send_signal(signal.SIGINT)
                self.assertEqual(self.ends(p, 0)[0], "")
                c.close()


if __name__ == "__main__":
    unittest.main(verbosity=2)
