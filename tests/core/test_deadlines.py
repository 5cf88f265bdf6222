"""A deadline that is set, moved or taken away while the job runs."""

import threading
import time
import weakref

import pytest

from ipykill.core.current import sleep
from ipykill.core.info import JobState
from ipykill.exceptions import JobTimeout
from tests.waiting import HANG_GUARD


def test_a_job_that_runs_gets_a_deadline(jobs):
    job = jobs.submit(sleep, 1000)
    assert job.timeout is None
    job.timeout = job.elapsed + 0.01
    with pytest.raises(JobTimeout, match="was stopped: timeout"):
        job.result(HANG_GUARD)
    assert job.elapsed >= job.timeout


def test_one_that_has_passed_takes_effect_at_once(jobs):
    job = jobs.submit(sleep, 1000)
    jobs.submit(time.sleep, 0.02).wait(HANG_GUARD)
    job.timeout = 0.01
    assert job.wait(HANG_GUARD)
    assert job.state is JobState.STOPPED


@pytest.mark.parametrize("timeout", [None, 1000])
def test_a_deadline_is_moved_or_taken_away(jobs, timeout):
    busy, later = threading.Event(), threading.Event()
    jobs._clock.call(lambda: busy.wait(HANG_GUARD))  # so that nothing expires before
    job = jobs.submit(sleep, 1000, timeout=0.01)
    job.timeout = timeout
    jobs._clock.call(later.set, time.monotonic() + 0.02)
    busy.set()
    assert later.wait(HANG_GUARD)
    assert (job.state, job.requested, job.overdue) == (JobState.RUNNING, None, False)


def test_also_after_the_stop_that_comes_with_it(jobs):
    jobs.grace = 1000
    job = jobs.submit(time.sleep, 1000, timeout=0.01)  # which does not stop
    assert job.wait_for_stop(HANG_GUARD)
    job.timeout = None
    jobs._overdue(weakref.ref(job))
    assert job.requested == "stop"


def test_a_job_that_waits_for_its_turn_has_it_from_its_start(jobs):
    jobs.max_running = 1
    gate = threading.Event()
    jobs.submit(gate.wait, HANG_GUARD)
    job = jobs.submit(sleep, 1000)
    job.timeout = 0.01
    assert job.state is JobState.PENDING
    gate.set()
    assert job.wait(HANG_GUARD)
    assert (job.state, job.reason) == (JobState.STOPPED, "timeout")


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), "5s"])
def test_what_is_none_is_refused(jobs, timeout):
    job = jobs.submit(sleep, 1000)
    with pytest.raises(ValueError, match="a timeout is a number of seconds above 0, not"):
        job.timeout = timeout
    assert job.timeout is None
