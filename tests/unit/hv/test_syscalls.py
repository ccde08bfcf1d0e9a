# SPDX-License-Identifier: Apache-2.0
"""cmd/drover-hv/syscalls.py: what a comment says is what the filter does, and a comment that makes no sense is refused.

SYSCALLS names it.
"""
import importlib.util
import os
import re

import pytest

SPEC = importlib.util.spec_from_file_location("syscalls", os.environ["SYSCALLS"])
syscalls = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(syscalls)

KNOWN = {"read": 0, "mmap": 9, "ioctl": 16, "clone3": 435, "socket": 41, "tgkill": 234}
VALUES = {"RUN": 7, "EXEC": 4, "STREAM": 1, "KIND": 15, "SANDBOX_SELF": 42}


def lists_of(text):
    lists = {kind: {} for kind in ["all", *syscalls.KINDS]}
    syscalls.collect(text, lists, KNOWN)
    return lists


def run(code, name, args=()):
    """What a filter returns: an interpreter of what syscalls.py writes."""
    values = [*args] + [0] * (6 - len(args))
    at, a = 0, None
    while True:
        op, _, rest = code[at].rstrip(")").partition("(")
        words = [w.strip() for w in rest.split(",")] if rest else []
        at += 1
        if op == "CALL":
            at += 0 if words[0] == name else int(words[1])
        elif op == "BELOW":
            at += 0 if KNOWN[name] >= KNOWN[words[0]] else int(words[1])
        elif op == "GO":
            at += int(words[0])
        elif op == "ARG":
            a = values[int(words[0])]
        elif op == "AND":
            a &= VALUES[words[0]]
        elif op == "EQUAL":
            at += 0 if a == VALUES.get(words[0], 0 if words[0] == "0" else None) else int(words[1])
        else:
            return code[at - 1]


def says(text, kind, name, args=()):
    return run(syscalls.program(syscalls.whole(kind, lists_of(text)), KNOWN), name, args)


def test_what_is_in_no_list_is_not_allowed():
    assert says(" * #syscalls:vcpu read */", "vcpu", "read") == "ALLOW"
    assert says(" * #syscalls:vcpu read */", "vcpu", "socket") == "TRAP"
    assert says(" * #syscalls:vcpu read */", "device", "read") == "TRAP"


def test_a_kind_has_what_all_have_and_those_that_it_begins():
    assert says("/* #syscalls:all read */", "broker", "read") == "ALLOW"
    assert says("/* #syscalls:receive read */", "engine", "read") == "ALLOW"
    assert says("/* #syscalls:receive read */", "main", "read") == "ALLOW"
    assert says("/* #syscalls:engine read */", "receive", "read") == "TRAP"
    assert says("/* #syscalls:broker read */", "main", "read") == "TRAP"
    assert says("/* #syscalls:vcpu,send read */", "send", "read") == "ALLOW"


def test_arguments_are_looked_at():
    text = "/* #syscalls:vcpu ioctl(1=RUN) mmap(2&EXEC=0) */"
    assert says(text, "vcpu", "ioctl", (3, 7)) == "ALLOW"
    assert says(text, "vcpu", "ioctl", (7, 3)) == "TRAP"
    assert says(text, "vcpu", "mmap", (0, 0, 3)) == "ALLOW"
    assert says(text, "vcpu", "mmap", (0, 0, 7)) == "TRAP"


def test_one_way_of_several_is_enough_and_all_tests_of_a_way_are_needed():
    text = "/* #syscalls:vcpu socket(0=RUN,1&KIND=STREAM) socket(0=EXEC) */"
    assert says(text, "vcpu", "socket", (7, 0x801)) == "ALLOW"
    assert says(text, "vcpu", "socket", (7, 2)) == "TRAP"
    assert says(text, "vcpu", "socket", (4, 2)) == "ALLOW"
    assert says(text, "vcpu", "socket", (5, 1)) == "TRAP"


def test_with_any_arguments_is_more_than_with_some():
    assert says("/* #syscalls:vcpu ioctl(1=RUN)\n * #syscalls:all ioctl */", "vcpu", "ioctl", (0, 1)) == "ALLOW"


def test_some_are_refused_with_an_error():
    assert says("/* #syscalls:main clone3!ENOSYS */", "main", "clone3") == "REFUSE(ENOSYS)"
    text = "/* #syscalls:main ioctl(1=RUN) ioctl!EPERM */"
    assert says(text, "main", "ioctl", (0, 7)) == "ALLOW"
    assert says(text, "main", "ioctl", (0, 1)) == "REFUSE(EPERM)"


def test_each_call_of_many_is_found():
    lists = lists_of("/* #syscalls:vcpu " + " ".join(KNOWN) + " */")
    for left_out in [None, *KNOWN]:
        calls = {name: ways for name, ways in syscalls.whole("vcpu", lists).items() if name != left_out}
        for name in KNOWN:
            assert run(syscalls.program(calls, KNOWN), name) == ("TRAP" if name == left_out else "ALLOW")


def test_what_the_porter_does_without_is_refused():
    calls = syscalls.whole("porter", lists_of("/* #syscalls:porter socket(0=RUN) */"))
    code = syscalls.program(calls, KNOWN, syscalls.OTHERS["porter"])
    assert run(code, "socket", (7,)) == "ALLOW"
    assert run(code, "socket", (4,)) == run(code, "read") == "REFUSE(EPERM)"


def test_self_is_put_in_when_it_is_loaded():
    text = "/* #syscalls:all tgkill(0=SELF) */"
    assert says(text, "vcpu", "tgkill", (42, 1)) == "ALLOW"
    assert says(text, "vcpu", "tgkill", (43, 1)) == "TRAP"


@pytest.mark.parametrize("text,what", [
    ("#syscalls:gpu read", "there is no such kind"),
    ("#syscalls:vcpu reed", "there is no system call 'reed'"),
    ("#syscalls:vcpu ioctl(KVM_RUN)", "is no test of an argument"),
    ("#syscalls:vcpu ioctl(6=RUN)", "is no test of an argument"),
    ("#syscalls:vcpu ioctl(1=RUN", "is no call"),
    ("#syscalls:vcpu read,write", "is no call"),
])
def test_a_comment_that_makes_no_sense_is_refused(text, what):
    with pytest.raises(syscalls.Wrong, match=re.escape(what)):
        lists_of(f"/* {text} */")


def test_a_jump_never_goes_further_than_a_filter_can():
    text = "/* #syscalls:vcpu " + " ".join(f"ioctl(1=V{i})" for i in range(130)) + " */"
    with pytest.raises(syscalls.Wrong, match="at most 255"):
        syscalls.program(syscalls.whole("vcpu", lists_of(text)), KNOWN)
