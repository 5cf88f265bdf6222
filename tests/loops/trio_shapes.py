"""What runs in ``trio.run``, and in ``anyio.run`` on trio: functions to be killed at any moment.

As in `shapes`; but what cleans up in trio shields its waits, as its documentation asks for, for in
a scope that was cancelled each wait is.
"""

import contextlib
import subprocess
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anyio
import trio

import ipykill
from tests.loops.shapes import CLEANUP, Count

Work = Callable[[], Awaitable[object]]


async def shielded() -> None:
    with trio.CancelScope(shield=True):
        await trio.sleep(CLEANUP)


async def keep(count: Count, work: Work, wait: Work = shielded) -> None:
    await count.keep(work, wait)


async def poll() -> None:
    while True:
        await trio.sleep(0.001)


async def poll_at_once() -> None:
    while True:
        await trio.sleep(0)


async def wait_long() -> None:
    await trio.sleep_forever()


async def compute() -> None:
    while True:
        for _ in range(1000):
            pass


async def compute_and_yield() -> None:
    while True:
        for _ in range(1000):
            pass
        await trio.sleep(0)


async def sleep_in_c() -> None:
    while True:
        time.sleep(1000)


async def ask_from_a_thread() -> None:
    """What a callback of a library does, to which trio passes the time in a thread."""

    def ask() -> None:
        while True:
            trio.from_thread.run(trio.sleep, 0.001)

    await trio.to_thread.run_sync(ask)


SHAPES: dict[str, Callable[[Count], Awaitable[object]]] = {}


def shape(fn: Callable[[Count], Awaitable[object]]) -> Any:
    SHAPES[fn.__name__] = fn
    return fn


@shape
async def polls(count):
    await keep(count, poll)


@shape
async def polls_at_once(count):
    await keep(count, poll_at_once)


@shape
async def waits(count):
    await keep(count, wait_long)


@shape
async def asks_from_a_thread(count):
    await keep(count, ask_from_a_thread)


@shape
async def computes(count):
    await keep(count, compute)


@shape
async def computes_and_yields(count):
    await keep(count, compute_and_yield)


@shape
async def sleeps_in_c(count):
    await keep(count, sleep_in_c)


@shape
async def cleans_up_without_a_shield(count):
    """The main task may: nothing cancels it, as after a Ctrl-C."""
    await keep(count, poll, lambda: trio.sleep(CLEANUP))


async def start(count, *works):
    async with trio.open_nursery() as nursery:
        for work in works:
            nursery.start_soon(keep, count, work)


@shape
async def nurseries(count):
    await start(count, *(poll, wait_long, compute_and_yield) * 2)


@shape
async def nurseries_one_that_computes(count):
    await start(count, wait_long, poll, compute)


@shape
async def nurseries_one_that_sleeps_in_c(count):
    await start(count, wait_long, poll, sleep_in_c)


@shape
async def nurseries_in_nurseries(count):
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(nurseries, count)
        await keep(count, poll)


@shape
async def many(count):
    await start(count, *[poll] * 100)


@shape
async def nurseries_in_managers(count):
    """What a server library gives: ``async with serve(): ...``, which ends at its end."""

    @contextlib.asynccontextmanager
    async def serve():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(keep, count, poll)
            nursery.start_soon(keep, count, wait_long)
            yield

    async with serve():
        pass


class _Pool:
    def __init__(self, count):
        self.count = count

    async def __aenter__(self):
        self.manager = trio.open_nursery()
        nursery = await self.manager.__aenter__()
        nursery.start_soon(keep, self.count, poll)
        return self

    async def __aexit__(self, *error):
        return await self.manager.__aexit__(*error)


@shape
async def nurseries_in_classes(count):
    async with _Pool(count), _Pool(count):
        pass


@shape
async def channels(count):
    send, receive = trio.open_memory_channel[int](2)

    async def produce():
        async with send:
            while True:
                await send.send(1)

    async def consume():
        async for _ in receive:
            await trio.sleep(0.0005)

    await start(count, produce, consume)


@shape
async def channels_that_never_wait(count):
    send, receive = trio.open_memory_channel[int](2)

    async def work():
        while True:
            await send.send(1)
            await receive.receive()

    await keep(count, work)


@shape
async def locks(count):
    lock, event = trio.Lock(), trio.Event()

    async def work():
        while True:
            async with lock:
                await trio.sleep(0.0002)
            with trio.move_on_after(0.0005):
                await event.wait()

    try:
        await start(count, work, work, work)
    finally:
        number = count.number()
        count.entered.add(number)
        if not lock.locked():
            count.left.add(number)


