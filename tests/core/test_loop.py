"""Coroutines in a job: what Stop and Kill do to them."""

import asyncio
import contextlib
import threading

import pytest

from ipykill import JobState
from ipykill.core import loop
from ipykill.core.current import checkpoint
from ipykill.exceptions import JobAborted
from tests.racing import frequent_switches
from tests.waiting import HANG_GUARD, wait_for


def stop(job, began):
    assert began.wait(HANG_GUARD)
    return job.stop(HANG_GUARD)


def test_a_coroutine_function_runs_and_gives_its_value(jobs):
    async def work(number):
        await asyncio.sleep(0)
        return number + 1

    assert jobs.submit(work, 41).result(HANG_GUARD) == 42


def test_outside_a_job_it_is_asyncio_run():
    async def work():
        return 42

    assert loop.run(work()) == 42


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_all_finally_blocks_run_to_their_end(jobs, began, how):
    begun, ended = [], []

    async def task(number):
        try:
            begun.append(number)
            if len(begun) == 3:
                began.set()
            await asyncio.sleep(1000)
        finally:
            for _ in range(3):  # cleanup that awaits, and takes longer than two looks
                await asyncio.sleep(0.1)
            ended.append(number)

    async def work():
        independent = asyncio.create_task(task(0))
        await asyncio.sleep(0)
        try:
            await asyncio.gather(task(1), task(2))
        finally:
            await asyncio.sleep(0.15)
            ended.append("main")
        await independent

    job = jobs.submit(work)
    assert began.wait(HANG_GUARD)
    assert getattr(job, how)(HANG_GUARD)
    assert job.state is (JobState.STOPPED if how == "stop" else JobState.KILLED)
    assert sorted(map(str, ended)) == ["0", "1", "2", "main"]
    with pytest.raises(JobAborted):
        job.result()


def test_a_stopped_job_tells_where_it_was(jobs, began):
    async def work():
        began.set()
        await asyncio.sleep(1000)

    job = jobs.submit(work)
    assert stop(job, began)
    line = work.__code__.co_firstlineno + 2
    assert job.info().place == f"test_loop.py, line {line} (asyncio.sleep)"


def test_who_swallows_the_request_is_asked_again(jobs, began):
    caught = []

    async def stubborn(number):
        while len(caught) < 3 * number:
            try:
                await asyncio.sleep(1000)
            except asyncio.CancelledError:
                caught.append(number)
        began.set()
        await asyncio.sleep(1000)

    async def work():
        task = asyncio.create_task(stubborn(2))
        began.set()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(1000)
        await task

    job = jobs.submit(work)
    assert stop(job, began)
    assert job.state is JobState.STOPPED
    assert caught == [2] * 6


def test_code_that_swallows_the_request_and_ends_is_done(jobs, began):
    async def work():
        began.set()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(1000)
        return "tidy"

    job = jobs.submit(work)
    assert stop(job, began)
    assert job.state is JobState.DONE
    assert job.result() == "tidy"


def test_tasks_that_are_left_when_the_main_one_has_ended_are_asked_again(jobs, began):
    caught = []

    async def stubborn():
        while len(caught) < 3:
            try:
                await asyncio.sleep(1000)
            except asyncio.CancelledError:
                caught.append(1)

    async def work():
        task = asyncio.create_task(stubborn())
        await asyncio.sleep(0)
        began.set()
        await asyncio.sleep(1000)
        await task

    job = jobs.submit(work)
    assert stop(job, began)
    assert job.state is JobState.STOPPED
    assert len(caught) == 3


@pytest.mark.parametrize("where", ["main", "child"])
def test_the_children_of_a_task_group_end_with_it(jobs, began, where):
    ended = []

    async def child(number):
        try:
            if where == "child":
                while True:
                    checkpoint()
                    began.set()
                    await asyncio.sleep(0)
            began.set()
            await asyncio.sleep(1000)
        finally:
            if where == "main":  # else the group cancels who still cleans up
                await asyncio.sleep(0.01)
            ended.append(number)

    async def work():
        async with asyncio.TaskGroup() as group:
            for number in range(3):
                group.create_task(child(number))

    job = jobs.submit(work)
    assert stop(job, began)
    assert job.state is JobState.STOPPED
    assert sorted(ended) == [0, 1, 2]


def test_a_timeout_of_asyncio_is_no_stop(jobs):
    async def work():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await asyncio.sleep(1000)
        task = asyncio.create_task(asyncio.sleep(1000))
        await asyncio.sleep(0)
        task.cancel()
        await task

    job = jobs.submit(work)
    assert job.wait(HANG_GUARD)
    assert job.state is JobState.FAILED, "it was cancelled, but nobody asked the job to stop"
    assert job.info().error == "CancelledError"


def test_a_stop_is_followed_by_a_kill(jobs, began):
    async def work():
        began.set()
        while True:
            with contextlib.suppress(BaseException):
                await asyncio.sleep(1000)

    job = jobs.submit(work)
    assert began.wait(HANG_GUARD)
    assert not job.stop(0.3)
    assert job.state is JobState.STOPPING
    assert job.kill(HANG_GUARD)
    assert job.state is JobState.KILLED


def test_a_job_that_waits_in_an_async_generator_is_asked_once(jobs, began):
    ended = []

    async def items():
        try:
            began.set()
            await asyncio.sleep(1000)
            yield 1
        finally:
            await asyncio.sleep(0.3)
            ended.append(1)

    async def work():
        async for _ in items():
            pass

    job = jobs.submit(work)
    assert stop(job, began)
    assert job.state is JobState.STOPPED
    assert ended == [1]


def test_where_shows_what_the_tasks_await(jobs, began):
    async def helper():
        await asyncio.sleep(1000)

    async def work():
        task = asyncio.create_task(helper(), name="side")
        await asyncio.sleep(0)
        began.set()
        await asyncio.Event().wait()
        await task

    job = jobs.submit(work)
    assert began.wait(HANG_GUARD)
    stacks = wait_for(lambda: len(found := job.where()) == 3 and found, "both tasks")
    wait_for(lambda: job.info().place, "a place")
    own, main, side = job.where()
    assert (own.depth, own.task) == (0, False)
    assert [stack.task for stack in stacks[1:]] == [True, True]
    assert (main.depth, side.name) == (1, "side")
    assert main.frames[0].function == "work"
    assert "helper" in [frame.function for frame in side.frames]
    line = work.__code__.co_firstlineno + 4
    assert job.info().place == f"test_loop.py, line {line} (wait)"


@pytest.mark.slow
def test_a_stop_at_any_moment_ends_a_job(jobs):
    async def work():
        with contextlib.suppress(ZeroDivisionError):
            await asyncio.gather(*(asyncio.sleep(1000) for _ in range(3)))

    with frequent_switches():
        for number in range(300):
            job = jobs.submit(work)
            for _ in range(number * 20):
                pass
            assert job.stop(HANG_GUARD), job.where()
            assert job.state in (JobState.STOPPED, JobState.SKIPPED)
            if job.started is not None:
                with pytest.raises(JobAborted):
                    job.result()


def test_stopped_in_the_loops_own_thread(jobs):
    async def work():
        job.stop()
        await asyncio.sleep(1000)

    gate = threading.Event()
    first = jobs.submit(gate.wait)
    job = jobs.launch(lambda: loop.run(work()), name="work", after=[first])
    gate.set()
    assert job.wait(HANG_GUARD)
    assert job.state is JobState.STOPPED
