#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""drover completion bash: real bash completes real lines with it.

usage: test_drover_completion.py PATH-OF-DROVER
"""

import os
import pty
import re
import select
import socket
import subprocess
import time
import unittest

from drover_api import DONE, DROVER, MAIL, WEB, Api, Case

DOMAINS = [WEB, MAIL, dict(WEB, name="web2"), dict(WEB, name="$(touch pwned)"), dict(WEB, name="a b"), dict(WEB, name="-x")]
ANSWERS = {"GET domains": [DOMAINS], "GET nodes": [[{"name": "n1"}, {"name": "n2"}, {"name": "other"}]],
           "GET ha/groups": [[{"name": "east", "hosts": []}]]}


def script():
    return subprocess.run([DROVER, "completion", "bash"], capture_output=True, text=True, timeout=20, check=True).stdout


class Completion(Case):
    def environment(self, api, **more):
        return dict(os.environ, PATH=os.path.dirname(DROVER) + ":/usr/bin:/bin", DROVER_SOCKET=api.path, **more)

    def complete(self, api, line):
        """What bash offers at the end of @line, split as readline does."""
        words = re.findall(r"=|[^ =]+", line) + ([""] if line[-1] == " " else [])
        run = script() + 'COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _drover; printf "%s\\n" "${COMPREPLY[@]}"'
        r = subprocess.run(["bash", "--norc", "-c", run, "bash", *words], capture_output=True, text=True, timeout=30, check=False,
                           env=self.environment(api), cwd=api.dir)
        self.assertEqual(r.stderr, "", line)
        return sorted(r.stdout.split())

    def test_lines_are_completed_by_the_table_of_verbs(self):
        with Api(ANSWERS) as api:
            for line, expected in (
                    ("drover mig", ["migrate"]), ("drover re", ["reboot", "remove", "reset", "resume"]), ("drover ve", ["version"]),
                    ("drover ha ", ["add", "group", "history", "remove", "status", "timings"]), ("drover ha group ", ["add", "list", "remove"]),
                    ("drover help no", ["node"]), ("drover help disk ", ["check", "convert", "create", "info"]), ("drover bogus ", []), ("drover list ", []),
                    ("drover show ", ["mail", "web", "web2"]), ("drover show web", ["web", "web2"]), ("drover show web ", []),
                    ("drover migrate web ", ["n1", "n2", "other"]), ("drover migrate web n", ["n1", "n2"]), ("drover fence o", ["other"]),
                    ("drover node maintenance n1 ", ["off", "on"]), ("drover ha group remove ", ["east"]), ("drover ha add web --group ", ["east"]),
                    ("drover ha group add g ", ["n1", "n2", "other"]), ("drover start web --node n", ["n1", "n2"]),
                    ("drover start web --node=", ["n1", "n2", "other"]), ("drover start web --node=o", ["other"]),
                    ("drover start --node=n1 w", ["web", "web2"]), ("drover -o ", ["json", "table"]), ("drover -o json sho", ["show"]),
                    ("drover -o json show m", ["mail"]), ("drover disk create x --format vhd", ["vhd", "vhd-fixed"]),
                    ("drover stop --", ["--force", "--help", "--no-wait", "--output", "--socket", "--timeout", "--wait"]),
                    ("drover console --o", []), ("drover stop --force --t", ["--timeout"]), ("drover stop --timeout ", []),
                    ("drover stop -- w", ["web", "web2"]), ("drover watch m", ["mail"]), ("drover comp", ["completion"])):
                self.assertEqual(self.complete(api, line), expected, line)
            self.assertFalse(os.path.exists(os.path.join(api.dir, "pwned")))

    def test_files_are_completed_where_files_may_stand(self):
        with Api(ANSWERS) as api:
            for name in ("web.yaml", "a.img"):
                with open(os.path.join(api.dir, name), "w", encoding="utf-8"):
                    pass
            self.assertEqual(self.complete(api, "drover start we"), ["web", "web.yaml", "web2"])
            self.assertEqual(self.complete(api, "drover validate we"), ["web.yaml"])
            self.assertEqual(self.complete(api, "drover disk info a"), ["a.img"])
            self.assertEqual(self.complete(api, "drover disk convert a.img b --parent=a"), ["a.img"])

    def test_nobody_waits_for_a_droverd_that_does_not_answer(self):
        with Api({}) as api:
            for path in ("gone", "mute"):
                api_socket = os.path.join(api.dir, path)
                with socket.socket(socket.AF_UNIX) as mute:
                    if path == "mute":
                        mute.bind(api_socket)
                        mute.listen(8)
                    self.assertEqual(self.complete(api, f"drover --socket {api_socket} show "), [])
                    self.assertEqual(self.complete(api, f"drover --socket {api_socket} sho"), ["show"])

    def test_the_socket_on_the_line_is_asked(self):
        with Api(ANSWERS) as api, Api({}) as none:
            self.assertEqual(self.complete(none, f"drover --socket {api.path} show m"), ["mail"])
            self.assertEqual(self.complete(none, "drover show m"), [])

    def test_a_person_at_a_terminal_gets_it(self):
        with Api(ANSWERS) as api:
            path = os.path.join(api.dir, "completion")
            with open(path, "w", encoding="utf-8") as f:
                f.write(script())
            for typed, shown in (("drover migr\tmai\toth\t", "drover migrate mail other "), ("drover ha gr\trem\te\t", "drover ha group remove east "),
                                 ("drover start web --nod\toth\t", "drover start web --node other "),
                                 ("drover start web --node=oth\t", "drover start web --node=other ")):
                self.type(api, f"source {path}\n{typed}", "> " + shown)

    def type(self, api, typed, shown):
        pid, fd = pty.fork()
        if pid == 0:
            os.execve("/bin/bash", ["bash", "--norc", "--noprofile", "-i"], self.environment(api, TERM="dumb", INPUTRC="/dev/null", PS1="> "))
        try:
            self.shown(fd, "> ")
            os.write(fd, typed.encode())
            self.shown(fd, shown)
        finally:
            os.close(fd)
            os.kill(pid, 9)
            os.waitpid(pid, 0)

    def shown(self, fd, text):
        seen, deadline = "", time.monotonic() + 40
        while text not in seen:
            self.assertLess(time.monotonic(), deadline, f"{text!r} not in {seen!r}")
            if select.select([fd], [], [], 1)[0]:
                seen += os.read(fd, 4096).decode(errors="replace").replace("\x07", "")

    def test_every_verb_and_option_has_its_place_in_the_manual(self):
        with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../../docs/drover.1"), encoding="utf-8") as f:
            page = f.read()
        offered = subprocess.run([DROVER, "help"], capture_output=True, text=True, timeout=20, check=True).stdout
        verbs = re.findall(r"^  (\S+(?: \S+)*?)  ", offered, re.M)
        self.assertGreater(len(verbs), 35)
        options = set()
        for verb in verbs:
            self.assertRegex(page, rf"Cm {verb}\b", verb)
            if verb not in ("version", "help"):
                options |= set(re.findall(r"--([a-z-]+)", subprocess.run([DROVER, "help", *verb.split()], capture_output=True, text=True, timeout=20,
                                                                         check=True).stdout))
        self.assertGreater(len(options), 12)
        for option in sorted(options - {"wait"}):
            self.assertRegex(page, rf"Fl (?:o , )?-{option}\b", option)

    def test_the_script_is_all_that_is_printed(self):
        with Api({"POST domains/web/start": DONE}) as api:
            self.assertIn("complete -F _drover drover\n", api.run("completion", "bash").stdout)
            self.fails(api.run("completion"), 2, "'drover help completion'")
            self.fails(api.run("completion", "fish"), 2, "no verb 'completion fish'")
            self.assertEqual(api.asked, [])


if __name__ == "__main__":
    unittest.main(verbosity=2)
