# SPDX-License-Identifier: Apache-2.0
"""The control socket's reset and reboot: a guest that begins anew in its process, and what wins over that.

DROVER_HV names the program.
"""
import socket

from test_drover_hv import COUNT, domain, needs_kvm  # pylint: disable=unused-import

pytestmark = needs_kvm

SAY_B = "66baf803 b042 ee"                                   # "B"
WAIT_BUTTON = "a10000a0fe 85c0 74f7"                        # 1: until the power button was pressed
WAIT_KEY = "66bafd03 ec a801 74fb 66baf803 ec"              # 1: until a key comes
OFF = "c6050002a0fe34 f4"
OBEY = bytes.fromhex(SAY_B + WAIT_BUTTON + OFF)             # a guest that powers off when it is asked to
SLOW = bytes.fromhex(SAY_B + WAIT_BUTTON + WAIT_KEY + OFF)  # ... or not before a key comes too


class Serial:
    """What the guest said since it was powered on."""

    def __init__(self, tmp):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(str(tmp / "web.console"))
        self.socket.settimeout(20)
        self.text = b""

    def wait_boots(self, n):
        while self.text.count(b"B") < n:
            self.text += self.socket.recv(100)
        assert self.text.count(b"B") == n

    def key(self):
        self.socket.sendall(b"x")


def wait_reboot(d, phase):
    """Until the reboot that was ordered is in @phase; Return: why."""
    while (data := d.wait_event("reboot"))["phase"] != phase:
        pass
    assert d.ok("query")["reboot"] == data
    return data["why"]


def test_an_operators_reset_starts_again_whatever_the_guest_does(domain, tmp_path):
    d = domain(OBEY).connect()
    serial = Serial(tmp_path)
    serial.wait_boots(1)
    for n in (2, 3, 4):
        assert d.ok("reset") == {}
        assert d.wait_event("guest") == {"what": "reset", "why": "operator"}
        serial.wait_boots(n)
    assert d.ok("query")["incarnation"] == 1 and "reboot" not in d.ok("query")
    d.ok("pause")                                   # who holds it holds it on
    d.ok("reset")
    assert d.state() == "paused"
    d.ok("resume")
    serial.wait_boots(5)
    assert d.call("reset", force=True)["error"]["code"] == 2


def test_a_reboot_asks_the_guest_and_starts_it_again_in_the_same_process(domain, tmp_path):
    d = domain(OBEY, args=["--no-reboot"]).connect()
    serial = Serial(tmp_path)
    for n in (2, 3):
        serial.wait_boots(n - 1)
        d.ok("reboot")
        assert wait_reboot(d, "done") == ""
        serial.wait_boots(n)
    assert d.process.poll() is None and d.ok("query")["incarnation"] == 1
    d.ok("stop")                                    # a wish that was fulfilled is none any more
    assert d.process.wait(20) == 0


def test_a_guest_that_does_not_react_is_told_as_late_and_can_be_reset(domain, tmp_path):
    d = domain(COUNT).connect()
    d.ok("reboot", timeout_ms=100)
    assert "does not power off" in wait_reboot(d, "late")
    assert d.state() == "running"
    d.ok("reset")
    wait_reboot(d, "done")


def test_a_guest_that_shuts_down_slowly_is_rebooted_and_not_left_off(domain, tmp_path):
    d = domain(SLOW).connect()
    serial = Serial(tmp_path)
    serial.wait_boots(1)
    d.ok("reboot", timeout_ms=100)
    wait_reboot(d, "late")
    serial.key()
    wait_reboot(d, "done")
    serial.wait_boots(2)


def test_a_stop_that_was_ordered_after_a_reboot_wins(domain, tmp_path):
    d = domain(SLOW).connect()
    serial = Serial(tmp_path)
    serial.wait_boots(1)
    d.ok("reboot")
    d.ok("stop")
    assert "a stop was ordered" in wait_reboot(d, "dropped")
    for verb in ("reboot", "reset"):
        error = d.call(verb)["error"]
        assert error["code"] == 5 and "being stopped" in error["text"], error
    serial.key()
    assert d.process.wait(20) == 0


def test_what_cannot_be_rebooted_is_refused_with_the_reason(domain):
    d = domain(OBEY, args=["--paused"]).connect()
    for verb in ("reboot", "reset"):
        error = d.call(verb)["error"]
        assert error["code"] == 5 and "not been started" in error["text"], error
    d.ok("resume")
    d.ok("pause")
    error = d.call("reboot")["error"]
    assert error["code"] == 5 and "stands still (operator)" in error["text"], error
    d.ok("resume")
    for timeout in (-1, 86400001):
        assert d.call("reboot", timeout_ms=timeout)["error"]["code"] == 2
    assert "reboot" not in d.ok("query")


def test_a_guest_that_reboots_is_not_moved_meanwhile(domain, tmp_path):
    """Its destination would know nothing of the wish, and power it off."""
    d = domain(SLOW, args=["--no-arbiter"]).connect()
    serial = Serial(tmp_path)
    serial.wait_boots(1)
    where = {"to": f"unix:{tmp_path}/nobody", "arbiter": "none"}
    d.ok("reboot")
    error = d.call("migrate", **where)["error"]
    assert error["code"] == 5 and "being rebooted" in error["text"], error
    d.ok("reboot", timeout_ms=100)                  # given again: it begins again
    wait_reboot(d, "late")
    d.ok("migrate", **where)
    assert "a migration was ordered" in wait_reboot(d, "dropped")
    while d.wait_event("migration")["phase"] not in ("failed", "cancelled"):
        pass
    serial.key()                                    # and the guest powers off, now for good
    assert d.process.wait(20) == 0
