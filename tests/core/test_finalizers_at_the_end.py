"""A job whose objects take long to be freed is over all the same, and says what goes on."""

import threading
import time
from collections.abc import Callable, Iterator

import pytest

import ipykill
from ipykill import JobState
from tests.waiting import HANG_GUARD, wait_for


class Slow:
    """Waits, when it dies, until it may."""

    def __init__(self, may_die: threading.Event) -> None:
        self.may_die = may_die

    def __call__(self) -> None:
        time.sleep(1000)

    def __del__(self) -> None:
        self.may_die.wait(HANG_GUARD)


@pytest.fixture
def may_die() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


def in_a_variable(may_die: threading.Event) -> Callable[[], None]:
    def call() -> None:
        slow = Slow(may_die)
        time.sleep(1000)
        del slow

    return call


@pytest.mark.parametrize("make", [in_a_variable, Slow])
def test_a_killed_job_is_over_before(make, may_die: threading.Event) -> None:
    job = ipykill.submit(make(may_die))
    wait_for(lambda: "sleep" in job.info().place, "its sleep")
    job.kill()
    assert job.wait(HANG_GUARD)
    assert job.state is JobState.KILLED
    stack = wait_for(job.where, "its stack")[0]
    assert "finalizers" in stack.hindrance
    assert stack.hindrance in str(job.where())
    assert job.info().left == 1
    assert not job.kill(0.01)
    may_die.set()
    assert job.kill(HANG_GUARD)
    assert job.info().left == 0


def test_a_job_that_ends_by_itself_is_over_before(may_die: threading.Event) -> None:
    launched = threading.Event()  # else this thread may be the last that lets go of it
    job = ipykill.submit(lambda slow: launched.wait(HANG_GUARD) and None, Slow(may_die))
    launched.set()
    assert job.wait(HANG_GUARD)
    assert job.state is JobState.DONE
    assert job.threads
