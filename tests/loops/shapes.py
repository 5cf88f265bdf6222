"""What runs on event loops: coroutines to be killed at any moment, and how they are run.

Each shape is given a `Count`. What enters something says so, and what has cleaned up, awaits
included, says so as well; after a Kill the two are the same.
"""

import asyncio
import contextlib
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

CLEANUP = 0.004  # seconds that a cleanup waits, three times


class Count:
    """What was entered, and what was left in order."""

    def __init__(self) -> None:
        self.began = threading.Event()
        self.entered: set[int] = set()
        self.left: set[int] = set()
        self._next = iter(range(10**9))

    def number(self) -> int:
        return next(self._next)

    @property
    def torn(self) -> int:
        """How many did not clean up."""
        return len(self.entered - self.left)

    async def clean_up(self, number: int, wait: Callable[[], Awaitable[object]] | None = None):
        for _ in range(3):
            await (asyncio.sleep(CLEANUP) if wait is None else wait())
        self.left.add(number)

    async def keep(self, work: Callable[[], Awaitable[object]], wait: Any = None) -> None:
        """Do `work`, and clean up after it."""
        number = self.number()
        try:
            self.entered.add(number)
            self.began.set()
            await work()
        finally:
            await self.clean_up(number, wait)


async def poll(pause: float = 0.001) -> None:
    while True:
        await asyncio.sleep(pause)


async def wait_long() -> None:
    await asyncio.sleep(1000)


async def compute() -> None:
    while True:
        for _ in range(1000):
            pass


async def compute_and_yield() -> None:
    while True:
        for _ in range(1000):
            pass
        await asyncio.sleep(0)


async def sleep_in_c() -> None:
    while True:
        time.sleep(1000)


SHAPES: dict[str, Callable[[Count], Coroutine[Any, Any, object]]] = {}


def shape(fn: Callable[[Count], Coroutine[Any, Any, object]]) -> Any:
    SHAPES[fn.__name__] = fn
    return fn


@shape
async def polls(count):
    await count.keep(poll)


@shape
async def waits(count):
    await count.keep(wait_long)


@shape
async def computes(count):
    await count.keep(compute)


@shape
async def computes_and_yields(count):
    await count.keep(compute_and_yield)


@shape
async def sleeps_in_c(count):
    await count.keep(sleep_in_c)


@shape
async def gathers(count):
    await asyncio.gather(*(count.keep(work) for work in (poll, wait_long, compute_and_yield) * 2))


@shape
async def gathers_one_that_computes(count):
    await asyncio.gather(count.keep(wait_long), count.keep(poll), count.keep(compute))


@shape
async def groups(count):
    async with asyncio.TaskGroup() as group:
        for work in (poll, wait_long, compute_and_yield) * 2:
            group.create_task(count.keep(work))


@shape
async def groups_one_that_computes(count):
    async with asyncio.TaskGroup() as group:
        group.create_task(count.keep(wait_long))
        group.create_task(count.keep(poll))
        group.create_task(count.keep(compute))


@shape
async def groups_in_groups(count):
    async with asyncio.TaskGroup() as group:
        for _ in range(2):
            group.create_task(groups(count))
        await count.keep(poll)


@shape
async def tasks_that_nobody_awaits(count):
    tasks = [asyncio.create_task(count.keep(work)) for work in (poll, wait_long, poll)]
    await count.keep(poll)
    del tasks


@shape
async def groups_that_nobody_awaits(count):
    tasks = [asyncio.create_task(inner(count)) for inner in (groups, gathers, groups_in_groups)]
    await poll()
    del tasks


@shape
async def waits_for_tasks(count):
    await asyncio.wait([asyncio.create_task(count.keep(poll)) for _ in range(3)])


@shape
async def waits_with_timeouts(count):
    async def work():
        event = asyncio.Event()
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(event.wait(), 0.001)

    await asyncio.gather(*(count.keep(work) for _ in range(3)))


@shape
async def waits_for_one_long(count):
    await asyncio.wait_for(count.keep(poll), 1000)


@shape
async def shields(count):
    await asyncio.shield(count.keep(poll))


@shape
async def queues(count):
    queue: asyncio.Queue[int] = asyncio.Queue(2)

    async def produce():
        while True:
            await queue.put(1)

    async def consume():
        while True:
            await queue.get()
            await asyncio.sleep(0.0005)

    await asyncio.gather(count.keep(produce), count.keep(consume), count.keep(consume))


@shape
async def locks(count):
    lock, condition, semaphore = asyncio.Lock(), asyncio.Condition(), asyncio.Semaphore(1)

    async def work():
        while True:
            async with lock, semaphore:
                await asyncio.sleep(0.0002)
            async with condition:
                condition.notify()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(condition.wait(), 0.001)

    try:
        await asyncio.gather(*(count.keep(work) for _ in range(4)))
    finally:
        number = count.number()
        count.entered.add(number)
        if not lock.locked() and not condition.locked() and not semaphore.locked():
            count.left.add(number)


@shape
async def generators(count):
    async def items():
        number = count.number()
        try:
            count.entered.add(number)
            count.began.set()
            while True:
                await asyncio.sleep(0.0005)
                yield 1
        finally:
            await count.clean_up(number)

    async def work():
        async for _ in items():
            await asyncio.sleep(0.0005)

    await asyncio.gather(*(count.keep(work) for _ in range(3)))


@shape
async def context_managers(count):
    @contextlib.asynccontextmanager
    async def manager():
        number = count.number()
        try:
            count.entered.add(number)
            yield
        finally:
            await count.clean_up(number)

    class Manager:
        async def __aenter__(self):
            await asyncio.sleep(0.0002)
            self.number = count.number()
            count.entered.add(self.number)

        async def __aexit__(self, *_):
            await count.clean_up(self.number)

    async def work():
        async with manager(), Manager():
            count.began.set()
            await poll()

    await asyncio.gather(*(work() for _ in range(3)))


