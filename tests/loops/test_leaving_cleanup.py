"""Tasks that are in cleanup nearly always are ended as soon as they leave it.

In these tests the loop never looks at its tasks just because time has passed.
"""

import asyncio
import contextlib
import threading

import pytest

from ipykill import JobState
from ipykill.kill import asyncio_runs
from tests.loops.dying import assert_dies
from tests.loops.work import ask
from tests.waiting import HANG_GUARD

NEVER = 1000.0  # seconds


@pytest.fixture(autouse=True)
def only_steps_make_the_loop_look(monkeypatch):
    monkeypatch.setattr(asyncio_runs, "_LOOK", NEVER)
    monkeypatch.setattr(asyncio_runs, "_LOOK_MAX", NEVER)


class Block:
    """An ``async with`` block whose exit lasts longer than what is done in the block."""

    def __init__(self, leaving: threading.Event, pause: float = 0.01, steps: int = 3) -> None:
        self.entered = self.left = 0
        self._leaving = leaving
        self._pause = pause
        self._steps = steps

    @property
    def is_whole(self) -> bool:
        """Whether each block that was entered was left, and its cleanup was completed."""
        return 0 < self.entered == self.left

    async def __aenter__(self) -> None:
        self.entered += 1

    async def __aexit__(self, *_: object) -> None:
        self._leaving.set()
        for _ in range(self._steps):
            await asyncio.sleep(self._pause)
        self.left += 1


async def go_on(block: Block) -> None:
    while True:
        async with block:
            await asyncio.sleep(0.001)


@pytest.mark.parametrize(("pause", "steps"), [(0.01, 3), (0, 1000)], ids=["waits", "gives way"])
@pytest.mark.parametrize("how", ["kill", "interrupt", "stop"])
def test_a_main_task(jobs, began, how, pause, steps):
    block = Block(began, pause, steps)
    job = jobs.submit(lambda: asyncio.run(go_on(block)))
    assert ask(job, began, how)
    assert job.wait(HANG_GUARD)
    assert job.state is (JobState.KILLED if how == "kill" else JobState.STOPPED)
    assert block.is_whole


@pytest.mark.parametrize("how", ["kill", "interrupt", "stop"])
def test_several_main_tasks_are_never_outside_of_cleanup_together(jobs, began, how):
    blocks = [Block(began) for _ in range(10)]

    async def gathers():
        return asyncio.gather(*map(go_on, blocks))

    def body():
        with contextlib.closing(asyncio.new_event_loop()) as loop:
            loop.run_until_complete(loop.run_until_complete(gathers()))

    job = jobs.submit(body)
    assert ask(job, began, how)
    assert job.wait(HANG_GUARD)
    assert job.state is (JobState.KILLED if how == "kill" else JobState.STOPPED)
    assert all(block.is_whole for block in blocks)


def test_a_task_beside_the_main_task(jobs, began):
    block = Block(began)

    async def main():
        task = asyncio.create_task(go_on(block))
        await asyncio.sleep(1000)
        del task

    assert_dies(jobs, began, main)
    assert block.is_whole


def test_a_task_that_another_one_cancels_in_its_cleanup(jobs, began):
    """The main task's own cleanup waits for it."""
    block = Block(began)

    async def main():
        task = asyncio.create_task(go_on(block))
        try:
            await asyncio.sleep(1000)
        finally:
            task.cancel()
            await asyncio.wait([task])

    assert_dies(jobs, began, main)
    assert block.is_whole


def test_a_task_that_swallows_its_cancellation(jobs, began):
    block = Block(began)

    async def main():
        with contextlib.suppress(asyncio.CancelledError):
            await go_on(block)
        await go_on(block)

    assert_dies(jobs, began, main)
    assert block.is_whole


def test_a_group_that_a_task_enters_after_it_was_spared(jobs, began):
    """Nothing has cancelled the task before, so the group's wait is none of its cleanup."""
    ended = []

    async def waits():
        try:
            await asyncio.sleep(1000)
        finally:
            ended.append("in a group")

    async def clean_and_go_on():
        try:
            await asyncio.sleep(0)
        finally:
            began.set()
            await asyncio.sleep(0.1)
            ended.append("cleaned up")
        async with asyncio.TaskGroup() as group:
            group.create_task(waits())

    async def main():
        await asyncio.gather(clean_and_go_on(), asyncio.sleep(1000))

    assert_dies(jobs, began, main)
    assert ended == ["cleaned up", "in a group"]


@pytest.mark.parametrize("how", ["kill", "interrupt"])
def test_workers_that_the_cleanup_of_the_main_task_cancels(jobs, began, how):
    """After an interrupt, which comes once, nothing is asked any more, but the code has asked."""
    began_work, ended_work = [], []

    async def work(queue):
        while True:
            await queue.get()
            began_work.append(1)
            try:
                await asyncio.sleep(0.001)
            finally:
                began.set()
                await asyncio.sleep(0.05)
                ended_work.append(1)
                queue.task_done()

    async def main():
        queue = asyncio.Queue(5)
        workers = [asyncio.create_task(work(queue)) for _ in range(3)]
        try:
            while True:
                await queue.put(None)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)

    job = jobs.submit(lambda: asyncio.run(main()))
    assert ask(job, began, how)
    assert job.wait(HANG_GUARD)
    assert job.state is (JobState.KILLED if how == "kill" else JobState.STOPPED)
    assert len(began_work) == len(ended_work) > 0


async def compute_in(block: Block) -> None:
    while True:
        async with block:
            sum(range(1000))


@pytest.mark.slow
@pytest.mark.parametrize(("how", "beside"), [("kill", False), ("kill", True), ("interrupt", False)])
def test_a_task_that_waits_in_cleanup_only(jobs, began, monkeypatch, how, beside):
    """It is never seen outside, because it computes there: it dies there like any running code."""
    monkeypatch.undo()
    block = Block(began)

    async def main():
        if not beside:
            await compute_in(block)
        task = asyncio.create_task(compute_in(block))
        await asyncio.sleep(1000)
        del task

    job = jobs.submit(lambda: asyncio.run(main()))
    assert ask(job, began, how)
    assert job.wait(HANG_GUARD)
    assert job.state is (JobState.KILLED if how == "kill" else JobState.STOPPED)
    assert block.is_whole


@pytest.mark.slow
def test_long_cleanup_that_nothing_has_cancelled_completes(jobs, began, monkeypatch):
    """A task is spared while it cleans up, and so are those that help it with that."""
    monkeypatch.undo()
    ended = []

    async def help_(name):
        for _ in range(300):
            await asyncio.sleep(0.002)
        ended.append(name)

    async def main():
        task = asyncio.create_task(help_("before"))
        try:
            await asyncio.sleep(0)
        finally:
            began.set()
            async with asyncio.TaskGroup() as group:
                group.create_task(help_("in a group"))
            await task
            await help_("alone")
        await asyncio.sleep(1000)

    assert_dies(jobs, began, main)
    assert sorted(ended) == ["alone", "before", "in a group"]
