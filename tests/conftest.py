"""What marks a test, and what a skipped one means.

Tests in `tests/kernel` and `tests/browser` carry the mark `kernel` or `browser`. They may skip,
with a reason, on a machine that lacks what they need; under CI (`CI=true`) such a skip is a
failure, for there a skipped test would be a promise that nobody checks.
"""

import os
import signal
import threading
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from ipykill.core.manager import JobManager
from tests.overlays import INSTALLED, LEFT_OUT, OVERLAYS, Overlay
from tests.racing import silent_threads
from tests.waiting import HANG_GUARD

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
        if item.get_closest_marker("once") or _is_the_same_again(item):
            item.add_marker("exhaustive")


def _is_the_same_again(item: pytest.Item) -> bool:
    """Whether a test runs with another kernel than the installed one, or in Notebook after Lab."""
    given = item.callspec.params if hasattr(item, "callspec") else {}
    overlays = [value for value in given.values() if isinstance(value, Overlay)]
    return any(overlay is not INSTALLED for overlay in overlays) or given.get("app") == "notebooks"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    """With ``-n 2``: a file is run by one process, and so are all tests of the browser."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            return "tests/browser" if file.startswith("tests/browser/") else file

    return ByFile(config, log)


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


@pytest.fixture
def jobs() -> Iterator[JobManager]:
    """A manager whose jobs end with the test."""
    manager = JobManager()
    yield manager
    assert manager.kill_all(HANG_GUARD)


@pytest.fixture
def began() -> threading.Event:
    """For a job to say that it has begun."""
    return threading.Event()


@pytest.fixture(scope="session")
def overlay_cache(request: pytest.FixtureRequest) -> Path:
    """Where overlays stay installed from one run to the next (`--cache-clear` forgets them)."""
    return request.config.cache.mkdir("overlays")


@pytest.fixture
def printed() -> Generator[list[threading.ExceptHookArgs]]:
    """What `threading.excepthook` was given."""
    with silent_threads() as seen:
        yield seen
