"""Cleanup may start tasks and wait for them: these belong to it, also while they compute."""

import asyncio
import time

import pytest

from ipykill import JobState
from tests.waiting import HANG_GUARD

LONG = 0.6  # seconds; a loop that does not look for so long counts as blocked


def compute() -> None:
    until = time.monotonic() + LONG
    while time.monotonic() < until:
        pass


async def helper(ended: list[str]) -> None:
    compute()
    ended.append("helper")


async def by_gather(ended: list[str]) -> None:
    await asyncio.gather(helper(ended), asyncio.sleep(0))


async def by_a_group(ended: list[str]) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(helper(ended))


async def by_wait(ended: list[str]) -> None:
    await asyncio.wait([asyncio.create_task(helper(ended))])


async def by_a_helper_of_its_own(ended: list[str]) -> None:
    await asyncio.create_task(by_a_group(ended))


async def in_a_nursery(ended: list[str]) -> None:
    trio = pytest.importorskip("trio")
    async with trio.open_nursery() as nursery:
        nursery.cancel_scope.shield = True
        nursery.start_soon(helper, ended)


@pytest.mark.slow
@pytest.mark.parametrize(
    "cleans_up", [by_gather, by_a_group, by_wait, by_a_helper_of_its_own, in_a_nursery]
)
def test_a_task_that_helps_cleanup_is_no_task_that_goes_on(jobs, began, cleans_up):
    ended: list[str] = []

    async def main(sleep):
        try:
            began.set()
            await sleep(1000)
        finally:
            await cleans_up(ended)
            ended.append("main")

    if cleans_up is in_a_nursery:
        trio = pytest.importorskip("trio")
        job = jobs.submit(lambda: trio.run(main, trio.sleep))
    else:
        job = jobs.submit(lambda: asyncio.run(main(asyncio.sleep)))
    assert began.wait(HANG_GUARD)
    assert job.kill(HANG_GUARD)
    assert job.state is JobState.KILLED
    assert ended == ["helper", "main"]


class Group:
    """A group of tasks as a library may have one."""

    def __init__(self) -> None:
        self.tasks: list[asyncio.Task[object]] = []

    async def __aenter__(self) -> "Group":
        return self

    def create_task(self, coroutine) -> None:
        self.tasks.append(asyncio.create_task(coroutine))

    async def __aexit__(self, *error: object) -> None:
        await asyncio.gather(*self.tasks)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [asyncio.TaskGroup, Group])
def test_a_task_of_a_group_that_computes_for_ever_is_killed(jobs, began, kind):
    """The wait of a group for its tasks is no cleanup, as long as nobody has cancelled it."""

    async def work():
        began.set()
        while True:
            pass

    async def main():
        async with kind() as group:
            group.create_task(work())

    job = jobs.submit(lambda: asyncio.run(main()))
    assert began.wait(HANG_GUARD)
    assert job.kill(HANG_GUARD)


@pytest.mark.slow
def test_a_task_for_which_an_exit_waits_in_trio_is_killed(jobs, began):
    trio = pytest.importorskip("trio")

    class Server:
        async def __aenter__(self):
            self.ended = trio.Event()

        async def __aexit__(self, *error):
            await self.ended.wait()

    async def work():
        began.set()
        while True:
            pass

    async def main():
        async with trio.open_nursery() as nursery, Server():
            nursery.start_soon(work)

    job = jobs.submit(lambda: trio.run(main))
    assert began.wait(HANG_GUARD)
    assert job.kill(HANG_GUARD)


@pytest.mark.slow
def test_a_task_that_begins_before_its_group_hears_that_it_is_cancelled_is_killed(jobs, began):
    async def compute():
        began.set()
        while True:
            pass

    async def cancel(group, task):
        group.create_task(compute())
        task.cancel()
        await asyncio.sleep(1000)

    async def main():
        async with asyncio.TaskGroup() as group:
            group.create_task(cancel(group, asyncio.current_task()))

    job = jobs.submit(lambda: asyncio.run(main()))
    assert began.wait(HANG_GUARD)
    assert job.kill(HANG_GUARD)
