#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""drover cpu: models by name, this host's processor, what all hosts have in common.

usage: test_drover_cpu.py PATH-OF-DROVER
"""
import json
import os
import tempfile
import unittest

from test_drover import DROVER, Api, subprocess


def drover(*args):
    return subprocess.run([DROVER, *args], capture_output=True, text=True, timeout=20, check=False)


MODELS = {m["name"]: m["features"] for m in json.loads(drover("cpu", "list", "-o", "json").stdout)["models"]}


def host(name, model, more=(), vendor="Intel", bits=46):
    return {"name": name, "id": 1, "state": "online", "cpu": {"vendor": vendor, "name": "", "address_bits": bits,
                                                               "features": MODELS[model] + list(more)}}


class Cpu(unittest.TestCase):
    def baseline(self, *hosts):
        with Api({"GET cpus": [list(hosts)]}) as api:
            r = api.run("cpu", "baseline", "-o", "json")
            people = api.run("cpu", "baseline")
        self.assertEqual(r.returncode, people.returncode)
        return r, json.loads(r.stdout), people.stdout

    def test_models_and_features_are_listed(self):
        r = drover("cpu", "list")
        self.assertEqual(r.returncode, 0)
        for name in MODELS:
            self.assertIn(name, r.stdout)
        self.assertTrue(set(MODELS["x86-64-v3"]) > set(MODELS["x86-64-v2"]) > set(MODELS["x86-64-v1"]))
        one = json.loads(drover("cpu", "list", "EPYC", "-o", "json").stdout)
        self.assertEqual((one["vendor"], one["features"]), ("AMD", MODELS["EPYC"]))
        features = json.loads(drover("cpu", "list", "-o", "json").stdout)["features"]
        self.assertIn({"name": "avx2", "leaf": 7, "index": 0, "register": "ebx", "bit": 5, "needs": "avx"}, features)
        self.assertEqual(drover("cpu", "list", "i486").returncode, 3)

    @unittest.skipUnless(os.access("/dev/kvm", os.R_OK | os.W_OK), "no /dev/kvm here")
    def test_this_host_is_shown(self):
        o = json.loads(drover("cpu", "show", "-o", "json").stdout)
        self.assertIn("sse2", o["features"])
        self.assertEqual(set(o["more"]), set(o["features"]) - set(MODELS[o["model"]]))
        self.assertTrue(set(MODELS[o["level"]]) <= set(o["features"]))
        people = drover("cpu", "show")
        self.assertEqual(people.returncode, 0)
        self.assertIn(f"Model:     {o['model']}\n", people.stdout)

    def test_the_baseline_is_what_all_hosts_have(self):
        r, o, people = self.baseline(host("n1", "Icelake-Server", ["la57"]), host("n2", "Haswell", ["adx", "tomorrow"]))
        self.assertEqual((r.returncode, r.stderr), (0, ""))
        self.assertEqual((o["hosts"], o["unknown"], o["vendor"], o["model"], o["level"], o["more"]),
                         (["n1", "n2"], [], "Intel", "Haswell", "x86-64-v3", ["adx"]))
        self.assertEqual(set(o["features"]), set(MODELS["Haswell"]) | {"adx"})
        self.assertIn("n2 lacks avx512f, avx512dq, avx512cd, avx512bw, avx512vl of x86-64-v4\n", people)
        self.assertNotIn("n1 lacks", people)

    def test_several_vendors_have_a_level_in_common(self):
        _, o, people = self.baseline(host("n1", "Icelake-Server"), host("n2", "EPYC", vendor="AMD", bits=48))
        self.assertEqual((o["vendor"], o["model"], o["level"], o["address_bits"]), ("any", "x86-64-v3", "x86-64-v3", 46))
        self.assertIn("several", people)

    def test_a_host_that_told_nothing_is_named_and_the_result_is_no_success(self):
        r, o, people = self.baseline(host("n1", "Haswell"), {"name": "n2", "id": 2, "state": "offline", "cpu": None})
        self.assertEqual((r.returncode, o["hosts"], o["unknown"]), (1, ["n1"], ["n2"]))
        self.assertIn("1 of 2 hosts told nothing", r.stderr)
        self.assertIn("Unknown:   n2\n", people)

    def test_hosts_that_cannot_have_a_domain_are_named(self):
        def check(cpu, *hosts):
            with tempfile.NamedTemporaryFile("w", suffix=".yaml") as f, Api({"GET cpus": [list(hosts)]}) as api:
                f.write(f"name: web\nmemory: 600G\nkernel: /k\ncpu: {cpu}\n")
                f.flush()
                r = api.run("cpu", "check", f.name, "-o", "json")
                self.assertEqual(api.run("cpu", "check", f.name).returncode, r.returncode)
            return r.returncode, [(o["runs"], o["lacks"], o["why"]) for o in json.loads(r.stdout)]

        intel, old, amd = host("n1", "Haswell", bits=46), host("n2", "x86-64-v2", bits=40), host("n3", "EPYC", vendor="AMD", bits=48)
        silent = {"name": "n4", "id": 4, "state": "offline", "cpu": None}
        self.assertEqual(check("{model: x86-64-v2}", intel, amd), (0, [(True, [], "")] * 2))
        self.assertEqual(check("{model: x86-64-v2}", old), (5, [(False, [], "40 address bits, 41 are needed")]))
        code, hosts = check("{model: Haswell}", intel, amd)
        self.assertEqual((code, hosts[0], hosts[1][0], hosts[1][2]), (5, (True, [], ""), False, "no processor of Intel"))
        self.assertEqual(check("{features: [+avx2]}", old, silent),
                         (5, [(False, ["xsave", "avx", "avx2"], "lacks xsave, avx, avx2"),
                              (None, [], "it told nothing of its processor")]))

    def test_no_host_no_baseline(self):
        with Api({"GET cpus": [[{"name": "n2", "id": 2, "state": "offline", "cpu": None}]]}) as api:
            r = api.run("cpu", "baseline")
        self.assertEqual((r.returncode, r.stdout), (1, ""))
        self.assertEqual(len(r.stderr.splitlines()), 1)


if __name__ == "__main__":
    unittest.main(verbosity=2)
