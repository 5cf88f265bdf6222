"""How what runs in ``trio.run`` is ended: as Ctrl-C ends it. anyio on trio is the same.

Trio raises the KeyboardInterrupt of a Ctrl-C in the main task, where that waits, or at once in
running code of any task that is not trio's own. The exception leaves the nurseries one by one,
which cancel the other tasks that they have started and wait for the cleanup of these. A Kill does
the same, except that it leaves cleanup alone:

1. The thread that kills asks the run to look (``run_sync_soon``, which any thread and any signal
   handler may call). From the first look on, a system task looks again and again, and an
   instrument looks after each step of the main task (`_look`).
2. If the main task waits, and not in cleanup, the run aborts the wait with a `JobKilled`, as
   trio does. No task runs during a look, so what was seen is still true then. If the task
   swallows the Kill, a later look sees it in its next wait.
3. Code that computes keeps the run from looking. It is killed like any running code, where
   trio allows a KeyboardInterrupt (``currently_ki_protected``). So is code that goes on
   although it was cancelled.

No exception is raised where trio's own loop waits, or in its locks.

An interrupt and a Stop are delivered to the main task in the same way, once.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Mapping
from types import FrameType
from typing import Any, Literal, NoReturn

from ..base import stack
from ..exceptions import JobKilled, JobStopped
from . import policy
from . import target as targets
from .awaited import end_awaited
from .target import Target
from .tasks import EXITS, frames_of, in_handler, is_in_cleanup, is_machinery, waiting

__all__ = ["TrioRun", "run_here", "run_of"]

# All in seconds.
_LOOK, _LOOK_MAX = 0.001, 0.05  # between two looks
_BLOCKED = 0.002  # after which a run that has not come to its first look counts as blocked,
_BLOCKED_LATER = 0.25  # and one that has not come to a later look
_LOST = 1.0  # after which it is told again
_LATE = 0.3  # after which a Kill may be raised in code that goes on

_MISSES = 20  # looks at the main task, one after another, that found no wait to abort

_Request = Literal["kill", "interrupt", "stop"]
_KINDS: dict[_Request, type[BaseException]] = {
    "kill": JobKilled,
    "interrupt": KeyboardInterrupt,
    "stop": JobStopped,
}


def run_here() -> Any:
    """Return the run of trio in the calling thread, None if there is none."""
    inner: Any = sys.modules.get("trio._core._run")
    return None if inner is None else getattr(inner.GLOBAL_RUN_CONTEXT, "runner", None)


def run_of(frame: FrameType) -> Any:
    """Return the run of trio that `frame` drives, None if it drives none; any thread may ask."""
    inner: Any = sys.modules.get("trio._core._run")
    if inner is None or frame.f_code is not inner.run.__code__:
        return None
    return frame.f_locals.get("runner")


class TrioRun:
    """Ends a run of trio in the thread of `target`. See the module's docstring.

    Threading
    ---------
    Any thread, or a signal handler, may call `ring`, `stop`, `hindrance` and the properties; none
    of them blocks. All else is called in the thread of the run.
    """

    def __init__(self, target: Target, run: Any) -> None:
        self.loop = run
        self._target = target
        self._trio: Any = sys.modules["trio"]
        self._checkpoint = sys.modules["trio._core._run"].checkpoint.__code__
        self._stop = False
        self._rung: float | None = None  # when the run was told to look, if it has not, monotonic
        self._due = 0.0  # when the next look is due, monotonic; 0 before the first
        self._attends = False  # whether the system task runs
        self._since = 0.0  # when the system task began to look, monotonic; 0 if it does not run
        self._missed = 0  # see _MISSES

    def ring(self) -> None:
        """Tell the run to look at what is asked of its thread, unless it does so anyway."""
        if (self._rung is None and not self._attends) or self._is_lost(_LOST):
            self._rung = time.monotonic()
            try:
                self.loop.entry_queue.run_sync_soon(self._begin)
            except self._trio.RunFinishedError:
                pass

    def stop(self) -> None:
        """End what runs here, for a Stop."""
        self._stop = True
        self.ring()

    @property
    def is_blocked(self) -> bool:
        """Whether code keeps the run from looking: a look is overdue."""
        return self._is_lost(_BLOCKED_LATER if self._due else _BLOCKED)

    @property
    def runs(self) -> bool:
        """Whether the run has not ended."""
        return not self.loop.entry_queue.done

    @property
    def needs_no_exception(self) -> bool:
        """Whether the run ends its tasks by itself, so that nothing is raised in running code."""
        return not self.is_blocked and not self._looks_are_in_vain

    def _is_lost(self, seconds: float) -> bool:
        rung = self._rung  # read once, because any thread may ask, and a look sets it to None
        return time.monotonic() - (self._due if rung is None else rung) > seconds

    @property
    def _is_late(self) -> bool:
        return bool(self._since) and time.monotonic() - self._since > _LATE

    @property
    def _looks_are_in_vain(self) -> bool:
        """Whether the looks are in vain: a while has passed, or they found no wait to abort."""
        return self._is_late or self._missed > _MISSES

    def may_strike(self) -> bool:
        """Whether something may be raised in the code that runs now; own thread only."""
        if self._trio.lowlevel.currently_ki_protected():
            return False
        if self._looks_are_in_vain and self._goes_on():
            return True
        return self.is_blocked and not self._helps_cleanup()

    def _helps_cleanup(self) -> bool:
        """Whether the running task was started by the cleanup of another, in a nursery of its own.

        On a busy machine a look may be overdue although no code keeps the run from it.
        """
        nursery = self._trio.lowlevel.current_task().parent_nursery
        while nursery is not None:
            task, late = nursery.parent_task, self._is_late
            if is_in_cleanup(task.coro, exits=False, late=late):
                return True
            asked = self._target.struck and task._next_send_fn is None  # and has run since
            if asked and _cleans_up(task, late=late):
                return True
            nursery = task.parent_nursery
        return False

    def _goes_on(self) -> bool:
        """Whether the running task was told to end, and goes on."""
        if self._trio.lowlevel.current_task() is self.loop.main_task:
            return True  # any wait of it outside of cleanup would have been aborted
        cancelled: float = self._trio.current_effective_deadline()
        return cancelled == -float("inf")

    def strikes(self, kind: type[BaseException]) -> type[BaseException]:
        """Return `kind`: trio needs no exception of its own."""
        return kind

    def finish(self) -> None:
        """Do nothing: a run never ends before its tasks do."""

    def hindrance(self, labels: Mapping[str, str]) -> str:
        """Return in words what the run waits for while it ends its tasks; empty if it does not."""
        if self.is_blocked or not self._since:
            return ""
        task = self.loop.main_task
        if self.loop.main_task_outcome is None and _cleans_up(task, late=False):
            places = (stack.here(frame, labels) for frame in reversed(frames_of(task.coro)))
            where = next((f" ({at.place})" for at in places if at is not None), "")
            return f"the main task of trio cleans up{where}; it dies after that"
        return "trio ends its tasks, and it dies after that"

    def waits_for_threads(self) -> bool:
        """Whether a task waits for the end of a call in a thread, which trio cannot cancel."""
        try:
            tasks = list(self.loop.tasks)
        except RuntimeError:  # they changed meanwhile
            return False
        frames = (frame for task in tasks for frame in frames_of(task.coro))
        return any(
            it.f_code.co_name == "to_thread_run_sync" and is_machinery(it.f_code) for it in frames
        )

    # In the run

    @policy.unbroken
    def _begin(self) -> None:
        self._rung = None
        self._due = time.monotonic()
        if not self._attends and self._request() is not None:
            self._since = time.monotonic()
            with contextlib.suppress(RuntimeError):  # the main task has ended, and so will the run
                self._trio.lowlevel.spawn_system_task(self._attend)
                self._attends = True
            self._look()

    @policy.unbroken
    async def _attend(self) -> None:
        watch = _Watch(self)
        self._trio.lowlevel.add_instrument(watch)
        try:
            await self._look_often()
        finally:
            self._attends = False
            self._since = 0.0
            if self._request() is not None:  # the Kill is raised in what runs after trio
                targets.arm_here(self._target, sys._getframe())
            with contextlib.suppress(KeyError):
                self._trio.lowlevel.remove_instrument(watch)

    @policy.unbroken
    async def _look_often(self) -> None:
        pause = _LOOK
        while self._request() is not None:
            self._look()
            if self._looks_are_in_vain:
                self._arm()
            self._due = time.monotonic() + pause
            await self._trio.sleep(pause)
            pause = min(pause * 2, _LOOK_MAX)

    def _arm(self) -> None:
        """Arm the frames of all tasks: a task that goes on is on no stack most of the time."""
        for task in list(self.loop.tasks):
            for frame in frames_of(task.coro):
                targets.arm_here(self._target, frame)

    def _request(self) -> _Request | None:
        target = self._target
        if target.open and not target.depth:
            if target.sought:
                return "kill" if target.group.kill_requested else "interrupt"
            if self._stop:
                return "stop"
        return None

    def stepped(self, task: object) -> None:
        """Look, if it is the main task that has just run."""
        if task is self.loop.main_task:
            self._look()

    @policy.unbroken
    def _look(self) -> None:
        main, request = self.loop.main_task, self._request()
        if request is None or self.loop.main_task_outcome is not None:
            return
        if policy.shelter(_caller_of_run(sys._getframe())) is not None:
            return  # trio.run() itself was called by a cleanup
        end_awaited([main], self._target.group)
        if _cleans_up(main, late=self._is_late):
            self._missed = 0
            return
        self._missed += 1
        kind = _KINDS[request]

        def deliver() -> NoReturn:
            raise kind

        if main._abort_func is not None:
            self._note(request)
            main._attempt_abort(deliver)
        elif main._next_send_fn is not None and self._passes_a_checkpoint(main):
            # It waits only for its turn to run; the exception is raised as if it were cancelled.
            self._note(request)
            main._next_send = sys.modules["outcome"].capture(deliver)

    def _passes_a_checkpoint(self, task: Any) -> bool:
        return any(frame.f_code is self._checkpoint for frame in frames_of(task.coro))

    def _note(self, request: _Request) -> None:
        self._missed = 0
        if request == "stop":
            self._stop = False
        else:
            self._target.note()


class _Watch:
    """A trio instrument, whose public methods the run calls."""

    def __init__(self, run: TrioRun) -> None:
        self._run = run

    @policy.unbroken
    def after_task_step(self, task: object) -> None:
        """See ``trio.abc.Instrument``."""
        self._run.stepped(task)


def _caller_of_run(frame: FrameType | None) -> FrameType | None:
    while frame is not None and run_of(frame) is None:
        frame = frame.f_back
    return None if frame is None else frame.f_back


def _cleans_up(task: Any, *, late: bool) -> bool:
    """Whether a task that waits does so in cleanup, which must not be cut short.

    The wait of a nursery for its tasks, in its ``__aexit__``, is no cleanup: that is where main
    tasks spend their time.
    """
    leaves = False
    for frame, coroutine in waiting(task.coro):
        if frame is None or in_handler(frame, coroutine, late=late):
            return True
        if frame.f_code.co_name == "_nested_child_finished" and is_machinery(frame.f_code):
            leaves = False  # an outer ``__aexit__`` does nothing but leave this nursery
        elif not is_machinery(frame.f_code):
            leaves |= frame.f_code.co_name in EXITS
    return leaves
