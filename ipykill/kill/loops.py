"""Event loops in a thread that is being killed: which one it runs, and what ends it.

Where an event loop waits, no exception is raised. The loop is told instead, and ends what runs on
it (`asyncio_runs`, `trio_runs`, `gevent_hubs`). An exception is raised only in code that keeps the
loop from doing so (`may_strike`).

The killed thread itself knows which loop it runs, and looks when an event or a signal makes it ask.
Other threads read from its stack which loop it runs (`reach`): that is faster and needs neither.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from types import FrameType
from typing import Any, TypeAlias, cast

from ..base import stack
from ..base.instances import instances
from .asyncio_runs import AsyncioRun
from .gevent_hubs import GeventHub, hub_here, hub_of, hub_of_thread
from .looking import Looking, look
from .policy import unbroken
from .runs import RUN
from .switches import has_gil
from .target import Target, contain, current_target
from .tasks import Task, cleans_up, frames_of, is_machinery
from .trio_runs import TrioRun, run_here, run_of
from .waits import pool_of

__all__ = [
    "arms",
    "ends_by_itself",
    "hindrance",
    "may_strike",
    "reach",
    "stop",
    "waits_for_threads",
]

_HANDLE = asyncio.Handle._run.__code__
_RUNS = {"_run_once", "run_forever", "run_until_complete"}
_Other: TypeAlias = TrioRun | GeventHub
# For each library: what ends a loop of its, and how to find the loop of a thread and of a frame.
_OTHERS: tuple[tuple[type[_Other], Callable[[], Any], Callable[[FrameType], Any]], ...] = (
    (TrioRun, run_here, run_of),
    (GeventHub, hub_here, hub_of),
)
_ENDINGS = (AsyncioRun, TrioRun, GeventHub)
_TRIES = 100  # to read the whole stack of a thread that runs
_LOST = 1.0  # seconds after which the wait of a loop that does not react is broken
# Seconds after which loops are asked that no other thread sees, and between two times.
_UNSEEN, _UNSEEN_AGAIN = 0.05, 0.5


def reach(target: Target) -> bool:
    """Tell the loop that a target runs, if any, to look; return whether the loop ends the target.

    Any thread may call this, a signal handler too.
    """
    own = target.service is None or _is_of_the_user(target, None)
    ending = _running_in(target) if target.wanted and own else None
    if ending is None:
        if own and target.sought_for > _UNSEEN:
            _ask_unseen(time.monotonic())
        return False
    ending.ring()
    return not ending.is_blocked if isinstance(ending, AsyncioRun) else ending.needs_no_exception


def may_strike(target: Target, frame: FrameType) -> bool:
    """Whether something may be raised in `frame`, as far as loops are concerned.

    Asked by the target's own thread, about its innermost frame.
    """
    if target.service is not None and not _is_of_the_user(target, frame):
        return True  # a loop that a library runs for others goes on
    may = True
    if (within := _other_here(target)) is not None:
        within.ring()
        may = within.may_strike()
    if (loop := target.running_loop()) is not None:
        ending = _ending(target, loop)
        ending.ring()
        may &= ending.may_strike() and (not _waits_in_loop(frame) or ending.is_lost(_LOST))
    return may


def ends_by_itself(target: Target) -> bool:
    """Whether the calling thread, the target's own, runs a loop that needs no exception to end."""
    ending: object = _other_here(target)
    if ending is None:
        ending = target.endings.get(target.running_loop())
    return isinstance(ending, _ENDINGS) and ending.needs_no_exception


def arms(target: Target) -> bool:
    """Whether a target's loop has armed code itself, although it ends by itself as a rule.

    Any thread may ask.
    """
    ending = _known(target)
    return isinstance(ending, AsyncioRun) and ending.arms


