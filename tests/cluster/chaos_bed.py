# SPDX-License-Identifier: Apache-2.0
"""chaos_bed - a bed whose disks can be hurt: each host's state directory is a small file system of its own, the domains'
disks are on one that can be frozen, and half of them are LUNs: one backing file, a loop device of its own for each host.

All mounts are in the mount namespace of the process that makes the bed (chaos.py enters one of its own), so they end with it.
Loop devices do not: close() gives them back, also after a failure.
"""

import os
import subprocess

import yaml

from cluster import Bed, build_dir
from domains import Domain

STATE = "24m"
LUNS = "/run/luns"   # on each host's own /run: the same name, another device


def sh(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


class ChaosBed(Bed):
    # While a host hears nothing of another, or one side only, the token goes round without a pause, and every corosync uses a whole CPU.
    # Real hosts have one each; here two that run in real time would leave none to the other three and to all daemons.
    SYSTEM = "  sched_rr: no\n  priority: -10\n"

    def __init__(self, luns=(), **options):
        self.luns, self.loops = list(luns), {}
        super().__init__(**options)

    def _up(self):
        image = os.path.join(self.dir, "storage.img")
        with open(image, "wb") as f:
            f.truncate(1 << 30)
        sh("mkfs.ext4", "-q", "-F", image)
        sh("mount", "-o", "loop", image, self.shared)   # its loop device goes with the mount
        for h in self.hosts:
            sh("mount", "-t", "tmpfs", "-o", f"size={STATE},mode=700", "state", self.state(h))
            self._storage_first(h)
        self._wrap_vmm()
        super()._up()

    def state(self, h):
        return os.path.join(h.dir, "state")

    def _storage_first(self, h):
        """What a host has given to its storage has arrived when it is off: that is assumed (docs/ha.md, Storage), and here the
        storage that hangs would hold a dead host's writes, in the loop device that was its own, and do them when another writes."""
        path = os.path.join(h.dir, "before-off")
        with open(path, "w", encoding="utf-8") as f:
            f.write(f"#!/bin/sh\nfsfreeze -u {self.shared} 2>/dev/null\ntrue\n")
        os.chmod(path, 0o755)

    def _wrap_vmm(self):
        """drover-hv as it is, but slow to start where bed.slow names the host."""
        self.hv = os.path.join(self.dir, "drover-hv")
        real = os.path.join(build_dir(), "cmd/drover-hv/drover-hv")
        with open(self.hv, "w", encoding="utf-8") as f:
            f.write(f'#!/bin/sh\ns={self.dir}/slow.$(hostname)\n[ -e "$s" ] && sleep "$(cat "$s")"\nexec {real} "$@"\n')
        os.chmod(self.hv, 0o755)

    def cluster_yaml(self):
        path = super().cluster_yaml()
        with open(path, encoding="utf-8") as f:
            conf = yaml.safe_load(f)
        if "drover_hv" not in conf:
            conf["drover_hv"] = self.hv
            with open(path + ".hv", "w", encoding="utf-8") as f:
                yaml.safe_dump(conf, f, sort_keys=False)
            os.replace(path + ".hv", path)
        return path

    def set_token(self, token):
        self.token = token
        self.change_corosync_conf(r"\btoken: \d+", f"token: {token}")

    def attach(self, h):
        """The host's own devices for the LUNs; after each power-on, as its /run is new."""
        h.run("mkdir", "-p", LUNS, check=True)
        for name in self.luns:
            if (h.n, name) not in self.loops:
                self.loops[h.n, name] = sh("losetup", "--find", "--show", os.path.join(self.shared, name + ".disk"))
            h.run("ln", "-sf", self.loops[h.n, name], f"{LUNS}/{name}", check=True)

    def thaw_storage(self):
        subprocess.run(["fsfreeze", "-u", self.shared], check=False, capture_output=True)

    def close(self):
        self.thaw_storage()
        self.stop()
        for device in self.loops.values():
            subprocess.run(["losetup", "-d", device], check=False, capture_output=True)
        self.loops = {}
        for where in [self.shared] + [self.state(h) for h in self.hosts]:
            subprocess.run(["umount", where], check=False, capture_output=True)
        super().close()


class LunDomain(Domain):
    """A domain whose disk each host sees as its own block device."""

    def __init__(self, bed, name):
        super().__init__(bed, name=name)
        with open(self.path, encoding="utf-8") as f:
            text = f.read()
        with open(self.path, "w", encoding="utf-8") as f:
            f.write(text.replace(f"- path: {self.disk.path}", f"- path: {LUNS}/{name}"))
