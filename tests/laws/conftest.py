"""Each law is tested when nothing is left of the test before.

And an end for what the plain recipe left alive, see `tests.laws.plain`.
"""

import os
import sys

import pytest

from ipykill.kill import pursuit
from tests.laws.harness import PLAIN
from tests.waiting import wait_for

_status = pytest.StashKey[int]()


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    session.config.stash[_status] = int(exitstatus)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    if PLAIN:
        # The interpreter would wait for threads that wait for ever.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(config.stash.get(_status, 1))


_left: list[str] = []  # of what a test that came before has left


@pytest.fixture(autouse=True)
def nothing_is_armed() -> None:
    # The reaper finds out a moment later than who waited for the end of a job.
    assert not _left, _left  # not after the same wait, for each test
    if not PLAIN:
        try:
            wait_for(lambda: pursuit._engine is None, "the last pursuit to end")
        except AssertionError:
            for group in list(pursuit._hunted):
                targets = [(it.thread, it.open, it.released, it.service) for it in group.targets()]
                _left.append(f"{vars(group)}: {group.threads()}, {targets}")
            raise