def hindrance(target: Target, labels: Mapping[str, str] = stack.NO_LABELS) -> str:
    """Return in words what a target's loop waits for while it ends its tasks; empty if it does not.

    Any thread may ask.
    """
    ending = _known(target)
    if isinstance(ending, _Other):
        return ending.hindrance(labels)
    if ending is None or not ending.is_ending or ending.is_blocked:
        return ""
    try:
        cleaning = _cleaning(ending.loop)
    except RuntimeError:  # the tasks changed too fast
        cleaning = None
    if cleaning is None:
        return "its event loop ends its tasks, and it dies after that"
    places = (stack.here(frame, labels) for frame in reversed(frames_of(cleaning.get_coro())))
    where = next((f" ({at.place})" for at in places if at is not None), "")
    return f"{cleaning.get_name()} of its event loop cleans up{where}; it dies after that"


def waits_for_threads(target: Target) -> bool:
    """Whether the loop of a target that is being killed waits for what it has threads do."""
    ending = _known(target) if target.struck else None
    return isinstance(ending, TrioRun) and ending.waits_for_threads()


def _cleaning(loop: asyncio.AbstractEventLoop) -> Task | None:
    return next((it for it in asyncio.all_tasks(loop) if cleans_up(it, asked=True)), None)


def stop(target: Target) -> None:
    """Cancel what a target runs on an event loop, because of a Stop; any thread may call this."""
    ending = _running_in(target)
    if ending is None and sys.version_info < (3, 12):  # a Stop comes once, so this may be slow
        ending = _seen(target)
    if ending is None and (hub := hub_of_thread(target.ident)) is not None:
        ending = _other(target, GeventHub, hub)
    if ending is not None:
        ending.stop()
    if ending is None or isinstance(ending, GeventHub):  # that may be of a dead thread
        _tell_unseen(target)


_asked_at = 0.0  # when loops were last asked that nobody sees, monotonic


def _ask_unseen(now: float) -> None:
    global _asked_at
    if now - _asked_at > _UNSEEN_AGAIN:
        _asked_at = now
        _tell_unseen(None)


def _tell_unseen(stopped: Target | None) -> None:
    """Let each loop that nobody sees find out itself whether it runs in a thread that is to end.

    A loop of uvloop neither tells its thread, nor has a frame of its own on the stack: if the code
    calls ``run_forever()`` itself, nobody sees that a loop runs. Without a global interpreter lock
    nobody sees any loop. To find the loops is slow, too.
    """
    for loop in _unseen():
        if loop.is_running():
            with contextlib.suppress(RuntimeError):  # it was closed meanwhile
                loop.call_soon_threadsafe(_look_here, loop, stopped)
    runner = getattr(sys.modules.get("trio._core._run"), "Runner", None)
    for run in instances(runner) if runner is not None and not has_gil() else ():
        with contextlib.suppress(RuntimeError):  # it has ended meanwhile
            run.entry_queue.run_sync_soon(_look_here, run, stopped)


def _unseen() -> Iterator[asyncio.AbstractEventLoop]:
    if not has_gil():
        yield from instances(asyncio.BaseEventLoop)
    kind: Any = getattr(sys.modules.get("uvloop"), "Loop", None)
    if kind is not None:
        yield from instances(kind)
        if sys.version_info < (3, 12):  # where a loop of it does not tell the collector its class
            tasks: Any = asyncio.tasks
            with contextlib.suppress(RuntimeError):
                found = {task.get_loop() for task in list(tasks._all_tasks)}
                yield from (it for it in found if issubclass(type(it), kind))


@unbroken
def _look_here(loop: Any, stopped: Target | None) -> None:
    target = current_target()
    if target is None or loop is target.outer_loop:
        return
    is_asyncio = isinstance(loop, asyncio.AbstractEventLoop)
    ending = _ending(target, loop) if is_asyncio else _other(target, TrioRun, loop)
    if target is stopped:
        ending.stop()
    elif target.wanted:
        ending.ring()


def _ending(target: Target, loop: asyncio.AbstractEventLoop) -> AsyncioRun:
    ending = target.endings.get(loop)
    if ending is None:  # two threads may come to this at once
        ending = target.endings.setdefault(loop, AsyncioRun(target, loop))
    return cast(AsyncioRun, ending)


def _other_here(target: Target) -> _Other | None:
    for kind, here, _ in _OTHERS:
        if (loop := here()) is not None:
            return _other(target, kind, loop)
    return None


