"""What a waiting asyncio task is doing: where it waits, whether in cleanup, and for what.

These functions are called in the thread of the task's loop. They run no code of the task's, but
look at its frames and at the futures that it waits for.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import sys
from collections.abc import Collection, Iterator
from types import (
    AsyncGeneratorType,
    CodeType,
    CoroutineType,
    FrameType,
    FunctionType,
    GeneratorType,
    ModuleType,
)
from typing import Any, TypeAlias, cast

from .codemap import codemap
from .dying import handles_an_order

__all__ = [
    "EXITS",
    "Task",
    "awaits",
    "cleans_up",
    "executes",
    "frames_of",
    "helped_by",
    "helps_cleanup",
    "helps_greenlet",
    "in_handler",
    "is_done",
    "is_in_cleanup",
    "is_machinery",
    "is_of_a_loop",
    "needed_of",
    "outside_greenlet",
    "owner_of",
    "serves",
    "tasks_of",
    "waiting",
    "was_cancelled",
]

Task: TypeAlias = "asyncio.Task[Any]"

# Libraries whose own waits for tasks are no cleanup, above all `TaskGroup.__aexit__`.
_MACHINERY = (
    os.path.join(os.path.dirname(asyncio.__file__), ""),
    *(f"{os.sep}{name}{os.sep}" for name in ("anyio", "trio", "uvloop", "gevent")),
    *(f"{os.sep}{name}.py" for name in ("nest_asyncio", "nest_asyncio2")),
)
EXITS = frozenset({"__exit__", "__aexit__", "__del__"})
# These are cleanup as a whole. Any loop has the first two, and runs them when its tasks have ended.
# The last one is a task of asyncio's own, which ends at once. Without it a process that has just
# been started never ends for asyncio, and who is cancelled while it starts waits for that.
_WHOLE = {"shutdown_asyncgens", "shutdown_default_executor", "_connect_pipes"}
_SPAWN = "greenlet_spawn"
_FRAMES = ("cr_frame", "gi_frame", "ag_frame")
_INNER = ("cr_await", "gi_yieldfrom", "ag_await")
_KINDS = (CoroutineType, GeneratorType, AsyncGeneratorType)
# The callbacks of run_coroutine_threadsafe(), and of run_until_complete() of uvloop.
_WAITERS = ("_chain_future.", "Loop.run_until_complete.")
# All code refers to objects of these classes, so they do not connect one task with another.
_WIDE = (asyncio.AbstractEventLoop, FunctionType, ModuleType, type)
_MOST = 1000  # frames of one task
_CHAIN = 10  # tasks of which each waits for the one before


def is_machinery(code: CodeType) -> bool:
    """Whether this is code of a library that runs loops or tasks."""
    return is_of_a_loop(code.co_filename)


def is_of_a_loop(filename: str) -> bool:
    """Whether this is a file of a library that runs loops or tasks."""
    return filename.startswith(_MACHINERY[0]) or any(part in filename for part in _MACHINERY[1:])


def waiting(coroutine: Any) -> Iterator[tuple[FrameType | None, object]]:
    """Yield the frames of a coroutine that waits, outermost first, each with its coroutine.

    The frame is None for ``aclose()`` and ``athrow()`` of an asynchronous generator; the frames
    after it are those of the generator that is being ended.
    """
    for _ in range(_MOST):
        if coroutine is None or asyncio.isfuture(coroutine):
            return
        for attribute in _FRAMES:
            if isinstance(frame := getattr(coroutine, attribute, None), FrameType):
                yield frame, coroutine
                if getattr(coroutine, "cr_suspended", False):  # it may run: other threads look, too
                    yield from _in_greenlet(frame)
        for attribute in _INNER:
            if hasattr(coroutine, attribute):
                coroutine = getattr(coroutine, attribute)
                break
        else:
            if type(coroutine).__name__ == "async_generator_athrow":
                yield None, coroutine
            # `await anext(...)` and the like: a C object that refers to the generator it drives.
            held = gc.get_referents(coroutine)
            coroutine = next((it for it in held if isinstance(it, _KINDS)), None)


def _in_greenlet(frame: FrameType) -> Iterator[tuple[FrameType, object]]:
    """Yield the frames of ordinary code that waits through a coroutine, each with its greenlet.

    SQLAlchemy runs code that does not know of asyncio in a greenlet, and `greenlet_spawn` awaits
    for it. The coroutine's own frames do not tell that this code cleans up.
    """
    if frame.f_code.co_name != _SPAWN:
        return
    greenlet = frame.f_locals.get("context")
    inner = getattr(greenlet, "gr_frame", None)  # None while it runs
    stack: list[FrameType] = []
    while isinstance(inner, FrameType) and len(stack) < _MOST:
        stack.append(inner)
        inner = inner.f_back
    yield from ((it, greenlet) for it in reversed(stack))


def helps_greenlet() -> bool:
    """Whether a greenlet, which may clean up, waits for the coroutine that calls this."""
    frame: FrameType | None = sys._getframe()
    while frame is not None and frame.f_code.co_name != _SPAWN:
        frame = frame.f_back
    return frame is not None


def outside_greenlet() -> FrameType | None:
    """Return the frame that waits for the calling greenlet of SQLAlchemy's; None if it is none.

    The stack of a greenlet ends with its first function, and does not tell who has started it.
    """
    current: Any = getattr(sys.modules.get("greenlet"), "getcurrent", object)()
    if not getattr(current, "__sqlalchemy_greenlet_provider__", False):
        return None
    frame = current.parent.gr_frame
    return frame if isinstance(frame, FrameType) else None


def _is_greenlet(coroutine: object) -> bool:
    """Whether it is a greenlet, which does not tell the exception that it handles.

    After its task was cancelled, that exception is most probably the cancellation.
    """
    return hasattr(coroutine, "gr_frame")


def frames_of(coroutine: object) -> list[FrameType]:
    """Return the frames of a coroutine that waits, outermost first."""
    return [frame for frame, _ in waiting(coroutine) if frame is not None]


def in_handler(frame: FrameType, coroutine: object, *, late: bool) -> bool:
    """Whether a coroutine that waits in `frame` does so in a ``finally`` or ``except`` block.

    Parameters
    ----------
    late
        Whether to leave out an ``except`` block of code that is going to try again, see
        `policy.shelter`.
    """
    known = codemap(frame.f_code)
    if frame.f_lasti not in known.cleanup:
        return False
    return not (late and frame.f_lasti in known.recovering) or handles_an_order(coroutine)


def cleans_up(task: Task, *, asked: bool, late: bool = False) -> bool:
    """Whether a task that waits does so in cleanup, which must not be cut short.

    Parameters
    ----------
    asked
        Whether it was cancelled before. If not, a TaskGroup that waits for its tasks does not
        count as cleanup, because cancelling the task is what ends them.
    late
        See `in_handler`.
    """
    for frame, coroutine in waiting(task.get_coro()):
        if frame is None or frame.f_code.co_name in _WHOLE:
            return True
        if in_handler(frame, coroutine, late=late and not (asked and _is_greenlet(coroutine))):
            return True
        if frame.f_code.co_name in EXITS and (asked or not is_machinery(frame.f_code)):
            return True
    return False


def helps_cleanup(task: Task | None, *, late: bool = False) -> bool:
    """Whether a running task was started by the cleanup of another one, which waits for it.

    On a busy machine a loop may seem to be kept from its work by such a task. An ``__aexit__``, of
    a group of tasks for example, is cleanup only if its task was cancelled, and has run since.
    """
    for _ in range(_CHAIN):
        task = None if task is None else owner_of(task) or helped_by(task)
        if task is None:
            return False
        exits = bool(task.cancelling()) and awaits(task) is not None
        if is_in_cleanup(task.get_coro(), exits=exits, late=late):
            return True
    return False


def is_in_cleanup(coroutine: object, *, exits: bool, late: bool) -> bool:
    """Whether a coroutine waits in ``finally`` or ``except``, or, if `exits`, in one of `EXITS`."""
    return any(
        frame is None
        or in_handler(frame, inner, late=late and not (exits and _is_greenlet(inner)))
        or (exits and frame.f_code.co_name in EXITS)
        for frame, inner in waiting(coroutine)
    )


def awaits(task: Task) -> object:
    """Return the future that a task waits for, None if it is about to run or has ended."""
    future = getattr(task, "_fut_waiter", None)
    return None if future is None or future.done() else future


def executes(task: Task) -> bool:
    """Whether a task is running, on the stack of its thread, and so waits for nothing."""
    return bool(getattr(task.get_coro(), "cr_running", False))


def is_done(future: asyncio.Future[Any]) -> bool:
    """Whether a future is done, even while its ``done()`` is replaced (`holding`)."""
    return type(future).done(future)


def was_cancelled(future: asyncio.Future[Any]) -> bool:
    """Whether a future has ended because it was cancelled. A gather() has failed then."""
    if isinstance(future, asyncio.Task) or not is_done(future) or future.cancelled():
        return future.cancelled()
    return isinstance(future.exception(), asyncio.CancelledError)


def tasks_of(future: asyncio.Future[Any]) -> list[Task]:
    """Return the tasks that cancelling `future` cancels: itself, or those of a gather()."""
    if isinstance(future, asyncio.Task):
        return [future]
    children = getattr(future, "_children", None) or ()
    return [task for child in children for task in tasks_of(child)]


def serves(task: Task) -> bool:
    """Whether a thread, not only a task, waits for `task`: another thread, or the loop's own."""
    names = (getattr(callback, "__qualname__", "") for callback in _callbacks(task))
    return any(name.startswith(_WAITERS) for name in names)


