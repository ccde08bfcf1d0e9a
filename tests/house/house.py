#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""house - is the tree as docs/architecture.md says?

    house.py [ROOT [BUILD]]     prints what is wrong and the figures; exit status 1 when anything is wrong

Checked: that every source lies in a room; which room includes which (and that ha/core
needs nothing but libc); the length of files; SPDX lines; that man pages are clean; that the pictures in
README.md and docs/architecture.md name the rooms there are; and of the objects in BUILD, that files which
call each other in a circle are named and explained in tests/house/circles.  figures.py measures what has
no limit; tests/show/house-1 holds that against a kept one.
"""
import fnmatch
import os
import re
import shutil
import subprocess
import sys

import figures

# Who may include whom; a room may always include itself.  Lowest first: a row names rows above
# it only, so there is no circle.  "hv/*" is hv/ with all the rooms in it, "net" is net/ alone.
# Four floors: cmd, ha, {migrate hv fence}, {net conf}; base is below them all, for everybody
# but ha/core.
MAY = {
    "base": [],
    "conf": ["base"],
    "net": ["base"],
    "net/link": ["base"],
    "net/control": ["base"],

    "hv/memory": ["conf", "base"],
    "hv/kvm": ["hv/memory", "base"],
    "hv/device": ["conf", "base"],
    "hv/disk": ["base"],
    "hv/pci": ["hv/device", "hv/kvm", "base"],
    "hv/display": ["hv/pci", "hv/device", "hv/memory", "conf", "base"],
    "hv/platform": ["hv/pci", "hv/device", "hv/kvm", "hv/memory", "base"],
    "hv/cpu": ["hv/device", "hv/kvm", "conf", "base"],
    "hv/firmware": ["hv/cpu", "hv/platform", "hv/pci", "hv/device", "hv/kvm", "hv/memory", "conf", "base"],
    "hv/virtio": ["hv/pci", "hv/display", "hv/disk", "hv/device", "hv/memory", "net/link", "conf", "base"],
    "hv/machine": ["hv/virtio", "hv/display", "hv/firmware", "hv/cpu", "hv/platform", "hv/pci", "hv/disk",
                   "hv/device", "hv/kvm", "hv/memory", "net/link", "conf", "base"],
    "hv/gate": ["hv/machine", "hv/disk", "conf", "base"],

    "migrate": ["net", "base"],
    "migrate/arbiter": ["migrate", "base"],
    "migrate/wire": ["migrate", "net", "base"],
    "migrate/pages": ["migrate/wire", "migrate", "base"],
    "migrate/transport": ["migrate/pages", "migrate/wire", "migrate", "net", "base"],
    "migrate/session": ["migrate/wire", "migrate", "net", "base"],
    "migrate/session/source": ["migrate/session", "migrate/transport", "migrate/pages", "migrate/wire", "migrate",
                               "net", "base"],
    "migrate/session/destination": ["migrate/session", "migrate/transport", "migrate/pages", "migrate/wire", "migrate",
                                    "net", "base"],

    "fence": ["conf", "base"],

    "ha/core/record": [],
    "ha/core/plan": ["ha/core/record"],
    "ha/core/apply": ["ha/core/plan", "ha/core/record"],    # sees no core: replicas are alike by what it is given
    "ha/core": ["ha/core/apply", "ha/core/plan", "ha/core/record"],
    "ha/corosync": ["base"],
    "ha/store": ["base"],
    "ha/witness": ["ha/core", "ha/core/record", "base"],
    "ha/vmm": ["ha/core", "net/control", "conf", "base"],
    "ha/shell": ["ha/vmm", "ha/store", "ha/witness", "ha/corosync", "ha/core", "ha/core/record", "fence", "conf",
                 "net", "base"],
    "ha/api": ["ha/shell", "ha/vmm", "ha/core", "ha/core/record", "conf", "base"],

    "cmd": ["ha/*", "fence", "migrate/*", "hv/*", "net/*", "conf", "base"],
}
TOP = sorted({room.split("/")[0] for room in MAY})
FOLDERS = ["cmd"]   # rooms with folders that are no rooms: one per program

# The core is a pure function: no clock (time.h), no files (fcntl.h, unistd.h), no sockets.
CORE_HEADERS = {"assert.h", "ctype.h", "errno.h", "inttypes.h", "limits.h", "stdarg.h",
                "stdbool.h", "stddef.h", "stdint.h", "stdio.h", "stdlib.h", "string.h"}

LINES_MAX = 1000
LINES_MANY = 500
FEW = 0.10          # "few over 500": at most a tenth of the files

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*(["<])([^">]+)[">]', re.M)
DEFINED = re.compile(r"^(struct|union|enum) (\w+) \{", re.M)
SPDX = "SPDX-License-Identifier: Apache-2.0"
SPDX_ENDINGS = (".c", ".h", ".S", ".lds", ".py", ".sh", ".yaml", ".yml", "meson.build")
MAN_PAGE = re.compile(r"\.[1-8]$")


def tree_files(root):
    """Paths below @root: what git knows, or everything when there is no git."""
    if os.path.exists(os.path.join(root, ".git")):
        out = subprocess.run(["git", "-C", root, "ls-files", "-z"], check=True,
                             stdout=subprocess.PIPE).stdout
        names = [n.decode() for n in out.split(b"\0") if n]
    else:
        names = [os.path.relpath(os.path.join(d, f), root)
                 for d, _, files in os.walk(root) for f in files]
    return sorted(n for n in names if os.path.isfile(os.path.join(root, n))
                  and not os.path.islink(os.path.join(root, n)))


def text_of(root, name):
    """The text of a file, or None when it is not text."""
    with open(os.path.join(root, name), "rb") as f:
        data = f.read()
    if b"\0" in data:
        return None
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None


def room_of(name):
    """The room a path lies in, or None for tests, docs, ... and for what lies beside the rooms."""
    folder = os.path.dirname(name)
    if folder in MAY:
        return folder
    return next((room for room in FOLDERS if name.startswith(room + "/")), None)


def may(room, other):
    """May @room include what is in @other?"""
    return other == room or any((other + "/").startswith(name[:-1]) if name.endswith("/*")
                                else other == name for name in MAY[room])


def line_of(text, match):
    return text.count("\n", 0, match.start()) + 1


def check_include(name, line, quote, what, files):
    """One #include line: a text that says what is wrong, or None."""
    room, where = room_of(name), f"{name}:{line}"
    if quote == "<":
        if room and (room + "/").startswith("ha/core/") and what not in CORE_HEADERS:
            return f"{where}: <{what}>, but ha/core uses plain libc headers only"
        if room_of(what) in MAY and what in files:
            return f'{where}: <{what}> is ours, write "{what}"'
        return None
    other = room_of(what)
    if what not in files:
        # Tests may include what lies beside them or beside another test; rooms write paths
        # from the root.
        if room is None and any(f.startswith("tests/") and f.endswith("/" + what) for f in files):
            return None
        return f'{where}: "{what}" is no file; includes are written from the root'
    if room is None:
        return None
    if other is None:
        return f'{where}: {room} includes "{what}", which is in no room'
    if not may(room, other):
        allowed = ", ".join(MAY[room]) or "nothing of ours"
        return f'{where}: {room} includes "{what}"; {room} may include {allowed}'
    if what.endswith("_int.h") and os.path.dirname(what) != os.path.dirname(name):
        return f'{where}: "{what}" is for its siblings only'
    return None


