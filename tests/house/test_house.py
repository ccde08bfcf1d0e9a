# SPDX-License-Identifier: Apache-2.0
"""Each rule of the house on a small tree that breaks it: a checker that finds nothing proves
nothing.  The tree as it is, is checked by house.py itself (its own test in meson.build)."""
import os

import pytest

import house

C = "/* SPDX-License-Identifier: Apache-2.0 */\n"
PICTURE = "```\n" + "".join(room + "/\n" for room in house.MAY) + "```\n"
LICENCE = "Apache License\nVersion 2.0, January 2004\n9. Accepting Warranty or Additional Liability.\n"
MAN = (".\\\" SPDX-License-Identifier: Apache-2.0\n.Dd November 22, 2026\n.Dt X 5\n.Os\n"
       ".Sh NAME\n.Nm x\n.Nd what it is\n")


@pytest.fixture
def tree(tmp_path):
    """A tree with nothing wrong, and a function that adds a file to it."""
    def add(name, text):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return str(tmp_path)

    for room in house.MAY:
        add(room + "/a.h", C + "#include <stdint.h>\n")
    add("README.md", PICTURE)
    add("LICENSE", LICENCE)
    add("docs/architecture.md", PICTURE)
    add("docs/x.5", MAN)
    add.root = str(tmp_path)
    return add


def problems(root):
    return [p for found, _ in house.check(root) for p in found]


def test_a_tree_in_order_has_no_problems(tree):
    tree("cmd/x/main.c", C + '#include "ha/a.h"\n#include "migrate/a.h"\n#include "hv/a.h"\n')
    tree("ha/a.c", C + '#include "ha/core/a.h"\n#include "fence/a.h"\n#include <corosync/cpg.h>\n')
    assert problems(tree.root) == []


@pytest.mark.parametrize("room, what", [
    ("conf", "net"), ("net", "conf"), ("base", "conf"), ("hv", "migrate"), ("migrate", "hv"),
    ("migrate", "conf"), ("fence", "net"), ("fence", "ha"), ("ha", "hv"), ("ha", "migrate"),
    ("ha/core", "ha"), ("ha/core", "base"), ("hv", "ha"), ("ha", "cmd"), ("net", "hv"),
])
def test_a_forbidden_direction_is_found(tree, room, what):
    tree(room + "/b.c", C + f'#include "{what}/a.h"\n')
    (found,) = problems(tree.root)
    assert found.startswith(f'{room}/b.c:2: {room} includes "{what}/a.h"')


@pytest.mark.parametrize("header", ["time.h", "unistd.h", "sys/socket.h", "corosync/cpg.h"])
def test_the_core_uses_libc_only(tree, header):
    tree("ha/core/b.c", C + f"#include <{header}>\n")
    assert problems(tree.root) == [
        f"ha/core/b.c:2: <{header}>, but ha/core uses plain libc headers only"]


def test_an_include_hidden_by_blanks_is_found(tree):
    tree("hv/b.c", C + '  #  include\t"migrate/a.h"\n')
    assert len(problems(tree.root)) == 1


def test_includes_are_written_from_the_root(tree):
    tree("hv/b.c", C + '#include "a.h"\n#include "../migrate/a.h"\n')
    assert len(problems(tree.root)) == 2
    tree("hv/b.c", C + "#include <hv/a.h>\n")
    assert problems(tree.root) == ['hv/b.c:2: <hv/a.h> is ours, write "hv/a.h"']


def test_a_sibling_header_stays_in_its_room(tree):
    tree("hv/x_int.h", C)
    tree("hv/b.c", C + '#include "hv/x_int.h"\n')
    assert problems(tree.root) == []
    tree("cmd/b.c", C + '#include "hv/x_int.h"\n')
    assert problems(tree.root) == ['cmd/b.c:2: "hv/x_int.h" is for its siblings only']


def test_code_includes_no_tests(tree):
    tree("tests/fake.h", C)
    tree("hv/b.c", C + '#include "tests/fake.h"\n')
    assert problems(tree.root) == ['hv/b.c:2: hv includes "tests/fake.h", which is in no room']


def test_a_long_file_is_found(tree):
    tree("hv/b.c", C + "\n" * 999)
    assert problems(tree.root) == []
    tree("hv/b.c", C + "\n" * 1000)
    assert problems(tree.root) == ["hv/b.c: 1001 lines, at most 1000"]


def test_many_long_files_are_found(tree):
    for i in range(6):
        tree(f"hv/b{i}.c", C + "\n" * 600)
    (found,) = problems(tree.root)
    assert found.startswith("6 of ")


@pytest.mark.parametrize("name, text", [
    ("hv/b.c", "int x;\n"), ("tests/b.py", "x = 1\n"), ("hv/meson.build", "x = 1\n"),
    ("tests/tool", "#!/bin/sh\n"),
])
def test_a_missing_spdx_line_is_found(tree, name, text):
    tree(name, text)
    (found,) = problems(tree.root)
    assert found.startswith(name + ": no 'SPDX")


def test_a_broken_man_page_is_found(tree):
    tree("docs/y.5", MAN + ".Sh DESCRIPTION\n.Bl -tag\n.It x\n")
    assert any("y.5" in p for p in problems(tree.root))


@pytest.mark.parametrize("doc", ["README.md", "docs/architecture.md"])
def test_a_false_picture_is_found(tree, doc):
    tree(doc, PICTURE.replace("migrate/\n", ""))
    assert problems(tree.root) == [f"{doc}: its picture does not name migrate/"]
    tree(doc, PICTURE.replace("```\n", "```\nha/magic/ does it all\n", 1))
    assert problems(tree.root) == [f"{doc}: its picture names ha/magic/, which does not exist"]
    os.unlink(os.path.join(tree.root, doc))
    assert problems(tree.root) == [f"{doc}: missing"]


def test_a_licence_that_is_not_there_is_found(tree):
    tree("LICENSE", "Apache License\n")
    assert problems(tree.root) == ["LICENSE: expected the text of Apache-2.0, with the line 'Version 2.0, January 2004'"]
    os.unlink(os.path.join(tree.root, "LICENSE"))
    assert len(problems(tree.root)) == 1