def owner_of(task: Task) -> Task | None:
    """Return the task that, when it is cancelled, cancels `task`; None if there is none."""
    for callback in _callbacks(task):
        # A TaskGroup's callback. Its class is not looked at, because there are several.
        parent = getattr(getattr(callback, "__self__", None), "_parent_task", None)
        if parent is not None and not is_done(parent) and not executes(parent):
            return parent  # type: ignore[no-any-return]
        for told in getattr(callback, "args", ()):  # of wait_for(), up to 3.11
            if asyncio.isfuture(told) and (waiter := _waiter(told)) is not None:
                return waiter
    return _waiter(task)


def helped_by(task: Task) -> Task | None:
    """Return a task that waits for `task`, alone or among others; None if there is none."""
    for callback in _callbacks(task):
        for held in _held_in(callback):  # by wait(), for example
            if (waiter := _waiter(held)) is not None:
                return waiter
    return _waiter(task)


def _waiter(future: Any, depth: int = 0) -> Task | None:
    """Return the task that waits for `future`, or for a gather() of it; None if there is none.

    A future tells who is to be woken by its callbacks, so nobody has to look at all tasks.
    """
    for callback in _callbacks(future):
        waiter: Any = getattr(callback, "__self__", None)
        if hasattr(waiter, "get_coro") and awaits(waiter) is future:
            return cast(Task, waiter)
        for held in _held_in(callback) if depth < _CHAIN else ():
            if hasattr(held, "_children") and (found := _waiter(held, depth + 1)) is not None:
                return found
    return None