@shape
async def cleans_up_with_timeouts(count):
    async def in_timeout():
        async with asyncio.timeout(1):
            await asyncio.sleep(CLEANUP)

    async def in_time():
        await asyncio.wait_for(asyncio.sleep(CLEANUP), 1)

    async def too_late():
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLEANUP):
                await asyncio.sleep(1000)

    await asyncio.gather(*(count.keep(poll, wait) for wait in (in_timeout, in_time, too_late)))


@shape
async def cleans_up_with_tasks(count):
    async def gather():
        await asyncio.gather(asyncio.sleep(CLEANUP), asyncio.sleep(CLEANUP))

    async def group():
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.sleep(CLEANUP))
            group.create_task(asyncio.sleep(CLEANUP))

    async def wait():
        await asyncio.wait([asyncio.create_task(asyncio.sleep(CLEANUP)) for _ in range(2)])

    tasks = [asyncio.create_task(count.keep(poll, how)) for how in (gather, group, wait)]
    await asyncio.gather(*(count.keep(poll, how) for how in (gather, group, wait)))
    del tasks


@shape
async def cleans_up_with_the_help_of_another_task(count):
    asked: asyncio.Queue[asyncio.Future[None]] = asyncio.Queue()

    async def serve():
        while True:
            (await asked.get()).set_result(None)

    async def ask():
        future = asyncio.get_running_loop().create_future()
        await asked.put(future)
        await future

    server = asyncio.create_task(serve())
    await asyncio.gather(*(count.keep(poll, ask) for _ in range(3)))
    del server


@shape
async def swallows(count):
    async def work():
        for _ in range(3):
            with contextlib.suppress(asyncio.CancelledError):
                await poll()
        await poll()

    tasks = [asyncio.create_task(count.keep(work)) for _ in range(2)]
    await asyncio.gather(*(count.keep(work) for _ in range(2)))
    del tasks


@shape
async def swallows_for_ever(count):
    async def work():
        while True:
            with contextlib.suppress(BaseException):
                await asyncio.sleep(1000)

    async def polls_on():
        while True:
            try:
                await asyncio.sleep(0.001)
            except BaseException:
                pass

    task = asyncio.create_task(count.keep(polls_on))
    await asyncio.gather(count.keep(work), count.keep(polls_on))
    del task


@shape
async def tries_again(count):
    async def work():
        while True:
            try:
                raise ConnectionError
            except ConnectionError:
                await asyncio.sleep(1000)

    await asyncio.gather(count.keep(work), count.keep(work))


@shape
async def works_in_threads(count):
    async def work():
        await asyncio.to_thread(time.sleep, 1000)

    await asyncio.gather(count.keep(work), count.keep(poll))


@shape
async def runs_processes(count):
    async def work():
        process = await asyncio.create_subprocess_exec("sleep", "1000")
        await process.wait()

    await asyncio.gather(count.keep(work), count.keep(poll))


@shape
async def serves(count):
    async def handle(reader, writer):
        async def echo():
            with contextlib.suppress(ConnectionError):
                while data := await reader.read(100):
                    writer.write(data)

        await count.keep(echo)

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]

    async def call():
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            while True:
                writer.write(b"x")
                await reader.read(100)
        finally:
            writer.close()

    async with server:
        await asyncio.gather(count.keep(call), count.keep(call), server.serve_forever())


@shape
async def computes_in_callbacks(count):
    loop = asyncio.get_running_loop()

    def callback():
        for _ in range(3000):
            pass
        loop.call_later(0.0005, callback)

    callback()
    await asyncio.gather(count.keep(poll), count.keep(wait_long))


# With a library that lets a loop run within itself

NESTED: dict[str, Callable[[Count], Coroutine[Any, Any, object]]] = {}


def nested(fn: Callable[[Count], Coroutine[Any, Any, object]]) -> Any:
    NESTED[fn.__name__] = fn
    return fn


@nested
async def runs_in_itself(count):
    loop = asyncio.get_running_loop()

    async def outer():
        loop.run_until_complete(count.keep(poll))

    await asyncio.gather(count.keep(outer), count.keep(poll))


@nested
async def runs_in_itself_and_cleans_up_so(count):
    loop = asyncio.get_running_loop()
    number = count.number()
    try:
        count.entered.add(number)
        loop.run_until_complete(asyncio.gather(count.keep(poll), count.keep(compute_and_yield)))
    finally:
        loop.run_until_complete(count.clean_up(number))


# How they are run


def _submit(fn, *args):
    return fn(*args)


def runs_asyncio_run(main):
    asyncio.run(main)


def runs_runner(main):
    with asyncio.Runner() as runner:
        runner.run(asyncio.sleep(0))
        runner.run(main)


def runs_until_complete(main):
    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(main)
    finally:
        loop.close()


def runs_until_complete_and_closes_nothing(main):
    asyncio.new_event_loop().run_until_complete(main)


def runs_a_gather(main):
    loop = asyncio.new_event_loop()

    async def make():
        return asyncio.gather(main, asyncio.sleep(1000))

    gather = loop.run_until_complete(make())
    loop.run_until_complete(gather)


def runs_in_a_thread(main):
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    asyncio.run_coroutine_threadsafe(main, loop).result()


RUNS: dict[str, Callable[[Coroutine[Any, Any, object]], object]] = {
    run.__name__: run
    for run in (
        runs_asyncio_run,
        runs_runner,
        runs_until_complete,
        runs_until_complete_and_closes_nothing,
        runs_a_gather,
        runs_in_a_thread,
    )
}
