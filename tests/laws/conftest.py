"""An end for what the plain recipe left alive: ``IPYKILL_KILL=plain``."""

import os
import sys

import pytest

from tests.laws.harness import PLAIN

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
