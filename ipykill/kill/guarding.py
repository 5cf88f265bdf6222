"""Leave the cleanup of asyncio's tasks alone, and learn at once when a task has left it.

A task may be in cleanup nearly always, and outside of it for a millisecond: `while True` around an
``async with`` whose exit takes its time. Who looks now and then finds it outside only by luck. So
such a task is watched: the loop looks where it waits after each of its steps (`_Step`), which
costs nothing while it waits.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from . import policy
from . import target as targets
from .target import Target
from .tasks import Task, awaits, cleans_up, executes, frames_of, is_done

__all__ = ["Guard"]

_ON_STACK = 0.05  # seconds after which a task is looked at again that runs a loop within itself


class Guard:
    """Keeps tasks of `loop` from being cancelled in their cleanup, by other tasks as well.

    Parameters
    ----------
    is_late
        Whether an ``except`` block that goes on may be cut short, see `tasks.in_handler`.
    on_end
        Called with each guarded task that has ended.
    on_leave
        Called with each watched task that waits outside of cleanup after a step.

    Attributes
    ----------
    spared
        The tasks that were in cleanup when they should have been cancelled, and are to be
        cancelled when they have left it.
    watched
        The tasks that are looked at after their next step.

    Threading
    ---------
    Only the loop's own thread uses it.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        is_late: Callable[[], bool],
        on_end: Callable[[Task], None],
        on_leave: Callable[[Task], None],
    ) -> None:
        self.spared: weakref.WeakSet[Task] = weakref.WeakSet()
        self.watched: weakref.WeakSet[Task] = weakref.WeakSet()
        self._loop = loop
        self._is_late = is_late
        self._on_end = on_end
        self._on_leave = on_leave
        self._asks = False  # whether ipykill is cancelling a task at this moment

    def guard(self, task: Task) -> bool:
        """Replace ``task.cancel``; return whether this is new."""
        if isinstance(getattr(task, "cancel", None), functools.partial):
            return False
        task.add_done_callback(self._on_end)
        guarded = functools.partial(self._cancel_guarded, weakref.ref(task))
        task.cancel = guarded  # type: ignore[method-assign]
        return True

    @contextlib.contextmanager
    def asking(self) -> Iterator[None]:
        """Say that what is cancelled in the block is cancelled by ipykill."""
        self._asks = True
        try:
            yield
        finally:
            self._asks = False

    def cleans_up(self, task: Task) -> bool:
        """Whether a task is in cleanup, which must not be cut short; if so, watch it."""
        cleans = cleans_up(task, asked=task.cancelling() > 0, late=self._is_late())
        if cleans:
            self.watch(task)
        return cleans

    def watch(self, task: Task) -> None:
        """Look at a task after its next step, and tell when it waits outside of cleanup."""
        if task in self.watched:
            return
        self.watched.add(task)
        step = _Step(self, task)
        if executes(task):
            self._loop.call_later(_ON_STACK, step)
        elif (future := awaits(task)) is not None:
            # It was told to wake the task before, and calls in this order.
            future.add_done_callback(step)  # type: ignore[attr-defined]
        else:  # its step is in the loop's queue
            self._loop.call_soon(step)

    def stepped(self, task: Task) -> None:
        """See whether a watched task has left its cleanup."""
        self.watched.discard(task)
        if is_done(task):
            return
        if executes(task) or awaits(task) is None or self.cleans_up(task):
            self.watch(task)
        else:
            self._on_leave(task)

    def arm(self, target: Target, tasks: Iterable[Task]) -> bool:
        """Make the code of tasks that wait ask whether it dies when it goes on; return if any."""
        frames = [frame for task in tasks for frame in frames_of(task.get_coro())]
        for frame in frames:
            targets.arm_here(target, frame)
        return bool(frames)

    @policy.unbroken
    def _cancel_guarded(self, ref: weakref.ref[Task], msg: Any = None) -> bool:
        task = ref()
        if task is None:
            return False
        # If no task runs, a timeout of the cleanup's own calls this, and is let through.
        by = asyncio.current_task(self._loop)
        others = self._asks or not self._loop.is_running() or by not in (None, task)
        if others and (executes(task) or self.cleans_up(task)):
            if not task.cancelling():
                self.spared.add(task)
                self.watch(task)
            return True
        self.spared.discard(task)
        heard = type(task).cancel(task, msg)
        if heard and self._asks:  # it may swallow that
            self.watch(task)
        return heard


class _Step:
    """Called after the next step of a watched task, by the future for which that waits.

    It has a class of its own because asyncio's callbacks are told apart by their attributes
    (`tasks`), and refers weakly to both, because the future may live long.
    """

    __slots__ = ("_guard", "_task")

    def __init__(self, guard: Guard, task: Task) -> None:
        self._guard = weakref.ref(guard)
        self._task = weakref.ref(task)

    @policy.unbroken
    def __call__(self, future: object = None) -> None:
        guard, task = self._guard(), self._task()
        if guard is not None and task is not None:
            guard.stepped(task)
