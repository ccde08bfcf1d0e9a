#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""droverd as a program, on a host without corosync: what it does while it waits.

usage: test_droverd.py PATH-OF-DROVERD
"""

import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
import unittest

DROVERD = os.path.abspath(sys.argv.pop(1)) if len(sys.argv) > 1 else "droverd"


class Waiting(unittest.TestCase):
    def start(self, limits=None, conf="hosts: []\n", mode=0o600):
        tmp = tempfile.TemporaryDirectory(prefix="drover-d.")
        self.addCleanup(tmp.cleanup)
        with open(f"{tmp.name}/cluster.yaml", "w") as f:
            f.write(conf)
        os.chmod(f"{tmp.name}/cluster.yaml", mode)
        self.log = f"{tmp.name}/log"
        with open(self.log, "w") as log:
            p = subprocess.Popen([DROVERD, "-f", "-w", "60", "-c", f"{tmp.name}/cluster.yaml", "--run-dir", f"{tmp.name}/run",
                                  "--state-dir", f"{tmp.name}/state"], stdin=subprocess.DEVNULL, stderr=log,
                                 preexec_fn=limits)
        self.addCleanup(lambda: (p.kill(), p.wait()))
        deadline = time.monotonic() + 20
        while "waiting for it" not in self.said():
            if p.poll() is not None or "runs, API on" in self.said():
                self.skipTest("not a host without corosync: " + self.said())
            self.assertLess(time.monotonic(), deadline, self.said())
            time.sleep(0.02)
        return p

    def said(self):
        with open(self.log) as f:
            return f.read()

    def test_it_says_so_and_ends_at_once_when_told(self):
        for sig in signal.SIGTERM, signal.SIGINT:
            with self.subTest(sig):
                p = self.start()
                p.send_signal(sig)
                self.assertEqual(p.wait(5), 0)
                self.assertIn("corosync is not running on this host", self.said())
                self.assertIn("told to end", self.said())

    def test_passwords_that_others_may_read_are_told(self):
        conf = "hosts:\n  - name: n1\n    fence:\n      - agent: fence_x\n        options: {password: secret}\n"
        for mode, told in (0o644, True), (0o640, True), (0o600, False):
            with self.subTest(oct(mode)):
                self.start(conf=conf, mode=mode).kill()
                self.assertEqual("others may read it" in self.said(), told, self.said())
        self.start(mode=0o644).kill()
        self.assertNotIn("others may read it", self.said())

    def test_a_cluster_file_is_checked_before_a_restart(self):
        """While the daemon that runs still has the lease: one that cannot start would cost it."""
        with tempfile.TemporaryDirectory(prefix="drover-d.") as tmp:
            path = f"{tmp}/cluster.yaml"
            for conf, code, text in (("hosts:\n  - name: n1\n", 0, "can be used: 1 host\n"),
                                     ("hosts:\n  - nmae: n1\n", 2, f"{path}:2: hosts[0].nmae: unknown key"), (None, 3, path)):
                if conf is None:
                    os.unlink(path)
                else:
                    with open(path, "w") as f:
                        f.write(conf)
                r = subprocess.run([DROVERD, "--check", "-c", path], capture_output=True, text=True, timeout=20, check=False)
                self.assertEqual(r.returncode, code, r.stderr)
                self.assertIn(text, r.stdout + r.stderr)
            self.assertEqual(os.listdir(tmp), [])

    def test_it_takes_all_descriptors_that_it_may_have(self):
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        p = self.start(lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 1024), hard)))
        with open(f"/proc/{p.pid}/limits") as f:
            soft, most = re.search(r"Max open files +(\S+) +(\S+)", f.read()).groups()
        self.assertEqual(soft, most)


if __name__ == "__main__":
    unittest.main()
