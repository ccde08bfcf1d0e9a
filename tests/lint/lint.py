# SPDX-License-Identifier: Apache-2.0
"""lint - what the programs of this folder have in common: which files, and how a tool that is missing is said."""

import os
import shutil
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SKIP = 77       # the exit status by which meson knows a skipped test
sys.path.insert(0, os.path.join(ROOT, "tests/house"))
sys.dont_write_bytecode = True

import house  # noqa: E402  (found by the line above)


def sources(endings=(".c", ".h")):
    """The C files of the tree, as paths from its root."""
    return [name for name in house.tree_files(ROOT) if name.endswith(endings)]


def need(tool):
    """End as skipped, by name, when @tool is not installed."""
    if not shutil.which(tool):
        print(f"SKIP no {tool} (package {tool})")
        sys.exit(SKIP)


def run(*argv):
    """(exit status, what it wrote) of a tool that ran in the root of the tree."""
    r = subprocess.run(argv, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    return r.returncode, r.stdout