def _other(target: Target, kind: type[_Other], loop: Any) -> _Other:
    ending = target.endings.get(loop)
    if ending is None:
        for key, before in target.endings.copy().items():
            if isinstance(before, _Other) and not before.runs:
                target.endings.pop(key, None)
        ending = target.endings.setdefault(loop, kind(target, loop))
    return cast(_Other, ending)


def _known(target: Target) -> AsyncioRun | _Other | None:
    """Return what ends the innermost loop that runs, None if it was not made yet."""
    for ending in reversed(list(target.endings.values())):
        if isinstance(ending, _ENDINGS) and ending.runs:
            return ending
    return None


def _is_of_the_user(target: Target, frame: FrameType | None) -> bool:
    """Whether the user's code runs the innermost loop, in the worker of a pool for example."""
    if pool_of(target.thread) is not None:
        return True
    within = False
    while frame is not None and frame.f_code is not contain.__code__:
        if within and stack.is_user(frame.f_code.co_filename):
            return True
        within = within or frame.f_code.co_name in _RUNS or any(of(frame) for *_, of in _OTHERS)
        frame = frame.f_back
    return False


def _waits_in_loop(frame: FrameType | None) -> bool:
    """Whether the loop itself waits at `frame`, not a callback that it runs."""
    while frame is not None and frame.f_code is not _HANDLE:
        if frame.f_code.co_name == "_run_once" and is_machinery(frame.f_code):
            return True
        frame = frame.f_back
    return False


def _running_in(target: Target) -> AsyncioRun | _Other | None:
    """Return what ends the loop that a target runs, None if no loop is seen."""
    if target.ident == threading.get_ident():
        if (other := _other_here(target)) is not None:
            return other
        here = target.running_loop()
        return None if here is None else _ending(target, here)
    # A known loop comes first, because the stack of a running thread changes while it is read.
    if (known := _known(target)) is not None:
        return known
    if sys.version_info < (3, 12):  # see Target.innermost_frame
        return _by_its_tasks(target)
    return _seen(target)


def _seen(target: Target) -> AsyncioRun | _Other | None:
    """Return what ends the loop on the stack of another thread, None if no loop is seen."""
    for _ in range(_TRIES):
        with Looking():
            frame = look()(target)
            found, whole = _on_stack(target, frame)
        if found is not None or whole or frame is None:
            return found
    return None


def _on_stack(target: Target, frame: FrameType | None) -> tuple[AsyncioRun | _Other | None, bool]:
    """Return what ends the innermost loop on a stack, and whether the whole stack was seen.

    If a frame returns while the stack is read, it has no caller any more, and the rest is not seen.
    """
    while frame is not None and frame.f_code is not contain.__code__:
        loop: Any = None
        if frame.f_code.co_name in _RUNS:
            loop = frame.f_locals.get("self")
        elif frame.f_code is RUN:  # uvloop's loop itself has no frame
            loop = getattr(frame.f_locals.get("self"), "_loop", None)
        for kind, _, of in _OTHERS:
            if (other := of(frame)) is not None:
                return _other(target, kind, other), True
        if isinstance(loop, asyncio.AbstractEventLoop):
            return _ending(target, loop), True
        frame = frame.f_back
    return None, frame is not None


def _by_its_tasks(target: Target) -> AsyncioRun | _Other | None:
    """Return what ends the loop that a target runs, by asyncio's list of all tasks; CPython 3.11.

    A loop of uvloop does not tell its thread, trio and gevent have no such list. Where one of these
    may run, the stack is looked at, which is slow.
    """
    tasks: Any = asyncio.tasks
    hidden = "trio" in sys.modules or "gevent.hub" in sys.modules
    for _ in range(10):
        try:
            for task in list(tasks._all_tasks):
                loop = task.get_loop()
                if loop is target.outer_loop:
                    continue
                if getattr(loop, "_thread_id", None) == target.ident:
                    return _ending(target, loop)
                hidden |= not hasattr(loop, "_thread_id") and loop.is_running()
            break
        except RuntimeError:  # the set of tasks changed while it was copied
            pass
    return _seen(target) if hidden else None
