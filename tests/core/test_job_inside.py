"""What a job meets inside: the current job, its checkpoints, its children, its deadline."""

import asyncio
import contextlib
import threading
import time

import pytest

from ipykill.core.current import checkpoint, current_job, sleep, stop_requested
from ipykill.exceptions import JobAborted, JobKilled, JobStopped, JobTimeout
from ipykill.kill import shield
from ipykill.threads import ThreadWithExc
from tests.core.work import Gate, S, poll, spin
from tests.racing import ended, silent_threads
from tests.waiting import HANG_GUARD, wait_for

pytestmark = pytest.mark.usefixtures("no_grace")


# Inside a job


def test_inside_a_job_it_is_the_current_one_in_every_thread_and_task(jobs):
    def work():
        assert current_job() is job()
        child = threading.Thread(target=lambda: seen.append(current_job()))
        child.start()
        child.join()
        seen.append(asyncio.run(task()))

    async def task():
        return await asyncio.to_thread(current_job)

    def job():
        return jobs[1]

    seen = []
    jobs.submit(work).result(HANG_GUARD)
    assert seen == [jobs[1]] * 2
    assert current_job() is None


def test_a_job_submitted_by_a_job_is_on_its_own(jobs):
    def work():
        inner = jobs.submit(current_job, name="inner")
        assert inner.result(HANG_GUARD) is inner
        assert current_job() is jobs[1]
        return inner.thread in jobs[1].threads

    assert jobs.submit(work).result(HANG_GUARD) is False


def test_a_killed_job_does_not_take_the_manager_along(jobs):
    # The manager's own threads start with the first need, here on the thread of a job.
    def work():
        jobs.submit(int, timeout=1000).wait()
        jobs.submit(int).add_done_callback(lambda job: None)
        spin(event)

    event = threading.Event()
    job = jobs.submit(work)
    assert event.wait(HANG_GUARD)
    assert job.threads == [job.thread]
    assert job.kill(HANG_GUARD)
    called = threading.Event()
    gate = Gate()
    job = jobs.submit(gate)
    job.add_done_callback(lambda job: called.set())
    gate.open()
    assert called.wait(HANG_GUARD)
    assert jobs.submit(spin, timeout=0.01).wait(HANG_GUARD)  # which may come before its first line


def test_outside_a_job_everything_is_harmless():
    assert current_job() is None
    assert not stop_requested()
    checkpoint()
    sleep(0)
    with shield():
        checkpoint()
    with pytest.raises(ValueError, match="non-negative"):
        sleep(-1)


def test_every_checkpoint_after_a_stop_raises(jobs):
    def work():
        polling_event.set()
        while not stop_requested():
            pass
        raised = 0
        for _ in range(3):
            try:
                checkpoint()
            except JobStopped:
                raised += 1
        with shield():
            checkpoint()
            sleep(0)
        return raised

    polling_event = threading.Event()
    job = jobs.submit(work)
    assert polling_event.wait(HANG_GUARD)
    job.stop()
    assert job.result(HANG_GUARD) == 3
    assert job.state is S.DONE


@pytest.mark.parametrize("seconds", [1000, 1e12, float("inf")])
def test_sleep_ends_at_once_on_stop(jobs, seconds):
    job = jobs.submit(sleep, seconds)
    wait_for(lambda: job._stop._waiters, "the sleeper")
    assert job.stop(HANG_GUARD)
    assert job.state is S.STOPPED


def test_sleep_in_a_job_refuses_what_time_sleep_refuses(jobs):
    with pytest.raises(ValueError, match="non-negative"):
        jobs.submit(sleep, -1).result(HANG_GUARD)


def test_a_job_may_kill_itself(jobs):
    ran_on = []

    def work():
        try:
            current_job().kill()
        finally:
            ran_on.append("finally")
        ran_on.append("after")

    job = jobs.submit(work)
    assert job.wait(HANG_GUARD)
    assert job.state is S.KILLED
    assert ran_on == ["finally"]


def test_a_child_may_kill_its_job(jobs, printed):
    def work():
        threading.Thread(target=lambda: event.wait(HANG_GUARD) and current_job().kill()).start()
        spin(event)

    event = threading.Event()
    job = jobs.submit(work)
    assert job.wait(HANG_GUARD)
    assert job.state is S.KILLED
    assert not printed


def test_a_job_that_kills_itself_in_a_shield_is_told_that_it_lives(jobs):
    said = []

    def work():
        with shield():
            said.append(current_job().kill(timeout=0))
            said.append(current_job().kill(timeout=None))

    job = jobs.submit(work)
    assert job.wait(HANG_GUARD)
    assert said == [False, False]
    assert job.state is S.KILLED


