# SPDX-License-Identifier: Apache-2.0
"""Each rule of the house on a small tree that breaks it: a checker that finds nothing proves
nothing.  The tree as it is, is checked by house.py itself (its own test in meson.build)."""
import os

import pytest

import figures
import house

C = "/* SPDX-License-Identifier: Apache-2.0 */\n"
PICTURE = "```\n" + "".join(room + "/\n" for room in {**dict.fromkeys(house.TOP), **house.MAY}) + "```\n"
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
    tree("cmd/x/main.c", C + '#include "ha/api/a.h"\n#include "migrate/a.h"\n#include "hv/machine/a.h"\n')
    tree("ha/shell/a.c", C + '#include "ha/core/a.h"\n#include "fence/a.h"\n#include <corosync/cpg.h>\n')
    tree("migrate/session/source/a.c", C + '#include "migrate/session/a.h"\n#include "migrate/a.h"\n')
    assert problems(tree.root) == []


def test_the_table_has_no_circle():
    rooms = list(house.MAY)
    for i, room in enumerate(rooms):
        below = [r for r in rooms if r != room and house.may(room, r)]
        assert set(below) <= set(rooms[:i]), f"{room} names rooms that are not above it in the table"
        for name in house.MAY[room]:
            assert name.endswith("/*") or name in below, f"{room} names {name}, which is no room"


def test_a_star_is_a_room_with_all_in_it_and_a_name_is_one():
    assert house.may("cmd", "net") and house.may("cmd", "net/link") and house.may("cmd", "ha/core/plan")
    assert house.may("migrate", "net") and not house.may("migrate", "net/link")
    assert not house.may("ha/core/record", "ha/core")


@pytest.mark.parametrize("room, what", [
    # between the rooms of a floor, and up
    ("conf", "net"), ("net", "conf"), ("base", "conf"), ("hv/machine", "migrate"),
    ("migrate/session/destination", "hv/machine"), ("migrate", "conf"), ("fence", "net"),
    ("fence", "ha/shell"), ("ha/vmm", "hv/machine"), ("ha/shell", "migrate"), ("ha/core", "ha/shell"),
    ("ha/core", "base"), ("hv/machine", "ha/shell"), ("ha/api", "cmd"), ("net/link", "hv/memory"),
    # inside one
    ("net", "net/link"), ("net/link", "net"),
    ("hv/memory", "hv/kvm"), ("hv/kvm", "hv/machine"), ("hv/device", "hv/pci"), ("hv/cpu", "hv/pci"),
    ("hv/disk", "hv/virtio"), ("hv/virtio", "hv/machine"), ("hv/firmware", "hv/virtio"), ("hv/machine", "hv/gate"),
    ("migrate", "migrate/wire"), ("migrate/wire", "migrate/pages"), ("migrate/wire", "migrate/session"),
    ("migrate/session", "migrate/session/source"),
    ("migrate/session/source", "migrate/session/destination"),
    ("migrate/session/destination", "migrate/session/source"),
    ("ha/core/record", "ha/core"), ("ha/core/record", "ha/core/plan"), ("ha/core/plan", "ha/core"), ("ha/core/apply", "ha/core"),
    ("ha/core/plan", "ha/core/apply"), ("ha/core/record", "ha/core/apply"),
    ("ha/core/record", "base"), ("ha/store", "ha/vmm"), ("ha/vmm", "ha/shell"), ("ha/shell", "ha/api"),
])
def test_a_forbidden_direction_is_found(tree, room, what):
    tree(room + "/b.c", C + f'#include "{what}/a.h"\n')
    (found,) = problems(tree.root)
    assert found.startswith(f'{room}/b.c:2: {room} includes "{what}/a.h"')


@pytest.mark.parametrize("header", ["time.h", "unistd.h", "sys/socket.h", "corosync/cpg.h"])
@pytest.mark.parametrize("room", ["ha/core", "ha/core/record", "ha/core/plan", "ha/core/apply"])
def test_the_core_uses_libc_only(tree, room, header):
    tree(room + "/b.c", C + f"#include <{header}>\n")
    assert problems(tree.root) == [
        f"{room}/b.c:2: <{header}>, but ha/core uses plain libc headers only"]


@pytest.mark.parametrize("folder", ["hv", "ha", "hv/gpu", "net/link/x", "ha/core/votes", "base/x"])
def test_a_source_beside_the_rooms_is_found(tree, folder):
    tree(folder + "/b.c", C)
    assert problems(tree.root) == [
        f"{folder}/b.c: {folder}/ is no room: it has no row in tests/house"]


def test_an_include_hidden_by_blanks_is_found(tree):
    tree("hv/pci/b.c", C + '  #  include\t"migrate/a.h"\n')
    assert len(problems(tree.root)) == 1


def test_includes_are_written_from_the_root(tree):
    tree("hv/pci/b.c", C + '#include "a.h"\n#include "../migrate/a.h"\n')
    assert len(problems(tree.root)) == 2
    tree("hv/pci/b.c", C + "#include <hv/pci/a.h>\n")
    assert problems(tree.root) == ['hv/pci/b.c:2: <hv/pci/a.h> is ours, write "hv/pci/a.h"']


