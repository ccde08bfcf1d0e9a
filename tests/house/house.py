#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""house - is the tree as docs/architecture.md says?

    house.py [ROOT]     prints what is wrong and the figures; exit status 1 when anything is wrong

Checked: which room includes which (and that ha/core needs nothing but libc);
the length of files; SPDX lines; that man pages are clean; that the pictures in
README.md and docs/architecture.md name the rooms there are.
"""
import os
import re
import shutil
import subprocess
import sys

# Who may include whom.  Four floors: cmd, ha, {migrate hv fence}, {net conf}; base is
# below them all, for everybody but ha/core.  A room may always include itself.
MAY = {
    "base": [],
    "conf": ["base"],
    "net": ["base"],
    "hv": ["conf", "net", "base"],
    "migrate": ["net", "base"],
    "fence": ["conf", "base"],
    "ha/core": [],
    "ha": ["ha/core", "fence", "conf", "net", "base"],
    "cmd": ["ha/core", "ha", "fence", "migrate", "hv", "net", "conf", "base"],
}

# The core is a pure function: no clock (time.h), no files (fcntl.h, unistd.h), no sockets.
CORE_HEADERS = {"assert.h", "ctype.h", "errno.h", "inttypes.h", "limits.h", "stdarg.h",
                "stdbool.h", "stddef.h", "stdint.h", "stdio.h", "stdlib.h", "string.h"}

LINES_MAX = 1000
LINES_MANY = 500
FEW = 0.10          # "few over 500": at most a tenth of the files

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*(["<])([^">]+)[">]', re.M)
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
    """The room a path lies in ("ha/core" before "ha"), or None for tests, docs, ..."""
    for room in sorted(MAY, key=len, reverse=True):
        if name.startswith(room + "/"):
            return room
    return None


def line_of(text, match):
    return text.count("\n", 0, match.start()) + 1


def check_include(name, line, quote, what, files):
    """One #include line: a text that says what is wrong, or None."""
    room, where = room_of(name), f"{name}:{line}"
    if quote == "<":
        if room == "ha/core" and what not in CORE_HEADERS:
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
    if other != room and other not in MAY[room]:
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


def check_picture(root, names, doc):
    """The rooms in @doc's pictures (fenced blocks) are the rooms there are."""
    if doc not in names:
        return [f"{doc}: missing"], ""
    blocks = re.findall(r"^```[^\n]*\n(.*?)^```", text_of(root, doc), re.M | re.S)
    picture = "\n".join(blocks)
    dirs = {os.path.dirname(n) for n in names}
    problems = [f"{doc}: its picture does not name {room}/" for room in MAY
                if room != "base" and room + "/" not in picture]
    for word in sorted(set(re.findall(r"(?<![\w./~-])((?:%s)(?:/[a-z_-]+)*)/(?![\w.])"
                                      % "|".join(sorted({r.split('/')[0] for r in MAY}
                                                        | {"tests", "docs"})), picture))):
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


def check(root):
    """[(problems, figure)] of everything."""
    names = tree_files(root)
    return [check_includes(root, names), check_lengths(root, names), check_spdx(root, names), check_licence(root, names),
            check_man_pages(root, names), check_picture(root, names, "README.md"),
            check_picture(root, names, "docs/architecture.md")]


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    root = os.path.abspath(sys.argv[1] if len(sys.argv) > 1 else os.path.join(here, "../.."))
    wrong = 0
    for problems, figure in check(root):
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
