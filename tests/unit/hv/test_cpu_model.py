# SPDX-License-Identifier: Apache-2.0
"""drover-hv with a `cpu:` in the domain's file: which exit code, and which words."""
import os
import pathlib

from test_drover_hv import domain, needs_kvm, refused  # pylint: disable=unused-import

LAX = "cpu: {model: x86-64-v1}\n"


@needs_kvm
def test_a_model_that_every_host_has_runs_and_is_shown(domain):
    d = domain(extra=LAX).connect()
    d.wait_state("running")
    assert b"x86-64-v1 Proces".hex() in d.ok("state", device="cpuid")["table.entries"]


@needs_kvm
def test_what_the_host_lacks_is_named_and_refused_with_5(domain, tmp_path):
    d = domain(extra=LAX)
    d.end()
    text = d.file.read_text()
    d.file.write_text(text.replace(LAX, "cpu: {model: x86-64-v1, features: [+xop, +avx512_4fmaps]}\n"))
    code, said = refused(tmp_path, "run", str(d.file))
    assert code == 5 and "this host's CPU lacks what the domain's model x86-64-v1 has: " in said
    assert "xop" in said or "avx512_4fmaps" in said


@needs_kvm
def test_vcpus_run_where_the_file_says(domain):
    cpu = max(os.sched_getaffinity(0))
    d = domain(extra=f'cpu: {{pin: {{0: "{cpu}"}}}}\n').connect()
    d.wait_state("running")
    assert [v["cpus"] for v in d.ok("stats")["vcpus"]] == [str(cpu)]
    threads = {t.name: (t / "comm").read_text() for t in pathlib.Path(f"/proc/{d.process.pid}/task").iterdir()}
    vcpu, = (t for t in threads if threads[t] == "vcpu0\n")
    assert os.sched_getaffinity(int(vcpu)) == {cpu}
    assert os.sched_getaffinity(d.process.pid) == os.sched_getaffinity(0)  # the others are where they were


@needs_kvm
def test_a_cpu_that_the_host_has_not_is_named_and_refused_with_5(domain, tmp_path):
    d = domain()
    d.end()
    d.file.write_text(d.file.read_text() + "cpu: {pin: 0-1023}\n")
    code, said = refused(tmp_path, "run", str(d.file))
    assert code == 5 and "cpu.pin: vCPU 0 cannot run on CPU " in said and "not online" in said


def test_a_model_that_there_is_not_ends_with_2(tmp_path):
    f = tmp_path / "bad.yaml"
    f.write_text("name: web\nmemory: 8M\nkernel: /k\ncpu: {model: i486}\n")
    code, text = refused(tmp_path, file=f)
    assert code == 2 and "bad.yaml:4: cpu.model: 'i486' is no model, expected one of host, " in text