def test_a_sibling_header_stays_in_its_room(tree):
    tree("hv/pci/x_int.h", C)
    tree("hv/pci/b.c", C + '#include "hv/pci/x_int.h"\n')
    assert problems(tree.root) == []
    tree("hv/virtio/b.c", C + '#include "hv/pci/x_int.h"\n')
    tree("cmd/b.c", C + '#include "hv/pci/x_int.h"\n')
    assert problems(tree.root) == ['cmd/b.c:2: "hv/pci/x_int.h" is for its siblings only',
                                   'hv/virtio/b.c:2: "hv/pci/x_int.h" is for its siblings only']


def test_code_includes_no_tests(tree):
    tree("tests/fake.h", C)
    tree("hv/pci/b.c", C + '#include "tests/fake.h"\n')
    assert problems(tree.root) == ['hv/pci/b.c:2: hv/pci includes "tests/fake.h", which is in no room']


def test_two_structs_of_one_name_are_found(tree):
    tree("hv/pci/a.h", C + "struct thing {\n\tint a;\n};\n")
    tree("hv/pci/b.c", C + "struct thing *of;\nstruct own {\n\tint a;\n};\n")
    tree("ha/vmm/c.c", C + "struct own {\n\tint b;\n};\n")     # a file's own is its own affair
    assert problems(tree.root) == []
    tree("ha/vmm/d.c", C + "\nstruct thing {\n\tint b;\n};\n")
    assert problems(tree.root) == ["struct thing is defined twice: ha/vmm/d.c:3, hv/pci/a.h:2"]


def test_a_long_file_is_found(tree):
    tree("hv/pci/b.c", C + "\n" * 999)
    assert problems(tree.root) == []
    tree("hv/pci/b.c", C + "\n" * 1000)
    assert problems(tree.root) == ["hv/pci/b.c: 1001 lines, at most 1000"]


def test_many_long_files_are_found(tree):
    for i in range(6):
        tree(f"hv/pci/b{i}.c", C + "\n" * 600)
    (found,) = problems(tree.root)
    assert found.startswith("6 of ")


@pytest.mark.parametrize("name, text", [
    ("hv/pci/b.c", "int x;\n"), ("tests/b.py", "x = 1\n"), ("hv/meson.build", "x = 1\n"),
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


def test_architecture_has_every_room_in_its_picture(tree):
    tree("docs/architecture.md", PICTURE.replace("hv/pci/\n", ""))
    tree("README.md", PICTURE.replace("hv/pci/\n", ""))
    assert problems(tree.root) == ["docs/architecture.md: its picture does not name hv/pci/"]


def test_a_licence_that_is_not_there_is_found(tree):
    tree("LICENSE", "Apache License\n")
    assert problems(tree.root) == ["LICENSE: expected the text of Apache-2.0, with the line 'Version 2.0, January 2004'"]
    os.unlink(os.path.join(tree.root, "LICENSE"))
    assert len(problems(tree.root)) == 1


@pytest.mark.parametrize("text, problem", [
    ("", "hv/a.c hv/b.c call each other in a circle that tests/house/circles does not name"),
    ("hv/a.c hv/b.c\n", "tests/house/circles: hv/a.c hv/b.c: not explained"),
    ("hv/a.c hv/b.c\n\twhy\nhv/c.c hv/d.c\n\twhy\n", "tests/house/circles: hv/c.c hv/d.c: is no circle (any more)"),
    ("hv/*\n\twhy\n", None),
    ("# a word\nhv/a.c hv/b.c\n\twhy\n\tand why\n", None),
])
def test_a_circle_is_named_and_explained(text, problem):
    found, _ = house.check_circles([["hv/a.c", "hv/b.c"]], text)
    assert found == ([problem] if problem else [])


def test_a_name_that_fits_only_a_part_of_a_circle_does_not_name_it():
    found, _ = house.check_circles([["hv/a.c", "hv/b.c", "hv/c.c"]], "hv/a.c hv/b.c\n\twhy\n")
    assert len(found) == 2


def test_circles_are_found_and_chains_are_not():
    assert figures.circles({"a": {"b"}, "b": {"c"}, "c": {"b", "d"}, "d": set(), "e": {"e"}}) == [["b", "c"]]


def test_what_is_measured_is_counted():
    text = ("/* assert(this) is a word */\nstatic int one(int x)\n{\n\tassert(x);\n\t_Static_assert(1, \"assert(y)\");\n"
            "\treturn x;\n}\n\nvoid two(void)\n{\n}\n")
    assert figures.function_lengths(text) == [6, 3]
    assert len(figures.ASSERTION.findall(figures.without_comments(text))) == 1
    assert figures.prototypes("/** a() - it */\nint a(void);\nint b(int x,\n      int y);\nint c(void); /* it */\n") == [
        ("a", True), ("b", False), ("c", True)]


def test_folders_that_include_each_other_are_a_circle(tree):
    tree("hv/pci/c.h", C + '#include "hv/kvm/c.h"\n')
    tree("hv/kvm/c.h", C + '#include "hv/pci/c.h"\n')
    assert figures.include_circles(tree.root, figures.sources(tree.root)) == [["hv/kvm", "hv/pci"]]
