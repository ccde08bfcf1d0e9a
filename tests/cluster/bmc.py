# SPDX-License-Identifier: Apache-2.0
"""bmc - a baseboard management controller for each virtual host: OpenIPMI's ipmi_sim, spoken to by the real fence_ipmilan
over IPMI 2.0 on the management network.  Its power switch kills the host's PID 1 (chassis)."""

import os
import subprocess

from host import DEATH, HERE, SLOW, wait_for

ADDRESS = "10.77.1.254"
USER, PASSWORD = "admin", "secret"

LAN = '''name "{name}"
set_working_mc 0x20
  startlan 1
    addr {address} {port}
    priv_limit admin
    allowed_auths_callback none md2 md5 straight
    allowed_auths_user md2 md5
    allowed_auths_operator md2 md5
    allowed_auths_admin md2 md5
    guid a123456789abcdefa123456789abc{n:03x}
  endlan
  chassis_control "{chassis} {dir}"
  user 1 false "" "" user 10 none md2 md5 straight
  user 2 true "{user}" "{password}" admin 10 md2 md5
'''
EMU = '''mc_setbmc 0x20
mc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02 persist_sdr
sel_enable 0x20 100 0x0a
mc_enable 0x20
'''


class Bmc:
    def __init__(self, bed, host):
        self.bed, self.host, self.port = bed, host, 6230 + host.n
        self.dir = os.path.join(host.dir, "bmc")
        os.makedirs(os.path.join(self.dir, "state"), exist_ok=True)
        conf, emu = os.path.join(self.dir, "lan.conf"), os.path.join(self.dir, "sim.emu")
        with open(conf, "w", encoding="utf-8") as f:
            f.write(LAN.format(name=host.name, n=host.n, address=ADDRESS, port=self.port, user=USER, password=PASSWORD,
                               chassis=os.path.join(HERE, "chassis"), dir=host.dir))
        with open(emu, "w", encoding="utf-8") as f:
            f.write(EMU)
        with host.log("bmc") as log:
            self.process = subprocess.Popen(
                DEATH + bed.enter_hub() + ["ipmi_sim", "-n", "-c", conf, "-f", emu, "-s", os.path.join(self.dir, "state")],
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)

    def options(self):
        """fence_ipmilan's options.  cipher=3: ipmi_sim does not tell its cipher suites, ipmitool would stall 10 s."""
        return {"ip": ADDRESS, "ipport": str(self.port), "username": USER, "password": PASSWORD, "lanplus": "1",
                "cipher": "3", "power_wait": "0", "power_timeout": f"{5 * SLOW:.0f}"}

    def fence(self, action):
        """Run the real agent by hand, from the hub; returns its exit status."""
        text = "".join(f"{k}={v}\n" for k, v in self.options().items()) + f"action={action}\n"
        return subprocess.run(self.bed.enter_hub() + ["fence_ipmilan"], input=text, text=True, capture_output=True,
                              timeout=60 * SLOW, env=self.bed.env, check=False).returncode

    def wait_ready(self):
        """Until the BMC's port is bound: an agent's first try must not be lost to our own start."""
        want = f":{self.port:04X} "
        def bound():
            with open(f"/proc/{self.bed.hub_pid}/net/udp", encoding="utf-8") as f:
                return any(want in line for line in f)
        wait_for(f"the BMC of {self.host.name}", bound, 10)

    def fault(self, what):
        """'deaf': confirms a power-off and does nothing; '': healthy."""
        with open(os.path.join(self.host.dir, "bmc.fault"), "w", encoding="utf-8") as f:
            f.write(what)

    def dead(self):
        """The BMC is gone (its power comes from the same feed as the host's)."""
        self.process.kill()
        self.process.wait()

    def _log(self, *what):
        try:
            with open(os.path.join(self.host.dir, "bmc.log"), encoding="utf-8") as f:
                return [float(line.split()[0]) for line in f if any(w in line for w in what)]
        except FileNotFoundError:
            return []

    def power_off_times(self):
        """When the switch was told to cut the power, on clock()."""
        return self._log(" set power 0", " set shutdown 1")

    def asked_times(self):
        """When anybody asked whether the power is on; an agent that finds it off has nothing to switch."""
        return self._log(" get power")
