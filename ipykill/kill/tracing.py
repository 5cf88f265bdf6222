"""Running code on CPython 3.11: safe points by opcode tracing.

3.11 has no ``sys.monitoring``. It does run signal handlers between two instructions of
running code, so the wake-up (`wake`) gets a handler of ours to run in the thread itself,
which begins to trace its own stack here.

1. `arm_here` runs in the thread to be killed: ``sys.settrace``, and opcode events for all
   frames of the stack in reach. Frames called later get theirs from the ``call`` event.
2. Before each instruction the thread decides whether it dies there, as in `monitoring`.
3. CPython removes a trace function that raises. If the Kill is swallowed then, the
   exception dies as the handler ends, and its ``__del__`` begins the tracing again, before
   the next safe point. If somebody keeps the exception, the next wake-up does.
4. A debugger or coverage that traces the thread already is left alone. There the Kill
   reaches waiting calls, and loops: when a wake-up happens to come at a jump back. Such
   a thread is woken all the time.
"""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any

from ..exceptions import JobKilled
from . import loops
from .policy import in_reach, may_land
from .target import Target, current_target

__all__ = ["Tracing"]


class Tracing:
    """See the module's docstring and `running.Engine`."""

    def __init__(self) -> None:
        JobKilled.__del__ = self._again  # type: ignore[attr-defined]

    def rest(self) -> None:
        """Do nothing."""

    def end(self) -> None:
        """Let a dying `JobKilled` begin nothing any more."""
        if vars(JobKilled).get("__del__") == self._again:
            del JobKilled.__del__  # type: ignore[attr-defined]

    def arm(self, target: Target) -> None:
        """Do nothing: no foreign frame is touched on 3.11, it may be gone already."""

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
    # An interrupt was raised, and the code goes on; or an event loop does, and ends by itself.
    if target is None or not (target.open and target.sought) or loops.hears(target):
        sys.settrace(None)
        return None
    if event == "opcode":
        try:
            if may_land(target, frame, frame.f_lasti) and loops.may_strike(target, frame):
                raise target.strike()
        except RecursionError:  # ours, not the code's: it is too deep for the question
            pass
    elif event == "call":
        if not in_reach(frame.f_code, libraries=target.libraries):
            return None
        _trace_opcodes(frame)
    return _trace
