"""Running code on CPython 3.11: safe points by opcode tracing.

CPython 3.11 has no ``sys.monitoring``. But it runs signal handlers between two instructions of
running code, so `wake` can make ipykill's handler run in the thread to be killed. There the
handler begins to trace the thread's own stack.

1. `arm_here` runs in the thread to be killed: ``sys.settrace``, and opcode events for all
   frames of the stack in reach. Frames called later get theirs from the ``call`` event.
2. Before each instruction the thread decides whether it dies there, as in `monitoring`.
3. CPython removes a trace function that raises. If the job's code then swallows the Kill, the
   exception object dies when the ``except`` block ends, and its ``__del__`` begins the tracing
   again, before the next safe point. If some code keeps the exception, the next wake-up does so.
4. If a debugger or a coverage tool traces the thread already, ipykill does not trace it. Then a
   Kill is raised in waiting calls, and in a loop when a wake-up happens to come at its jump
   back. For that, such a thread is woken all the time.
5. While an asynchronous exception is pending in any thread (in one that waits in C it may be so
   for ever), CPython 3.11 has a flag set that makes all threads look for it. A traced thread then
   looks again and again at the first instruction of a function, and never gets past it. To raise
   another such exception clears the flag, which the waiting thread sets again when it goes on. So
   the reaper raises one in itself at each look.
"""

from __future__ import annotations

import sys
import threading
from types import FrameType
from typing import Any

from ..exceptions import JobKilled
from ..threads import ServiceThread, take_back
from . import loops
from .policy import in_reach, may_land
from .target import Target, current_target

__all__ = ["Tracing"]

_REFUSED = 1000  # instructions; then the thread is not traced until it is woken again


class Tracing:
    """See the module's docstring and `running.Engine`."""

    def __init__(self) -> None:
        JobKilled.__del__ = self._again  # type: ignore[attr-defined]

    def rest(self) -> None:
        """Do nothing."""

    def end(self) -> None:
        """Take ``JobKilled.__del__`` away, so that it begins no tracing any more."""
        if vars(JobKilled).get("__del__") == self._again:
            del JobKilled.__del__  # type: ignore[attr-defined]

    def arm(self, target: Target) -> None:
        """Let a traced thread get past the beginning of a function, see 5 in the module docstring.

        It does no more, because on 3.11 a frame of another thread may be gone when it is touched.
        """
        if isinstance(threading.current_thread(), ServiceThread):  # in which nobody raises anything
            take_back()

    def arm_here(self, target: Target, frame: FrameType) -> None:
        """Trace the stack of the calling thread."""
        target.traced = sys.gettrace() not in (None, _trace)
        if target.traced:
            return
        caller: FrameType | None = frame
        while caller is not None:
            if in_reach(caller.f_code, libraries=target.libraries):
                _trace_opcodes(caller)
            caller = caller.f_back
        sys.settrace(_trace)

    def _again(self, *_: object) -> None:
        target = current_target()
        if target is not None and target.wanted:
            self.arm_here(target, sys._getframe(1))


def _trace_opcodes(frame: FrameType) -> None:
    if frame.f_trace is None:
        frame.f_trace = _trace
        frame.f_trace_lines = False
    frame.f_trace_opcodes = True


def _trace(frame: FrameType, event: str, arg: object) -> Any:
    target = current_target()
    # The interrupt was raised and the code goes on, or an event loop ends what it runs by itself.
    if target is None or not (target.open and target.sought) or loops.ends_by_itself(target):
        sys.settrace(None)
        return None
    if event == "opcode":
        try:
            if may_land(target, frame, frame.f_lasti) and loops.may_strike(target, frame):
                raise target.strike()
        except RecursionError:  # of these calls: the user's code is too near the limit to ask
            pass
        target.refused += 1
        if target.refused > _REFUSED:  # cleanup that works for long would hardly get on
            target.refused = 0
            sys.settrace(None)
            return None
    elif event == "call":
        if not in_reach(frame.f_code, libraries=target.libraries):
            return None
        _trace_opcodes(frame)
    return _trace