def test_of_jobs_that_kill_each_other_at_least_one_dies(jobs):
    ready = threading.Barrier(2)

    def work(other):
        ready.wait(HANG_GUARD)
        jobs[other].kill()
        spin()

    both = [jobs.submit(work, 2), jobs.submit(work, 1)]
    assert len(jobs.wait(both, HANG_GUARD, any=True)) < 2
    assert jobs.kill_all(HANG_GUARD)
    assert [job.state for job in both if job.wait(HANG_GUARD)] == [S.KILLED] * 2


@pytest.mark.parametrize("swallowed", [True, False])
def test_a_job_can_be_killed_after_an_exception_was_raised_in_some_other_thread(jobs, swallowed):
    # Up to 3.12, SetAsyncExc(NULL) leaves a flag behind, with which a wake-up hung on 3.11.
    event = threading.Event()
    thread = ThreadWithExc(target=spin, args=(event,), daemon=True)
    thread.start()
    assert event.wait(HANG_GUARD)
    with silent_threads():
        thread.raise_exc(SystemExit)
        assert ended(thread)

    def work():
        with contextlib.suppress(JobKilled if swallowed else ValueError):
            with shield():
                gate()
            spin()

    gate = Gate()
    job = jobs.submit(work)
    gate.wait()
    job.kill()
    gate.open()
    assert job.wait(HANG_GUARD)
    assert job.state is S.KILLED


# Children


def test_children_live_on_after_a_job_that_is_done_and_die_with_a_kill(jobs, printed):
    children, event = [], threading.Event()

    def work():
        children.append(threading.Thread(target=spin, args=(event,)))
        children[0].start()

    job = jobs.submit(work)
    assert job.wait(HANG_GUARD)
    assert event.wait(HANG_GUARD)
    assert ended(job.thread)
    assert job.state is S.DONE
    assert job.threads == children
    assert job.info().threads == 1
    assert job.kill(HANG_GUARD) is True
    assert not children[0].is_alive()
    assert job.state is S.DONE
    assert job.requested == "kill"
    assert not printed


def test_a_stop_reaches_the_children_of_a_job_that_is_done(jobs, printed):
    children, event = [], threading.Event()

    def work():
        children.append(threading.Thread(target=poll, args=(event,)))
        children[0].start()

    job = jobs.submit(work)
    assert job.wait(HANG_GUARD)
    assert event.wait(HANG_GUARD)
    job.stop()
    assert ended(*children)
    assert job.state is S.DONE
    assert not printed


def test_a_killed_job_with_children_has_none_left(jobs, printed):
    events = [threading.Event() for _ in range(3)]

    def work():
        for event in events[1:]:
            threading.Thread(target=spin, args=(event,)).start()
        spin(events[0])

    job = jobs.submit(work)
    for event in events:
        assert event.wait(HANG_GUARD)
    threads = job.threads
    assert len(threads) == 3
    assert job.kill(HANG_GUARD) is True
    assert not any(thread.is_alive() for thread in threads)
    assert job.wait(HANG_GUARD)
    assert not printed


# Deadlines


def test_a_timeout_stops_a_job(jobs):
    jobs.grace = 1000
    job = jobs.submit(poll, timeout=0.01, name="slow")
    with pytest.raises(JobTimeout, match=r"job 1 \(slow\) was stopped: timeout"):
        job.result(HANG_GUARD)
    assert (job.state, job.requested, job.reason) == (S.STOPPED, "stop", "timeout")
    assert isinstance(job.exception(), TimeoutError)
    assert isinstance(job.exception(), JobAborted)


def test_a_timeout_kills_a_job_that_does_not_stop(jobs):
    job = jobs.submit(spin, timeout=0.01)
    with pytest.raises(JobTimeout, match="was killed: timeout"):
        job.result(HANG_GUARD)
    assert job.state is S.KILLED


def test_a_job_that_is_in_time_is_left_alone(jobs):
    job = jobs.submit(lambda: 42, timeout=0.05)
    assert job.result(HANG_GUARD) == 42
    later = threading.Event()
    jobs._clock.call(later.set, time.monotonic() + 0.1)
    assert later.wait(HANG_GUARD)
    assert (job.state, job.requested, job.reason) == (S.DONE, None, "")


@pytest.mark.parametrize("timeout", [1e10, 1e300, float("inf")])
def test_a_timeout_beyond_all_measure_hurts_nobody(jobs, timeout):
    gate = Gate()
    jobs.submit(gate, timeout=timeout)
    assert jobs.submit(spin, timeout=0.01).wait(HANG_GUARD)
    gate.open()


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), "5s", [1]])
def test_a_timeout_that_is_none_is_refused(jobs, timeout):
    with pytest.raises(ValueError, match="a timeout is a number of seconds above 0, not"):
        jobs.submit(int, timeout=timeout)
    assert len(jobs) == 0
