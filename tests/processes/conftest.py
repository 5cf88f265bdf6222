"""The ways to wait for a process, a short time to end, and what processes write."""

import os

import pytest

from ipykill import processes
from tests.waiting import wait_for


@pytest.fixture(params=["pidfd", "no pidfd", "no waitid"])
def either(request, monkeypatch):
    """With pidfds, where the system has them, without them, and as on macOS before 3.13."""
    if request.param != "pidfd":
        monkeypatch.delattr(os, "pidfd_open", raising=False)
    if request.param == "no waitid":
        monkeypatch.delattr(os, "waitid", raising=False)


@pytest.fixture
def short_grace(monkeypatch):
    monkeypatch.setattr(processes.timing, "grace", 0.2)


@pytest.fixture
def pids(tmp_path):
    """A function that returns what processes wrote with `echo $$ >> $PIDS`, when there are n."""
    file = tmp_path / "pids"
    file.touch()

    def read(number=1):
        return wait_for(
            lambda: len(found := file.read_text().split()) >= number and [*map(int, found)],
            f"{number} processes",
        )

    os.environ["PIDS"] = str(file)
    yield read
    del os.environ["PIDS"]
