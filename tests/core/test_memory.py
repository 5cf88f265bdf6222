"""What a job keeps of the user's objects when it is over: they are counted."""

import asyncio
import contextvars
import gc
import threading
import traceback
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest

import ipykill
from ipykill import JobAborted, JobError, JobState
from ipykill.core.manager import JobManager
from tests.core.arrays import Array, clear
from tests.waiting import wait_for

S = JobState


@pytest.fixture
def hang(arrays):
    """A function whose frame holds an array and that runs until it is ended."""
    may_end = threading.Event()

    def hang():
        array = arrays.make()
        may_end.wait()
        return array

    yield hang
    may_end.set()


def test_of_failures_the_newest_alone_keeps_its_frames(jobs, arrays):
    def work():
        array = arrays.make()
        array.nosuch

    failed = []
    for count in range(1, 4):
        failed.append(jobs.submit(work))
        failed[-1].wait()
        arrays.wait(1)
        assert len(arrays._made) == count
    assert failed[2].exception().__traceback__ is not None
    assert [job.exception().__traceback__ for job in failed[:2]] == [None, None]
    clear(jobs)
    arrays.wait(0)
    assert [str(job.exception()) for job in failed] == 3 * [
        "'Array' object has no attribute 'nosuch'"
    ]


def test_another_manager_has_its_failures_in_the_same_count(jobs, arrays):
    def work():
        array = arrays.make()
        raise ValueError(array)

    jobs.submit(work).wait()
    arrays.wait(1)
    other = JobManager()
    other.submit(work).wait()
    arrays.wait(1)
    clear(other)
    arrays.wait(0)


def test_a_value_is_kept_until_the_job_is_cleared(jobs, arrays):
    job = jobs.submit(arrays.make)
    assert isinstance(job.result(), Array)
    arrays.wait(1)
    clear(jobs)
    arrays.wait(0)
    with pytest.raises(JobError, match=r"^job 1 \(make\) has no value any more: it was cleared$"):
        job.result()
    assert job.exception() is None
    assert job.state is S.DONE


@pytest.mark.parametrize("end", ["kill", "stop", "timeout", "kill while it fails"])
def test_a_job_that_was_ended_keeps_nothing(jobs, arrays, hang, end):
    jobs.grace = 0

    def polite():
        array = arrays.make()
        while True:
            ipykill.sleep(1000)
        return array

    def clumsy():
        try:
            hang()
        finally:
            raise ValueError(arrays.make())

    work = {"stop": polite, "kill while it fails": clumsy}.get(end, hang)
    job = jobs.submit(work, timeout=0.01 if end == "timeout" else None)
    wait_for(lambda: arrays._made, "the work")
    if end != "timeout":
        assert job.stop(30) if end == "stop" else job.kill(30)
    assert job.wait(30)
    arrays.wait(0)
    assert isinstance(job.exception(), JobAborted)
    arrays.wait(0)


def test_a_job_that_is_ended_keeps_no_value_that_it_had_already(jobs, arrays):
    job = jobs.submit(lambda: 1)
    job.wait()
    job._value = arrays.make()  # as one that is killed when its code has just returned
    job._outcome = S.KILLED
    job._settle()
    arrays.wait(0)


def test_the_error_of_an_error_is_let_go_as_well(jobs, arrays):
    def inner():
        array = arrays.make()
        array.nosuch

    def work():
        try:
            inner()
        except AttributeError as error:
            array = arrays.make()
            try:
                raise KeyError(array)
            except KeyError:
                raise ValueError("the last") from error

    job = jobs.submit(work)
    job.wait()
    arrays.wait(2)
    jobs.submit(int, "x").wait()
    arrays.wait(0)
    text = "".join(traceback.format_exception(job.exception()))
    for part in "'Array' object has no attribute 'nosuch'", "in inner", "the last":
        assert part in text


def test_what_is_asked_for_later_does_not_hold_who_asked(jobs, arrays):
    def fail():
        raise ValueError("no")

    def ask(job):
        array = arrays.make()
        with pytest.raises(ValueError, match="no"):
            job.result()
        del job
        return array is None

    first = jobs.submit(fail)
    first.wait()
    ask(first)
    jobs.submit(fail).wait()
    arrays.wait(0)
    ask(first)
    arrays.wait(0)


def test_callbacks_arguments_and_variables_of_the_context_are_let_go(jobs, arrays):
    variable = contextvars.ContextVar("variable")
    called = []

    def work(array, *, other):
        variable.set(arrays.make())

    def callback(array):
        return lambda job: called.append(array is not None)

    job = jobs.submit(work, arrays.make(), other=arrays.make())
    job.add_done_callback(callback(arrays.make()))
    job.wait()
    wait_for(lambda: called, "the callback")
    arrays.wait(0)
    job.add_done_callback(callback(arrays.make()))
    arrays.wait(0)
    assert called == [True, True]


@pytest.mark.parametrize("end", ["fails", "is killed", "is stopped"])
def test_the_tasks_of_a_loop_are_let_go(jobs, arrays, end):
    async def wait():
        array = arrays.make()
        await asyncio.sleep(1000)
        return array

    async def work():
        tasks = [asyncio.create_task(wait()) for _ in range(3)]
        await asyncio.sleep(0)
        if end == "fails":
            raise ValueError(arrays.make())
        await asyncio.gather(*tasks)

    job = jobs.submit(work)
    wait_for(lambda: len(arrays._made) >= 3, "the tasks")
    if end != "fails":
        assert job.kill(30) if end == "is killed" else job.stop(30)
    job.wait()
    if end == "fails":
        jobs.submit(int, "x").wait()
    arrays.wait(0)


def test_the_threads_of_a_job_are_let_go(jobs, arrays, monkeypatch):
    monkeypatch.setattr(threading, "excepthook", lambda args: None)  # pytest keeps the error

    def child():
        raise ValueError(arrays.make())

    def work():
        thread = threading.Thread(target=child, args=())
        thread.start()
        thread.join()
        with ThreadPoolExecutor(2) as pool:
            return sum(1 for _ in pool.map(lambda _: arrays.make(), range(4)))

    job = jobs.submit(work)
    assert job.result() == 4
    arrays.wait(0)


def test_a_job_that_never_ran_keeps_nothing(jobs, arrays, hang):
    jobs.max_running = 1
    first = jobs.submit(hang)
    wait_for(lambda: arrays._made, "the first")
    second, third = (jobs.submit(lambda array: None, arrays.make()) for _ in range(2))
    second.stop()
    third.kill()
    first.kill(30)
    arrays.wait(0)
    assert (second.state, third.state) == (S.SKIPPED, S.KILLED)


def test_a_job_that_nobody_has_any_more_is_gone(jobs, arrays, hang):
    def fail():
        raise ValueError(arrays.make())

    hanging = jobs.submit(hang)
    made = [weakref.ref(it) for it in (hanging, jobs.submit(fail), jobs.submit(arrays.make))]
    wait_for(lambda: len(arrays._made) == 3, "the work")
    hanging.kill(30)
    del hanging
    assert jobs.wait(list(jobs)) == []
    clear(jobs)
    wait_for(lambda: not gc.collect() and [it() for it in made] == 3 * [None], "their end")
    arrays.wait(0)


def test_a_job_that_is_cleared_at_once_keeps_nothing(jobs, arrays):
    def fail():
        raise ValueError(arrays.make())

    kept = []
    for _ in range(100):
        kept.append(jobs.submit(fail))
        kept[-1].wait()
        jobs.clear()
    arrays.wait(0)
