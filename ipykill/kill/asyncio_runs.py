"""End what runs on an asyncio event loop, as Ctrl-C ends ``asyncio.run``.

An exception raised where the loop waits would abandon its tasks, and one that leaves a task would
leave the loop. So the thread that kills tells the loop to look (``call_soon_threadsafe``). All that
follows happens in the loop's own thread, while no task runs:

1. The main task, for which ``run_until_complete`` waits, is cancelled; in a loop that runs for
   ever, the tasks for which other threads wait. That also cancels what the main task waits for:
   a task, ``gather()``, a ``TaskGroup``. Its cleanup may need other tasks, so these go on.
2. When the main task has ended, or its cleanup has not moved for a while, the other tasks are
   cancelled, except those that another task cancels when it is cancelled itself: one Kill
   cancels a task once. Tasks that were started after the first cancellation, by cleanup as a rule,
   come last: when the older ones have ended, or their cleanup has not moved for a while.
3. When no task is left, asynchronous generators are closed, and `JobKilled` is raised out of
   the loop. Until then nothing may stop the loop, not even the end of the main task (`holding`).

A task in cleanup is not cancelled, not by other tasks either, as a TaskGroup would do, but when it
has left that (`guarding`). A task that swallows the cancellation, so that it waits for something
new outside of cleanup, is cancelled again.

A coroutine that computes keeps the loop from looking (`AsyncioRun.is_blocked`). It is killed like
any running code, with a `TaskKilled`, which asyncio takes for a cancellation: it ends the task
and not the loop. So is a task that waits in its cleanup only, and computes between that.

An interrupt, which is delivered once, is handled in the same way, and so is a Stop, for which no
exception is raised out of the loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
import weakref
from collections.abc import Iterable, Sequence
from typing import Any, Literal

from ..exceptions import JobKilled
from . import policy
from .awaited import end_awaited
from .guarding import Guard
from .holding import Hold
from .runs import runs_of
from .target import Target
from .tasks import (
    Task,
    awaits,
    cleans_up,
    executes,
    helped_by,
    helps_cleanup,
    helps_greenlet,
    is_done,
    needed_of,
    outside_greenlet,
    owner_of,
    serves,
    tasks_of,
    was_cancelled,
)

__all__ = ["AsyncioRun"]

# All in seconds.
_LOOK, _LOOK_MAX = 0.001, 0.05  # between two looks at the tasks
_BLOCKED = 0.002  # after which a loop that has not come to its first look counts as blocked,
_BLOCKED_LATER = 0.25  # and one that has not come to a later look
_LOST = 1.0  # after which it is told again
_LATE = 0.3  # after which an ``except`` block that goes on may be cut short
_STUCK = 2.0  # for which the main task's cleanup may wait for one thing; then other tasks end

_REST = 3  # times the duration of a look, for which no step of a task makes the loop look
_FEW = 10  # if fewer tasks are left, the end of each makes the loop look

_Request = Literal["kill", "interrupt", "stop"]


class AsyncioRun:
    """Ends what runs on `loop`, in the thread of `target`. See the module's docstring.

    Threading
    ---------
    Any thread, or a signal handler, may call `ring` and `stop` and read the properties; none of
    them blocks. All else is called in the loop's own thread.
    """

    def __init__(self, target: Target, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.arms = False  # whether it arms tasks itself, which may wait in cleanup only
        self._target = target
        self._stop = False
        self._rung: float | None = None  # when the loop was told to look, if it has not, monotonic
        self._due = 0.0  # when the next look is due, monotonic; 0 before the first
        self._pause = _LOOK
        self._since = 0.0  # when a look first found a request, monotonic; 0: there is none
        self._timer: asyncio.TimerHandle | None = None
        # What each task waited for when it was cancelled, or before.
        self._waits: weakref.WeakKeyDictionary[Task, object] = weakref.WeakKeyDictionary()
        self._free_at = 0.0  # from when on a step of a task may make the loop look, monotonic
        self._mains: list[asyncio.Future[Any]] = []
        self._left = 0  # guarded tasks that have not ended, about
        self._stubborn: weakref.WeakSet[Task] = weakref.WeakSet()  # that were cancelled again
        self._main: asyncio.Future[Any] | None = None  # the main future that was cancelled
        self._interrupted: Task | None = None  # the task in which an interrupt was raised
        self._leaves = False  # whether an interrupt is to leave a loop that runs for ever
        self._told = False  # whether the end of the main task was told to all who asked for it
        self._stuck: tuple[object, float] = None, 0.0  # what ending tasks wait for, and since when
        self._first: weakref.WeakSet[Task] | None = None  # that were there when the end began
        self._old: weakref.WeakSet[Task] = weakref.WeakSet()  # that are being ended now
        self._closing: Task | None = None
        self._hold = Hold(loop, self._ended)
        self._guard = Guard(loop, lambda: self._is_late, self._ended, self._left_cleanup)

    def ring(self) -> None:
        """Tell the loop to look at what is asked of its thread, unless it does so anyway."""
        lost = self._rung is not None and self.is_lost(_LOST)
        if lost or (self._rung is None and self._timer is None):
            self._rung = time.monotonic()
            try:
                self.loop.call_soon_threadsafe(self._look)
            except RuntimeError:  # it is closed
                pass

    def stop(self) -> None:
        """Cancel what runs on the loop, because of a Stop."""
        self._stop = True
        self.ring()

    @property
    def is_blocked(self) -> bool:
        """Whether a task keeps the loop from looking: a look is overdue."""
        return self.is_lost(_BLOCKED_LATER if self._due else _BLOCKED)

    @property
    def runs(self) -> bool:
        """Whether the loop runs."""
        return self.loop.is_running()

    @property
    def is_ending(self) -> bool:
        """Whether it has begun to end what runs here."""
        return bool(self._hold)

    @property
    def needs_no_exception(self) -> bool:
        """Whether the loop ends its tasks by itself, so that nothing is raised in running code."""
        return not (self.is_blocked or self._stubborn or self.arms)

    @property
    def _is_late(self) -> bool:
        return bool(self._since) and time.monotonic() - self._since > _LATE

    def is_lost(self, seconds: float) -> bool:
        """Whether a look is overdue by so many seconds."""
        rung = self._rung  # read once, because any thread may ask, and a look sets it to None
        return time.monotonic() - (self._due if rung is None else rung) > seconds

    def may_strike(self) -> bool:
        """Whether a Kill may be raised in what the loop runs now; own thread only."""
        if policy.shelter(outside_greenlet(), **self._target.resorts) is not None:
            return False
        task = asyncio.current_task(self.loop)
        # The task was cancelled and goes on. The callers ask `policy` whether it cleans up.
        if task is not None and task in self._waits and task.cancelling():
            return True
        watched = self.arms and task in self._guard.watched and not helps_greenlet()
        may = self.is_blocked or watched
        return may and not helps_cleanup(task, late=self._is_late)

    def strikes(self, kind: type[BaseException]) -> type[BaseException]:
        """Note that `kind` is about to be raised in the running task; own thread only."""
        task = asyncio.current_task(self.loop)
        if task is not None:
            if not issubclass(kind, JobKilled):
                self._interrupted = task
            self._left += self._guard.guard(task)
        elif self._target.group.kill_requested:  # a callback, whose end asyncio would log
            self._hold.hush()
        return kind

    def finish(self) -> None:
        """End what is left on a loop that does not run any more; own thread only.

        The code left the loop with an exception of its own, or was killed between two runs of it.
        """
        if not (self.loop.is_closed() or self.loop.is_running()) and asyncio.all_tasks(self.loop):
            self.ring()
            with contextlib.suppress(JobKilled):
                self.loop.run_forever()

    # In the loop

    @policy.unbroken
    def _look(self) -> None:
        self._rung = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        request, begun = self._request(), time.monotonic()
        self._since = 0.0 if request is None else self._since or begun
        if request is None and self._main is None and not self._target.sought:
            self._hold.let_go()
            self._first = None
            return
        mains, caller = runs_of(self.loop, sys._getframe())
        if caller is None or policy.shelter(caller) is None:
            self._end(request, mains)
        # Else the loop is run by a cleanup, which must complete.
        late = self._is_late and self._target.sought
        uncancelled = [it for it in self._guard.watched if late and not it.cancelling()]
        self.arms = self._guard.arm(self._target, uncancelled)
        if self.loop.is_closed():
            return
        now = time.monotonic()
        self._free_at = now + _REST * (now - begun)
        self._due = now + self._pause
        self._timer = self.loop.call_later(self._pause, self._look)
        self._pause = min(self._pause * 2, _LOOK_MAX)

    def _request(self) -> _Request | None:
        target = self._target
        if target.open and not target.depth:
            if target.sought:
                return "kill" if target.group.kill_requested else "interrupt"
            if self._leaves:
                return "interrupt"
            if self._interrupted is not None and is_done(self._interrupted):
                if self._interrupted.cancelled():
                    return "interrupt"
                self._interrupted = None
            if self._stop:
                return "stop"
        return None

    def _end(self, request: _Request | None, mains: list[asyncio.Future[Any]]) -> None:
        self._mains = mains
        every = asyncio.all_tasks(self.loop)
        if request is not None:
            self._hold.keep(mains[-1] if mains else None)
            if request == "kill":
                self._hold.hush()
            self._left += sum(map(self._guard.guard, every))
        tasks = [task for task in every if not is_done(task) and not executes(task)]
        # If the loop runs for ever, other threads may wait for tasks of it.
        now = [it for it in mains[:1] if not is_done(it)] if mains else list(filter(serves, tasks))
        if not now and len(mains) > 1:  # the inner run of the loop is about to end
            return
        if not now and (request is not None or self._was_interrupted):
            self._leaves |= request == "interrupt" and not mains
            self._end_rest(tasks)
            if all(task is self._closing for task in tasks):
                self._leave(request, mains)
        elif not now:
            self._main = None
            self._hold.let_go()
        elif request is not None:
            self._end_main(request, now, tasks)

    def _end_main(
        self, request: _Request, mains: Sequence[asyncio.Future[Any]], tasks: list[Task]
    ) -> None:
        own = [task for main in mains for task in tasks_of(main)]
        if any(map(executes, own)):
            return
        end_awaited(own, self._target.group)
        if any(task.cancelling() for task in own):
            for task in tasks:
                self._ask_again(task)
        elif not own or not all(self._guard.cleans_up(task) for task in own):
            self._main = mains[0]
            self._note()
            self._begin(tasks)
            for task in tasks:
                self._waits[task] = awaits(task)
            self._pause = _LOOK
            with self._guard.asking():
                for main in mains:
                    main.cancel()
            return
        if request == "kill" and self._is_stuck(own):
            self._end_rest([task for task in tasks if task not in own], own)

    def _begin(self, tasks: list[Task]) -> None:
        """Note which tasks are there before any cleanup has begun, and has started tasks."""
        if self._first is None:
            self._first = self._old = weakref.WeakSet(tasks)

    def _is_stuck(self, tasks: Iterable[Task]) -> bool:
        """Whether these tasks have waited for the same things for a while."""
        waits = {awaits(task) for task in tasks}
        if waits != self._stuck[0]:
            self._stuck = waits, time.monotonic()
        return time.monotonic() - self._stuck[1] > _STUCK

    def _end_rest(self, tasks: list[Task], own: Sequence[Task] = ()) -> None:
        self._begin(tasks)
        now = [task for task in tasks if task in self._old]
        if not now:
            now = tasks
            self._old = weakref.WeakSet(tasks)
        elif not own and self._is_stuck(now):
            now = tasks
        end_awaited(now, self._target.group)
        new = [task for task in now if task not in (self._first or ()) and not task.cancelling()]
        needed = needed_of(new, [*tasks, *own])
        for task in now:
            if task in needed:
                continue
            if task.cancelling() or task in self._guard.spared:
                self._ask_again(task)
            elif owner_of(task) in (None, *own) and not self._guard.cleans_up(task):
                helped = helped_by(task)
                if helped is None or helped in own or not cleans_up(helped, asked=True):
                    self._note()
                    self._cancel(task)

    def _ask_again(self, task: Task) -> None:
        wait, spared = awaits(task), task in self._guard.spared
        if not task.cancelling() and not spared:
            self._waits[task] = wait
        elif wait is None:  # it is about to run
            self._guard.watch(task)
        elif (spared or wait is not self._waits.get(task)) and not self._guard.cleans_up(task):
            if not spared:
                self._stubborn.add(task)
            self._guard.arm(self._target, [task])  # it dies there if it swallows this one, too
            self._cancel(task)

    def _cancel(self, task: Task) -> None:
        self._waits[task] = awaits(task)
        self._pause = _LOOK
        with self._guard.asking():
            task.cancel()

    def _left_cleanup(self, task: Task) -> None:
        """Cancel a task that was spared in its cleanup, or see what is to become of it."""
        if task in self._guard.spared:
            self._ask_again(task)
        elif time.monotonic() >= self._free_at:
            self._look()
        else:  # among thousands of tasks the looks would leave them no time
            self._guard.watch(task)

    @policy.unbroken
    def _ended(self, task: object = None) -> None:
        """Look again at once, if there may be something to do."""
        if task is not None:
            self._left -= 1
        # Not after the end of each of a thousand tasks.
        quick = task is None or self._left < _FEW or task in self._mains
        if quick and self._rung is None:
            self._rung = time.monotonic()
            self.loop.call_soon(self._look)

    def _note(self) -> None:
        """Note that what was asked for is being done."""
        if self._target.sought:
            self._target.note()

    @property
    def _was_interrupted(self) -> bool:
        main = None if self._stop else self._interrupted or self._main
        return main is not None and was_cancelled(main)

    def _leave(self, request: _Request | None, mains: list[asyncio.Future[Any]]) -> None:
        """End the run of the loop: no task is left."""
        if request == "kill":
            if self._closing is None:
                self._closing = self.loop.create_task(self.loop.shutdown_asyncgens())
                self._closing.add_done_callback(self._ended)
            if is_done(self._closing):
                self._hold.let_go(stop=False)
                self._target.note()
                killed = JobKilled()
                for main in mains:  # else asyncio would log that nobody retrieved its exception
                    if not main.cancelled():
                        killed.__context__ = main.exception()
                raise killed
            return
        if not self._told:
            # A callback of the main task may be queued that stops the loop. If this run were left
            # before, it would stop the next one, which closes what is open.
            self.loop.call_soon(self._leave_next)
            return
        interrupted = self._was_interrupted or self._leaves
        if self._leaves:
            self._note()
        self._main = self._interrupted = None
        self._stop = self._leaves = self._told = False
        self._target.endings.pop(self.loop, None)
        self._hold.wanted |= request == "stop" and not mains  # all that a Stop can end has ended
        self._hold.let_go(stop=not interrupted)
        if interrupted:
            raise KeyboardInterrupt

    @policy.unbroken
    def _leave_next(self) -> None:
        self._told = True
        self._look()
