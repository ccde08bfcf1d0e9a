# SPDX-License-Identifier: Apache-2.0
"""What drover-sim reads of a story: every line, or none. An expectation that is passed over always holds.

usage: test_stories.py DROVER-SIM
"""
import pathlib
import subprocess
import sys
import tempfile
import unittest

SIM = sys.argv.pop(1)
STEP = "{}  expect n1 leased\n"
STEPS_MAX = 256


class Stories(unittest.TestCase):
    def tell(self, text):
        with tempfile.TemporaryDirectory() as d:
            path = pathlib.Path(d) / "a.sim"
            path.write_text(text)
            r = subprocess.run([SIM, path], capture_output=True, text=True, timeout=60, check=False)
        return r.returncode, r.stderr

    def refused(self, text, line, why):
        code, said = self.tell(text)
        self.assertEqual(code, 2, said)
        self.assertIn(f"a.sim:{line}:", said)
        self.assertIn(why, said)

    def test_the_last_line_counts(self):
        story = "hosts 3\n" + "".join(STEP.format(30 + i) for i in range(STEPS_MAX - 1))
        self.assertEqual(self.tell(story + STEP.format(290))[0], 0)
        self.assertEqual(self.tell(story + "290 expect n1 gated\n")[0], 1)
        self.assertEqual(self.tell(story + "290 expect n1 gated")[0], 1)

    def test_what_does_not_fit_is_refused(self):
        steps = "".join(STEP.format(30 + i) for i in range(STEPS_MAX + 1))
        self.refused(steps, STEPS_MAX + 1, "more steps than a story may have")
        self.refused("5 a b c d e f g h\n", 1, "more words than a line may have")
        self.refused("hosts 3\n5 " + "a" * 600 + "\n", 2, "longer than a line may be")

    def test_what_is_no_step_is_refused(self):
        for line in "hosts", "hosts 0", "hosts 3 4", "token x", "5", "soon add d0":
            self.refused(line + "\n", 1, "a time and what happens then")


if __name__ == "__main__":
    unittest.main()
