#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Every verb of drover on a bad day: no droverd, one that talks nonsense, names that are none, too few and too many words, nowhere to write.

The verbs are those that `drover help` lists, so that a new one is here by itself.
usage: test_drover_bad_day.py PATH-OF-DROVER
"""

import concurrent.futures
import json
import re
import subprocess
import unittest

from drover_api import CONF, DROVER, Api, Case

ROW = re.compile(r"^  (?P<words>[a-z]+(?: [a-z]+)*) {2,}(?P<args>(?:\[?[A-Z][A-Z|:,.]*\.*\]?|\[WORD \.\.\.\]|on\|off)(?: (?:\[?[A-Z]+\]?|on\|off|HOST:PRIO,\.\.\.))*(?=  | [a-z]|$))?", re.M)
ASKS_NOBODY = ("completion", "cpu check", "cpu list", "cpu show", "disk", "help", "validate", "version", "witness")   # validate says that nobody was there
GOES_ON = ("watch",)
NO_JSON = ("completion", "console", "help")
WORDS = {"NAME": "web", "[NAME]": "web", "NAME|FILE": "web", "NODE": "n1", "[NODE]": "n2", "GROUP": "g", "HOST:PRIO,...": "n1:1", "on|off": "on",
         "FILE": "/dev/null", "[KEYS]...": "f5", "WHAT": "ping"}

NONSENSE = (b"", b"null", b"[]", b"{}", b'"x"', b"12", b"[null]", b"[[]]", b"[1, 2]", b"[" * 3000, b"<html>", b'{"name": "' + b"n" * 100000 + b'"}',
            b'{"name": 1, "state": [], "phase": {}, "vmm": 3, "conf": 4, "node": {}, "text": 7, "migration": [1], "hosts": "x", "problems": {}}',
            b'[{"name": 1, "state": [], "phase": {}, "vmm": 3, "node": {}, "seq": "x", "time_ms": "y", "hosts": [1, "x", {}], "why": 3}]',
            b'{"vmm": {"console": 5, "reboot": 7, "pid": "x"}, "phase": "running", "state": "running", "incarnation": "x"}',
            b'{"phase": "running", "state": "running", "name": "\\u0000", "node": "\\ud800"}',
            b'[{"memory": 1e308, "vcpus": -1e308, "name": "x", "id": 1e300, "time_ms": 9223372036854775807, "seq": 9223372036854775807}]')


def verbs():
    """Words and arguments of every verb."""
    said = subprocess.run([DROVER, "help"], capture_output=True, text=True, timeout=20, check=True).stdout
    return [(m["words"].split(), (m["args"] or "").split()) for m in ROW.finditer(said)]


def asks_nobody(words):
    return words[0] in ASKS_NOBODY or " ".join(words) in ASKS_NOBODY


class BadDay(Case):
    def lines(self):
        """A line for each verb that asks droverd, right as far as it can be known here."""
        for words, args in verbs():
            if not asks_nobody(words):
                line = words + [WORDS[a] for a in args]
                yield line + (["--yes"] if words[0] in ("fence", "confirm") else [])
                if "NAME|FILE" in args:
                    yield words + ["-"]

    def drover(self, path, *args, timeout=60):
        return subprocess.run([DROVER, "--socket", path, *args], input=CONF, capture_output=True, text=True, timeout=timeout, check=False)

    def sound(self, r, args, json_too):
        """One line for people where it failed, and for programs an object that says the same."""
        where = (args, r.returncode, r.stdout[:200], r.stderr[:200])
        self.assertIn(r.returncode, range(6), where)
        self.assertEqual(len(r.stderr.splitlines()), 1 if r.returncode else 0, where)
        if json_too:
            *_, said = json.loads("[" + r.stdout + "]") if "\n{" not in r.stdout[1:] else [json.loads(line) for line in r.stdout.splitlines()]
            if r.returncode:
                self.assertEqual(said, {"code": r.returncode, "error": r.stderr.removeprefix("drover: ").removesuffix("\n")}, where)

    def test_all_verbs_are_here(self):
        self.assertGreater(len(verbs()), 35)
        self.assertGreater(len(list(self.lines())), 29)
        self.assertIn((["migrate"], ["NAME", "[NODE]"]), verbs())
        self.assertIn((["ha", "group", "add"], ["GROUP", "HOST:PRIO,..."]), verbs())
        self.assertIn((["node", "maintenance"], ["NODE", "on|off"]), verbs())

    def test_without_a_droverd_each_says_so(self):
        for line in self.lines():
            for more in ([], ["-o", "json"]):
                if more and line[0] in NO_JSON:
                    continue
                r = self.drover("/nonexistent/sock", *line, *more)
                self.sound(r, line + more, more)
                self.assertEqual(r.returncode, 1, line)
                self.assertIn("droverd is not running", r.stderr, line)

    def test_a_droverd_that_talks_nonsense_breaks_none(self):
        def one(job):
            line, status, body = job
            with Api({}) as api:
                api.answers = type("Same", (), {"get": lambda *_: (status, body)})()
                try:
                    return self.drover(api.path, *line, timeout=2 if line[0] in GOES_ON else 60)
                except subprocess.TimeoutExpired:
                    return None    # it waits for what it may still be told

        jobs = [(line + more, status, body) for line in self.lines() for body in NONSENSE for status in (200, 409)
                for more in ([["-o", "json"]] if line[0] not in NO_JSON else [[]])]
        jobs = [(line + (["--timeout", "1"] if line[0] in ("start", "stop", "pause", "resume", "reboot", "migrate") else []), *rest)
                for line, *rest in jobs if line[0] not in GOES_ON or rest[1] in NONSENSE[:4]]
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            for job, r in zip(jobs, pool.map(one, jobs)):
                if r is None:
                    self.assertIn(job[0][0], GOES_ON, job)
                else:
                    self.sound(r, job, "json" in job[0])

    def test_an_answer_of_another_kind_is_none(self):
        """A table of nothing, or a domain without a state, would be a lie."""
        for line in (["list"], ["show", "web"], ["node", "status"], ["status"], ["ha", "group", "list"], ["ha", "history"], ["ha", "status"],
                     ["ha", "timings"], ["watch"], ["config", "web"], ["console", "web"]):
            for body in (b"12", b'"x"', b"{}", b"[]"):
                with Api({}) as api:
                    api.answers = type("Same", (), {"get": lambda *_: (200, body)})()
                    one_thing = line in (["show", "web"], ["status"], ["ha", "status"], ["ha", "timings"], ["config", "web"], ["console", "web"])
                    if body == (b"{}" if one_thing else b"[]"):
                        continue
                    r = self.drover(api.path, *line)
                    self.sound(r, line, False)
                    self.assertEqual(r.returncode, 1, (line, body))
                    self.assertRegex(r.stderr, "another kind of JSON|is not JSON", (line, body))

    def test_too_few_and_too_many_words_are_refused(self):
        with Api({}) as api:
            for words, args in verbs():
                if words[0] == "help" or words[0] == "completion":
                    continue
                few = len([a for a in args if not a.startswith("[")]) - 1
                for n in ([few] if few >= 0 else []) + [len(args) + 1]:
                    r = self.drover(api.path, *words, *["x"] * n)
                    self.sound(r, words, False)
                    self.assertEqual(r.returncode, 2, (words, n))
            self.assertEqual(api.asked, [])

    def test_names_that_are_none_are_refused_before_anything_is_asked(self):
        with Api({}) as api:
            for words, args in verbs():
                for i, kind in enumerate(args):
                    if kind.strip("[]") not in ("NAME", "NODE", "GROUP", "NAME|FILE") or asks_nobody(words):
                        continue
                    for name in ("", "..", "a b", "web?x", "w\u00e9b", "a" * 64, "\x1b[31mred", "x\n"):
                        line = words + [WORDS[a] for a in args[:i]] + [name] + [WORDS[a] for a in args[i + 1:]]
                        r = self.drover(api.path, *line)
                        self.sound(r, line, False)
                        self.assertEqual(r.returncode, 2, line)
                        self.assertNotIn("\x1b", r.stderr)
            self.assertEqual(api.asked, [])

    def test_options_of_others_are_refused(self):
        """Each verb obeys or refuses each option there is."""
        options = {"--force": [], "--yes": [], "--why": [], "--restricted": [], "--follow": [], "--canonical": [], "--offline": [], "--dry-run": [],
                   "--no-wait": [], "--timeout": ["3"], "--group": ["g"], "--node": ["n1"], "--max-restart": ["1"], "--format": ["raw"],
                   "--from": ["raw"], "--parent": ["x"]}
        with Api({}) as api:
            for words, args in verbs():
                own = subprocess.run([DROVER, "help", *words], capture_output=True, text=True, timeout=20, check=False).stdout
                for option, value in options.items():
                    if option in own or words[0] in ("help", "version"):
                        continue
                    r = self.drover(api.path, *words, *[WORDS.get(a, "x") for a in args], option, *value)
                    self.sound(r, words + [option], False)
                    self.assertEqual(r.returncode, 2, (words, option))
            self.assertEqual(api.asked, [])

    def test_help_fits_a_terminal(self):
        for words in [[]] + [w for w, _ in verbs() if w[0] not in ("help", "version")]:
            said = subprocess.run([DROVER, "help", *words], capture_output=True, text=True, timeout=20, check=True).stdout
            self.assertLessEqual(max(map(len, said.splitlines())), 112, words)


if __name__ == "__main__":
    unittest.main(verbosity=2)
