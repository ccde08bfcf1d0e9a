# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the cluster tests: a bed as a test asks for it, and every log of it when the test fails."""

import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import cluster  # noqa: E402  (found by the line above)
from domains import Domain  # noqa: E402


@pytest.fixture
def make_bed(request):
    """make_bed(hosts=3, token=1000, ...): a Bed, or another kind of one, that is torn down with the test."""
    beds = []

    def make(needs_droverd=True, kind=cluster.Bed, **options):
        why = cluster.missing(needs_droverd)
        if why:
            pytest.skip(why)
        beds.append(kind(**options))
        return beds[-1]

    yield make
    failed = getattr(request.node, "failed", False)
    for bed in beds:
        if failed:
            print(bed.logs())
            if os.environ.get("DROVER_BED_KEEP"):
                print(f"kept: {bed.dir}")
                bed.stop()
                continue
        bed.close()


@pytest.fixture
def make_domain():
    """make_domain(bed, ...): a payload domain of that bed."""
    made = []

    def make(bed, **options):
        made.append(Domain(bed, **options))
        return made[-1]

    yield make
    for d in made:
        d.close()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    if call.when == "call":
        item.failed = report.failed


def pytest_sessionfinish(session, exitstatus):
    """meson counts a test as skipped by exit status 77: only when nothing ran at all."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped")
    if exitstatus == 0 and skipped and not reporter.stats.get("passed"):
        session.exitstatus = 77
        session.config.why_skipped = str(skipped[0].longrepr[2]).removeprefix("Skipped: ")


def pytest_unconfigure(config):
    """The reason as the last line, where tests/summary looks."""
    if hasattr(config, "why_skipped"):
        print("SKIP " + config.why_skipped)
