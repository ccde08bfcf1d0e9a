#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The drover command's verbs about one domain: by name or uuid, and what begins a guest anew.

usage: test_drover_domain.py PATH-OF-DROVER
"""

import json
import os
import pty
import subprocess
import unittest

from drover_api import CONF, DONE, DROVER, WEB, Api, Case


class Domain(Case):
    def test_reset_says_what_droverd_says(self):
        elsewhere = (409, {"code": 5, "text": "domain 'web' runs on n2: use drover reset there"})
        with Api({"POST domains/web/reset": [{"code": 0, "text": "domain 'web' is reset"}, elsewhere]}) as api:
            r = api.run("reset", "web")
            self.assertEqual((r.returncode, r.stdout, r.stderr), (0, "domain 'web' is reset\n", ""))
            self.fails(api.run("reset", "web"), 5, "runs on n2: use drover reset there")
            for args in (["reset"], ["reset", "web", "--force"], ["reset", "web", "--timeout", "3"], ["reset", "web", "x"], ["reboot", "../x"]):
                self.assertEqual(api.run(*args).returncode, 2, args)

    def rebooting(self, phase, why="", **what):
        return dict(WEB, vmm={"state": "running", "reboot": {"phase": phase, "why": why}}, **what)

    def test_reboot_waits_for_what_the_vmm_says_of_it(self):
        for after, code, said in ((self.rebooting("done"), 0, "domain 'web' has rebooted\n"),
                                  (self.rebooting("late", "the guest does not power off"), 4, "not shut down in 7 s; it starts again if it still does, "
                                   "and at once by 'drover reset web'"),
                                  (self.rebooting("dropped", "a stop was ordered"), 1, "domain 'web' does not reboot: a stop was ordered"),
                                  (dict(WEB, phase="stopped", node=None, reason="it crashed"), 1, "ended while it was to reboot, it is stopped: it crashed"),
                                  (self.rebooting("done", incarnation=4), 1, "ended while it was to reboot, it is running")):
            with Api({"GET domains/web": [self.rebooting("done"), self.rebooting("asked"), None, None, after],
                      "POST domains/web/reboot": {"code": 0, "text": "domain 'web' is being rebooted"}}) as api:
                r = api.run("reboot", "web", "--timeout", "7")
                self.assertEqual(api.asked[1], ("POST domains/web/reboot", '{"timeout_ms":7000}'))
                if code:
                    self.fails(r, code, said)
                else:
                    self.assertEqual((r.returncode, r.stdout, r.stderr), (0, said, ""))

    def test_a_reboot_that_is_not_over_is_shown(self):
        for phase, said in (("asked", "Reboot:       the guest was asked to shut down\n"), ("late", "shut down, and is late\n"), ("done", None),
                            ("dropped", None)):
            with Api({"GET domains/web": self.rebooting(phase)}) as api:
                shown = api.run("show", "web").stdout
                self.assertEqual("Reboot:" in shown, said is not None)
                self.assertIn(said or "", shown)

    def test_reboot_does_not_wait_where_it_shall_not(self):
        with Api({"GET domains/web": WEB, "POST domains/web/reboot": {"code": 0, "text": "domain 'web' is being rebooted"}}) as api:
            r = api.run("-o", "json", "reboot", "web", "--no-wait")
            self.assertEqual(json.loads(r.stdout), {"code": 0, "text": "domain 'web' is being rebooted"})
            self.assertEqual(len(api.asked), 2)

    def test_a_uuid_means_its_domain_for_every_verb(self):
        """droverd knows it; it is asked once, and from then on it is the name that is used and told."""
        uuid = "3f2a7c1e-9d4b-4f60-8a57-0c1d2e3f4a5b"
        web = dict(WEB, uuid=uuid)
        known = {f"GET domains/{uuid}": web, f"GET domains/{uuid.upper()}": web, "GET domains/web": web, "DELETE domains/web": DONE,
                 "DELETE ha/domains/web": DONE, "POST ha/domains/web": DONE} | \
            {f"POST domains/web/{verb}": DONE for verb in ("start", "stop", "pause", "resume", "cancel", "clear", "migrate")}
        with Api(known) as api:
            for verb in ("start", "stop", "pause", "resume", "cancel", "clear", "migrate", "remove", "ha add", "ha remove"):
                more = ["--no-wait"] if verb in ("start", "stop", "pause", "resume", "migrate") else []
                for word in (uuid, uuid.upper()):
                    r = api.run(*verb.split(), word, *more)
                    self.assertEqual((r.returncode, r.stderr), (0, ""), verb)
                    self.assertIn("'web'", r.stdout, verb)
                    self.assertNotIn(word, r.stdout, verb)
                self.assertEqual(sum(uuid in key for key, _ in api.asked), 1, api.asked)
                del api.asked[:]
            self.fails(api.run("console", uuid), 5, "domain 'web' runs on n1")
            self.assertEqual(json.loads(api.run("-o", "json", "show", uuid).stdout), web)

    def test_a_uuid_of_nobody_is_not_found(self):
        uuid = "3f2a7c1e-9d4b-4f60-8a57-0c1d2e3f4a5c"
        with Api({f"GET domains/{uuid}": (404, {"code": 3, "text": f"no domain called {uuid}"}),
                  f"POST ha/groups/{uuid}": DONE}) as api:
            for verb in ("show", "start", "stop", "pause", "resume", "cancel", "clear", "migrate", "remove", "console", "ha add", "ha remove"):
                self.fails(api.run(*verb.split(), uuid), 3, f"no domain called {uuid}")
                self.assertEqual(len(api.asked), 1)
                del api.asked[:]
            self.assertEqual(api.run("ha", "group", "add", uuid, "n1").returncode, 0, "a group may be called like that")
            for word in (uuid[:-1], uuid + "0", uuid.replace("-", "."), "0" * 8 + "-0000-0000-0000-" + "0" * 12):   # names like others
                self.fails(api.run("stop", word), 3, f"nothing at POST domains/{word}/stop")
        with Api({f"GET domains/{uuid}": {"code": 0}}) as api:
            self.fails(api.run("stop", uuid), 1, "names no domain")

    def test_config_gives_the_text_as_the_cluster_has_it(self):
        text = CONF + "# caf\u00e9 \u202e\n"
        with Api({"GET domains/web/conf": {"name": "web", "conf": text}}) as api:
            self.assertEqual(api.run("config", "web").stdout, text)
            self.assertEqual(json.loads(api.run("-o", "json", "config", "web").stdout), {"name": "web", "conf": text})
            full = api.run("config", "--canonical", "web").stdout
            self.assertIn('uuid: "', full)
            self.assertEqual(json.loads(api.run("config", "--canonical", "web", "-o", "json").stdout)["conf"], full)
            # ... which is a file that can be taken in, and stays as it is
            api.answers["GET domains/web/conf"] = {"name": "web", "conf": full}
            self.assertEqual(api.run("config", "--canonical", "web").stdout, full)
            self.fails(api.run("config", "mail"), 3, "nothing at GET domains/mail/conf")
            api.answers["GET domains/web/conf"] = {"name": "web"}
            self.fails(api.run("config", "web"), 1, "has no text")
            api.answers["GET domains/web/conf"] = {"name": "web", "conf": "name: web\nspeed: 3\n"}
            self.fails(api.run("config", "--canonical", "web"), 1, "none that this drover takes: web:2: speed")

    def test_config_does_not_move_a_terminal(self):
        with Api({"GET domains/web/conf": {"name": "web", "conf": CONF + "# \x1b[2J\u202e"}}) as api:
            master, slave = pty.openpty()
            subprocess.run([DROVER, "--socket", api.path, "config", "web"], stdout=slave, timeout=20, check=True)
            os.close(slave)
            shown = b""
            try:
                while data := os.read(master, 4096):
                    shown += data
            except OSError:
                pass
            os.close(master)
            self.assertEqual(shown.decode().replace("\r\n", "\n"), CONF + "# ?[2J?\n")

    def test_a_file_is_validated_and_not_taken_in(self):
        with Api({"POST validate": [DONE, DONE, (409, {"code": 5, "text": "its nics[0].mac is that of db"})]}) as api:
            path = os.path.join(api.dir, "web.yaml")
            with open(path, "w", encoding="utf-8") as f:
                f.write(CONF)
            self.assertEqual(api.run("validate", path).stdout, f"{path}: could be started\n")
            self.assertEqual(api.asked, [("POST validate", CONF)])
            self.assertEqual(json.loads(api.run("-o", "json", "validate", "-", stdin=CONF).stdout),
                             {"code": 0, "text": "could be started", "compared": True})
            self.fails(api.run("validate", path), 5, f"{path}: its nics[0].mac is that of db")
            del api.asked[:]
            self.assertIn("not compared with the cluster's domains: --offline", api.run("validate", "--offline", path).stdout)
            with open(path, "w", encoding="utf-8") as f:
                f.write(CONF.replace("64M", "64X"))
            for more in ([], ["--offline"]):
                self.fails(api.run("validate", path, *more), 2, "web.yaml:2: memory:")
            self.fails(api.run("validate", path + "x"), 3, "No such file")
            self.fails(api.run("validate", api.dir), 2, "is a directory")
            self.assertEqual(api.asked, [])

    def test_a_file_that_nobody_could_compare_is_not_called_compared(self):
        for args in (["validate", "-"], ["-o", "json", "validate", "-"]):
            r = subprocess.run([DROVER, "--socket", "/nonexistent/sock", *args], input=CONF, capture_output=True, text=True, timeout=20,
                               check=False)
            self.assertEqual((r.returncode, r.stderr), (0, ""))
            self.assertIn("droverd is not running", r.stdout)
            if "json" in args:
                self.assertIs(json.loads(r.stdout)["compared"], False)
        with Api({"POST validate": None}) as api:    # it is there, and did not say
            self.fails(api.run("validate", "-", stdin=CONF), 1, "hung up")


if __name__ == "__main__":
    unittest.main(verbosity=2)
