"""An interrupt that comes while a job is started."""

import signal
import threading

import pytest

import ipykill
from ipykill import JobManager, JobState
from ipykill.interrupts import uninterrupted
from tests.waiting import HANG_GUARD, wait_for


@pytest.fixture
def jobs():
    manager = JobManager()
    yield manager
    assert manager.kill_all(HANG_GUARD)


def _interrupted(steps):
    with uninterrupted():
        signal.raise_signal(signal.SIGINT)
        steps.append(1)
    steps.append(2)


def test_an_interrupt_comes_at_the_end_of_the_block():
    steps = []
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        _interrupted(steps)
    assert steps == [1]
    assert signal.getsignal(signal.SIGINT) is before


def test_an_error_in_the_block_stays_one():
    with pytest.raises(ZeroDivisionError), uninterrupted():
        raise ZeroDivisionError


def test_it_nests_and_works_in_any_thread():
    done = []

    def work():
        with uninterrupted(), uninterrupted():
            done.append(signal.getsignal(signal.SIGINT))

    before = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    work()
    assert done[0] is before
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize("place", ["present", "start"])
def test_an_interrupt_in_a_launch_leaves_a_job_that_runs(jobs, monkeypatch, place):
    if place == "start":
        start = ipykill.Job.start

        def interrupted_start(job):
            signal.raise_signal(signal.SIGINT)
            return start(job)

        monkeypatch.setattr(ipykill.Job, "start", interrupted_start)

    def present(job):
        if place == "present":
            signal.raise_signal(signal.SIGINT)

    gate = threading.Event()
    with pytest.raises(KeyboardInterrupt):
        jobs.launch(gate.wait, name="work", timeout=1000, present=present)
    (job,) = jobs
    assert job.state is JobState.RUNNING
    gate.set()
    assert job.wait(HANG_GUARD)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_at_any_moment_there_is_a_whole_job_or_none(jobs):
    def signals():
        # SIGINT itself, so that it comes between any two instructions of the main thread.
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    started = 0
    for number in range(200):
        timer = threading.Timer(0.000_05 * number, signals)
        try:
            timer.start()
            while timer.is_alive():  # the interrupt may be lost in a callback of the interpreter
                jobs.submit(int)
                started += 1
        except KeyboardInterrupt:
            pass
        timer.join()
        assert all(wait_for(job.done, f"the end of {job}") for job in jobs)
        assert {job.state for job in jobs} <= {JobState.DONE}, jobs
        jobs.clear()
    assert started
