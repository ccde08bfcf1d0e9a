# SPDX-License-Identifier: Apache-2.0
"""figures - how the house stands, in numbers: of its sources, and of the objects of a build.

    figures.py ROOT BUILD     prints them as JSON, to be kept beside this file (tests/show/house-1)

Product code only (the rooms, not tests), lines with blanks and comments, a function from the line of
its name to its closing brace, a public prototype is one in a header.
"""
import json
import os
import re
import subprocess
import sys

ROOMS = ("base", "conf", "net", "hv", "migrate", "fence", "ha", "cmd")
LINES_MANY = 500

COMMENT = re.compile(r'"(?:\\.|[^"\\])*"|\'(?:\\.|[^\'\\])*\'|/\*.*?\*/|//[^\n]*', re.S)
ASSERTION = re.compile(r"(?<![\w.])assert\s*\(")
FUNCTION = re.compile(r"^[A-Za-z_][^\n;{}=#]*\([^;{}]*\)\s*\n\{$", re.M)
PROTOTYPE = re.compile(r"^(?!static|typedef|return|else|if|for|while|switch)[A-Za-z_][\w \t*]*[ \t*]\**(\w+)"
                       r"\([^;{}]*\)[^;{}]*;[^\n]*", re.M)
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*"([^"]+)"', re.M)


def sources(root):
    """Paths of the product's C files below @root."""
    return sorted(os.path.relpath(os.path.join(where, name), root) for room in ROOMS
                  for where, _, names in os.walk(os.path.join(root, room)) for name in names
                  if name.endswith((".c", ".h")))


def read(root, name):
    with open(os.path.join(root, name), encoding="utf-8") as f:
        return f.read()


def without_comments(text):
    """Comments and strings become blanks; lines stay where they are."""
    def blank(m):
        return re.sub(r"[^\n]", " ", m.group(0))
    return COMMENT.sub(blank, text)


def function_lengths(text):
    """Lines of each function defined in @text."""
    code = without_comments(text)
    lengths = []
    for m in FUNCTION.finditer(code):
        end = code.find("\n}", m.end())
        if end >= 0:
            lengths.append(code.count("\n", m.start(), end) + 2)
    return lengths


def prototypes(text):
    """[(name, documented)]: a comment ends on the line before, or stands on the prototype's own lines."""
    code = without_comments(text)
    lines, found = text.split("\n"), []
    for m in PROTOTYPE.finditer(code):
        first = code.count("\n", 0, m.start())
        own = text[m.start():m.end()]
        before = lines[first - 1].rstrip() if first else ""
        section = re.match(r"\s*/\* -{2,}", before)
        found.append((m.group(1), "/*" in own or (before.endswith("*/") and not section)))
    return found


def doc_room(name):
    """ha/core apart, for that is where the danger is; else the room at the top."""
    return "ha/core" if name.startswith("ha/core/") else name.split("/")[0]


def percentile(values, p):
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * p / 100))] if values else 0


def circles(edges):
    """Strongly connected sets of more than one node (Tarjan 1972), each sorted."""
    index, low, stack, on, out = {}, {}, [], set(), []

    def visit(start):
        work = [(start, iter(sorted(edges.get(start, ()))))]
        index[start] = low[start] = len(index)
        stack.append(start)
        on.add(start)
        while work:
            node, rest = work[-1]
            for to in rest:
                if to not in index:
                    index[to] = low[to] = len(index)
                    stack.append(to)
                    on.add(to)
                    work.append((to, iter(sorted(edges.get(to, ())))))
                    break
                if to in on:
                    low[node] = min(low[node], index[to])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
                if low[node] == index[node]:
                    group = []
                    while not group or group[-1] != node:
                        group.append(stack.pop())
                        on.discard(group[-1])
                    if len(group) > 1:
                        out.append(sorted(group))

    for node in sorted(edges):
        if node not in index:
            visit(node)
    return sorted(out)


def include_circles(root, names):
    """Circles of folders by what their files include."""
    edges, known = {}, set(names)
    for name in names:
        here = os.path.dirname(name)
        for what in INCLUDE.findall(read(root, name)):
            there = os.path.dirname(what)
            if what in known and there != here:
                edges.setdefault(here, set()).add(there)
    return circles(edges)


# --- objects ---

def objects(root, build):
    """{source below the root: (target, object)} of the product, from the build's own list of commands."""
    with open(os.path.join(build, "compile_commands.json"), encoding="utf-8") as f:
        commands = json.load(f)
    found = {}
    for c in commands:
        source = os.path.normpath(os.path.join(c["directory"], c["file"]))
        name, target = os.path.relpath(source, os.path.abspath(root)), os.path.dirname(c["output"])
        if name.split("/")[0] in ROOMS and not target.startswith("tests/"):
            found[name] = (target, os.path.join(c["directory"], c["output"]))
    return found


def symbols(obj):
    """(defined, wanted) global symbols of an object file."""
    said = subprocess.run(["nm", "-g", "-P", obj], check=True, stdout=subprocess.PIPE, text=True).stdout
    defined, wanted = set(), set()
    for line in said.splitlines():
        word = line.split()
        (wanted if word[1] in "Uvw" else defined).add(word[0])
    return defined, wanted


def link_circles(root, build):
    """Circles of source files that call each other, as the linker sees it."""
    table = {name: (target, *symbols(obj)) for name, (target, obj) in objects(root, build).items()}
    where = {}
    for name, (_, defined, _) in table.items():
        for symbol in defined:
            where.setdefault(symbol, []).append(name)
    edges = {}
    for name, (target, _, wanted) in table.items():
        for symbol in wanted:
            homes = where.get(symbol, [])
            # The own program first; no other program's files are linked with this one.
            own = [h for h in homes if table[h][0] == target]
            for home in own or [h for h in homes if not h.startswith("cmd/")]:
                edges.setdefault(name, set()).add(home)
    return circles(edges)


# --- all of it ---

def measure(root, build=None):
    """{name: number}, and {"documented": {room: percent}}; what needs a build is left out without one."""
    names = sources(root)
    texts = {name: read(root, name) for name in names}
    lengths = [n for name in names if name.endswith(".c") for n in function_lengths(texts[name])]
    documented = {}
    for name in names:
        if name.endswith(".h"):
            documented.setdefault(doc_room(name), []).extend(d for _, d in prototypes(texts[name]))
    out = {
        "files": len(names),
        "lines": sum(t.count("\n") for t in texts.values()),
        "mean file": round(sum(t.count("\n") for t in texts.values()) / max(1, len(names)), 1),
        "function p50": percentile(lengths, 50),
        "function p95": percentile(lengths, 95),
        "function max": max(lengths, default=0),
        "assertions": sum(len(ASSERTION.findall(without_comments(t))) for t in texts.values()),
        "files over 500": sum(t.count("\n") > LINES_MANY for t in texts.values()),
        "include circles": len(include_circles(root, names)),
        "documented": {room: round(100 * sum(d) / len(d), 1) for room, d in sorted(documented.items()) if d},
    }
    if build:
        out["link circles"] = len(link_circles(root, build))
    return out


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], sys.argv[2]), indent=1))
