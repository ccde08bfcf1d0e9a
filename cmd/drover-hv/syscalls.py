#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""syscalls - make the filters of system calls (sandbox_filter.c) from the comments of those who call.

    syscalls.py OUT.h DEPFILE ROOT FOLDER... -- COMPILER...
    syscalls.py --table ROOT FOLDER... -- COMPILER...            print what each kind may

A line "#syscalls:KIND[,KIND] CALL..." in a comment of a source says which calls a kind of thread makes there:

    read                          with any arguments
    ioctl(1=KVM_RUN)              where argument 1 (of 0 to 5) is that, an expression of C
    mmap(2&PROT_EXEC=0,3&MAP_FIXED=0)     where of that argument these bits are so, and of the other those
    tgkill(0=SELF)                SELF is this process
    clone3!ENOSYS                 refused with this error: who calls it does without

Only the lower 32 bits of an argument are looked at.  A call that is in no list of a kind's is not allowed there; KINDS
says whose lists a kind has beside its own.  A name that this machine's kernel headers do not know is an error.
"""
import os
import re
import subprocess
import sys

# A kind makes its own calls, those of "all", and those of the kinds that it begins: a filter is inherited.
KINDS = {
    "vcpu": [],
    "device": [],
    "gate": [],
    "send": [],
    "receive": [],
    "engine": ["send", "receive"],
    "main": ["vcpu", "device", "gate", "send", "receive", "engine"],
    "broker": [],
    "porter": [],
    "viewer": [],
}
# What becomes of a call that is in no list; of others the process tells, and ends (sandbox_filter.c).  The broker has
# nowhere to tell, but what the kernel kills is in its log.  The porter looks names up with libraries that nobody has
# read (nsswitch.conf(5)): what they do without is refused, and they go on.
OTHERS = {"broker": "KILL", "porter": "REFUSE(EPERM)"}
LINE = re.compile(r"#syscalls:([a-z,]+)((?:\s+[^\s*]+)+)")
CALL = re.compile(r"(\w+)(?:\(([^()\s]+)\)|!(E\w+))?$")
TEST = re.compile(r"([0-5])(?:&(\w+))?=(\w+)$")
JUMP_MAX = 255          # struct sock_filter has 8 bits


class Wrong(Exception):
    """What is wrong with a comment, and where."""


def numbers(compiler):
    """{name: number} of the system calls, as the headers have them."""
    out = subprocess.run([*compiler, "-E", "-dM", "-include", "asm/unistd.h", "-x", "c", "/dev/null"], check=True,
                         stdout=subprocess.PIPE, text=True).stdout
    return {name: int(number) for name, number in re.findall(r"^#define __NR_(\w+) (\d+)$", out, re.M)}


def parse_call(text):
    """(name, tests or None, error or None) of one word; a test is (argument, mask or None, value)."""
    m = CALL.match(text)
    if not m:
        raise Wrong(f"'{text}' is no call")
    tests = None
    if m[2]:
        tests = []
        for part in m[2].split(","):
            t = TEST.match(part)
            if not t:
                raise Wrong(f"'{part}' of '{text}' is no test of an argument")
            tests.append((int(t[1]), t[2], t[3]))
    return m[1], tests, m[3]


def collect(text, lists, known):
    """Add what the lines of @text say to @lists: {kind: {name: [tests or None or "!ERROR"]}}."""
    for m in LINE.finditer(text):
        for kind in m[1].split(","):
            if kind not in lists:
                raise Wrong(f"#syscalls:{kind}: there is no such kind")
            for word in m[2].split():
                name, tests, error = parse_call(word)
                if name not in known:
                    raise Wrong(f"#syscalls:{kind}: there is no system call '{name}'")
                ways = lists[kind].setdefault(name, [])
                way = "!" + error if error else tests
                if way not in ways:
                    ways.append(way)


def whole(kind, lists):
    """{name: ways} of all that @kind may."""
    out = {}
    for part in ["all", kind, *KINDS[kind]]:
        for name, ways in lists[part].items():
            mine = out.setdefault(name, [])
            mine += [w for w in ways if w not in mine]
    return {name: [None] if None in ways else ways for name, ways in out.items()}


def test_code(arg, mask, value):
    """Instructions of one test; on to the next instruction, or ("no")."""
    code = [f"ARG({arg})"]
    if mask:
        code.append(f"AND({mask})")
    value = {"SELF": "SANDBOX_SELF"}.get(value, value)
    return code + [("jump", value)]


def ways_code(ways, other):
    """Instructions for a call that was recognized; they return in any case, @other what is not allowed."""
    if ways == [None]:
        return ["ALLOW"]
    code, last = [], other
    for tests in ways:
        if isinstance(tests, str):      # what the others do not allow is refused
            last = f"REFUSE({tests[1:]})"
            continue
        way = []
        for test in tests:
            way += test_code(*test)
        way.append("ALLOW")
        # A test that fails goes on behind its way.
        for at, step in enumerate(way):
            if isinstance(step, tuple):
                way[at] = f"EQUAL({step[1]}, {len(way) - at - 1})"
        code += way
    return code + [last]


def program(calls, known, other="TRAP"):
    """
    The instructions of a filter: a search by halves.  When it is loaded the kernel tries each number there is, to know
    those that are always allowed; with one comparison after the other that took 0.6 ms.
    """
    names = sorted(calls, key=known.get)
    if not names:
        return [other]
    if len(names) == 1:
        body = ways_code(calls[names[0]], other)
        if len(body) > JUMP_MAX:
            raise Wrong(f"{names[0]}: {len(body)} instructions, at most {JUMP_MAX}")
        return [f"CALL({names[0]}, {len(body)})", *body, other]
    half = len(names) // 2
    low, high = ({name: calls[name] for name in part} for part in (names[:half], names[half:]))
    low = program(low, known, other)
    return [f"BELOW({names[half]}, 1)", f"GO({len(low)})", *low, *program(high, known, other)]


def header(lists, known):
    out = ["/* Made by syscalls.py from the #syscalls comments of the sources. */"]
    for kind in KINDS:
        out += ["", f"static const struct sock_filter filter_{kind}[] = {{", "\tBEGIN,"]
        out += [f"\t{step}," for step in program(whole(kind, lists), known, OTHERS.get(kind, "TRAP"))]
        out += ["};"]
    out += ["", "static const char *const call_names[] = {"]
    out += [f'\t[{number}] = "{name}",' for name, number in sorted(known.items(), key=lambda c: c[1])]
    return "\n".join(out + ["};", ""])


def sources(root, folders):
    for folder in folders:
        for where, _, files in os.walk(os.path.join(root, folder)):
            yield where, sorted(os.path.join(where, f) for f in files if f.endswith((".c", ".h")))


def read_all(root, folders, known):
    """(lists, everything that was looked at)."""
    lists, seen = {kind: {} for kind in ["all", *KINDS]}, []
    for where, names in sources(root, folders):
        seen += [where, *names]
        for name in names:
            with open(name, encoding="utf-8") as f:
                text = f.read()
            try:
                collect(text, lists, known)
            except Wrong as e:
                raise Wrong(f"{os.path.relpath(name, root)}: {e}") from e
    return lists, seen


def way_text(name, way):
    if way is None:
        return name
    if isinstance(way, str):
        return name + way
    return f"{name}({','.join(f'{arg}&{mask}={value}' if mask else f'{arg}={value}' for arg, mask, value in way)})"


def table(lists):
    """A line for each kind: all that it may."""
    return "\n".join(f"{kind}: " + " ".join(way_text(name, way) for name, ways in sorted(whole(kind, lists).items()) for way in ways)
                     for kind in KINDS)


def main(argv):
    split = argv.index("--")
    show = argv[1] == "--table"
    root, *folders = argv[2 if show else 3:split]
    known = numbers(argv[split + 1:])
    try:
        lists, seen = read_all(root, folders, known)
        text = table(lists) if show else header(lists, known)
    except Wrong as e:
        sys.exit(f"syscalls: {e}")
    if show:
        print(text)
        return 0
    out, depfile = argv[1:3]
    with open(out, "w", encoding="utf-8") as f:
        f.write(text)
    with open(depfile, "w", encoding="utf-8") as f:
        f.write(f"{out}: " + " ".join(seen) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
