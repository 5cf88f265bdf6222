"""A Kill in the moment when many tasks start: each is looked at, but not all of them each time."""

import asyncio
import sys

import pytest

from ipykill import JobState
from ipykill.kill.tasks import helped_by, owner_of
from tests.waiting import HANG_GUARD

MANY = 1000
LOOKS = 60
"""A Kill takes about ten looks at all tasks; each task that it meets made one more before."""


@pytest.mark.parametrize("how", ["gather", "group", "loose"])
def test_all_tasks_are_not_listed_for_each_that_starts(jobs, began, monkeypatch, how):
    listed = []
    all_tasks = asyncio.all_tasks

    def counted(loop=None):
        listed.append(loop)
        return all_tasks(loop)

    async def work():
        began.set()
        for _ in range(50):  # so that the loop is late for its look
            pass
        try:
            async with asyncio.timeout(1000):
                await asyncio.sleep(1000)
        finally:
            await asyncio.sleep(0)

    async def main():
        if how == "gather":
            await asyncio.gather(*(work() for _ in range(MANY)))
        elif how == "group":
            async with asyncio.TaskGroup() as group:
                for _ in range(MANY):
                    group.create_task(work())
        else:
            for task in [asyncio.create_task(work()) for _ in range(MANY)]:
                await task

    job = jobs.submit(lambda: asyncio.run(main()))
    assert began.wait(HANG_GUARD)
    monkeypatch.setattr(asyncio, "all_tasks", counted)
    assert job.kill(HANG_GUARD)
    assert job.state is JobState.KILLED
    assert len(listed) < LOOKS


def test_who_waits_for_a_task_is_known_from_its_callbacks():
    """The owner is who cancels it when it is cancelled itself; others wait for it as well."""

    async def main():
        release = asyncio.Event()

        async def work():
            await release.wait()

        async def by_await(task):
            await task

        async def by_gather(task):
            await asyncio.gather(task, work())

        async def by_nested_gathers(task):
            await asyncio.gather(asyncio.gather(asyncio.gather(task)), work())

        async def by_wait_for(task):
            await asyncio.wait_for(task, 1000)

        async def by_wait(task):
            await asyncio.wait([task])

        async def by_shield(task):
            await asyncio.shield(task)

        async def by_nobody(task):
            await release.wait()

        found = {}
        for way in (
            *(by_await, by_gather, by_nested_gathers, by_wait_for),
            *(by_wait, by_shield, by_nobody),
        ):
            task = asyncio.create_task(work())
            waiter = asyncio.create_task(way(task))
            await asyncio.sleep(0.01)
            names = {waiter: "waiter", None: None}
            found[way.__name__] = names[owner_of(task)], names[helped_by(task)]
        group_task = []

        async def in_a_group():
            async with asyncio.TaskGroup() as group:
                group_task.append(group.create_task(work()))

        waiter = asyncio.create_task(in_a_group())
        await asyncio.sleep(0.01)
        assert owner_of(group_task[0]) is waiter
        release.set()
        await asyncio.gather(*(asyncio.all_tasks() - {asyncio.current_task()}))
        assert owner_of(task) is helped_by(task) is None  # they have ended
        return found

    both, one, none = ("waiter", "waiter"), (None, "waiter"), (None, None)
    assert asyncio.run(main()) == {
        "by_await": both,
        "by_gather": both,
        "by_nested_gathers": both,
        # Up to 3.11 the task does not refer to the waiter otherwise than as its owner.
        "by_wait_for": both if sys.version_info >= (3, 12) else ("waiter", None),
        "by_wait": one,
        "by_shield": one,
        "by_nobody": none,
    }
