"""SQLAlchemy waits in a greenlet for what asyncio does; its cleanup there is cleanup, too."""

import asyncio
import threading
import time

import pytest

from tests.loops.dying import assert_dies

try:
    import greenlet  # noqa: F401
    from sqlalchemy.util import concurrency
except ImportError:
    pytestmark = pytest.mark.skip(reason="SQLAlchemy and greenlet are not installed")

STEPS = 5
MANY = 30  # by the end of which an `except` block that tries again would be left
LONG = 0.6  # seconds; a loop that does not look for so long counts as blocked


async def steps(times=STEPS):
    """Wait for several things in turn, each of which lasts longer than the look after it."""
    for _ in range(times):
        await asyncio.sleep(0.02)


async def forever():
    await asyncio.sleep(1000)


def by_finally(began, ended):
    try:
        began.set()
        concurrency.await_only(forever())
    finally:
        concurrency.await_only(steps())
        ended.append("cleaned up")


def by_except(began, ended):
    """The order to end is not raised again, as when a pool closes a broken connection."""
    try:
        began.set()
        concurrency.await_only(forever())
    except asyncio.CancelledError:
        concurrency.await_only(steps(MANY))
        ended.append("cleaned up")


def by_a_call_of_cleanup(began, ended):
    """The frame that cleans up is not the innermost one of the greenlet."""

    def close():
        concurrency.await_only(steps())
        concurrency.await_only(asyncio.shield(steps()))

    try:
        began.set()
        concurrency.await_only(forever())
    finally:
        close()
        ended.append("cleaned up")


@pytest.mark.parametrize("shape", [by_finally, by_except, by_a_call_of_cleanup])
@pytest.mark.parametrize("in_a_task", [False, True])
def test_cleanup_in_a_greenlet_is_not_cancelled_again(jobs, shape, in_a_task):
    began = threading.Event()
    ended: list[str] = []

    async def main():
        if in_a_task:
            await asyncio.create_task(concurrency.greenlet_spawn(shape, began, ended))
        else:
            await concurrency.greenlet_spawn(shape, began, ended)

    assert_dies(jobs, began, main)
    assert ended == ["cleaned up"]


@pytest.mark.slow
def test_cleanup_in_a_greenlet_that_nothing_has_cancelled_completes(jobs, began):
    """The coroutine for which it waits does not show that the greenlet cleans up."""
    ended: list[str] = []

    def work():
        try:
            pass
        finally:
            began.set()
            concurrency.await_only(steps(MANY))
            ended.append("cleaned up")
        concurrency.await_only(forever())

    assert_dies(jobs, began, lambda: concurrency.greenlet_spawn(work))
    assert ended == ["cleaned up"]


def test_code_in_a_greenlet_that_swallows_the_order_is_cancelled_again(jobs, began):
    """What a greenlet does outside of cleanup is ended like any other code."""

    def work():
        while True:
            try:
                began.set()
                concurrency.await_only(forever())
            except asyncio.CancelledError:
                pass

    assert_dies(jobs, began, lambda: concurrency.greenlet_spawn(work))


@pytest.mark.slow
def test_code_in_a_greenlet_that_tries_again_for_ever_is_killed(jobs, began):
    """An ``except`` block that waits before it tries again is no cleanup of the Kill."""

    def work():
        while True:
            try:
                raise OSError
            except OSError:
                began.set()
                concurrency.await_only(forever())

    assert_dies(jobs, began, lambda: concurrency.greenlet_spawn(work))


@pytest.mark.slow
def test_cleanup_that_computes_in_a_greenlet_completes(jobs, began):
    """The stack of the greenlet does not show that its coroutine cleans up."""
    ended: list[str] = []

    def compute():
        until = time.monotonic() + LONG
        while time.monotonic() < until:
            pass
        ended.append("computed")

    async def main():
        try:
            began.set()
            await forever()
        finally:
            await concurrency.greenlet_spawn(compute)
            ended.append("cleaned up")

    assert_dies(jobs, began, main)
    assert ended == ["computed", "cleaned up"]


@pytest.mark.slow
def test_code_that_computes_in_a_greenlet_for_ever_is_killed(jobs, began):
    def compute():
        while True:
            began.set()

    assert_dies(jobs, began, lambda: concurrency.greenlet_spawn(compute))
