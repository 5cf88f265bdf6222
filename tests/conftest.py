"""What marks a test, and what a skipped one means.

Tests in `tests/kernel` and `tests/browser` carry the mark `kernel` or `browser`. They may skip,
with a reason, on a machine that lacks what they need; under CI (`CI=true`) such a skip is a
failure, for there a skipped test would be a promise that nobody checks.
"""

import os
import signal
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.overlays import LEFT_OUT, OVERLAYS

REAL = ("kernel", "browser")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell lets what it runs in the background ignore Ctrl-C, and all that this starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_report_header() -> list[str]:
    kernels = [f"kernels: {', '.join(overlay.name for overlay in OVERLAYS)}"]
    return kernels + [f"kernel left out: {why}" for why in LEFT_OUT]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for kind in REAL:
            if kind in item.path.parent.parts:
                item.add_marker(kind)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    real = any(item.get_closest_marker(kind) for kind in REAL)
    if real and report.skipped and not hasattr(report, "wasxfail"):
        _fail_under_ci(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """A module skipped as a whole may hold anything, so it fails too."""
    report = yield
    if report.skipped:
        _fail_under_ci(report)
    return report


def _fail_under_ci(report: pytest.TestReport | pytest.CollectReport) -> None:
    if os.environ.get("CI") != "true":
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
    report.outcome = "failed"
    report.longrepr = f"skipped, which CI does not allow: {reason}"


@pytest.fixture(scope="session")
def overlay_cache(request: pytest.FixtureRequest) -> Path:
    """Where overlays stay installed from one run to the next (`--cache-clear` forgets them)."""
    return request.config.cache.mkdir("overlays")
