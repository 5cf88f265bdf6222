"""Coroutines in a job: they run on an event loop of their own, which tells where its tasks are.

Each ``await`` is a checkpoint: when the job is asked to stop or is killed, asyncio cancels its
tasks there. `ipykill.kill.asyncio_runs` says how; it is the same for a loop that the job's code
runs itself, with ``asyncio.run``.
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
        # In a running loop, asyncio.run raises, unless a library such as nest_asyncio allows it.
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
        main.close()  # avoids a warning if the coroutine has never begun


def _say_why(error: asyncio.CancelledError) -> None:
    """Raise `JobStopped` or `JobKilled`, if that was the reason, with the traceback of `error`."""
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
    """The event loop of a job, see `ipykill.core.info.Loop`; any thread may call `stacks`."""

    def __init__(self, loop: asyncio.AbstractEventLoop, main: asyncio.Task[Any] | None) -> None:
        self._loop = loop
        self._main = main

    def stacks(self, labels: Mapping[str, str]) -> list[stack.Stack]:
        """Return where the tasks wait, the main task first."""
        try:
            tasks = asyncio.all_tasks(self._loop)
        except RuntimeError:  # the set of tasks kept changing during the call
            return []
        found = []
        for task in sorted(tasks, key=lambda task: (task is not self._main, task.get_name())):
            frames = stack.trim(stack.of_coroutine(task.get_coro(), labels))
            found.append(stack.Stack(task.get_name(), 1, True, tuple(frames)))
        return found
