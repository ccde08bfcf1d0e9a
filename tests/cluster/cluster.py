# SPDX-License-Identifier: Apache-2.0
"""cluster - the bed: N virtual hosts on this machine, each with its own corosync and droverd, joined by two bridges.

    with Bed(hosts=3, token=1000) as bed:
        bed.start()                          # corosync and droverd on every host, until they agree
        bed.host(1).run("drover", "list")
        bed.cut(bed.host(2))                 # pull the cluster network out of a host
        bed.heal()

    10.77.0.0/24  eth0  cluster network: corosync, migrations
    10.77.1.0/24  eth1  management network: BMCs at .254, in the hub

The hub is one more network namespace that holds the bridges and the BMCs.  Nothing has a name outside the processes of the
test that made it (see host.py), so beds never meet each other, and a dead test leaves only a directory in /tmp.
"""

import json
import os
import re
import shutil
import subprocess
import tempfile

import yaml

import api
from bmc import Bmc
from host import DEATH, SLOW, Host, clock, wait_for

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PREFIX = "drover-bed."

COROSYNC = """totem {{
  version: 2
  cluster_name: bed
  transport: knet
  crypto_model: openssl
  crypto_cipher: aes256
  crypto_hash: sha256
  keyfile: /etc/corosync/authkey
  token: {token}
  # The default adds 650 ms for each host above two.
  token_coefficient: 0
  # A link that is cut while knet looks for its MTU, as it does at the start, is used again after the next look only.
  knet_pmtud_interval: 2
  interface {{
    linknumber: 0
    # knet looks every 200 ms: its defaults for a token below 400 ms split a healthy cluster.
    knet_ping_interval: {ping}
    knet_ping_timeout: {lost}
    knet_pong_count: 2
  }}
}}
system {{
{system}  move_to_root_cgroup: no
  allow_knet_handle_fallback: yes
}}
logging {{
  to_stderr: no
  to_syslog: no
  to_logfile: yes
  logfile: /var/log/corosync/corosync.log
  timestamp: hires
}}
quorum {{
  provider: corosync_votequorum
{quorum}}}
nodelist {{
{nodes}}}
"""
TWO_HOSTS = """  two_node: 1
  wait_for_all: 0
"""
NODE = """  node {{
    nodeid: {0.n}
    name: {0.name}
    ring0_addr: {0.address}
    quorum_votes: 1
  }}
"""


def build_dir():
    """Where the programs under test are: DROVER_BUILD, or build/ of this tree."""
    return os.path.abspath(os.environ.get("DROVER_BUILD", os.path.join(TOP, "build")))


def missing(droverd=True):
    """Why a bed cannot stand here, or ''."""
    if os.getuid() != 0:
        return "needs root (namespaces)"
    for tool in ("corosync", "corosync-keygen", "ipmi_sim", "ipmitool", "fence_ipmilan", "nft", "unshare"):
        if not shutil.which(tool, path=search_path()):
            return f"{tool} is not installed (tests/install)"
    if droverd:
        if not os.access("/dev/kvm", os.R_OK | os.W_OK):
            return "needs /dev/kvm"
        for program in ("droverd/droverd", "drover/drover", "drover-hv/drover-hv"):
            if not os.path.exists(os.path.join(build_dir(), "cmd", program)):
                return f"{program} is not built in {build_dir()}"
    return ""


def search_path():
    programs = [os.path.join(build_dir(), "cmd", p) for p in ("drover", "droverd", "drover-hv")]
    return ":".join(programs + ["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/local/bin", "/usr/bin", "/bin"])


def sweep():
    """Remove what the beds of dead tests left."""
    top = tempfile.gettempdir()
    for name in os.listdir(top):
        owner = name[len(PREFIX):].split(".")[0]
        if name.startswith(PREFIX) and owner.isdigit() and not os.path.exists(f"/proc/{owner}"):
            shutil.rmtree(os.path.join(top, name), ignore_errors=True)


