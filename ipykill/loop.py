"""Coroutines in a job: an event loop of their own, and what a Stop means there.

Code that awaits passes a checkpoint at each ``await``: asyncio can cancel it there, and does,
when the job is asked to stop. What happens is what Ctrl-C does in ``asyncio.run``:

1. The main task is cancelled, whose ``finally:`` blocks run, with all that they await. A
   task, gather() or TaskGroup that it waits for is cancelled through it.
2. When it has ended, `asyncio.Runner` cancels the tasks that are left and waits for them.

asyncio asks once. A task that swallows the request goes on as if nothing had been, while
every later checkpoint of a job that was asked to stop is to raise again. So, as long as the
loop runs, a task that was cancelled and yet waits for something new is cancelled again,
unless it does that in cleanup (`ipykill.kill.codemap`): there a request too many would cut
``finally: await connection.close()`` short.

A Kill is raised in the code that the loop runs, or in the wait of the loop; then comes step 2.
A task that swallows that request as well is asked again, so that it runs, and the Kill is
raised there. (In `Runner.close` the wait of the loop is not broken, see `ipykill.kill.waits`,
and what is raised in a task ends that task and not the loop.)
"""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import Coroutine, Mapping
from typing import Any

from . import stack
from .job import Job, checkpoint, current_job
from .kill import arm_suspended, in_cleanup

__all__ = ["run"]

_AGAIN = 0.1  # seconds between two looks at who swallowed the request


@stack.machinery
def run(main: Coroutine[Any, Any, object]) -> object:
    """Run a coroutine in the calling thread, to its end, on a loop of its own.

    Raises
    ------
    JobStopped, JobKilled
        The job was asked to end, and therefore the coroutine was cancelled.
    """
    job = current_job()
    if job is None or threading.current_thread() is not job.thread:
        return asyncio.run(main)
    runner = asyncio.Runner()
    loop = _JobLoop(job, runner.get_loop())
    job.attend(loop)
    error: BaseException | None = None
    value = None
    try:
        value = runner.run(_main(main, loop))
    except BaseException as failure:
        error = failure
    try:
        # Not in a `with` or a `finally`, where no Kill would be raised in a task.
        loop.end()
        runner.close()
        if isinstance(error, asyncio.CancelledError):
            _say_why(error)
        if error is not None:
            raise error
        return value
    finally:
        job.attend(None)
        error = None  # else it and this frame, in its traceback, are a cycle


def _say_why(error: asyncio.CancelledError) -> None:
    """Raise what the cancelling was for, as if it had been raised where that was."""
    try:
        checkpoint()
    except BaseException as ending:
        raise ending.with_traceback(error.__traceback__) from None


@stack.machinery
async def _main(main: Coroutine[Any, Any, object], loop: _JobLoop) -> object:
    loop.main = asyncio.current_task()
    return await main


class _JobLoop:
    """The event loop of a job. See the module's docstring.

    Threading
    ---------
    Any thread may call `stop` and `stacks`, a signal handler too; neither blocks. All else
    happens in the loop.
    """

    def __init__(self, job: Job, loop: asyncio.AbstractEventLoop) -> None:
        self._job = job
        self._loop = loop
        self.main: asyncio.Task[Any] | None = None
        self._asked = self._ends = False
        # What each task waited for when it was cancelled, or before.
        self._waits: weakref.WeakKeyDictionary[asyncio.Task[Any], object] = (
            weakref.WeakKeyDictionary()
        )

    def stop(self) -> None:
        """Cancel what runs here."""
        try:
            self._loop.call_soon_threadsafe(self._cancel)
        except RuntimeError:  # it is closed
            pass

    def end(self) -> None:
        """Look after the tasks that asyncio is about to cancel."""
        self._ends = True
        for task in asyncio.all_tasks(self._loop):
            self._waits[task] = _wait_of(task)
        self._loop.call_later(_AGAIN, self._cancel)

    def _cancel(self) -> None:
        requested = self._job.requested
        if requested == "kill" and not self._ends:
            return  # it is raised in what runs here
        tasks = asyncio.all_tasks(self._loop)
        if not self._asked and not self._ends and self.main is not None:
            self._asked = True
            for task in tasks:
                self._waits[task] = _wait_of(task)
            self.main.cancel()
        elif requested is not None:
            for task in tasks:
                self._ask_again(task)
        self._loop.call_later(_AGAIN, self._cancel)

    def _ask_again(self, task: asyncio.Task[Any]) -> None:
        wait = _wait_of(task)
        if not task.cancelling():
            self._waits[task] = wait
        elif wait is not self._waits.get(task) and not _cleans_up(task):
            self._waits[task] = wait
            arm_suspended(stack.suspended(task.get_coro()))
            task.cancel()

    def stacks(self, labels: Mapping[str, str]) -> list[stack.Stack]:
        """Return where the tasks wait, the main one first."""
        try:
            tasks = asyncio.all_tasks(self._loop)
        except RuntimeError:  # they changed too fast
            return []
        found = []
        for task in sorted(tasks, key=lambda task: (task is not self.main, task.get_name())):
            frames = stack.trim(stack.of_coroutine(task.get_coro(), labels))
            found.append(stack.Stack(task.get_name(), 1, True, tuple(frames)))
        return found


def _wait_of(task: asyncio.Task[Any]) -> object:
    """Return the future that a task waits for."""
    return getattr(task, "_fut_waiter", None)


def _cleans_up(task: asyncio.Task[Any]) -> bool:
    """Whether a task that waits does so in cleanup, as far as can be seen."""
    coroutine: Any = task.get_coro()
    for frame in stack.suspended(coroutine):
        if in_cleanup(frame):
            return True
    while (inner := getattr(coroutine, "cr_await", None)) is not None:
        coroutine = inner
    # What stands in an asynchronous generator is not to be seen.
    return type(coroutine).__name__.startswith("async_generator")
