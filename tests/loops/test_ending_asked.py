"""What a loop is told when its job is interrupted or stopped."""

import asyncio
import contextlib
import threading
import time

import pytest

from ipykill import JobKilled, JobState
from ipykill.core import loop
from ipykill.exceptions import JobAborted
from ipykill.kill import current_target
from tests.loops.work import Work, ask
from tests.waiting import HANG_GUARD, wait_for

# An interrupt


@pytest.mark.parametrize("how", ["waits", "computes"])
def test_an_interrupt_is_what_ctrl_c_is_to_asyncio_run(jobs, began, how):
    work, caught = Work(began), []

    async def main():
        task = asyncio.create_task(work.wait("task"))
        await asyncio.sleep(0)
        await (work.wait() if how == "waits" else work.compute())
        del task

    def body():
        try:
            asyncio.run(main())
        except KeyboardInterrupt as error:
            caught.append(isinstance(error, JobKilled))
        return "kept"

    job = jobs.submit(body)
    assert ask(job, began, "interrupt")
    assert job.result(HANG_GUARD) == "kept"
    assert caught == [False]
    assert work.ended == ["main" if how == "waits" else "computed", "task"]


def test_an_interrupt_that_passes_stops_the_job(jobs, began):
    work = Work(began)
    job = jobs.submit(work.wait_beside_a_task)
    assert ask(job, began, "interrupt")
    assert job.wait(HANG_GUARD)
    assert (job.state, job.reason) == (JobState.STOPPED, "interrupted")
    assert work.ended == ["main", "task"]


@pytest.mark.parametrize("how", ["waits", "computes"])
def test_an_interrupt_that_is_caught_comes_once(jobs, began, how):
    caught, loops = [], []

    async def main():
        loops.append(asyncio.get_running_loop())
        try:
            while how == "computes":
                began.set()
            began.set()
            await asyncio.sleep(1000)
        except (asyncio.CancelledError, KeyboardInterrupt) as error:
            caught.append(type(error))
        await asyncio.sleep(0.1)
        return "kept"

    job = jobs.submit(lambda: asyncio.run(main()))
    assert ask(job, began, "interrupt")
    assert job.result(HANG_GUARD) == "kept"
    assert len(caught) == 1
    assert "stop" not in vars(loops[0])


def a_future():
    return asyncio.get_running_loop().create_future()


def a_gather():
    return asyncio.gather(a_future(), a_future())


@pytest.mark.parametrize("makes", [a_future, a_gather])
def test_an_interrupt_of_a_loop_that_runs_for_a_future_is_no_cancellation(jobs, began, makes):
    async def make():
        return makes()

    def body():
        with contextlib.closing(asyncio.new_event_loop()) as loop:
            future = loop.run_until_complete(make())
            loop.call_soon(began.set)
            loop.run_until_complete(future)

    job = jobs.submit(body)
    assert ask(job, began, "interrupt")
    assert job.wait(HANG_GUARD)
    assert (job.state, job.reason) == (JobState.STOPPED, "interrupted")


def test_what_stops_a_loop_at_the_end_of_its_main_task_does_not_stop_its_next_run(jobs, began):
    """The loop looks when the main task has ended, and asyncio has not heard of that yet."""

    async def main():
        loop = asyncio.get_running_loop()
        try:
            began.set()
            await asyncio.sleep(1000)
        finally:
            loop.call_soon(current_target().endings[loop]._look)

    def body():
        with contextlib.closing(asyncio.new_event_loop()) as loop:
            with contextlib.suppress(KeyboardInterrupt):
                loop.run_until_complete(main())
            return loop.run_until_complete(asyncio.sleep(0.05, "kept"))

    job = jobs.submit(body)
    assert ask(job, began, "interrupt")
    assert job.result(HANG_GUARD) == "kept"


class Forever:
    """A loop that runs until somebody stops it, and what the code does after that."""

    def __init__(self, began, *, has_a_task):
        self.began = began
        self.has_a_task = has_a_task
        self.ended = []

    def __call__(self):
        work = Work(threading.Event())
        with contextlib.closing(asyncio.new_event_loop()) as loop:
            task = loop.create_task(work.wait()) if self.has_a_task else None
            loop.call_later(0.01, self._beat, loop)
            try:
                loop.run_forever()
                self.ended.append("returned")
            except KeyboardInterrupt as error:
                self.ended.append(type(error))
            self.ended += work.ended
            del task
            return loop.run_until_complete(asyncio.sleep(0.1, "kept"))

    def _beat(self, loop):
        self.began.set()
        loop.call_later(0.01, self._beat, loop)


