"""What a job gives: its result, awaited or not, its callbacks, its host, its snapshots."""

import asyncio
import logging
import threading
import time
import traceback

import pytest

import ipykill
from ipykill.core.current import checkpoint, current_job
from ipykill.core.job import Job
from ipykill.exceptions import JobAborted, JobError
from tests.core.work import Gate, S, fail, pending, polling, spinning
from tests.marks import shows_places
from tests.racing import ended, frequent_switches
from tests.waiting import HANG_GUARD, wait_for

pytestmark = pytest.mark.usefixtures("no_grace")


# What it gives


def test_result_and_exception_wait(jobs):
    gate = Gate()
    job = jobs.submit(gate)
    gate.wait()
    for ask in (job.result, job.exception):
        for timeout in (0, 0.001, -1):
            with pytest.raises(TimeoutError, match=r"job 1 \(Gate\) is still running"):
                ask(timeout)
    assert not job.wait(0)
    gate.open()
    assert job.exception(HANG_GUARD) is None
    assert job.result() is None


def test_a_pending_job_is_not_called_running(jobs):
    job, gate = pending(jobs)
    with pytest.raises(TimeoutError, match=r"job 2 \(second\) is still pending after 0 s"):
        job.result(0)
    gate.open()


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt(), GeneratorExit()])
def test_result_raises_what_the_code_raised(jobs, error):
    job = jobs.submit(fail, error)
    with pytest.raises(type(error)) as caught:
        job.result(HANG_GUARD)
    assert caught.value is error
    assert "fail" in [frame.name for frame in traceback.extract_tb(error.__traceback__)]


def test_the_result_of_a_stopped_job_says_so(jobs):
    job = polling(jobs, name="poll")
    job.stop(reason="enough")
    with pytest.raises(JobAborted, match=r"job 1 \(poll\) was stopped: enough"):
        job.result(HANG_GUARD)
    assert isinstance(job.exception(), JobAborted)
    assert not isinstance(job.exception(), TimeoutError)


def test_a_result_may_be_an_exception(jobs):
    error = ValueError()
    assert jobs.submit(lambda: error).result(HANG_GUARD) is error


def test_a_job_does_not_wait_for_itself(jobs):
    def work():
        me = current_job()
        for wait in (me.wait, me.result, me.exception):
            with pytest.raises(JobError, match=r"job 1 \(work\) cannot wait for itself"):
                wait()
        for any in (True, False):
            with pytest.raises(JobError, match="itself"):
                jobs.wait([me], any=any)
        with pytest.raises(JobError, match="itself"):
            asyncio.run(wait_for_it(me))

    async def wait_for_it(job):
        await job

    jobs.submit(work).result(HANG_GUARD)


def test_a_child_may_wait_for_its_job(jobs):
    def work():
        children.append(threading.Thread(target=lambda: waited.append(job.wait(HANG_GUARD))))
        begun.wait(HANG_GUARD)
        children[0].start()

    children, waited, begun = [], [], threading.Event()
    job = jobs.submit(work)
    begun.set()
    assert job.wait(HANG_GUARD)
    assert ended(*children)
    assert waited == [True]


# Awaiting


def test_a_job_can_be_awaited(jobs):
    async def main():
        gate = Gate()
        job = jobs.submit(lambda: gate() or 42)
        task = asyncio.ensure_future(wrapped(job))
        gate.open()
        assert await task == 42
        assert await job == 42  # once more, when it is over
        with pytest.raises(ValueError, match="no"):
            await jobs.submit(fail, ValueError("no"))
        job = polling(jobs)
        job.stop()
        with pytest.raises(JobAborted):
            await job

    async def wrapped(job):
        return await job

    asyncio.run(main())