def _held_in(callback: object) -> Iterator[Any]:
    """Yield the futures to which a function refers that was made for them."""
    for cell in getattr(callback, "__closure__", None) or ():
        with contextlib.suppress(ValueError):  # it is empty
            if asyncio.isfuture(held := cell.cell_contents):
                yield held


def needed_of(tasks: Collection[Task], others: Collection[Task]) -> set[Task]:
    """Return those of `tasks` that the cleanup of another task awaits, or that hold what it awaits.

    They were started by that cleanup, as far as can be seen: a helper of asyncio's own that sets
    a future when a process has started, or a user's task that sets an event or takes from a queue.
    The cleanup would wait for ever if they were cancelled, perhaps before their first line.
    """
    awaited: dict[int, set[Task]] = {}
    for task in others if tasks else ():
        if cleans_up(task, asked=task.cancelling() > 0):
            for it in _waited_for(task):
                awaited.setdefault(id(it), set()).add(task)
    return {
        task for task in tasks if any(awaited.get(id(it), set()) - {task} for it in _held_by(task))
    }


def _waited_for(task: Task) -> Iterator[object]:
    """Yield the future that a task waits for, and the event or the queue to which it belongs."""
    if (future := awaits(task)) is not None:
        yield future
        for frame in frames_of(task.get_coro()):
            owner = frame.f_locals.get("self") if is_machinery(frame.f_code) else None
            if owner is not None and not isinstance(owner, asyncio.AbstractEventLoop):
                yield owner


def _held_by(task: Task) -> Iterator[object]:
    """Yield a task, what its variables and callbacks hold, and what the objects there hold.

    No code of these objects runs.
    """
    yield task
    values = [it for frame in frames_of(task.get_coro()) for it in frame.f_locals.values()]
    for callback in _callbacks(task):
        values += gc.get_referents(*(getattr(callback, "__closure__", None) or ()))
        values.append(getattr(callback, "__self__", None))
    for value in values:
        yield value
        if not isinstance(value, _WIDE):
            for part in gc.get_referents(value):
                yield part
                if type(part) is dict and not isinstance(value, dict):  # its attributes
                    yield from list(part.values())


def _callbacks(task: Task) -> list[object]:
    return [callback for callback, *_ in getattr(task, "_callbacks", None) or ()]
