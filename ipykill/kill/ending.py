"""How what runs on an event loop of asyncio is ended: as Ctrl-C ends ``asyncio.run``.

An exception in the wait of a loop would leave its tasks as they are, and one that leaves a task
would leave the loop. So the loop is told, as anybody may tell it something
(``call_soon_threadsafe``), and what follows happens in its own thread, between its tasks:

1. The main task, the one that ``run_until_complete`` waits for, is cancelled; in a loop that
   runs for ever, those that other threads wait for. What it
   waits for is cancelled through it: a task, ``gather()``, a ``TaskGroup``. Its cleanup may need
   other tasks, so they go on.
2. When the main task has ended, or its cleanup has not moved for a while, the others are
   cancelled, but for those that another one cancels when it is cancelled: nobody is cancelled
   twice. What they have started in their cleanup comes when they have ended.
3. When no task is left, asynchronous generators are closed, and `JobKilled` is raised out of
   the loop. Up to then, what would stop the loop, the end of the main task above all, is held.

A task in cleanup is not cancelled, by no other task either: a TaskGroup cancels all that it has
left (`Ending._guard`). One that swallows the request, so that it waits for something new, not in
cleanup, is cancelled again.

A coroutine that computes does not let the loop come to this. It is broken as any running code
(`Ending.is_blocked`), by a `TaskKilled`, which asyncio takes for a cancellation: it ends the task
and not the loop.

The same is done for an interrupt, which is asked for once, and for a Stop, for which nothing is
raised.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import sys
import time
import weakref
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import Any, Literal

from ..exceptions import JobKilled
from . import policy
from . import target as targets
from .holding import Hold
from .policy import is_ours
from .target import Target, contain
from .tasks import (
    Task,
    Waits,
    awaits,
    cleans_up,
    executes,
    frames_of,
    is_done,
    is_machinery,
    serves,
    tasks_of,
)

__all__ = ["Ending"]

# All in seconds.
_LOOK, _LOOK_MAX = 0.001, 0.05  # between two looks at the tasks,
_BLOCKED = 0.002  # until a loop that does not come to the first one is blocked,
_BLOCKED_LATER = 0.25  # and to another one
_LOST = 1.0  # until it is told again
_LATE = 0.3  # until an ``except`` block that goes on is broken
_STUCK = 2.0  # that cleanup of the main task may wait for one thing, until the others are ended

_FEW = 10  # tasks, each of whose ends is looked at

_Request = Literal["kill", "interrupt", "stop"]
_RUN = asyncio.Runner.run.__code__


class Ending:
    """The end of what runs on `loop`, in the thread of `target`. See the module's docstring.

    Threading
    ---------
    Any thread may call `ring`, `stop` and `is_blocked`, a signal handler too; none of them
    blocks. All else happens in the loop.
    """

    def __init__(self, target: Target, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._target = target
        self._stop = False
        self._rung: float | None = None  # since when it waits for the loop, monotonic
        self._due = 0.0  # when the next look is, monotonic; 0: there was none
        self._pause = _LOOK
        self._since = 0.0  # when something was asked for, monotonic; 0: nothing was
        self._timer: asyncio.TimerHandle | None = None
        # What each task waited for when it was cancelled, or before.
        self._waits: weakref.WeakKeyDictionary[Task, object] = weakref.WeakKeyDictionary()
        self._asks = False  # for the end of a task, at this moment
        self._spared: weakref.WeakSet[Task] = weakref.WeakSet()  # that cleaned up when cancelled
        self._mains: list[asyncio.Future[Any]] = []
        self._left = 0  # tasks that have not ended, about
        self._stubborn: weakref.WeakSet[Task] = weakref.WeakSet()  # that were asked again
        self._main: asyncio.Future[Any] | None = None  # that was cancelled
        self._interrupted: Task | None = None  # the task in which an interrupt was raised
        self._stuck: tuple[object, float] = None, 0.0  # what main waits for, since when
        self._old: weakref.WeakSet[Task] = weakref.WeakSet()  # that are being ended now
        self._closing: Task | None = None
        self._hold = Hold(loop, self._ended)

    def ring(self) -> None:
        """Let the loop look at what is asked of its thread, unless it does so anyway."""
        lost = self._rung is not None and self.is_lost(_LOST)  # what came of it, nobody knows
        if lost or (self._rung is None and self._timer is None):
            self._rung = time.monotonic()
            try:
                self.loop.call_soon_threadsafe(self._look)
            except RuntimeError:  # it is closed
                pass

    def stop(self) -> None:
        """Cancel what runs here, for a Stop."""
        self._stop = True
        self.ring()

    @property
    def is_blocked(self) -> bool:
        """Whether the loop does not come to look."""
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
    def is_quick(self) -> bool:
        """Whether nothing is to be raised in what the loop runs."""
        return not self.is_blocked and not self._stubborn

    @property
    def _is_late(self) -> bool:
        return bool(self._since) and time.monotonic() - self._since > _LATE

    def is_lost(self, seconds: float) -> bool:
        """Whether the loop has not come to look for so many seconds."""
        since = self._due if self._rung is None else self._rung
        return time.monotonic() - since > seconds

    def may_strike(self) -> bool:
        """Whether something may be raised in what the loop runs now; own thread only."""
        task = asyncio.current_task(self.loop)
        # It was cancelled, and is not cleaning up, or else nobody would ask.
        swallowed = task is not None and task in self._waits and task.cancelling()
        return bool(swallowed) or self.is_blocked

    def strikes(self, kind: type[BaseException]) -> type[BaseException]:
        """Note what is being raised in what the loop runs now; return it; own thread only."""
        task = asyncio.current_task(self.loop)
        if task is not None:
            if not issubclass(kind, JobKilled):
                self._interrupted = task
            self._guard(task)
        return kind

    def finish(self) -> None:
        """End what is left on a loop that does not run any more; own thread only.

        The code may have left it with an exception of its own, or it was killed between two runs.
        """
        if self.loop.is_closed() or self.loop.is_running() or not asyncio.all_tasks(self.loop):
            return
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
        request = self._request()
        self._since = 0.0 if request is None else self._since or time.monotonic()
        if request is None and self._main is None and not self._target.sought:
            self._hold.let_go()
            return
        mains, caller = self._runs(sys._getframe())
        if caller is None or policy.shelter(caller) is None:
            self._end(request, mains)
        # Else the loop itself serves a cleanup.
        if self.loop.is_closed():
            return
        self._due = time.monotonic() + self._pause
        self._timer = self.loop.call_later(self._pause, self._look)
        self._pause = min(self._pause * 2, _LOOK_MAX)

    def _request(self) -> _Request | None:
        target = self._target
        if target.open and not target.depth:
            if target.sought:
                return "kill" if target.group.kill_requested else "interrupt"
            if self._interrupted is not None and is_done(self._interrupted):
                if self._interrupted.cancelled():
                    return "interrupt"
                self._interrupted = None
            if self._stop:
                return "stop"
        return None

    def _runs(self, frame: FrameType | None) -> tuple[list[asyncio.Future[Any]], FrameType | None]:
        """Return what the loop runs for, the innermost first, and the code that runs it."""
        mains: list[asyncio.Future[Any]] = []
        caller = None
        while frame is not None and frame.f_code is not contain.__code__:
            future = None
            if frame.f_code.co_name == "run_until_complete":
                names = frame.f_locals  # `f` is of nest_asyncio
                future = names.get("f", names.get("future"))
            elif frame.f_code is _RUN:  # of uvloop's loop there is no frame
                future = frame.f_locals.get("task")
            elif caller is None and not is_machinery(frame.f_code) and not is_ours(frame.f_code):
                caller = frame
            if asyncio.isfuture(future) and future.get_loop() is self.loop and future not in mains:
                mains.append(future)
            frame = frame.f_back
        return mains, caller

    def _end(self, request: _Request | None, mains: list[asyncio.Future[Any]]) -> None:
        self._mains = mains
        every = asyncio.all_tasks(self.loop)
        if request is not None:
            self._hold.keep(mains[-1] if mains else None)
            if request == "kill":
                self._hold.hush()
            for task in every:
                self._guard(task)
        tasks = [task for task in every if _is_left(task)]
        # Where nobody waits for the loop itself, other threads may wait for tasks of it.
        now = [it for it in mains[:1] if not is_done(it)] if mains else list(filter(serves, tasks))
        if not now and len(mains) > 1:  # that run, within another one, is about to end
            return
        if not now and (request is not None or self._was_interrupted):
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
        if any(task.cancelling() for task in own):
            for task in tasks:
                self._ask_again(task)
        elif not any(cleans_up(task, asked=False, late=self._is_late) for task in own):
            self._main = mains[0]
            self._note()
            for task in tasks:
                self._waits[task] = awaits(task)
            self._pause = _LOOK
            with self._asking():
                for main in mains:
                    main.cancel()
            return
        waits = [awaits(task) for task in own]
        if waits != self._stuck[0] or request != "kill":
            self._stuck = waits, time.monotonic()
        elif time.monotonic() - self._stuck[1] > _STUCK:
            self._end_rest([task for task in tasks if task not in own])

    def _end_rest(self, tasks: list[Task]) -> None:
        now = [task for task in tasks if task in self._old]
        if not now:
            now = tasks
            self._old = weakref.WeakSet(tasks)
        waits = Waits(tasks)
        for task in now:
            if task.cancelling() or task in self._spared:
                self._ask_again(task)
            elif waits.owner(task) is None and not cleans_up(task, asked=False, late=self._is_late):
                helped = waits.helped(task)
                if helped is None or not cleans_up(helped, asked=True):
                    self._note()
                    self._cancel(task)

    def _ask_again(self, task: Task) -> None:
        wait = awaits(task)
        if not task.cancelling() and task not in self._spared:
            self._waits[task] = wait
        elif (
            wait is not None
            and (wait is not self._waits.get(task) or task in self._spared)
            and not cleans_up(task, asked=True, late=self._is_late)
        ):
            if task in self._spared:
                self._spared.remove(task)
            else:
                self._stubborn.add(task)
            for frame in frames_of(task.get_coro()):  # so that it dies where it swallows that again
                targets.arm_here(self._target, frame)
            self._cancel(task)

    def _cancel(self, task: Task) -> None:
        self._waits[task] = awaits(task)
        self._pause = _LOOK
        with self._asking():
            task.cancel()

    @contextlib.contextmanager
    def _asking(self) -> Iterator[None]:
        self._asks = True
        try:
            yield
        finally:
            self._asks = False

    def _guard(self, task: Task) -> None:
        """Let nobody cancel a task in its cleanup, but what it does there itself."""
        if not isinstance(getattr(task, "cancel", None), functools.partial):
            task.add_done_callback(self._ended)
            self._left += 1
            guarded = functools.partial(self._cancel_guarded, weakref.ref(task))
            task.cancel = guarded  # type: ignore[method-assign]

    @policy.unbroken
    def _cancel_guarded(self, ref: weakref.ref[Task], msg: Any = None) -> bool:
        task = ref()
        if task is None:
            return False
        # What is done by no task is meant for what it does in its cleanup: by a timeout.
        others = (
            self._asks
            or not self.loop.is_running()
            or asyncio.current_task(self.loop) not in (None, task)
        )
        asked, late = task.cancelling() > 0, self._is_late
        if others and (executes(task) or cleans_up(task, asked=asked, late=late)):
            if not task.cancelling():
                self._spared.add(task)
            return True
        return type(task).cancel(task, msg)

    @policy.unbroken
    def _ended(self, task: object = None) -> None:
        """Look again at once, if there may be something to do."""
        if task is not None:
            self._left -= 1
        # Of a thousand tasks, not after each.
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
        main = self._interrupted or self._main
        return not self._stop and isinstance(main, asyncio.Task) and main.cancelled()

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
                for main in mains:  # nobody else asks for that now, and asyncio would complain
                    if not main.cancelled():
                        killed.__context__ = main.exception()
                raise killed
            return
        interrupted = self._was_interrupted
        self._main = self._interrupted = None
        self._target.endings.pop(self.loop, None)
        self._hold.let_go(stop=not interrupted)
        if interrupted:
            raise KeyboardInterrupt


def _is_left(task: Task) -> bool:
    return not is_done(task) and not executes(task)
