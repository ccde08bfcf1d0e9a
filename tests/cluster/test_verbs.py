# SPDX-License-Identifier: Apache-2.0
"""What operators type daily, against real daemons: domains by uuid from every host, texts and files, watch and completion."""

import json
import os
import subprocess
import threading

from domains import drover
from host import wait_for


class Watch:
    """drover watch on a host, as it goes on."""

    def __init__(self, host, *args):
        self.p = subprocess.Popen(host.enter() + ["drover", "-o", "json", "watch", *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                  stdin=subprocess.DEVNULL, text=True, env=host.bed.env)
        self.lines = []
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.p.stdout:
            self.lines.append(json.loads(line))

    def wait(self, what, **expected):
        """Until a domain line has come in which all of @expected is so; lines before it are forgotten."""
        def look():
            for i, line in enumerate(self.lines):
                if line["event"] == "domain" and all(line[k] == v for k, v in expected.items()):
                    del self.lines[:i + 1]
                    return line
            return None
        return wait_for(what, look, 40)

    def end(self):
        self.p.kill()
        self.p.wait()


def test_a_domain_is_found_by_its_uuid_from_every_host(make_bed, make_domain):
    bed = make_bed(hosts=3, token=1000, fence=False)
    bed.start()
    work = make_domain(bed)
    work.start()
    owner = work.owner()
    other = next(h for h in bed.hosts if h is not owner)
    third = next(h for h in bed.hosts if h not in (owner, other))
    shown = json.loads(drover(other, "-o", "json", "show", "work").stdout)
    uuid = shown["uuid"]
    assert json.loads(drover(third, "-o", "json", "show", uuid.upper()).stdout)["name"] == "work"
    watch = Watch(third, uuid)
    assert watch.wait("where it is", was=None)["is"]["node"] == owner.name
    assert "'work' runs on" in drover(other, "migrate", uuid, other.name, timeout=90).stdout
    watch.wait("the migration to be over", **{"is": {"state": "running", "node": other.name}})
    # The daemon that is watched is restarted, and goes on telling.
    third.kill_daemon("droverd")
    bed.start_droverd(third)
    bed.wait_members()
    assert drover(owner, "pause", uuid).stdout == "domain 'work' is paused\n"
    watch.wait("the pause", **{"is": {"state": "paused", "node": other.name}})
    drover(owner, "resume", uuid)
    watch.wait("it to go on", **{"is": {"state": "running", "node": other.name}})
    for verb in ("show", "stop", "migrate", "pause", "reset", "reboot", "config", "ha remove", "watch"):
        r = drover(third, *verb.split(), "00000000-0000-4000-8000-000000000000", check=False)
        assert (r.returncode, r.stdout, len(r.stderr.splitlines())) == (3, "", 1), (verb, r)
    assert watch.p.poll() is None
    watch.end()
    work.clean()


def test_a_text_comes_back_and_a_file_is_judged_by_what_others_have(make_bed, make_domain):
    bed = make_bed(hosts=2, token=1000, fence=False)
    bed.start()
    work = make_domain(bed)
    work.start()
    n1, n2 = bed.hosts
    with open(work.path, encoding="utf-8") as f:
        text = f.read()
    for host in bed.hosts:
        assert drover(host, "config", "work").stdout == text
        full = drover(host, "config", "work", "--canonical").stdout
        assert "uuid:" in full and full != text
        for what, file, said in ((text, "same.yaml", "work is already defined, with this very text"),
                                 (full, "full.yaml", "work is already defined, with another text"),
                                 (text.replace("name: work", "name: copy"), "copy.yaml", "its disks[0].path is that of work")):
            path = os.path.join(bed.shared, file)
            with open(path, "w", encoding="utf-8") as f:
                f.write(what)
            r = drover(host, "validate", path, check=False)
            assert (r.returncode, r.stdout, r.stderr) == (5, "", f"drover: {path}: {said}\n"), r
            r = drover(host, "start", path, check=False)     # ... which says no as well
            assert r.returncode == 5 and r.stdout == "", r
        fresh = os.path.join(bed.shared, "fresh.yaml")
        with open(fresh, "w", encoding="utf-8") as f:
            f.write(text.replace("name: work", "name: fresh").replace(work.disk.path, work.disk.path + "2"))
        assert drover(host, "validate", fresh).stdout == f"{fresh}: could be started\n"
        assert [d["name"] for d in json.loads(drover(host, "-o", "json", "list").stdout)] == ["work"]
    n2.kill_daemon("droverd")
    r = drover(n2, "validate", fresh)
    assert "not compared with the cluster's domains: droverd is not running" in r.stdout
    assert drover(n1, "completion", "bash", "--", "drover", "stop", "w").stdout == "work\n"
    assert drover(n1, "completion", "bash", "--", "drover", "migrate", "work", "").stdout.split() == [n1.name, n2.name]
    assert drover(n2, "completion", "bash", "--", "drover", "stop", "w").stdout == ""
    bed.start_droverd(n2)
    bed.wait_members()
    work.clean()
