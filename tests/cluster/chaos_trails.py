# SPDX-License-Identifier: Apache-2.0
"""chaos_trails - looks at the trails on the domains' disks while they are written, one after the other and over again.

Reading a trail takes seconds on a busy machine, the longer the run the more; faults must end when they are meant to.  So another
process does it, at the lowest priority."""

import itertools
import json
import os
import subprocess
import sys
import tempfile

DISKCHECK = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "guest", "diskcheck.py")


class Trails:
    def __init__(self, domains, found):
        """@found(domain, problem) is called for each problem that a look finds."""
        self.turns, self.found = itertools.cycle(domains), found
        self.domain = self.process = self.output = None

    def look(self):
        """Never waits."""
        if self.process and self.process.poll() is None:
            return
        if self.process:
            self._read()
        self.domain = next(self.turns)
        self.output = tempfile.TemporaryFile()
        self.process = subprocess.Popen(["nice", "-n", "19", sys.executable, "-B", DISKCHECK, "--live", "-o", "json",
                                         self.domain.disk.path], stdin=subprocess.DEVNULL, stdout=self.output,
                                        stderr=subprocess.STDOUT)

    def _read(self):
        self.output.seek(0)
        text = self.output.read().decode(errors="replace")
        self.output.close()
        try:
            problems = json.loads(text)["problems"]
        except ValueError:
            problems = [f"its trail cannot be read: {text.strip()}"]
        for p in problems:
            self.found(self.domain, p)

    def close(self):
        if self.process:
            self.process.kill()
            self.process.wait()
            self.output.close()