def test_many_may_await_the_same_job_and_one_may_give_up(jobs):
    async def main():
        gate = Gate()
        job = jobs.submit(lambda: gate() or 42)

        async def wait():
            return await job

        tasks = [asyncio.ensure_future(wait()) for _ in range(10)]
        await asyncio.sleep(0)
        tasks[0].cancel()
        with pytest.raises(asyncio.CancelledError):
            await tasks[0]
        gate.open()
        assert await asyncio.gather(*tasks[1:]) == [42] * 9

    asyncio.run(main())


def test_a_closed_loop_is_no_matter(jobs, caplog):
    gate = Gate()
    job = jobs.submit(gate)

    async def give_up():
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(wait(), 0.001)

    async def wait():
        await job

    asyncio.run(give_up())
    over = threading.Event()
    job.add_done_callback(lambda job: over.set())
    gate.open()
    assert over.wait(HANG_GUARD)
    assert not caplog.records


# Callbacks


def test_callbacks_run_in_order_after_the_end_and_not_on_the_jobs_thread(jobs):
    gate, seen, called = Gate(), [], threading.Event()
    job = jobs.submit(gate)
    job.add_done_callback(lambda job: seen.append((1, job.done(), threading.current_thread())))
    job.add_done_callback(lambda job: seen.append((2, job.state, threading.current_thread())))
    job.add_done_callback(lambda job: called.set())
    assert not seen
    gate.open()
    assert called.wait(HANG_GUARD)
    (_, done, thread), (_, state, same) = seen
    assert (done, state) == (True, S.DONE)
    assert thread is same
    assert thread not in (job.thread, threading.current_thread())


def test_a_callback_on_a_job_that_is_over_is_called_at_once(jobs):
    job = jobs.submit(int)
    assert job.wait(HANG_GUARD)
    seen = []
    job.add_done_callback(lambda job: seen.append((job, threading.current_thread())))
    assert seen == [(job, threading.current_thread())]


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_callbacks_of_a_job_that_never_ran_are_called(jobs, how):
    job, gate = pending(jobs)
    called = threading.Event()
    job.add_done_callback(lambda job: called.set())
    getattr(job, how)()
    assert called.wait(HANG_GUARD)
    gate.open()


@pytest.mark.parametrize("error", [ValueError("in a callback"), SystemExit("in a callback")])
def test_the_error_of_a_callback_is_logged_and_stops_no_other(jobs, caplog, error):
    gate, called = Gate(), threading.Event()
    job = jobs.submit(gate)
    job.add_done_callback(lambda job: fail(error))
    job.add_done_callback(lambda job: called.set())
    gate.open()
    assert called.wait(HANG_GUARD)
    assert "in a callback" in caplog.text
    assert {record.name for record in caplog.records} == {"ipykill"}
    later = threading.Event()
    gate = Gate()
    job = jobs.submit(gate)
    job.add_done_callback(lambda job: later.set())
    gate.open()
    assert later.wait(HANG_GUARD)


@pytest.mark.stress
@pytest.mark.slow
@frequent_switches()
def test_every_callback_is_called_once(jobs):
    for _ in range(300):
        calls, gate = [], Gate()
        job = jobs.submit(gate)
        gate.wait()
        callbacks = [lambda job, n=n, calls=calls: calls.append(n) for n in range(4)]
        adders = [threading.Thread(target=job.add_done_callback, args=(fn,)) for fn in callbacks]
        for adder in adders:
            adder.start()
        gate.open()
        assert ended(*adders)
        wait_for(lambda calls=calls: len(calls) == 4, "four calls")
        assert sorted(calls) == [0, 1, 2, 3]


# What surrounds a job


class Recorder:
    """A host that keeps what it was told."""

    def __init__(self, job, enter=None, finish=None):
        self.entered = []
        self.finished = []
        self.on_enter, self.on_finish = enter, finish

    def enter(self, job):
        self.entered.append(threading.current_thread())
        if self.on_enter is not None:
            raise self.on_enter

    def finish(self, job, error):
        self.finished.append((job.state, job.done(), error))
        if self.on_finish is not None:
            raise self.on_finish


