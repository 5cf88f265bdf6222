"""What a task of asyncio that waits is doing, as it is seen from its loop.

Nothing here runs code of the task's: it looks at the frames that wait, and at the futures that
they wait for.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
from collections.abc import Collection, Iterator
from types import AsyncGeneratorType, CodeType, CoroutineType, FrameType, GeneratorType
from typing import Any, TypeAlias

from .codemap import codemap
from .dying import handles_an_order

__all__ = [
    "EXITS",
    "Task",
    "Waits",
    "awaits",
    "cleans_up",
    "executes",
    "frames_of",
    "in_handler",
    "is_done",
    "is_machinery",
    "is_of_a_loop",
    "serves",
    "tasks_of",
    "waiting",
]

Task: TypeAlias = "asyncio.Task[Any]"

# Libraries whose own waits for tasks are no cleanup: `TaskGroup.__aexit__`, above all.
_MACHINERY = (
    os.path.join(os.path.dirname(asyncio.__file__), ""),
    *(f"{os.sep}{name}{os.sep}" for name in ("anyio", "trio", "uvloop", "gevent")),
    *(f"{os.sep}{name}.py" for name in ("nest_asyncio", "nest_asyncio2")),
)
EXITS = frozenset({"__exit__", "__aexit__", "__del__"})
# A loop runs these when its tasks have ended, and they are cleanup as a whole.
_CLOSING = {
    asyncio.BaseEventLoop.shutdown_asyncgens.__code__,
    asyncio.BaseEventLoop.shutdown_default_executor.__code__,
}
_FRAMES = ("cr_frame", "gi_frame", "ag_frame")
_INNER = ("cr_await", "gi_yieldfrom", "ag_await")
_KINDS = (CoroutineType, GeneratorType, AsyncGeneratorType)
# The callbacks of run_coroutine_threadsafe(), and of run_until_complete() of uvloop.
_WAITERS = ("_chain_future.", "Loop.run_until_complete.")
_MOST = 1000  # frames of one task


def is_machinery(code: CodeType) -> bool:
    """Whether this is code of a library that runs loops or tasks."""
    return is_of_a_loop(code.co_filename)


def is_of_a_loop(filename: str) -> bool:
    """Whether this is a file of a library that runs loops or tasks."""
    return filename.startswith(_MACHINERY[0]) or any(part in filename for part in _MACHINERY[1:])


def waiting(coroutine: Any) -> Iterator[tuple[FrameType | None, object]]:
    """Return the frames of a coroutine that waits, outermost first, and whose they are.

    None stands for ``aclose()`` and ``athrow()`` of an asynchronous generator, below which comes
    what that does to end itself.
    """
    for _ in range(_MOST):
        if coroutine is None or asyncio.isfuture(coroutine):
            return
        for attribute in _FRAMES:
            if isinstance(frame := getattr(coroutine, attribute, None), FrameType):
                yield frame, coroutine
        for attribute in _INNER:
            if hasattr(coroutine, attribute):
                coroutine = getattr(coroutine, attribute)
                break
        else:
            if type(coroutine).__name__ == "async_generator_athrow":
                yield None, coroutine
            # `await anext(...)` and the like: an object of C that holds what it drives.
            held = gc.get_referents(coroutine)
            coroutine = next((it for it in held if isinstance(it, _KINDS)), None)


def frames_of(coroutine: object) -> list[FrameType]:
    """Return the frames of a coroutine that waits, outermost first."""
    return [frame for frame, _ in waiting(coroutine) if frame is not None]


def in_handler(frame: FrameType, coroutine: object, *, late: bool) -> bool:
    """Whether a coroutine that waits in `frame` does so in a ``finally`` or ``except`` block.

    Parameters
    ----------
    late
        Whether an ``except`` block does not count that is going to try again, see `policy.shelter`.
    """
    known = codemap(frame.f_code)
    if frame.f_lasti not in known.cleanup:
        return False
    return not (late and frame.f_lasti in known.recovering) or handles_an_order(coroutine)


def cleans_up(task: Task, *, asked: bool, late: bool = False) -> bool:
    """Whether a task that waits does so in cleanup, which must not be cut.

    Parameters
    ----------
    asked
        Whether it was cancelled before. If not, a group that waits for its tasks is waiting
        and not cleaning up, for that is what ends them.
    late
        See `in_handler`.
    """
    for frame, coroutine in waiting(task.get_coro()):
        if frame is None or frame.f_code in _CLOSING:
            return True
        if in_handler(frame, coroutine, late=late):
            return True
        if frame.f_code.co_name in EXITS and (asked or not is_machinery(frame.f_code)):
            return True
    return False


def awaits(task: Task) -> object:
    """Return the future that a task waits for, None if it is about to run or has ended."""
    future = getattr(task, "_fut_waiter", None)
    return None if future is None or future.done() else future


def executes(task: Task) -> bool:
    """Whether a task is on the stack of its thread, and so waits for nothing."""
    return bool(getattr(task.get_coro(), "cr_running", False))


def is_done(future: asyncio.Future[Any]) -> bool:
    """Whether a future is done, also if its own ``done()`` is made to deny it (`ending`)."""
    return type(future).done(future)


def tasks_of(future: asyncio.Future[Any]) -> list[Task]:
    """Return the tasks that cancelling `future` cancels: itself, or those of a gather()."""
    if isinstance(future, asyncio.Task):
        return [future]
    children = getattr(future, "_children", None) or ()
    return [task for child in children for task in tasks_of(child)]


def serves(task: Task) -> bool:
    """Whether somebody waits for a task who is not one: a thread, or who runs the loop."""
    names = (getattr(callback, "__qualname__", "") for callback in _callbacks(task))
    return any(name.startswith(_WAITERS) for name in names)


class Waits:
    """Which of some tasks wait for which."""

    def __init__(self, tasks: Collection[Task]) -> None:
        self._tasks = set(tasks)
        self._waiters: dict[int, Task] = {}  # by the future, or the task, that they wait for
        for task in tasks:
            future = awaits(task)
            if isinstance(future, asyncio.Future):
                self._waiters.update((id(it), task) for it in (future, *tasks_of(future)))

    def owner(self, task: Task) -> Task | None:
        """Return the one that cancels `task` when it is cancelled."""
        for callback in _callbacks(task):
            # Of a TaskGroup. Not its class: there are several by now.
            parent = getattr(getattr(callback, "__self__", None), "_parent_task", None)
            if parent in self._tasks:
                return parent  # type: ignore[no-any-return]
            for told in getattr(callback, "args", ()):  # of wait_for(), up to 3.11
                if id(told) in self._waiters:
                    return self._waiters[id(told)]
        return self._waiters.get(id(task))

    def helped(self, task: Task) -> Task | None:
        """Return the one that waits for `task`, alone or among others, in whatever way."""
        for callback in _callbacks(task):
            for cell in getattr(callback, "__closure__", None) or ():  # of wait(), for example
                with contextlib.suppress(ValueError):  # it is empty
                    if (waiter := self._waiters.get(id(cell.cell_contents))) is not None:
                        return waiter
        return self._waiters.get(id(task))


def _callbacks(task: Task) -> list[object]:
    return [callback for callback, *_ in getattr(task, "_callbacks", None) or ()]
