"""What a loop is told when its job is killed, and what is left of it."""

import asyncio
import gc
import threading
import time
import weakref

import pytest

import ipykill
from ipykill import JobKilled, JobState, current_job
from ipykill.kill import wake
from tests.loops.work import Work, ask
from tests.waiting import HANG_GUARD, wait_for

# A Kill


def test_who_runs_a_loop_gets_the_kill_out_of_it(jobs, began):
    work, caught = Work(began), []

    def body():
        try:
            asyncio.run(work.wait_beside_a_task())
        except KeyboardInterrupt as error:
            caught.append(type(error))
            raise

    job = jobs.submit(body)
    assert ask(job, began, "kill")
    assert job.wait(HANG_GUARD)
    assert job.state is JobState.KILLED
    assert caught == [JobKilled]
    assert work.ended == ["main", "task"]


def test_a_loop_is_reached_without_a_signal(jobs, began, monkeypatch):
    work = Work(began)
    monkeypatch.setattr(wake, "wake", lambda *_: None)
    job = jobs.submit(lambda: asyncio.run(work.wait()))
    assert ask(job, began, "kill")
    assert work.ended == ["main"]


def test_a_loop_that_serves_a_cleanup_is_left_alone(jobs, began):
    work, cleans = Work(threading.Event()), threading.Event()

    async def save():
        cleans.set()
        await asyncio.gather(work.wait("one", 0.1), work.wait("two", 0.1))

    def body():
        try:
            while True:
                began.set()
        finally:
            asyncio.run(save())

    job = jobs.submit(body)
    assert began.wait(HANG_GUARD)
    job.kill()
    assert cleans.wait(HANG_GUARD)
    assert job.kill(HANG_GUARD)
    assert work.ended == ["one", "two"]


def test_a_cleanup_that_waits_for_ever_ends_when_the_others_do(jobs, began):
    """`__aexit__` waits for a worker that nobody ends."""
    ended = []

    class Pool:
        async def __aenter__(self):
            self.task = asyncio.create_task(self.work())

        async def work(self):
            try:
                while True:
                    await asyncio.sleep(0.001)
            finally:
                ended.append("worker")

        async def __aexit__(self, *_):
            await asyncio.wait([self.task])
            ended.append("pool")

    async def main():
        async with Pool():
            began.set()
            await asyncio.sleep(1000)

    job = jobs.submit(main)
    assert ask(job, began, "kill")
    assert ended == ["worker", "pool"]


@pytest.mark.slow
def test_an_except_that_handles_a_cancellation_is_left_alone(jobs, began):
    """Nothing that it handles is raised again, but it saves what is to be saved."""
    ended = []

    async def work():
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            began.set()
            await asyncio.sleep(0.5)  # longer than one that tries again is given
            ended.append("saved")

    async def main():
        asyncio.get_running_loop().call_soon(asyncio.current_task().cancel)
        await work()
        await asyncio.sleep(1000)

    job = jobs.submit(main)
    assert ask(job, began, "kill")
    assert ended == ["saved"]


def test_what_lives_on_is_told(jobs, began):
    may_end = threading.Event()

    async def work():
        try:
            began.set()
            await asyncio.sleep(1000)
        finally:
            while not may_end.is_set():
                await asyncio.sleep(0.001)

    job = jobs.submit(lambda: asyncio.run(work()))
    assert began.wait(HANG_GUARD)
    job.kill()
    line = work.__code__.co_firstlineno + 6
    said = f"of its event loop cleans up (test_asyncio_runs.py, line {line}); it dies after that"
    wait_for(lambda: job.info().hindrance.endswith(said), "the reason")
    may_end.set()
    assert job.kill(HANG_GUARD)


def test_a_job_on_a_loop_kills_itself(jobs, began):
    work = Work(began)

    async def main():
        task = asyncio.create_task(work.wait("task"))
        await asyncio.sleep(0)
        try:
            current_job().kill()
        finally:
            await asyncio.sleep(0.01)
            work.ended.append("main")
        await task

    job = jobs.submit(main)
    assert job.wait(HANG_GUARD)
    assert job.state is JobState.KILLED
    assert work.ended == ["main", "task"]


def test_a_checkpoint_in_a_task_that_is_killed_ends_the_task_and_not_the_loop(jobs, began):
    work = Work(began)

    async def checks():
        try:
            while True:
                ipykill.checkpoint()
                began.set()
        finally:
            await asyncio.sleep(0.01)
            work.ended.append("checks")

    async def main():
        await asyncio.gather(work.wait("waits"), checks())

    job = jobs.submit(main)
    assert ask(job, began, "kill")
    assert sorted(work.ended) == ["checks", "waits"]


def test_an_error_in_cleanup_does_not_hide_the_kill(jobs, began):
    async def main():
        try:
            began.set()
            await asyncio.sleep(1000)
        finally:
            raise ValueError("in cleanup")

    job = jobs.submit(main)
    assert ask(job, began, "kill")
    assert job.wait(HANG_GUARD)
    assert job.state is JobState.KILLED


# What is left


@pytest.mark.parametrize("how", ["kill", "stop", "interrupt"])
def test_nothing_keeps_the_loop_or_its_tasks(jobs, began, how):
    kept = []

    class Big:
        pass

    async def main():
        big = Big()
        kept.append(weakref.ref(big))
        kept.append(weakref.ref(asyncio.get_running_loop()))
        began.set()
        await asyncio.sleep(1000)

    job = jobs.submit(lambda: asyncio.run(main()))
    assert ask(job, began, how)
    wait_for(lambda: (gc.collect(), not any(ref() for ref in kept))[1], "the end of all")


def test_loops_one_after_another(jobs, began):
    """A Kill between two of them, or at the start of one, ends the job as well."""

    async def nap():
        await asyncio.sleep(0)

    def body():
        while True:
            asyncio.run(nap())
            began.set()

    for _ in range(10):
        began.clear()
        job = jobs.submit(body)
        assert began.wait(HANG_GUARD)
        time.sleep(0.001)  # a moment, not a wait for anything
        assert job.kill(HANG_GUARD)
