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

    may_die = threading.Event()

    def __call__(self) -> None:
        time.sleep(1000)

    def __del__(self) -> None:
        self.may_die.wait(HANG_GUARD)


@pytest.fixture(autouse=True)
def end_of_all() -> Iterator[None]:
    Slow.may_die.clear()
    yield
    Slow.may_die.set()


def keeps_one() -> None:
    slow = Slow()
    time.sleep(1000)
    del slow


@pytest.mark.parametrize("call", [lambda: keeps_one, Slow], ids=["a variable", "what was called"])
def test_a_killed_job_is_over_before(call: Callable[[], Callable[[], None]]) -> None:
    job = ipykill.submit(call())
    wait_for(lambda: "sleep" in job.info().place, "its sleep")
    job.kill()
    assert job.wait(HANG_GUARD)
    assert job.state is JobState.KILLED
    stack = wait_for(job.where, "its stack")[0]
    assert "finalizers" in stack.hindrance
    assert stack.hindrance in str(job.where())
    assert job.info().left == 1
    assert not job.kill(0.01)
    Slow.may_die.set()
    assert job.kill(HANG_GUARD)
    assert job.info().left == 0


def test_a_job_that_ends_by_itself_is_over_before() -> None:
    done = Slow()
    done_job = ipykill.submit(lambda slow: None, done)
    del done
    assert done_job.wait(HANG_GUARD)
    assert done_job.state is JobState.DONE
