"""Running code on CPython 3.12 and newer: safe points by ``sys.monitoring``.

While a Kill is pending, and only then, a monitoring tool has INSTRUCTION events in the
user's code that is on the stack of a thread to be killed. The thread calls `_on_instruction`
before each instruction and decides whether it dies there.

Why a Kill gets in, and only where it may:

1. The killer, with the target's gate held, asks for the target's innermost frame and
   switches the events on in its code object. CPython rewrites the code in place, so they
   come with the very next instruction, in a loop that is running as well. Likewise in the
   innermost one that is in reach. That is a guess, for a foreign thread's stack changes
   under one's eyes; nothing rests on it.
2. It also sets `Target.survey`. Where the target may not die, and before its frame is left or
   calls another, it walks its stack itself and switches the events on in all code in reach,
   and in the functions defined in that code. (Where it dies at once, there is no need, and
   events in the outer frames would only slow the exception on its way.)
3. What is called after that and was on no stack is found at a later tick of the reaper, by
   step 1.
4. Other threads that run the same code get the events too. The callback goes by the
   calling thread, so for them nothing happens; at instructions where no Kill may land it
   switches itself off.
5. An exception that the callback raises comes from the instruction, before it does
   anything. (This holds for INSTRUCTION events. From a JUMP event an exception skips the
   enclosing ``finally``, CPython 3.12.1 and 3.13.0; a loop on one line has no LINE events.)
6. After a Kill was swallowed the events are still on: the next safe point raises again.
"""

from __future__ import annotations

import sys
from types import CodeType, FrameType

from . import loops
from .codemap import codemap
from .policy import in_reach, is_ours, may_land
from .target import Target, current_target

assert sys.version_info >= (3, 12)

__all__ = ["Monitoring"]

_monitoring = sys.monitoring
_INSTRUCTION = _monitoring.events.INSTRUCTION
_NO_EVENTS = _monitoring.events.NO_EVENTS
_NAME = "ipykill"
# First those that have no name: 0 to 2 and 5 are for debuggers, coverage, profilers and
# optimizers by convention.
_TOOL_IDS = (4, 3, 5, 2, 1, 0)


def _innermost_in_reach(frame: FrameType | None, target: Target) -> FrameType | None:
    while frame is not None and not in_reach(frame.f_code, libraries=target.libraries):
        frame = frame.f_back
    return frame


class Monitoring:
    """See the module's docstring and `running.Engine`.

    Threading
    ---------
    `_codes` is changed by the reaper and by the targets; a code object that two of them add
    at once is added once, and to switch an event on twice changes nothing.

    There is one, and to begin it again changes nothing: an exception of a signal handler may cut
    `begin` anywhere, and the handler itself may kill.
    """

    def __init__(self) -> None:
        self._tool_id = 0
        self._codes: dict[int, CodeType] = {}

    @staticmethod
    def available() -> bool:
        """Whether a tool id is free, or ours."""
        return any(_monitoring.get_tool(number) in (None, _NAME) for number in _TOOL_IDS)

    @staticmethod
    def begin() -> Monitoring | None:
        """Take a tool id, or the one that is ours; None if there is none left."""
        for wanted in (_NAME, None):
            for tool_id in _TOOL_IDS:
                if _monitoring.get_tool(tool_id) == wanted:
                    if wanted is None:
                        _monitoring.use_tool_id(tool_id, _NAME)
                    _the_one._tool_id = tool_id
                    callback = _the_one._on_instruction
                    _monitoring.register_callback(tool_id, _INSTRUCTION, callback)
                    return _the_one
        return None

    def end(self) -> None:
        """Switch all events off and give the tool id back."""
        self.rest()
        _monitoring.register_callback(self._tool_id, _INSTRUCTION, None)
        _monitoring.free_tool_id(self._tool_id)

    def rest(self) -> None:
        """Switch all events off."""
        for code in list(self._codes.values()):
            _monitoring.set_local_events(self._tool_id, code, _NO_EVENTS)
        self._codes.clear()

    def arm(self, target: Target) -> None:
        """Switch the events on where `target` is."""
        with target.gate:
            frame = target.innermost_frame()
            if frame is not None and not is_ours(frame.f_code):
                target.survey = True
                # Code out of reach as well: from there the target surveys its stack. Except
                # in a trace function, where there are no events.
                self._add(frame.f_code)
                if (reached := _innermost_in_reach(frame, target)) is not None:
                    self._add(reached.f_code)

    def arm_here(self, target: Target, frame: FrameType) -> None:
        """Switch the events on in the stack of the calling thread."""
        target.survey = False
        caller: FrameType | None = frame
        while caller is not None:
            if in_reach(caller.f_code, libraries=target.libraries):
                self._add_all(caller.f_code)
            caller = caller.f_back

    def _add(self, code: CodeType) -> None:
        if id(code) not in self._codes:
            self._codes[id(code)] = code
            _monitoring.set_local_events(self._tool_id, code, _INSTRUCTION)

    def _add_all(self, code: CodeType) -> None:
        self._add(code)
        for constant in code.co_consts:
            if isinstance(constant, CodeType):
                self._add_all(constant)

    def _on_instruction(self, code: CodeType, offset: int) -> object:
        try:
            target = current_target()
            known = codemap(code)
            safe = offset in known.safe or offset in known.later
            if target is not None:
                frame = sys._getframe(1)
                if safe and may_land(target, frame, offset) and loops.may_strike(target, frame):
                    if target.survey:
                        self.arm_here(target, frame)
                    raise target.strike()
                if target.survey and (safe or offset in known.leaving):
                    self.arm_here(target, frame)
            return None if safe else _monitoring.DISABLE
        except RecursionError:  # ours, not the code's: it is too deep for the question
            return None


_the_one = Monitoring()