class Bed:
    SYSTEM = ""      # more lines for corosync.conf's section of that name

    def __init__(self, hosts=3, token=1000, fence=True, agent_timeout=f"{min(10 * SLOW, 60):.0f}s", witness=False):
        sweep()
        self.witness = witness
        self.token, self.fence, self.agent_timeout = token, fence, agent_timeout
        self.dir = tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}.")
        os.chmod(self.dir, 0o755)
        self.env = {"PATH": search_path(), "LC_ALL": "C.UTF-8", "HOME": "/root", "PYTHONWARNINGS": "ignore"}
        self.hub = None
        self.hub_pid = 0
        self.bmcs = {}
        self.cuts = []
        self.hosts = [Host(self, n) for n in range(1, hosts + 1)]
        self.shared = os.path.join(self.dir, "shared")   # what all hosts see: disks
        os.makedirs(self.shared)
        try:
            self._up()
        except BaseException:
            self.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        if kind is not None and os.environ.get("DROVER_BED_KEEP"):
            print(f"kept: {self.dir}")
            self.stop()
        else:
            self.close()

    def host(self, n):
        return self.hosts[n - 1]

    # ---- up and down

    def _up(self):
        self._corosync_conf()
        self.hub = subprocess.Popen(DEATH + ["unshare", "--net", "sh", "-c", "echo up; exec sleep infinity"],
                                    stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, start_new_session=True)
        self.hub.stdout.readline()
        self.hub_pid = self.hub.pid
        lines = ["link set lo up"]
        for net in (0, 1):
            # With an address of its own, or it takes the lowest of its ports': then the BMCs, which live behind br1,
            # move to another address when a host dies, and a survivor that has just spoken to them reaches nobody.
            lines += [f"link add br{net} address 02:00:00:00:00:0{net + 1} type bridge"
                      " forward_delay 0 stp_state 0 mcast_snooping 0",
                      f"link set br{net} up", f"addr add 10.77.{net}.254/24 dev br{net}"]
        self._ip(self.hub_pid, lines)
        for h in self.hosts:
            h.power_on()
        if self.fence:
            for h in self.hosts:
                self.bmcs[h.n] = Bmc(self, h)
            for b in self.bmcs.values():
                b.wait_ready()

    def _corosync_conf(self):
        nodes = "".join(NODE.format(h) for h in self.hosts)
        key = os.path.join(self.dir, "authkey")
        subprocess.run(["corosync-keygen", "-l", "-s", "256", "-k", key], check=True, capture_output=True,
                       env=self.env)
        for h in self.hosts:
            etc = os.path.join(h.dir, "etc/corosync")
            os.makedirs(etc, exist_ok=True)
            shutil.copy(key, etc)
            with open(os.path.join(etc, "corosync.conf"), "w", encoding="utf-8") as f:
                f.write(COROSYNC.format(token=self.token, ping=round(200 * SLOW), lost=round(800 * SLOW), nodes=nodes,
                                        system=self.SYSTEM, quorum=TWO_HOSTS if self.witness else ""))

    def change_corosync_conf(self, pattern, by):
        """In every host's corosync.conf; corosync takes it over when it is told to, or starts."""
        for h in self.hosts:
            path = os.path.join(h.dir, "etc/corosync/corosync.conf")
            with open(path, encoding="utf-8") as f:
                text = re.sub(pattern, by, f.read())
            with open(path, "w", encoding="utf-8") as f:
                f.write(text)

    def enter_hub(self):
        return ["nsenter", "-t", str(self.hub_pid), "-n", "--"]

    def _ip(self, pid, lines):
        subprocess.run(["nsenter", "-t", str(pid), "-n", "--", "ip", "-batch", "-"], input="\n".join(lines) + "\n",
                       text=True, check=True, capture_output=True, env=self.env)

    def plug_in(self, h):
        """Two cables from a new host to the bridges; the old ones went with the host's namespace."""
        lines = []
        for net in (0, 1):
            lines += [f"link add p{h.n}-{net} type veth peer name eth{net} netns {h.pid}",
                      f"link set p{h.n}-{net} master br{net} up"]
        # The old ends go with the host's namespace, which the kernel tears down when it gets to it; not waited for.
        for net in (0, 1):
            subprocess.run(self.enter_hub() + ["ip", "link", "del", f"p{h.n}-{net}"], capture_output=True, env=self.env,
                           check=False)
        self._ip(self.hub_pid, lines)
        self._ip(h.pid, [line for net in (0, 1) for line in
                         (f"addr add 10.77.{net}.{h.n}/24 dev eth{net}", f"link set eth{net} up")])

    def stop(self):
        """Everything off; directories stay."""
        for h in self.hosts:
            if h.on():
                h.power_cut()
        for b in self.bmcs.values():
            b.dead()
        if self.hub:
            self.hub.kill()
            self.hub.wait()
            self.hub.stdout.close()
            self.hub = None

    def close(self):
        self.stop()
        shutil.rmtree(self.dir, ignore_errors=True)

    # ---- daemons

    def start(self, timeout=30):
        self.start_corosync(timeout=timeout)
        for h in self.hosts:
            self.start_droverd(h)
        self.wait_members(timeout=timeout)

    def start_corosync(self, hosts=None, timeout=30):
        for h in hosts or self.hosts:
            h.start("corosync", "corosync", "-f")
        for h in hosts or self.hosts:
            wait_for(f"corosync on {h.name} to be quorate with all hosts", lambda h=h: self.quorate(h, self.on()), timeout)

    def on(self):
        return sum(h.on() for h in self.hosts)

    @staticmethod
    def quorate(h, members=None):
        """Does corosync on @h say it is quorate (with @members hosts)?"""
        r = h.run("corosync-quorumtool", "-s")
        return "Quorate:          Yes" in r.stdout and (members is None or f"Nodes:            {members}\n" in r.stdout)

    def cluster_yaml(self):
        """Drover's own configuration, the same on every host; written once, others may be reading it."""
        path = os.path.join(self.dir, "cluster.yaml")
        if os.path.exists(path):
            return path
        hosts = []
        for h in self.hosts:
            entry = {"name": h.name, "address": h.address}
            if self.fence:
                entry["fence"] = [{"agent": "fence_ipmilan", "timeout": self.agent_timeout,
                                   "options": self.bmcs[h.n].options()}]
            hosts.append(entry)
        path = os.path.join(self.dir, "cluster.yaml")
        with open(path + ".new", "w", encoding="utf-8") as f:
            yaml.safe_dump({"hosts": hosts, **self._witness()}, f, sort_keys=False)
        os.replace(path + ".new", path)   # a droverd that is starting may be reading it
        return path

    def witness_path(self):
        return os.path.join(self.shared, "witness")

    def _witness(self):
        if not self.witness:
            return {}
        made = self.host(1).run("drover", "-o", "json", "witness", "init", self.witness_path())
        assert made.returncode == 0, made.stderr
        return {"witness": json.loads(made.stdout)}

    def start_droverd(self, h, *options):
        return h.start("droverd", "droverd", "--foreground", "--config", self.cluster_yaml(),
                       "--state-dir", os.path.join(h.dir, "state"), *options)

    def members(self, h):
        """How many hosts @h's droverd counts as members of the standing epoch."""
        return sum(n["member"] for n in api.nodes(h))

    def wait_members(self, count=None, timeout=30):
        """Until every host that is on counts all of them (or @count) as members."""
        for h in self.hosts:
            if h.on():
                wait_for(f"droverd on {h.name} to count {count or self.on()} members",
                         lambda h=h: self._agrees(h, count or self.on()), timeout)

    def _agrees(self, h, count):
        if not h.daemon_alive("droverd"):
            raise RuntimeError(f"droverd on {h.name} ended: {h.read_log('droverd').strip().splitlines()[-1:]}")
        return self.members(h) == count

    def reboot(self, h, timeout=30):
        """Power back on, corosync and droverd as at boot."""
        h.power_on()
        h.start("corosync", "corosync", "-f")
        wait_for(f"corosync on {h.name} after its reboot", lambda: self.quorate(h), timeout)
        self.start_droverd(h)

    # ---- network faults

    def _nft(self, h, rules):
        subprocess.run(["nsenter", "-t", str(h.pid), "-n", "--", "nft", "-f", "-"], input=rules, text=True, check=True,
                       capture_output=True, env=self.env)
        self.cuts.append(h)

    def _drop(self, h, match_in, match_out):
        chains = ""
        if match_in:
            chains += f"chain i {{\n type filter hook input priority 0;\n {match_in} drop\n}}\n"
        if match_out:
            chains += f"chain o {{\n type filter hook output priority 0;\n {match_out} drop\n}}\n"
        self._nft(h, f"table inet bed {{\n{chains}}}\n")

    def cut(self, h, direction="both", management=False):
        """Drop what @h receives ('in'), sends ('out') or both on the cluster network, or on the management network too.
        Returns the time of the cut."""
        nets = "{ eth0, eth1 }" if management else "eth0"
        self._drop(h, f"iifname {nets}" if direction in ("both", "in") else "",
                   f"oifname {nets}" if direction in ("both", "out") else "")
        return clock()

    def partition(self, *sides):
        """Only hosts of the same side hear each other on the cluster network."""
        for side in sides:
            others = ", ".join(h.address for s in sides if s is not side for h in s)
            for h in side:
                self._drop(h, f"ip saddr {{ {others} }}", f"ip daddr {{ {others} }}")

    def heal(self):
        for h in self.cuts:
            if h.on():
                h_rules = "table inet bed\ndelete table inet bed\n"
                subprocess.run(["nsenter", "-t", str(h.pid), "-n", "--", "nft", "-f", "-"], input=h_rules, text=True,
                               check=True, capture_output=True, env=self.env)
        self.cuts = []

    # ---- what is going on

    def logs(self, lines=40):
        """The tail of every log, for a test that failed."""
        out = []
        for h in self.hosts:
            for top, _, files in os.walk(h.dir):
                for name in sorted(files):
                    if not name.endswith(".log") or name == "bmc.log" and top == h.dir:
                        continue
                    with open(os.path.join(top, name), encoding="utf-8", errors="replace") as f:
                        tail = [x for x in f.read().splitlines() if "KNET" not in x][-lines:]
                    if tail:
                        out.append(f"---- {h.name} {name}\n" + "\n".join(tail))
        return "\n".join(out)