@shape
async def context_managers(count):
    @contextlib.asynccontextmanager
    async def manager():
        number = count.number()
        try:
            count.entered.add(number)
            yield
        finally:
            await count.clean_up(number, shielded)

    class Manager:
        async def __aenter__(self):
            await trio.sleep(0.0002)
            self.number = count.number()
            count.entered.add(self.number)

        async def __aexit__(self, *_):
            await count.clean_up(self.number, shielded)

    async def work():
        async with manager(), Manager():
            count.began.set()
            await poll()

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(work)


@shape
async def generators(count):
    async def items():
        number = count.number()
        try:
            count.entered.add(number)
            count.began.set()
            while True:
                await trio.sleep(0.0005)
                yield 1
        finally:
            await count.clean_up(number, shielded)

    async def work():
        async with contextlib.aclosing(items()) as each:
            async for _ in each:
                await trio.sleep(0.0005)

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(work)


@shape
async def cleans_up_with_tasks(count):
    async def group():
        async with trio.open_nursery() as nursery:
            nursery.cancel_scope.shield = True
            nursery.start_soon(trio.sleep, CLEANUP)
            nursery.start_soon(trio.sleep, CLEANUP)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(keep, count, poll, group)
        await keep(count, poll, group)


@shape
async def cleans_up_all_the_time(count):
    """A Kill meets a cleanup that has nothing to do with it."""

    async def work():
        while True:
            await keep(count, lambda: trio.sleep(0), lambda: trio.sleep(0.0003))

    await work()


@shape
async def swallows(count):
    async def work():
        for _ in range(3):
            with contextlib.suppress(KeyboardInterrupt, trio.Cancelled):
                await poll()
        await poll()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(keep, count, work)
        await keep(count, work)


@shape
async def swallows_for_ever(count):
    async def work():
        while True:
            try:
                await trio.sleep(0.001)
            except BaseException:
                pass

    async with trio.open_nursery() as nursery:
        nursery.start_soon(keep, count, work)
        await keep(count, work)


@shape
async def tries_again(count):
    async def work():
        while True:
            try:
                raise ConnectionError
            except ConnectionError:
                await trio.sleep(1000)

    await keep(count, work)


@shape
async def works_in_threads(count):
    async def work():
        await trio.to_thread.run_sync(time.sleep, 1000, abandon_on_cancel=True)

    await start(count, work, poll)


@shape
async def runs_processes(count):
    async def work():
        await trio.run_process(["sleep", "1000"], stdout=subprocess.DEVNULL)

    await start(count, work, poll)


@shape
async def serves(count):
    async def answer(stream):
        async with stream:
            await keep(count, lambda: stream.send_all(await_some))

    await_some = b"x"
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]

    async def call():
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            while await stream.receive_some():
                pass
            await poll()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, answer, listeners)
        nursery.start_soon(keep, count, call)
        nursery.start_soon(keep, count, call)


# With anyio


async def anyio_shielded() -> None:
    with anyio.CancelScope(shield=True):
        await anyio.sleep(CLEANUP)


async def anyio_poll() -> None:
    while True:
        await anyio.sleep(0.001)


@shape
async def anyio_groups(count):
    async with anyio.create_task_group() as group:
        group.start_soon(count.keep, anyio_poll, anyio_shielded)
        group.start_soon(count.keep, anyio.sleep_forever, anyio_shielded)
        await count.keep(anyio_poll, anyio_shielded)


@shape
async def anyio_threads(count):
    async with anyio.create_task_group() as group:
        group.start_soon(count.keep, anyio_poll, anyio_shielded)
        await anyio.to_thread.run_sync(time.sleep, 0.002)
        await count.keep(anyio.sleep_forever, anyio_shielded)


# How they are run


def _starts(name: str) -> Callable[[Count], ipykill.Job]:
    fn = SHAPES[name]
    if name.startswith("anyio"):
        return lambda count: ipykill.submit(lambda: anyio.run(fn, count, backend="trio"))
    return lambda count: ipykill.submit(lambda: trio.run(fn, count))


def in_a_thread(count: Count) -> ipykill.Job:
    """Run trio in a thread that the job starts, and waits for."""

    def body():
        thread = threading.Thread(target=trio.run, args=(nurseries, count))
        thread.start()
        thread.join()

    return ipykill.submit(body)


def in_a_pool(count: Count) -> ipykill.Job:
    """Run trio in the worker of a thread pool that the job makes."""

    def body():
        with ThreadPoolExecutor() as pool:
            pool.submit(trio.run, nurseries, count).result()

    return ipykill.submit(body)


def one_after_another(count: Count) -> ipykill.Job:
    """Run trio again and again."""

    def body():
        while True:
            trio.run(keep, count, lambda: trio.sleep(0.0005))

    return ipykill.submit(body)


STARTS: dict[str, Callable[[Count], ipykill.Job]] = {name: _starts(name) for name in SHAPES}
STARTS |= {fn.__name__: fn for fn in (in_a_thread, in_a_pool, one_after_another)}
