"""Jobs to be killed when they say that they may be."""

import threading

import pytest

from ipykill.core.info import JobState
from tests.waiting import HANG_GUARD


@pytest.fixture
def kill(jobs):
    """Run a function that calls what it is given when it may be killed; kill it there."""

    def kill(body):
        began = threading.Event()
        job = jobs.submit(body, began.set)
        assert began.wait(HANG_GUARD)
        assert job.kill(HANG_GUARD), job.where()
        assert job.state is JobState.KILLED
        return job

    return kill
