"""Tasks that cleanup has started, and for which it waits in a way that names no task.

Such a task has to end its work. It is not cancelled with those that were there before.
"""

import asyncio
import subprocess
import sys

import pytest

from ipykill.kill import asyncio_runs
from tests.loops.dying import assert_dies
from tests.waiting import HANG_GUARD

SHORT = 0.05  # seconds for which cleanup may stand still, in these tests
STEPS = 30  # of a helper, which lasts longer than that


async def work():
    """Go on for a while, during which the loop looks at its tasks again and again."""
    for _ in range(STEPS):
        await asyncio.sleep(0.01)


async def by_a_future():
    async def help_(future):
        await work()
        future.set_result(None)

    future = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(help_(future))
    await future
    del task


async def by_an_event():
    event = asyncio.Event()

    async def help_():
        await work()
        event.set()

    task = asyncio.create_task(help_())
    await event.wait()
    del task


async def by_a_queue():
    async def help_(queue):
        while True:
            await queue.get()
            await work()
            queue.task_done()

    queue = asyncio.Queue()
    queue.put_nowait(None)
    task = asyncio.create_task(help_(queue))
    await queue.join()
    task.cancel()


class Connection:
    """An object of which one task tells another one that it is closed."""

    def __init__(self) -> None:
        self.closed = asyncio.Event()

    async def close(self) -> None:
        await work()
        self.closed.set()


async def by_an_attribute():
    connection = Connection()
    task = asyncio.create_task(connection.close())
    await connection.closed.wait()
    del task


async def by_a_task():
    await asyncio.create_task(work())


async def by_wait():
    ended, _ = await asyncio.wait([asyncio.create_task(work())])
    assert not any(task.cancelled() for task in ended)


async def by_gather():
    await asyncio.gather(work(), asyncio.sleep(0))


async def by_a_group():
    async with asyncio.TaskGroup() as group:
        group.create_task(work())


SHAPES = [
    *(by_a_future, by_an_event, by_a_queue, by_an_attribute),
    *(by_a_task, by_wait, by_gather, by_a_group),
]


@pytest.mark.slow
@pytest.mark.parametrize("cleans_up", SHAPES)
def test_a_task_of_cleanup_outlives_the_main_task(jobs, began, cleans_up):
    """The first task that ends ends the gather(), and so the main task, while another cleans up."""
    ended: list[str] = []

    async def leave(cleaning):
        try:
            await asyncio.sleep(1000)
        finally:
            await cleaning.wait()

    async def clean(cleaning):
        try:
            began.set()
            await asyncio.sleep(1000)
        finally:
            asyncio.get_running_loop().call_later(SHORT, cleaning.set)
            await cleans_up()
            ended.append("cleaned up")

    async def main():
        cleaning = asyncio.Event()
        await asyncio.gather(leave(cleaning), clean(cleaning))

    assert_dies(jobs, began, main)
    assert ended == ["cleaned up"]


@pytest.mark.slow
@pytest.mark.parametrize("cleans_up", SHAPES)
def test_a_task_of_cleanup_may_last_long(jobs, began, cleans_up, monkeypatch):
    monkeypatch.setattr(asyncio_runs, "_STUCK", SHORT)
    ended: list[str] = []

    async def main():
        try:
            began.set()
            await asyncio.sleep(1000)
        finally:
            await cleans_up()
            ended.append("cleaned up")

    assert_dies(jobs, began, main)
    assert ended == ["cleaned up"]


def test_a_process_that_cleanup_starts_when_the_main_task_ends(jobs, began):
    """asyncio's own task that connects its pipes sets the future for which the cleanup waits."""
    ended: list[object] = []

    async def leave(main, cleaning):
        try:
            await asyncio.sleep(1000)
        finally:
            await cleaning.wait()

    async def clean(main, cleaning):
        try:
            began.set()
            await asyncio.sleep(1000)
        finally:
            loop = asyncio.get_running_loop()
            create_task = loop.create_task

            def connect(coroutine, **options):
                """Begin the helper when the main task has ended, and the loop has looked."""
                cleaning.set()
                return create_task(connect_later(coroutine), **options)

            async def connect_later(_connect):
                while not main.done():
                    await asyncio.sleep(0)
                await work()
                await _connect

            loop.create_task = connect
            try:
                null = subprocess.DEVNULL
                arguments = sys.executable, "-c", ""
                process = await asyncio.create_subprocess_exec(*arguments, stdin=null)
            finally:
                del loop.create_task
            ended.append(await process.wait())

    async def main():
        cleaning = asyncio.Event()
        this = asyncio.current_task()
        await asyncio.gather(leave(this, cleaning), clean(this, cleaning))

    job = jobs.submit(lambda: asyncio.run(main()))
    assert began.wait(HANG_GUARD)
    assert job.kill(HANG_GUARD)
    assert ended == [0]


def test_a_process_whose_start_is_cancelled(jobs, began):
    """asyncio waits then for the end of the process, for which its own task has to go on."""
    ended: list[object] = []

    async def start():
        loop = asyncio.get_running_loop()
        connect = loop.connect_read_pipe

        async def connect_slowly(*arguments):
            loop.call_later(0.02, began.set)
            await asyncio.sleep(0.3)
            return await connect(*arguments)

        loop.connect_read_pipe = connect_slowly
        try:
            await asyncio.create_subprocess_exec(sys.executable, "-c", "", stdout=subprocess.PIPE)
        finally:
            ended.append("start")

    async def main():
        await asyncio.gather(asyncio.sleep(1000), start())

    assert_dies(jobs, began, main)
    assert ended == ["start"]


@pytest.mark.slow
def test_a_task_of_cleanup_for_which_nobody_waits_ends_when_cleanup_stands_still(
    jobs, began, monkeypatch
):
    """It sets what the cleanup waits for only when it is cancelled itself, and hides it well."""
    monkeypatch.setattr(asyncio_runs, "_STUCK", SHORT)
    ended: list[str] = []

    async def serve(deep):
        try:
            await asyncio.sleep(1000)
        finally:
            deep[0][0].set()

    async def clean(running):
        try:
            await asyncio.sleep(1000)
        finally:
            closed = asyncio.Event()
            task = asyncio.create_task(serve([[closed]]))
            running.set()
            await closed.wait()
            ended.append("cleaned up")
            del task

    async def main():
        running = asyncio.Event()
        task = asyncio.create_task(clean(running))
        began.set()
        try:
            await asyncio.sleep(1000)
        finally:
            task.cancel()
            await running.wait()

    job = jobs.submit(lambda: asyncio.run(main()))
    assert began.wait(HANG_GUARD)
    assert job.kill(HANG_GUARD)
    assert ended == ["cleaned up"]
