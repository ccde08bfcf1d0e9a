# SPDX-License-Identifier: Apache-2.0
"""What an operator gets wrong: one clear line, the right exit code, nothing left behind."""

import os

import api


def refused(host, *command):
    """Run a drover command that must fail; returns its exit code and the one line it said."""
    r = host.run("drover", *command, timeout=30)
    said = (r.stdout + r.stderr).strip().splitlines()
    assert len(said) == 1, said
    return r.returncode, said[0]


def write(bed, name, text):
    path = os.path.join(bed.shared, name + ".yaml")
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)
    return path


def test_mistakes_are_told_in_one_line_each_with_their_exit_code(make_bed, make_domain):
    bed = make_bed(hosts=3, token=1000)
    bed.start()
    work = make_domain(bed)
    work.start()
    h = bed.host(1)

    code, said = refused(h, "start", os.path.join(bed.shared, "nowhere.yaml"))
    assert code == 3 and "nowhere.yaml" in said
    code, said = refused(h, "start", write(bed, "typo", "name: typo\nmemroy: 64M\n"))
    assert code == 2 and "typo.yaml:2" in said and "memory" in said
    code, said = refused(h, "start", write(bed, "nokernel", "name: nokernel\nmemory: 64M\nkernel: /nonexistent\n"))
    assert code == 3 and "/nonexistent" in said
    with open(work.path, encoding="utf-8") as f:
        text = f.read().replace("name: work", "name: thief")
    code, said = refused(h, "start", write(bed, "copy", text))
    assert code == 5 and "path is that of work" in said
    link = os.path.join(bed.shared, "another-way")   # the record knows paths, the lock knows disks
    os.symlink(work.disk.path, link)
    code, said = refused(h, "start", write(bed, "thief", text.replace(work.disk.path, link)))
    assert code == 5 and link in said and "domain work" in said, "it names who holds the disk"
    assert refused(h, "migrate", "nobody", "n2")[0] == 3
    assert refused(h, "migrate", "work", "n9")[0] == 3
    assert refused(h, "fence", "n2", "--yes")[0] == 5, "a member of the view is never fenced"

    for host in bed.hosts:
        sockets = host.run("ls", "/run/drover/hv").stdout.split()
        left = [s for s in sockets if s.endswith(".sock") and not s.startswith("work.")]
        assert not left, f"left behind on {host.name}: {left}"
    assert all(d["name"] == "work" or d["node"] is None for d in api.domains(h))
    work.disk.wait_written(timeout=5)
    work.clean()
