#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The drover command against an API that a test plays: what it asks, what it prints, what it ends with.

usage: test_drover.py PATH-OF-DROVER
"""

import fcntl
import json
import os
import pty
import re
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import termios
import time
import unittest

from drover_api import CONF, DONE, DROVER, MAIL, WEB, Api, Case

F_OFD_SETLK = 37


class Drover(Case):
    def test_list_aligns_its_columns(self):
        with Api({"GET domains": [[WEB, MAIL]]}) as api:
            r = api.run("list")
        self.assertEqual(r.stdout.splitlines(), [
            "NAME  STATE    NODE  MEMORY   VCPUS  HA    WHY",
            "web   running  n1    4 GiB    2      east  -",
            "mail  lost     n2    1.5 GiB  16     no    proof that n2 is dead"])
        self.assertEqual(r.returncode, 0)

    def test_no_text_of_others_reaches_a_terminal_as_it_is(self):
        """What hosts, VMMs, agents and peers said may want to move the cursor, forge lines, turn text around."""
        evil = "a\x1b[2J\nb\x9b2J\u202ec"
        said = "a?[2J?b?2J?c"
        web = dict(WEB, why=evil, reason=evil, node=evil, migration={"phase": "failed", "error": evil})
        node = {"name": evil, "state": "online", "why": evil, "fence": "ready", "fence_text": "", "domains": 1}
        status = {"node": evil, "version": "1", "standing": "member", "problems": [evil]}
        line = {"seq": 1, "time_ms": 0, "level": "info", "text": evil}
        with Api({"GET domains": [[web]], "GET domains/web": web, "GET nodes": [[node]], "GET status": status,
                  "GET history?after=0": [[line]], "GET ha/groups": [[{"name": evil, "hosts": [{"node": evil}]}]],
                  "POST domains/web/stop": (409, {"code": 5, "text": evil})}) as api:
            for args in (("list",), ("show", "web"), ("node", "status"), ("status",), ("ha", "status", "--why"),
                         ("ha", "history"), ("ha", "group", "list"), ("stop", "web"), ("-o", "json", "list")):
                r = api.run(*args)
                out = r.stdout + r.stderr
                self.assertIn("\\u001B" if "json" in args else said, out, args)
                self.assertTrue(all(c.isprintable() or c == "\n" for c in out), (args, out))

    def test_json_is_what_the_api_said(self):
        with Api({"GET domains": [[WEB, MAIL]]}) as api:
            for args in (("-o", "json", "list"), ("list", "-o", "json"), ("list", "--output=json")):
                self.assertEqual(json.loads(api.run(*args).stdout), [WEB, MAIL])

    def test_an_error_of_the_api_gives_its_text_and_its_code(self):
        refused = (409, {"code": 5, "text": "web is running; stop it first"})
        with Api({"DELETE domains/web": refused}) as api:
            self.fails(api.run("remove", "web"), 5, "drover: web is running; stop it first")

    def test_an_answer_that_is_not_json_is_an_error(self):
        with Api({"GET domains": (200, b"<html>")}) as api:
            self.fails(api.run("list"), 1, "not JSON")

    def test_a_daemon_that_is_not_there_is_named(self):
        r = subprocess.run([DROVER, "--socket", "/nonexistent/sock", "list"], capture_output=True, text=True, check=False)
        self.fails(r, 1, "droverd is not running on this host, or waits for corosync (/nonexistent/sock")

    def test_wrong_command_lines_end_with_2_before_anything_is_asked(self):
        with Api({}) as api:
            for args in (["bogus"], ["stop"], ["list", "x"], ["list", "--force"], ["-o", "xml", "list"],
                         ["migrate", "a", "b", "c"], ["ha", "add"], ["start", "web", "--timeout", "soon"],
                         ["ha", "add", "web", "--max-restart", "101"], ["node", "maintenance", "n1", "maybe"],
                         ["ha", "group", "add", "g", "n1:high"], ["fence", "n1"]):
                r = api.run(*args)
                self.assertEqual(r.returncode, 2, (args, r.stderr))
            self.assertEqual(api.asked, [])

    def test_names_are_checked_before_anything_is_asked(self):
        bad = ["", "../nodes", "..", ".", "a b", "web?x", "web#x", "web/stop", "%77eb", "w\u00e9b", "a" * 64, "web\r\nX: y", "-x",
               "\x1b[31mred", "*"]
        with Api({"GET domains/web": WEB}) as api:
            for name in bad:
                for verb in (["show"], ["stop"], ["remove"], ["ha", "remove"], ["migrate"], ["ha", "group", "remove"],
                             ["start", "--no-wait"], ["migrate", "web"], ["start", "web", "--node"], ["ha", "add", "web", "--group"],
                             ["fence", "--yes"], ["ha", "group", "add", "g"]):
                    if "/" in name and verb[0] == "start" and verb[-1] == "--no-wait":
                        continue   # a file's name
                    end = [] if verb[-1] in ("--node", "--group") else ["--"]
                    r = api.run(*verb, *end, name)
                    self.assertEqual(r.returncode, 2, (verb, name, r.stderr))
                    self.assertEqual(len(r.stderr.splitlines()), 1, (verb, name, r.stderr))
                    self.assertNotIn("\x1b", r.stderr)
            self.assertEqual(api.asked, [])

    def test_lists_of_hosts_have_no_holes(self):
        with Api({}) as api:
            for hosts in ("", "n1:1,", ",n1", "n1,,n2", "n1:", "n1:-", "n1:1:2", " n1:2", "n1:99999999999", "n1:+1"):
                r = api.run("ha", "group", "add", "g", hosts)
                self.assertEqual(r.returncode, 2, (hosts, r.stderr))
            self.assertEqual(api.asked, [])

    def test_every_option_is_obeyed_or_refused(self):
        with Api({}) as api:
            for args in (["version", "--force"], ["version", "x"], ["help", "list", "-o", "json"], ["console", "web", "-o", "json"],
                         ["start", "web", "--no-wait", "--timeout", "5"], ["start", "web", "--timeout", "0"],
                         ["stop", "web", "--node", "n1"], ["start", "web", "--group", "g"], ["remove", "web", "--timeout", "3"],
                         ["ha", "add", "web", "--node", "n1"], ["--version", "--why"]):
                self.assertEqual(api.run(*args).returncode, 2, args)
            self.assertEqual(api.asked, [])
            self.assertEqual(list(json.loads(api.run("version", "-o", "json").stdout)), ["version"])

    def test_a_file_goes_to_the_host_that_was_named(self):
        with Api({"POST domains?start=true&node=n2": DONE, "GET domains/web": WEB}) as api:
            r = api.run("start", "-", "--node", "n2", stdin=CONF)
            self.assertEqual((r.returncode, api.asked[0]), (0, ("POST domains?start=true&node=n2", CONF)), r.stderr)

    def test_a_file_is_taken_in_and_protected_by_one_command(self):
        """In two it would start before its group counts, and stay, started, where there is no such group."""
        url = "POST domains?start=true&protect=true"
        with Api({url: DONE, f"{url}&group=east&max_restart=2": DONE,
                  f"{url}&group=nowhere": (404, {"code": 3, "text": "no group called nowhere"})}) as api:
            r = api.run("ha", "add", "-", stdin=CONF)
            self.assertEqual((r.returncode, r.stdout), (0, "domain 'web' is protected, and is being started\n"), r.stderr)
            r = api.run("ha", "add", "-", "--group", "east", "--max-restart", "2", stdin=CONF)
            self.assertEqual(r.returncode, 0, r.stderr)
            self.fails(api.run("ha", "add", "-", "--group", "nowhere", stdin=CONF), 3, "no group called nowhere")
            self.assertEqual(len(api.asked), 3)

    def test_a_wrong_option_is_told_to_programs_too(self):
        for args, text in ((["-o", "json", "--bogus", "list"], "--bogus: no such option"), (["-o", "json", "-x"], "-x: no such"),
                           (["list", "-o", "json", "--node"], "--node needs a value"), (["--force=1", "-o", "json"], "no value"),
                           (["--timeout", "0", "list", "-o", "json"], "--timeout 0"), (["-o", "json"], "a verb is missing")):
            with Api({}) as api:
                r = api.run(*args)
            self.assertEqual(r.returncode, 2, args)
            self.assertIn(text, r.stderr)
            self.assertEqual(len(r.stderr.splitlines()), 1, r.stderr)
            self.assertEqual(json.loads(r.stdout), {"code": 2, "error": r.stderr.removeprefix("drover: ").rstrip()})

    def test_follow_goes_on_over_a_restart(self):
        """The next droverd numbers anew, and may have come further already than the one before."""
        def line(seq, ms):
            return {"seq": seq, "time_ms": 0, "boot_ms": ms, "level": "info", "text": f"line {ms}"}

        new = [line(1, 50), line(2, 51), line(3, 52)]
        with Api({"GET history?after=0": [[line(1, 10), line(2, 11)], new],
                  "GET history?after=1": [None, None, new[1:]],
                  "GET history?after=2": [new[2:], (500, {"code": 1, "text": "enough"})]}) as api:
            self.fails_behind(api.run("ha", "history", "--follow"), [f"line {ms}" for ms in (10, 11, 50, 51, 52)], "enough")

    def fails_behind(self, r, texts, error):
        self.assertEqual([x.split("  ")[-1].strip() for x in r.stdout.splitlines()], texts, r.stderr)
        self.assertIn(error, r.stderr)

    def test_output_that_does_not_arrive_is_a_failure(self):
        with Api({"GET domains": [[WEB] * 300]}) as api:
            for more in ([], ["-o", "json"]):
                cmd = [DROVER, "--socket", api.path, "list", *more]
                with open("/dev/full", "w", encoding="utf-8") as full:
                    r = subprocess.run(cmd, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
                self.assertEqual(r.returncode, 1)
                self.assertIn("standard output: No space left on device", r.stderr)
                r = subprocess.run(["sh", "-c", 'exec "$@" >&-', "sh", *cmd], stderr=subprocess.PIPE, text=True, check=False)
                self.assertEqual(r.returncode, 1, r.stderr)
                self.assertIn("standard output: Bad file descriptor", r.stderr)
        for word in ("help", "version"):
            with open("/dev/full", "w", encoding="utf-8") as full:
                self.assertEqual(subprocess.run([DROVER, word], stdout=full, stderr=subprocess.DEVNULL, check=False).returncode, 1)

    def reach(self, path, uid=None):
        return subprocess.run([DROVER, "--socket", path, "list"], capture_output=True, text=True, check=False, user=uid)

    def test_why_nobody_can_be_reached_is_said(self):
        with Api({}) as api:
            self.fails(self.reach(api.dir), 1, "is not a socket")
            plain = os.path.join(api.dir, "file")
            with open(plain, "w", encoding="utf-8"):
                pass
            self.fails(self.reach(plain), 1, "is not a socket")
            self.fails(self.reach(plain + "/sock"), 1, "Not a directory")
            dead = os.path.join(api.dir, "dead")
            with socket.socket(socket.AF_UNIX) as s:
                s.bind(dead)
            self.fails(self.reach(dead), 1, "nobody listens")
            self.fails(self.reach("x" * 300), 2, "expected 1 to 107")
            self.fails(self.reach(""), 2, "expected 1 to 107")

    @unittest.skipIf(os.getuid() != 0, "needs another user")
    def test_permission_denied_is_told_as_that(self):
        with Api({}) as api, tempfile.NamedTemporaryFile(prefix="drover.", delete=True) as copy:
            shutil.copy(DROVER, copy.name + ".exe")
            os.chmod(copy.name + ".exe", 0o755)
            os.chmod(api.dir, 0o755)
            os.chmod(api.path, 0o660)
            try:
                r = subprocess.run([copy.name + ".exe", "--socket", api.path, "list"], capture_output=True, text=True, check=False,
                                   user=65534, group=65534, extra_groups=[])
            finally:
                os.unlink(copy.name + ".exe")
            self.fails(r, 1, "permission denied")

    def test_quorum_is_corosyncs_and_a_majority(self):
        for votes, quorate, word in ((2, True, "OK"), (1, True, "lost: corosync says yes, but droverd runs with 1 of 2 votes"),
                                     (1, False, "lost"), (2, False, "lost")):
            st = {"quorate": quorate, "votes": votes, "votes_needed": 2, "standing": "stands", "epoch": 4}
            with Api({"GET status": st, "GET nodes": [[]], "GET domains": [[]]}) as api:
                self.assertTrue(api.run("ha", "status").stdout.startswith(f"quorum {word} (epoch 4"))
                self.assertIn(f"Quorum:    {word}\n", api.run("status").stdout)

    def test_status_does_not_hide_that_a_host_is_lost(self):
        st = {"quorate": True, "votes": 2, "votes_needed": 2, "standing": "stands", "domains": 4, "vmms": 1, "waiting": 2}
        nodes = [{"name": f"n{i}", "state": s} for i, s in enumerate(["online", "lost", "maintenance", "online"], 1)]
        with Api({"GET status": st, "GET nodes": [nodes]}) as api:
            said = api.run("status").stdout
            self.assertIn("Hosts:     4, not online: n2 (lost), n3 (maintenance)\n", said)
            self.assertIn("Domains:   4, 1 on this host, 2 wait: 'drover list' says for what\n", said)
            self.assertEqual(json.loads(api.run("-o", "json", "status").stdout), st)
        nodes = [{"name": f"n{i}", "state": "offline"} for i in range(1, 8)]
        with Api({"GET status": dict(st, waiting=0), "GET nodes": [nodes]}) as api:
            said = api.run("status").stdout
        self.assertIn("n3 (offline), n4 (offline) and 3 more\n", said)
        self.assertIn("1 on this host\n", said)
        with Api({"GET status": st}) as api:
            self.fails(api.run("status"), 3, "nothing at GET nodes")

    def test_status_tells_that_corosync_hangs(self):
        st = {"id": 2, "quorate": True, "standing": "stands", "lease_ms": 0}
        for node, said in (({"id": 2, "member": True, "heard_ms_ago": 4200}, "paused; corosync has delivered nothing for 4.20 s\n"),
                           ({"id": 2, "member": True, "heard_ms_ago": 200}, "paused\n"), ({"id": 2, "member": False, "heard_ms_ago": 4200}, "paused\n"),
                           ({"id": 1, "member": True, "heard_ms_ago": 4200}, "paused\n"), ({"id": 2, "member": True, "heard_ms_ago": None}, "paused\n")):
            with Api({"GET status": st, "GET nodes": [[dict(node, name="n", state="online")]]}) as api:
                self.assertIn("Lease:     none, domains here are " + said, api.run("status").stdout)

    def test_a_command_that_somebody_is_told_to_give_exists(self):
        """In what is said to people, and in the pages: the way out must be one."""
        top = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
        named = set()
        for room in ("base", "cmd", "conf", "docs", "fence", "ha", "hv", "migrate", "net"):
            for where, _, files in os.walk(os.path.join(top, room)):
                for name in files:
                    if name.endswith((".c", ".h", ".md", ".yaml")):
                        with open(os.path.join(where, name), encoding="utf-8") as f:
                            named |= set(re.findall(r"[`']drover ([a-z]+(?: [a-z]+)*)", f.read()))
        self.assertGreater(len(named), 10)
        for words in sorted(named - {"help", "version"}):   # they ask nobody
            r = subprocess.run([DROVER, "help", *words.split()], capture_output=True, text=True, timeout=20, check=False)
            self.assertEqual(r.returncode, 0, (words, r.stderr))

    def test_images_are_made_and_described(self):
        def drover(*args):
            return subprocess.run([DROVER, *args], capture_output=True, text=True, timeout=20, check=False)

        with tempfile.TemporaryDirectory() as where:
            base, child, other = (os.path.join(where, n) for n in ("base.vhd", "child.vhd", "raw"))
            made = drover("disk", "create", base, "100M", "-o", "json")
            self.assertEqual(made.returncode, 0, made.stderr)
            size = json.loads(made.stdout)["size"]
            self.assertGreaterEqual(size, 100 << 20)
            self.fails(drover("disk", "create", base, "100M"), 5, "it is there already")
            self.assertEqual(drover("disk", "create", child, "--parent", base).returncode, 0)
            said = json.loads(drover("disk", "info", child, "-o", "json").stdout)
            self.assertEqual((said["kind"], said["size"], said["parent"]), ("differencing", size, "./base.vhd"))
            self.assertIn("dynamic", drover("disk", "info", base).stdout)
            self.assertEqual(drover("disk", "create", other, "1M", "--format", "raw").returncode, 0)
            self.assertEqual(os.stat(other).st_size, 1 << 20)
            self.fails(drover("disk", "info", other), 1, "no footer")
            self.fails(drover("disk", "info", other + "x"), 3, "No such file")
            for args, code, text in ((["x"], 2, "a size is missing"), (["x", "0"], 2, "expected a size"),
                                     (["x", "1M", "--format", "qcow"], 2, "expected raw, vhd, vhd-fixed or qcow2"),
                                     (["x", "1M", "--parent", base], 2, "as large as that"),
                                     (["x", "--parent", base, "--format", "raw"], 2, "only an image of format vhd or qcow2"),
                                     (["x", "--parent", other], 2, "no footer"), (["x", "--parent", "nothing"], 3, "No such file"),
                                     (["x", "4T"], 2, "expected at least one and at most")):
                self.fails(drover("disk", "create", os.path.join(where, args[0]), *args[1:]), code, text)
                self.assertFalse(os.path.exists(os.path.join(where, "x")), args)

    def test_images_are_converted_with_what_they_lie_on(self):
        def drover(*args):
            return subprocess.run([DROVER, "disk", *args], capture_output=True, text=True, timeout=60, check=False)

        def contents(path, size):
            with open(path, "rb") as f:
                return f.read(size)

        with tempfile.TemporaryDirectory() as where:
            raw, base, child, flat, back = (os.path.join(where, n) for n in ("raw", "base.vhd", "child.vhd", "flat.vhd", "back"))
            wanted = bytearray(9 << 20)
            for at in (0, 512, 2 << 20, (5 << 20) + 1024, len(wanted) - 512):
                wanted[at:at + 512] = os.urandom(512)
            with open(raw, "wb") as f:
                f.write(wanted)
            self.assertEqual(drover("convert", raw, base).returncode, 0)
            self.assertLess(os.stat(base).st_size, len(wanted))      # blocks that have nothing take nothing
            self.assertEqual(drover("create", child, "--parent", base).returncode, 0)
            self.fails(drover("convert", child, flat), 2, "looks like VHD")
            self.fails(drover("convert", child, flat, "--from", "vhd"), 3, "differs from a parent")
            self.assertFalse(os.path.exists(flat))
            made = drover("convert", child, flat, "--from", "vhd", "--parent", base, "--format", "vhd-fixed", "-o", "json")
            self.assertEqual(made.returncode, 0, made.stderr)
            self.assertEqual(json.loads(made.stdout)["format"], "vhd-fixed")
            self.assertEqual(drover("convert", flat, back, "--from", "vhd", "--format", "raw").returncode, 0)
            self.assertEqual(contents(back, len(wanted)), wanted)
            self.fails(drover("convert", raw, back), 5, "it is there already")
            self.assertEqual(contents(back, len(wanted)), wanted)
            self.fails(drover("convert", raw + "x", flat + "x"), 3, "No such file")
            if shutil.which("qemu-img"):
                subprocess.run(["qemu-img", "convert", "-f", "vpc", "-O", "raw", base, back + "2"], check=True)
                self.assertEqual(contents(back + "2", len(wanted)), wanted)

    def test_a_qcow2_is_made_converted_and_checked(self):
        def drover(*args):
            return subprocess.run([DROVER, "disk", *args], capture_output=True, text=True, timeout=60, check=False)

        with tempfile.TemporaryDirectory() as where:
            raw, base, child, back = (os.path.join(where, n) for n in ("raw", "base.qcow2", "child.qcow2", "back"))
            wanted = os.urandom(1 << 20) + bytes(5 << 20) + os.urandom(512)
            with open(raw, "wb") as f:
                f.write(wanted)
            self.assertEqual(drover("convert", raw, base, "--format", "qcow2").returncode, 0)
            self.assertLess(os.stat(base).st_size, 2 << 20)
            self.fails(drover("create", child, "--parent", base, "--format", "qcow2"), 2, "--from qcow2")
            self.assertFalse(os.path.exists(child))
            made = drover("create", child, "20M", "--parent", base, "--format", "qcow2", "--from", "qcow2", "-o", "json")
            self.assertEqual(json.loads(made.stdout)["size"], 20 << 20)
            said = json.loads(drover("info", child, "-o", "json").stdout)
            self.assertEqual((said["version"], said["size"], said["parent"], said["parent_format"]), (3, 20 << 20, "base.qcow2", "qcow2"))
            self.fails(drover("convert", child, back, "--from", "qcow2"), 3, "which was not given")
            self.assertEqual(drover("convert", child, back, "--from", "qcow2", "--parent", base, "--format", "raw").returncode, 0)
            with open(back, "rb") as f:
                self.assertEqual(f.read(), wanted.ljust(20 << 20, b"\0"))
            os.unlink(child)            # on a raw disk, and as large as that
            self.assertEqual(drover("create", child, "--parent", raw, "--format", "qcow2").returncode, 0)
            self.assertEqual(json.loads(drover("info", child, "-o", "json").stdout)["parent_format"], "raw")
            os.unlink(back)
            self.assertEqual(drover("convert", child, back, "--from", "qcow2", "--parent", raw, "--format", "raw").returncode, 0)
            with open(back, "rb") as f:
                self.assertEqual(f.read(), wanted)
            for image in (raw, base, child):
                self.assertEqual(drover("check", image).returncode, 0, image)
            self.assertEqual(json.loads(drover("check", base, "-o", "json").stdout)["wrong"], 0)
            with open(base, "r+b") as f:        # the count of the L1 table, and of what comes behind it
                f.seek(2 * 65536 + 3 * 2)
                f.write(b"\0\0\0\2")
            said = drover("check", base, "-o", "json")
            self.assertEqual(said.returncode, 1)
            said = json.loads(said.stdout)
            self.assertEqual((said["wrong"], said["leaked"]), (2, 65536))
            self.assertIn("cluster 3 of the file is referred to 1 times, but counted 0", said["lines"][0])
            self.assertIn("says that it is referred to once", said["lines"][1])
            with open(base, "r+b") as f:
                f.write(b"QFI\xfb\0\0\0\4")
            self.fails(drover("info", base), 1, "version 4, expected 2 or 3")
            self.assertEqual(drover("check", base).returncode, 1)

    def test_what_images_and_files_are_called_is_only_text(self):
        """A path from anywhere: one line for people, a whole answer for programs."""
        with tempfile.TemporaryDirectory() as where:
            name = os.path.join(where.encode(), b"\xff\x1b[2J.vhd")
            for args in (["create", name, "1M"], ["info", name]):
                for more in ([], ["-o", "json"]):
                    r = subprocess.run([DROVER, "disk", *args, *more], capture_output=True, timeout=20, check=False)
                    self.assertEqual((r.returncode, r.stderr), (0, b""))
                    self.assertNotIn(b"\x1b", r.stdout)
                    if more:
                        self.assertTrue(json.loads(r.stdout)["path"].endswith("/??[2J.vhd"))
                    if args[0] == "create":
                        os.unlink(name) if not more else None

    def test_nobody_writes_to_an_image_that_is_made_nor_to_its_parent(self):
        def drover(*args):
            return subprocess.run([DROVER, "disk", *args], capture_output=True, text=True, timeout=60, check=False)

        def lock(path):
            fd = os.open(path, os.O_RDWR)
            fcntl.fcntl(fd, F_OFD_SETLK, struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))
            return fd

        with tempfile.TemporaryDirectory() as where:
            base, child, raw, new = (os.path.join(where, n) for n in ("base.vhd", "child.vhd", "raw", "new.vhd"))
            self.assertEqual(drover("create", base, "8M").returncode, 0)
            fd = lock(base)
            self.fails(drover("create", child, "--parent", base), 5, "is open by another program")
            self.assertFalse(os.path.exists(child))
            os.close(fd)
            # Images know their parents by whole seconds; a write behind a child's back is seen in the same one too.
            for _ in range(3):
                self.assertEqual(drover("create", child, "--parent", base).returncode, 0)
                with open(base, "r+b") as f:
                    f.write(b"c")     # as it was
                self.fails(drover("convert", child, new, "--from", "vhd", "--parent", base), 1, "was changed")
                os.unlink(child)
            with open(raw, "wb") as f:
                f.write(os.urandom(64 << 20))
            p = subprocess.Popen([DROVER, "disk", "convert", raw, new], stdout=subprocess.DEVNULL)
            while not os.path.exists(new) or os.stat(new).st_size < 4 << 20:
                time.sleep(0.001)
            p.send_signal(signal.SIGSTOP)
            with self.assertRaises(OSError):
                lock(new)
            p.send_signal(signal.SIGCONT)
            self.assertEqual(p.wait(60), 0)
            os.close(lock(new))

    def test_a_conversion_under_nohup_outlives_its_terminal(self):
        with tempfile.TemporaryDirectory() as where:
            raw, new = os.path.join(where, "raw"), os.path.join(where, "new.vhd")
            with open(raw, "wb") as f:
                f.write(os.urandom(64 << 20))
            for ignored in (True, False):
                before = signal.signal(signal.SIGHUP, signal.SIG_IGN if ignored else signal.SIG_DFL)
                p = subprocess.Popen([DROVER, "disk", "convert", raw, new], stdout=subprocess.DEVNULL)
                signal.signal(signal.SIGHUP, before)
                while not os.path.exists(new) or os.stat(new).st_size < 4 << 20:
                    time.sleep(0.001)
                p.send_signal(signal.SIGHUP)
                self.assertEqual(p.wait(60), 0 if ignored else -signal.SIGHUP)
                self.assertEqual(os.path.exists(new), ignored)
                if ignored:
                    os.unlink(new)

    def test_half_a_verb_says_where_the_rest_is(self):
        with Api({}) as api:
            for words, said in ((["ha"], "no verb 'ha'; 'drover help ha'"), (["ha", "clear", "web"], "no verb 'ha clear'; 'drover help ha'"),
                                (["node"], "'drover help node'"), (["bogus", "x"], "no verb 'bogus'; 'drover help' lists"),
                                (["help", "ha", "clear"], "no verb 'ha clear'")):
                self.fails(api.run(*words), 2, said)
            self.assertIn("ha group list", api.run("help", "ha").stdout)

    def test_start_waits_until_it_runs(self):
        phases = [dict(WEB, phase=p) for p in ("waiting", "starting", "running")]
        with Api({"POST domains/web/start": DONE, "GET domains/web": phases}) as api:
            r = api.run("start", "web", "--node", "n1")
            self.assertEqual(api.asked[0], ("POST domains/web/start", '{"node":"n1"}'))
        self.assertEqual(r.stdout, "domain 'web' started on n1\n")

    def test_a_start_that_fails_says_why(self):
        with Api({"POST domains/web/start": DONE,
                  "GET domains/web": dict(WEB, phase="backoff", reason="no such kernel")}) as api:
            self.fails(api.run("start", "web"), 1, "web: no such kernel")

    def test_a_start_that_takes_too_long_says_what_it_waits_for(self):
        with Api({"POST domains/web/start": DONE,
                  "GET domains/web": dict(WEB, phase="waiting", why="a host of group east")}) as api:
            self.fails(api.run("start", "web", "--timeout", "1"), 4, "web is still waiting: a host of group east")

    def test_no_wait_returns_at_once(self):
        with Api({"POST domains/web/start": DONE}) as api:
            self.assertEqual(api.run("start", "web", "--no-wait").returncode, 0)
            self.assertEqual(len(api.asked), 1)

    def test_a_file_is_checked_here_and_sent_as_it_is(self):
        with Api({"POST domains?start=true": DONE, "GET domains/web": WEB}) as api:
            path = os.path.join(api.dir, "web.yaml")
            with open(path, "w", encoding="utf-8") as f:
                f.write(CONF)
            self.assertEqual(api.run("start", path).returncode, 0)
            self.assertEqual(api.asked[0], ("POST domains?start=true", CONF))
            del api.asked[:]
            with open(path, "w", encoding="utf-8") as f:
                f.write(CONF.replace("64M", "64X"))
            self.fails(api.run("start", path), 2, "web.yaml:2: memory:")
            self.fails(api.run("start", path + "x.yaml"), 3, "No such file")
            self.assertEqual(api.asked, [])

    def test_force_is_asked_for(self):
        with Api({"POST domains/web/stop": DONE, "GET domains/web": dict(WEB, phase="stopped")}) as api:
            self.assertEqual(api.run("stop", "web", "--force").stdout, "domain 'web' stopped\n")
            self.assertEqual(api.asked[0][1], '{"force":true}')

    def migration(self, **what):
        return dict(WEB, phase="migrating", target="n2", migration=dict(
            {"phase": "precopy", "round": 2, "total": 1000 << 20, "remaining": 250 << 20, "rate": 500 << 20}, **what))

    def test_migrate_ends_with_total_and_downtime(self):
        after = dict(WEB, node="n2", incarnation=4, moved_incarnation=3, migration={
            "phase": "done", "total_ms": 912.5, "downtime_ms": 7.4, "sent": 750 << 20})
        with Api({"POST domains/web/migrate": DONE, "GET domains/web": [WEB, self.migration(), after]}) as api:
            r = api.run("migrate", "web", "n2")
            self.assertIn(("POST domains/web/migrate", '{"node":"n2"}'), api.asked)
        self.assertEqual(r.stdout, "domain 'web' runs on n2 now: total 912 ms, downtime 7.4 ms, 750 MiB sent\n")
        self.assertEqual(r.stderr, "")

    def test_migrate_shows_progress_on_a_terminal(self):
        after = dict(WEB, node="n2", incarnation=4, moved_incarnation=3)
        with Api({"POST domains/web/migrate": DONE, "GET domains/web": [WEB, self.migration(), after]}) as api:
            master, slave = pty.openpty()
            subprocess.run([DROVER, "--socket", api.path, "migrate", "web", "n2"], stderr=slave, stdout=subprocess.PIPE,
                           timeout=20, check=True)
            os.close(slave)
            shown = b""
            try:   # the kernel passes on what was written when it likes; the end is an error
                while data := os.read(master, 4096):
                    shown += data
            except OSError:
                pass
            shown = shown.decode()
            os.close(master)
        self.assertIn("web: precopy, round 2,  75 %, 500 MiB/s, 250 MiB left, 0.5 s", shown)
        self.assertTrue(shown.endswith("\r\033[K"))

    def test_a_progress_line_stays_one_line_on_a_narrow_terminal(self):
        """Another row of it could not be taken back, and ten more a second would follow."""
        after = dict(WEB, node="n2", incarnation=4, moved_incarnation=3)
        for columns in (20, 1, 0):
            with Api({"POST domains/web/migrate": DONE, "GET domains/web": [WEB, self.migration(), after]}) as api:
                master, slave = pty.openpty()
                fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
                subprocess.run([DROVER, "--socket", api.path, "migrate", "web", "n2"], stderr=slave, stdout=subprocess.PIPE,
                               timeout=20, check=True)
                os.close(slave)
                shown = b""
                try:
                    while data := os.read(master, 4096):
                        shown += data
                except OSError:
                    pass
                os.close(master)
            rows = shown.decode().split("\r\033[K")
            self.assertEqual(max(map(len, rows)), columns - 1 if columns else 60, rows)

    def test_how_a_migration_ended_is_told_as_it_was(self):
        """A link that died is no cancel, though the VMM was told to stop; a domain that ended stays nowhere."""
        cases = [(dict(WEB, migration={"phase": "cancelled", "error": "cancelled"},
                       reason="the migration's destination left the cluster view"),
                  "stays on n1: the migration's destination left the cluster view"),
                 (dict(WEB, migration={"phase": "cancelled", "error": "cancelled"}, reason="migration cancelled by an operator"),
                  "stays on n1: migration cancelled by an operator"),
                 (dict(WEB, node="", phase="stopped", migration={}, reason="powered off by its guest"),
                  "ended while it was to move, it is stopped: powered off by its guest")]
        for after, text in cases:
            with Api({"POST domains/web/migrate": DONE, "GET domains/web": [WEB, after]}) as api:
                self.fails(api.run("migrate", "web", "n2"), 1, text)

    def test_a_migration_that_fails_says_where_the_domain_is(self):
        after = dict(WEB, migration={"phase": "failed", "error": "peer speaks stream version 2, this is 1"})
        with Api({"POST domains/web/migrate": DONE, "GET domains/web": [WEB, after]}) as api:
            self.fails(api.run("migrate", "web", "n2"), 1,
                       "domain 'web' stays on n1: peer speaks stream version 2, this is 1")

    def test_a_domain_that_was_started_again_did_not_move(self):
        for after in (dict(WEB, node="n2", incarnation=5), dict(WEB, node="n1", incarnation=5, moved_incarnation=3)):
            with Api({"POST domains/web/migrate": DONE, "GET domains/web": [WEB, after]}) as api:
                self.fails(api.run("migrate", "web", "n2"), 1, f"and started again on {after['node']}")

    def test_protection_names_group_and_limit(self):
        with Api({"POST ha/domains/web": DONE}) as api:
            api.run("ha", "add", "web", "--group", "east", "--max-restart", "5")
            self.assertEqual(json.loads(api.asked[0][1]), {"group": "east", "max_restart": 5})

    def test_a_group_is_sent_as_hosts_with_priorities(self):
        with Api({"POST ha/groups/east": DONE}) as api:
            api.run("ha", "group", "add", "east", "n1:20,n2:-3,n3", "--restricted")
            self.assertEqual(json.loads(api.asked[0][1]), {"restricted": True, "hosts": [
                {"node": "n1", "priority": 20}, {"node": "n2", "priority": -3}, {"node": "n3", "priority": 0}]})

    def test_fence_asks_a_person_and_takes_yes_for_a_program(self):
        with Api({"POST nodes/n2/fence": DONE}) as api:
            self.fails(api.run("fence", "n2", stdin="yes\n"), 2, "add --yes")
            self.assertEqual(api.asked, [])
            self.assertEqual(api.run("fence", "n2", "--yes").returncode, 0)
            self.assertEqual(api.asked[0][0], "POST nodes/n2/fence")

    def test_console_passes_bytes_both_ways_and_leaves_at_the_escape(self):
        with Api({}) as api:
            path = os.path.join(api.dir, "console")
            port = socket.socket(socket.AF_UNIX)
            port.bind(path)
            port.listen(1)
            api.answers["GET domains/web"] = dict(WEB, vmm={"state": "running", "pid": 1, "console": path})
            p = subprocess.Popen([DROVER, "--socket", api.path, "console", "web"], stdin=subprocess.PIPE,
                                 stdout=subprocess.PIPE)
            port.settimeout(10)
            c, _ = port.accept()
            c.sendall(b"login: ")
            self.assertEqual(p.stdout.read(7), b"login: ")
            p.stdin.write(b"root\r\x1dnever sent")
            p.stdin.flush()
            self.assertEqual(p.wait(10), 0)
            c.settimeout(10)
            self.assertEqual(c.recv(100), b"root\r")
            for f in (p.stdin, p.stdout, c, port):
                f.close()

    def test_what_droverd_had_not_to_do_is_not_claimed(self):
        with Api({"POST nodes/n2/confirm": {"code": 0, "text": "nothing waits for n2"}}) as api:
            self.assertEqual(api.run("confirm", "n2", "--yes").stdout, "nothing waits for n2\n")
        with Api({"POST domains/web/start": {"code": 0, "text": "web already runs on n1"}, "GET domains/web": WEB}) as api:
            self.assertEqual(api.run("start", "web").stdout, "domain 'web' runs already on n1\n")

    def test_whoever_waits_outlasts_a_restart_of_droverd(self):
        with Api({"POST domains/web/start": DONE,
                  "GET domains/web": [dict(WEB, phase="starting"), None, None, WEB]}) as api:
            r = api.run("start", "web")
            self.assertEqual((r.returncode, r.stdout), (0, "domain 'web' started on n1\n"), r.stderr)
        moved = dict(WEB, node="n2", incarnation=4, moved_incarnation=3)
        with Api({"POST domains/web/migrate": DONE, "GET domains/web": [WEB, self.migration(), None, None, moved]}) as api:
            r = api.run("migrate", "web", "n2")
            self.assertEqual(r.returncode, 0, r.stderr)
        with Api({"POST domains/web/start": DONE, "GET domains/web": None}) as api:
            self.fails(api.run("start", "web", "--timeout", "1"), 1, "hung up without an answer")

    def test_what_is_waited_for_is_what_is_told(self):
        gated = dict(WEB, state="gated", why="the lease has ended")
        with Api({"POST domains/web/resume": DONE, "GET domains/web": gated}) as api:
            self.fails(api.run("resume", "web", "--timeout", "1"), 4, "web is still gated: the lease has ended")

    def test_console_of_a_domain_elsewhere_says_where(self):
        with Api({"GET domains/web": WEB}) as api:
            self.fails(api.run("console", "web"), 5, "runs on n1")

    def test_help_names_every_verb_and_each_verb_its_options(self):
        every = subprocess.run([DROVER, "help"], capture_output=True, text=True, check=True).stdout
        for verb in ("list", "migrate", "ha group add", "node status", "fence", "version"):
            self.assertIn(verb, every)
        one = subprocess.run([DROVER, "help", "stop"], capture_output=True, text=True, check=True).stdout
        self.assertIn("--force", one)
        self.assertNotIn("--yes", one)


if __name__ == "__main__":
    unittest.main(verbosity=2)