@pytest.mark.parametrize("has_a_task", [False, True])
@pytest.mark.parametrize(
    ("how", "end"), [("interrupt", KeyboardInterrupt), ("stop", "returned"), ("kill", JobKilled)]
)
def test_a_loop_that_runs_for_ever_is_left(jobs, began, has_a_task, how, end):
    """An interrupt and a Stop come once: what the code does after that is left alone."""
    body = Forever(began, has_a_task=has_a_task)
    job = jobs.submit(body)
    assert ask(job, began, how)
    assert job.wait(HANG_GUARD)
    assert body.ended == [end, *(["main"] if has_a_task else [])]
    if how != "kill":
        assert job.result(HANG_GUARD) == "kept"


# A Stop


def test_a_stop_cancels_what_the_code_runs_itself(jobs, began):
    work = Work(began)
    job = jobs.submit(lambda: asyncio.run(work.wait_beside_a_task()))
    assert ask(job, began, "stop")
    assert job.state is JobState.STOPPED
    assert work.ended == ["main", "task"]
    with pytest.raises(JobAborted):
        job.result()


def test_a_stop_that_is_caught_is_no_end(jobs, began):
    async def main():
        began.set()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(1000)
        return "tidy"

    job = jobs.submit(lambda: asyncio.run(main()))
    assert ask(job, began, "stop")
    assert job.result(HANG_GUARD) == "tidy"


def test_many_stops_are_as_one(jobs, began):
    may_end, loops = threading.Event(), []

    async def main():
        loops.append(asyncio.get_running_loop())
        try:
            began.set()
            await asyncio.sleep(1000)
        finally:
            while not may_end.is_set():
                await asyncio.sleep(0.001)

    job = jobs.submit(main)
    assert began.wait(HANG_GUARD)
    for _ in range(200):
        job.stop()
    wait_for(lambda: job.cpu_time and not loops[0]._ready, "the loop to have heard")
    job.stop()
    assert len(loops[0]._scheduled) < 10
    may_end.set()
    assert job.wait(HANG_GUARD)
    assert job.state is JobState.STOPPED


@pytest.mark.parametrize("loops", ["asyncio", "uvloop"])
@pytest.mark.parametrize("how", ["stop", "interrupt"])
def test_what_a_runner_does_at_its_end_is_not_cancelled(jobs, began, loops, how):
    """The next look at the tasks is overdue when the closing of the loop begins."""
    new_loop = pytest.importorskip(loops).new_event_loop
    ended = []

    def work():
        began.set()
        time.sleep(0.3)
        ended.append("thread")

    def body():
        with asyncio.Runner(loop_factory=new_loop) as runner:
            try:
                runner.run(asyncio.to_thread(work))
            finally:
                time.sleep(0.1)

    job = jobs.submit(body)
    ask(job, began, how)
    assert job.wait(HANG_GUARD)
    assert job.state is JobState.STOPPED
    assert ended == ["thread"]


def test_a_loop_within_the_loop_of_a_job_leaves_it_its_own(jobs, began):
    errors = []

    async def inner():
        pass

    async def main():
        try:
            loop.run(inner())  # as a magic does that runs a cell with `await`
        except RuntimeError as error:
            errors.append(error)
        began.set()
        await asyncio.sleep(1000)

    job = jobs.submit(main)
    assert began.wait(HANG_GUARD)
    assert len(errors) == 1
    wait_for(lambda: len(job.where()) == 2, "the task to be shown")
    assert job.stop(HANG_GUARD)
    assert job.state is JobState.STOPPED


# And then a Kill


@pytest.mark.parametrize("ends", ["stopped", "by itself"])
@pytest.mark.parametrize("runs", ["the job's", "asyncio.run", "uvloop.run"])
def test_a_kill_ends_the_thread_for_which_an_ending_loop_waits(jobs, began, runs, ends):
    """asyncio waits for the thread of its pool, and for the thread that closes the pool."""
    run = {"the job's": None, "asyncio.run": asyncio.run}
    if runs == "uvloop.run":
        run[runs] = pytest.importorskip("uvloop").run

    def sleep():
        began.set()
        time.sleep(1000)

    async def main():
        call = asyncio.to_thread(sleep)
        if ends == "stopped":
            await call
        task = asyncio.create_task(call)
        while not began.is_set():
            await asyncio.sleep(0.001)
        del task

    start = run[runs]
    job = jobs.submit(main if start is None else lambda: start(main()))
    assert began.wait(HANG_GUARD)
    if ends == "stopped":
        job.stop()
    wait_for(lambda: any("_do_shutdown" in it.name for it in job.threads), "the loop to end")
    assert job.kill(HANG_GUARD)
