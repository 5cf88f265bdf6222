"""Running code on CPython 3.12 and newer: safe points by ``sys.monitoring``.

While a Kill is pending, and only then, ipykill is a monitoring tool with INSTRUCTION events in
the code objects on the stack of the thread to be killed. The thread calls `_on_instruction` before
each instruction of these and decides whether it dies there.

Why a Kill gets in, and only where it may:

1. The killing thread, with the target's gate held, asks for the target's innermost frame and
   switches the events on in its code object. CPython rewrites the code in place, so they come
   with the very next instruction, in a running loop too. It does the same for the innermost
   frame in reach. That one is a guess, because another thread's stack changes while it is
   read; nothing depends on it.
2. It also sets `Target.survey`. At a safe point where it does not die, and before its frame
   returns or calls another one, the target walks its stack itself and switches the events on in
   all code in reach, and in the functions defined in that code. (If it dies at once, there is no
   need, and events in the outer frames would only slow the exception on its way.)
3. Code that is called later, and was on no stack, is found at a later tick of the reaper, by
   step 1.
4. Other threads that run the same code get the events too. The callback does nothing for
   them, because it looks at the calling thread. At instructions where no Kill may be raised it
   switches itself off.
5. An exception that the callback raises comes from the instruction, before it does
   anything. (This holds for INSTRUCTION events. From a JUMP event an exception skips the
   enclosing ``finally``, CPython 3.12.1 and 3.13.0; a loop on one line has no LINE events.)
6. After a Kill was swallowed the events are still on: the next safe point raises again.
7. Cleanup that works for long comes to many safe points at which it may not die, and would be
   hundreds of times slower if it looked at its stack at each. After some of these, the callback
   switches the event off at each instruction that the thread reaches, until the reaper arms a
   thread again, 20 ms later at most. That may be another thread, which runs the same code: an
   event that is off is so for all threads, and the one that came too often may be dead by then.
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
# The ids without a conventional use come first: 0 to 2 and 5 are for debuggers, coverage tools,
# profilers and optimizers.
_TOOL_IDS = (4, 3, 5, 2, 1, 0)
_REFUSED = 50  # safe points, see step 7 above


def _innermost_in_reach(frame: FrameType | None, target: Target) -> FrameType | None:
    while frame is not None and not in_reach(frame.f_code, libraries=target.libraries):
        frame = frame.f_back
    return frame


class _Armed:
    """The code objects that got events since the last rest."""

    __slots__ = ("codes", "on")

    def __init__(self) -> None:
        self.codes: dict[int, CodeType] = {}  # that may have events
        self.on: set[int] = set()  # and the ids of those that have them


class Monitoring:
    """See the module's docstring and `running.Engine`.

    Threading
    ---------
    The reaper and the targets add to `_armed`. If two of them add a code object at once, it is
    added once, and switching an event on twice changes nothing. A target may also add one while
    the reaper switches all events off, or has done so and given the tool id back, because the
    target does not wait for the reaper:

    1. `_add` notes the code in the `_Armed` that it has found, switches the events on, and begins
       again if another `_Armed` has taken the place of that one meanwhile.
    2. `rest` switches off what is in the old `_Armed`, puts a new one in its place, and only then
       looks what a target has switched on again; that it notes in the new one. So what is on is
       noted, and what is said to be on in the new one was switched on after all was off.
    3. If the tool id was given back, `set_local_events` raises ValueError. There is nothing to
       arm for: the last Kill is over. What step 2 left on is noted, and `rest` of the next Kill
       switches it off.

    There is one such object (`running`), and to begin it again changes nothing: a signal handler
    may cut `begin` short with an exception anywhere, or may itself kill a job in the middle of it.
    """

    def __init__(self) -> None:
        self._tool_id = 0
        self._armed = _Armed()
        self._tired = False  # whether events are off because of step 7

    @staticmethod
    def available() -> bool:
        """Whether a tool id is free, or ours."""
        return any(_monitoring.get_tool(number) in (None, _NAME) for number in _TOOL_IDS)

    def begin(self) -> Monitoring | None:
        """Take a tool id, or the one that is ours; None if there is none left."""
        for wanted in (_NAME, None):
            for tool_id in _TOOL_IDS:
                if _monitoring.get_tool(tool_id) == wanted:
                    if wanted is None:
                        _monitoring.use_tool_id(tool_id, _NAME)
                    self._tool_id = tool_id
                    _monitoring.register_callback(tool_id, _INSTRUCTION, self._on_instruction)
                    return self
        return None

    def end(self) -> None:
        """Switch all events off and give the tool id back."""
        self.rest()
        _monitoring.register_callback(self._tool_id, _INSTRUCTION, None)
        _monitoring.free_tool_id(self._tool_id)

    def rest(self) -> None:
        """Switch all events off."""
        before, new = self._armed, _Armed()
        for code in before.codes.copy().values():
            _monitoring.set_local_events(self._tool_id, code, _NO_EVENTS)
        self._armed = new
        for number, code in before.codes.copy().items():
            if _monitoring.get_local_events(self._tool_id, code):  # see "Threading"
                new.codes.setdefault(number, code)

    def arm(self, target: Target) -> None:
        """Switch the events on where `target` is."""
        self._restart(target)
        with target.gate:
            frame = target.innermost_frame()
            if frame is not None and not is_ours(frame.f_code):
                target.survey = True
                # Also if the code is out of reach: its events make the target walk its stack.
                # (In a trace function there are no events.)
                self._add(frame.f_code)
                if (reached := _innermost_in_reach(frame, target)) is not None:
                    self._add(reached.f_code)

    def _restart(self, target: Target) -> None:
        """Switch the events on again that were switched off, see step 7 above."""
        if target.refused > _REFUSED:
            target.refused = 0
        if self._tired:
            self._tired = False
            _monitoring.restart_events()

    def arm_here(self, target: Target, frame: FrameType) -> None:
        """Switch the events on in the stack of the calling thread."""
        target.survey = False
        caller: FrameType | None = frame
        while caller is not None:
            if in_reach(caller.f_code, libraries=target.libraries):
                self._add_all(caller.f_code)
            caller = caller.f_back

    def _add(self, code: CodeType) -> None:
        armed = None
        while armed is not self._armed:  # see "Threading"
            armed = self._armed
            if id(code) not in armed.on:
                armed.codes[id(code)] = code
                try:
                    _monitoring.set_local_events(self._tool_id, code, _INSTRUCTION)
                except ValueError:
                    return
                armed.on.add(id(code))  # last: who finds the id here relies on the events

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
            # A target that was never armed may meet events of an earlier Kill, about to be off.
            if target is not None and target.survey is not None:
                frame = sys._getframe(1)
                if safe and may_land(target, frame, offset) and loops.may_strike(target, frame):
                    if target.survey:
                        self.arm_here(target, frame)
                    raise target.strike()
                if target.survey and (safe or offset in known.leaving):
                    self.arm_here(target, frame)
                target.refused += safe
                if safe and target.refused > _REFUSED:
                    self._tired = True
                    return _monitoring.DISABLE
            return None if safe else _monitoring.DISABLE
        except RecursionError:  # of these calls: the user's code is too near the limit to ask
            return None
