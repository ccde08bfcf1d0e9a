# SPDX-License-Identifier: Apache-2.0
"""The rows of tests/show/mend-1 name tests that there are, and lines that these print: a proof that nobody runs is none."""
import importlib.machinery
import importlib.util
import os

import pytest

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ["DROVER_BUILD"]


def load():
    loader = importlib.machinery.SourceFileLoader("mend", os.path.join(TOP, "tests/show/mend-1"))
    spec = importlib.util.spec_from_loader("mend", loader)
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


mend = load()


def test_every_row_names_tests_that_meson_has():
    known = mend.known_tests(BUILD)
    wrong = [f"{ident}: {p.text}" for ident, _, proofs in mend.read_rows() for p in proofs if (p.suite, p.name) not in known]
    assert not wrong


def test_every_pattern_is_in_a_test():
    """A name is a text in a source: one that was renamed would be found missing after half an hour of running only."""
    words = ""
    for where, dirs, files in os.walk(os.path.join(TOP, "tests")):
        dirs[:] = [d for d in dirs if d not in ("corpus", "show", "__pycache__")]
        for name in files:
            with open(os.path.join(where, name), encoding="utf-8", errors="replace") as f:
                words += f.read()
    wrong = [f"{ident}: {p.text}" for ident, _, proofs in mend.read_rows() for p in proofs if p.pattern not in words]
    assert not wrong


def test_the_rows_are_all_there():
    count = {"S": 13, "L": 16, "G": 9, "O": 15}
    assert [r[0] for r in mend.read_rows()] == [f"{k}{i}" for k, n in count.items() for i in range(1, n + 1)]


@pytest.mark.parametrize("text, problem", [
    ("S1  it broke\n", "no test: line"),
    ("    test: -\n", "expected ID"),
    ("S1  it broke\n    test: -\nS1  again\n    test: -\n", "already"),
    ("S1  it broke\n    test: ha-store\n", "expected SUITE/NAME"),
])
def test_rows_that_are_wrong_are_told(tmp_path, text, problem):
    path = tmp_path / "rows"
    path.write_text(text)
    with pytest.raises(mend.WrongRows, match=problem):
        mend.read_rows(str(path))


@pytest.mark.parametrize("output, said", [
    ("[ RUN      ] it_holds\n[       OK ] it_holds\n", [True]),
    ("[ RUN      ] it_holds\n[  FAILED  ] it_holds\n", [False]),
    ("test_it_holds (x.Y.test_it_holds) ... ok\n", [True]),
    ("test_it_holds (x.Y.test_it_holds)\nWhat it is. ... ok\ntest_b (x) ... FAIL\n", [True]),
    ("test_it_holds (x.Y.test_it_holds) ... noise\nok\n", [True]),
    ("test_it_holds (x) ... skipped 'no root'\n", [False]),
    ("t.py::test_it_holds PASSED [ 50%]\nt.py::test_it_holds_too FAILED [100%]\n", [True, False]),
    ("t.py::test_other PASSED\n", []),
])
def test_the_outcome_of_one_line_is_read(output, said):
    assert mend.verdicts(output, "it_holds") == said
