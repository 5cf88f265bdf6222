"""An interrupt that comes while a job is started."""

import random
import signal
import threading
import time
from types import SimpleNamespace

import pytest

import ipykill
from ipykill import JobState
from ipykill.core.interrupts import uninterrupted
from ipykill.kill import pursuit
from tests.waiting import HANG_GUARD, wait_for


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


def test_of_nested_blocks_the_outermost_end_counts():
    steps = []

    def nested():
        with uninterrupted():
            _interrupted(steps)
            steps.append(3)

    with pytest.raises(KeyboardInterrupt):
        nested()
    assert steps == [1, 2, 3]


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

    def launch(timer):
        # Not within the `try`: in CPython 3.13 that does not guard a loop's jump back.
        nonlocal started
        timer.start()
        while timer.is_alive():  # the interrupt may be lost in a callback of the interpreter
            jobs.submit(int)
            started += 1

    for number in range(200):
        timer = threading.Timer(0.000_05 * number, signals)
        try:
            launch(timer)
        except KeyboardInterrupt:
            pass
        timer.join()
        assert all(wait_for(job.done, f"the end of {job}") for job in jobs)
        assert {job.state for job in jobs} <= {JobState.DONE}, jobs
        jobs.clear()
    assert started


@pytest.fixture
def alarm():
    """Call a handler after so many seconds, in the main thread."""
    before = signal.getsignal(signal.SIGALRM)

    def arm(handler, seconds):
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, seconds)

    yield arm
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_job_that_was_just_launched_ends_though_who_waits_for_it_is_interrupted(jobs, alarm):
    def interrupt(number, frame):
        raise KeyboardInterrupt

    end = time.monotonic() + 2
    interrupted = 0
    while time.monotonic() < end:
        job = None
        try:
            try:
                job = jobs.submit(int)
                alarm(interrupt, random.choice([1e-6, 1e-5, 2e-5, 4e-5, 1e-4]))
                job.wait()
            finally:
                alarm(signal.SIG_IGN, 0)
        except KeyboardInterrupt:
            interrupted += 1
        assert job is None or job.over.wait(HANG_GUARD), job
        jobs.clear()
    assert interrupted > 100


@pytest.mark.slow
def test_a_signal_handler_may_wait_for_a_job_that_is_being_launched(jobs, alarm):
    handled = 0

    def handler(number, frame):
        nonlocal handled
        for job in list(jobs)[-3:]:
            job.wait(0.0001)
            job.kill(0.0001)
        handled += 1
        alarm(handler, 0.0005)

    end = time.monotonic() + 2
    alarm(handler, 0.0005)
    while time.monotonic() < end:
        jobs.submit(int)
        if len(jobs) > 100:
            jobs.clear()
    alarm(signal.SIG_IGN, 0)
    assert handled > 20
    assert jobs.wait(jobs, HANG_GUARD) == []


def test_a_signal_handler_may_kill_a_job_that_is_being_launched(jobs, monkeypatch):
    ran, killed = [], []

    def monotonic():  # where the handler runs: `start` looks at the clock
        for job in set(jobs) - set(killed):
            killed.append(job)
            job.kill(0)
            job.kill(0)
        return time.monotonic()

    clock = SimpleNamespace(monotonic=monotonic, time=time.time)
    with monkeypatch.context() as patch:
        patch.setattr(ipykill.core.job, "time", clock)
        job = jobs.submit(ran.append, 1)
    assert killed == [job]
    assert job.kill(HANG_GUARD)
    assert job.state is JobState.KILLED
    assert job.started is None
    assert not ran
    assert not job.thread.is_alive()


def test_a_job_that_outlives_the_wait_for_its_death_is_not_taken_for_dead(jobs, alarm):
    """Up to CPython 3.12, Thread.join that a Ctrl-C breaks takes the thread for dead."""
    began, free = threading.Event(), threading.Event()

    def work():
        with ipykill.shield():
            began.set()
            free.wait()

    def interrupt(number, frame):
        raise KeyboardInterrupt

    job = jobs.submit(work)
    assert began.wait(HANG_GUARD)
    alarm(interrupt, 0.05)
    with pytest.raises(KeyboardInterrupt):
        job.kill(None)
    assert job.thread.is_alive()
    assert job.state is JobState.KILLING
    assert not job.kill(0.01)
    free.set()
    assert job.kill(HANG_GUARD)
    assert job.state is JobState.KILLED


def test_a_kill_that_is_cut_off_before_it_rings_the_reaper_goes_on(jobs, monkeypatch):
    def cut_off(_when):
        raise KeyboardInterrupt

    def kill():
        # In another thread than the main one, which would wake the job by itself.
        with pytest.raises(KeyboardInterrupt):
            job.kill()

    job = jobs.submit(time.sleep, 1000)
    with monkeypatch.context() as patch:
        patch.setattr(pursuit, "_bell", SimpleNamespace(put=cut_off))
        killer = threading.Thread(target=kill)
        killer.start()
        killer.join()
    assert job.wait(HANG_GUARD)
    assert job.state is JobState.KILLED
    wait_for(lambda: pursuit._engine is None, "nothing to be left of the kill")
