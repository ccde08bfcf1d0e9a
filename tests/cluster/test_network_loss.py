# SPDX-License-Identifier: Apache-2.0
"""Total network loss: everybody pauses, nobody is fenced or rebooted, nothing moves, everything resumes (rule G)."""

import time

from host import clock, wait_for


def test_everybody_gates_nobody_is_fenced_and_all_resume(make_bed, make_domain):
    bed = make_bed(hosts=3, token=1000)
    bed.start()
    work = make_domain(bed)
    work.start()
    boot, pids = work.disk.newest().boot, [h.pid for h in bed.hosts]

    when = clock()
    for h in bed.hosts:
        bed.cut(h, management=True)

    def still():
        seq = work.disk.seq()
        time.sleep(0.3)
        return work.disk.seq() == seq
    wait_for("the domain to be gated", still, 10)
    # lease and gate at this token: after that a survivor may hold it proved that nothing is written (rule G)
    assert clock() - when < 6.0, "gated too late: a survivor's proof by waiting may be over"
    time.sleep(8)                     # longer than any proof by waiting
    assert still()
    bed.heal()
    _, record = work.disk.wait_written(timeout=20)
    assert record.boot == boot, "the domain was restarted, it should have resumed"
    assert [h.pid for h in bed.hosts] == pids and all(h.on() for h in bed.hosts)
    assert all(not b.power_off_times() for b in bed.bmcs.values())
    bed.wait_members()
    work.clean()