def check_includes(root, names):
    problems, files, count = [], set(names), 0
    for name in names:
        if not name.endswith((".c", ".h")):
            continue
        if name.split("/")[0] in TOP and not room_of(name):
            problems.append(f"{name}: {os.path.dirname(name)}/ is no room: it has no row in tests/house")
        text = text_of(root, name) or ""
        for m in INCLUDE.finditer(text):
            count += 1
            wrong = check_include(name, line_of(text, m), m.group(1), m.group(2), files)
            if wrong:
                problems.append(wrong)
    return problems, f"{count} includes"


def check_lengths(root, names):
    problems, many, total, code = [], [], 0, 0
    for name in names:
        text = text_of(root, name)
        if text is None or "/corpus/" in name or name == "LICENSE":
            continue
        lines, total = text.count("\n"), total + 1
        code += lines
        if lines > LINES_MAX:
            problems.append(f"{name}: {lines} lines, at most {LINES_MAX}")
        elif lines > LINES_MANY:
            many.append(f"{name} ({lines})")
    if len(many) > max(1, FEW * total):
        problems.append(f"{len(many)} of {total} files have over {LINES_MANY} lines: few should")
    figure = f"{total} text files, {code} lines; {len(many)} over {LINES_MANY}"
    return problems, figure + (": " + ", ".join(many) if many else "")


def check_names(root, names):
    """A struct, union or enum that a header defines is the only one of its name: what it is needs no looking up."""
    where = {}
    for name in names:
        if name.endswith((".c", ".h")) and room_of(name):
            text = text_of(root, name) or ""
            for m in DEFINED.finditer(text):
                where.setdefault(f"{m[1]} {m[2]}", []).append(f"{name}:{line_of(text, m)}")
    problems = [f"{what} is defined twice: {', '.join(places)}" for what, places in sorted(where.items())
                if len(places) > 1 and any(".h:" in p for p in places)]
    return problems, f"{len(where)} structs, unions and enums, none of a header's twice"


def needs_spdx(root, name):
    if "/corpus/" in name:
        return False
    if name.endswith(SPDX_ENDINGS) or (name.startswith("docs/") and MAN_PAGE.search(name)):
        return True
    with open(os.path.join(root, name), "rb") as f:
        return f.read(2) == b"#!"


