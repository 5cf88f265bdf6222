"""Coroutines in a job: an event loop of their own, and where its tasks are.

Code that awaits passes a checkpoint at each ``await``: asyncio can cancel it there, and does, when
the job is asked to stop or is killed. How that is done is said in `ipykill.kill.ending`; it is the
same for a loop that the job's code runs itself, with ``asyncio.run``.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Mapping
from typing import Any

from ..base import stack
from .current import checkpoint, current_job
from .job import Job

__all__ = ["run"]


@stack.machinery
def run(main: Coroutine[Any, Any, object]) -> object:
    """Run a coroutine in the calling thread, to its end, on a loop of its own.

    Raises
    ------
    JobStopped, JobKilled
        The job was asked to end, and therefore the coroutine was cancelled.
    """
    job = current_job()
    try:
        # Within another loop, that works with a library that lets loops do so.
        if (
            job is None
            or threading.current_thread() is not job.thread
            or asyncio._get_running_loop() is not None
        ):
            return asyncio.run(main)
        with asyncio.Runner() as runner:
            return runner.run(_attended(main, job))
    except asyncio.CancelledError as error:
        _say_why(error)
        raise
    finally:
        main.close()  # which has not begun, if the loop did not run


def _say_why(error: asyncio.CancelledError) -> None:
    """Raise what the cancelling was for, as if it had been raised where that was."""
    try:
        checkpoint()
    except BaseException as ending:
        raise ending.with_traceback(error.__traceback__) from None


@stack.machinery
async def _attended(main: Coroutine[Any, Any, object], job: Job) -> object:
    job.attend(_JobLoop(asyncio.get_running_loop(), asyncio.current_task()))
    try:
        return await main
    finally:
        job.attend(None)


class _JobLoop:
    """The event loop of a job, for who looks at it; any thread may call `stacks`."""

    def __init__(self, loop: asyncio.AbstractEventLoop, main: asyncio.Task[Any] | None) -> None:
        self._loop = loop
        self._main = main

    def stacks(self, labels: Mapping[str, str]) -> list[stack.Stack]:
        """Return where the tasks wait, the main one first."""
        try:
            tasks = asyncio.all_tasks(self._loop)
        except RuntimeError:  # they changed too fast
            return []
        found = []
        for task in sorted(tasks, key=lambda task: (task is not self._main, task.get_name())):
            frames = stack.trim(stack.of_coroutine(task.get_coro(), labels))
            found.append(stack.Stack(task.get_name(), 1, True, tuple(frames)))
        return found