def test_a_host_is_told_of_every_thread_and_of_the_end(jobs):
    jobs.host = Recorder
    error = ValueError("no")

    def work():
        child = threading.Thread(target=int)
        child.start()
        child.join()
        raise error

    job = jobs.submit(work)
    assert job.wait(HANG_GUARD)
    assert len(job.host.entered) == 2
    assert job.host.entered[0] is job.thread
    assert job.host.finished == [(S.FAILED, False, error)]


@pytest.mark.parametrize("error", [ValueError("broken host"), KeyboardInterrupt("broken host")])
def test_a_host_that_fails_does_not_change_how_a_job_ends(jobs, caplog, printed, error):
    jobs.host = lambda job: Recorder(job, enter=error, finish=error)
    job = jobs.submit(lambda: 42)
    assert job.result(HANG_GUARD) == 42
    assert "broken host" in caplog.text


def test_a_job_that_never_ran_is_reported_to_its_host_too(jobs):
    jobs.host = Recorder
    job, gate = pending(jobs)
    job.stop()
    assert job.host.finished == [(S.SKIPPED, False, None)]
    gate.open()


# Snapshots


@shows_places
def test_a_snapshot_says_where_a_job_is(jobs):
    gate = Gate()

    def work():
        lock.acquire()

    lock = threading.Lock()
    lock.acquire()
    job = jobs.submit(work)
    info = wait_for(
        lambda: (info := job.info()).place.endswith("(lock.acquire)") and info, "the place"
    )
    line = work.__code__.co_firstlineno + 1
    assert info.place == f"test_job.py, line {line} (lock.acquire)"
    assert info.state is S.RUNNING
    (own,) = job.where()
    assert [frame.function for frame in own.frames] == ["work"]
    assert (own.depth, own.task, own.place) == (0, False, info.place)
    lock.release()
    assert job.wait(HANG_GUARD)
    assert job.where() == []
    assert job.info().place == ""
    gate.open()


def test_a_snapshot_says_where_a_job_ended(jobs):
    job = jobs.submit(fail, ValueError("no\nmore"))
    assert job.wait(HANG_GUARD)
    info = job.info()
    assert info.place == f"work.py, line {fail.__code__.co_firstlineno + 1}"
    assert info.error == "ValueError: no"
    assert info.ended >= info.started
    assert info.elapsed == job.elapsed == job.info().elapsed


def test_a_snapshot_of_a_running_job_counts(jobs):
    job = spinning(jobs)
    job.log.write("one\ntwo")
    first = job.info()
    second = wait_for(lambda: (it := job.info()).cpu_time > first.cpu_time and it, "CPU time")
    assert second.elapsed > first.elapsed > 0
    assert (first.last_line, first.threads, first.asked, first.ended) == ("two", 1, None, None)
    assert first.source == "" or "def spin" in first.source
    job.stop(reason="why")
    third = job.info()
    assert 0 <= third.asked < HANG_GUARD
    assert (third.state, third.requested, third.reason) == (S.STOPPING, "stop", "why")


def test_the_repr_names_the_job_and_its_state(jobs):
    job = jobs.submit(int, name="train")
    assert job.wait(HANG_GUARD)
    assert repr(job) == "<Job 1 'train': done>"


def test_the_public_names_are_those_of_the_core():
    assert ipykill.checkpoint is checkpoint
    assert ipykill.Job is Job
    assert logging.getLogger("ipykill").handlers == []


@pytest.mark.parametrize("timeout", [1e10, 1e300, float("inf")])
def test_any_number_of_seconds_can_be_waited(jobs, timeout):
    """More than a lock can wait; and the death takes longer than what is waited first."""
    began = threading.Event()

    def work():
        try:
            began.set()
            while True:
                pass
        finally:
            time.sleep(0.01)

    job = jobs.submit(work)
    assert began.wait(HANG_GUARD)
    assert job.kill(timeout)
    assert job.wait(timeout)