def check_spdx(root, names):
    problems, count = [], 0
    for name in names:
        if needs_spdx(root, name):
            count += 1
            head = (text_of(root, name) or "").split("\n")[:4]
            if not any(SPDX in line for line in head):
                problems.append(f"{name}: no '{SPDX}' in its first lines")
    return problems, f"{count} files with SPDX line"


def check_man_pages(root, names):
    pages = [n for n in names if n.startswith("docs/") and MAN_PAGE.search(n)]
    if pages and not shutil.which("mandoc"):
        return ["no mandoc to check man pages with (package mandoc)"], ""
    problems = []
    for name in pages:
        said = subprocess.run(["mandoc", "-Tlint", "-Wwarning", name], cwd=root, check=False,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        problems += [line.removeprefix("mandoc: ") for line in said.stdout.splitlines()]
        if said.returncode and not said.stdout:
            problems.append(f"{name}: mandoc ended with {said.returncode}")
    return problems, f"{len(pages)} man pages"


def check_picture(root, names, doc, rooms):
    """The rooms in @doc's pictures (fenced blocks) are there, and @rooms are among them."""
    if doc not in names:
        return [f"{doc}: missing"], ""
    blocks = re.findall(r"^```[^\n]*\n(.*?)^```", text_of(root, doc), re.M | re.S)
    picture = "\n".join(blocks)
    dirs = {os.path.dirname(n) for n in names}
    problems = [f"{doc}: its picture does not name {room}/" for room in rooms
                if room != "base" and not re.search(r"(?<![\w./-])" + room + r"/(?!\w)", picture)]
    for word in sorted(set(re.findall(r"(?<![\w./~-])((?:%s)(?:/[a-z_-]+)*)/(?![\w.])"
                                      % "|".join(TOP + ["tests", "docs"]), picture))):
        if not any(d == word or d.startswith(word + "/") for d in dirs):
            problems.append(f"{doc}: its picture names {word}/, which does not exist")
    return problems, f"{doc} names the rooms"


def check_licence(root, names):
    """Every file names a licence by its SPDX tag; its text is there too."""
    text = text_of(root, "LICENSE") or "" if "LICENSE" in names else ""
    for line in ("Apache License", "Version 2.0, January 2004", "9. Accepting Warranty or Additional Liability."):
        if line not in text:
            return [f"LICENSE: expected the text of Apache-2.0, with the line '{line}'"], ""
    return [], "LICENSE is the text of Apache-2.0"


def named_circles(text):
    """[(patterns, why)] of tests/house/circles: a line of files, then indented lines that say why."""
    out = []
    for line in text.splitlines():
        if line.startswith("#") or not line.strip():
            continue
        if not line[0].isspace():
            out.append((line.split(), ""))
        elif out:
            out[-1] = (out[-1][0], out[-1][1] + line.strip() + " ")
    return out


def check_circles(found, text):
    """Circles of the linker's against those that are named and explained."""
    problems, named = [], named_circles(text)
    for patterns, why in named:
        if not why:
            problems.append(f"tests/house/circles: {' '.join(patterns)}: not explained")
        if not any(set_is(circle, patterns) for circle in found):
            problems.append(f"tests/house/circles: {' '.join(patterns)}: is no circle (any more)")
    for circle in found:
        if not any(set_is(circle, patterns) for patterns, _ in named):
            problems.append(f"{' '.join(circle)} call each other in a circle that tests/house/circles does not name")
    return problems, f"{len(found)} circles of files that call each other, each explained"


def set_is(circle, patterns):
    """Each file fits a pattern, and each pattern a file."""
    return (all(any(fnmatch.fnmatch(name, p) for p in patterns) for name in circle) and
            all(any(fnmatch.fnmatch(name, p) for name in circle) for p in patterns))


def check(root, build=None):
    """[(problems, figure)] of everything; what needs objects only with a build."""
    names = tree_files(root)
    circles = []
    if build:
        circles = [check_circles(figures.link_circles(root, build), text_of(root, "tests/house/circles") or "")]
    return [check_includes(root, names), check_lengths(root, names), check_names(root, names), check_spdx(root, names), check_licence(root, names),
            check_man_pages(root, names), check_picture(root, names, "README.md", TOP),
            check_picture(root, names, "docs/architecture.md", sorted({*TOP, *MAY}))] + circles


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    root = os.path.abspath(sys.argv[1] if len(sys.argv) > 1 else os.path.join(here, "../.."))
    wrong = 0
    for problems, figure in check(root, sys.argv[2] if len(sys.argv) > 2 else None):
        for p in problems:
            print("wrong: " + p)
        wrong += len(problems)
        if figure and not problems:
            print("ok: " + figure)
        elif figure:
            print("  of " + figure)
    print(f"house: {wrong} things wrong" if wrong else "house: in order")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
