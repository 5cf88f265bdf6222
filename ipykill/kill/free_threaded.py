"""Running code on a free-threading build: nobody looks at the stack of another thread.

Without a global interpreter lock the frame of a thread that runs may be gone while one looks at
it. So a second monitoring tool has INSTRUCTION events in *all* code, until the thread that is to
be killed meets one: it looks at its own stack, and switches the events of `monitoring` on there.
From here on all is as with a lock. Other threads are slow in the meantime, that is for some
microseconds; if the thread is in C code, which has no events, only for a part of the time.
"""

from __future__ import annotations

import sys
import time
from types import CodeType, FrameType

from . import loops
from .codemap import codemap
from .policy import may_land
from .target import Target, current_target

if sys.version_info >= (3, 13):
    from .monitoring import Monitoring
assert sys.version_info >= (3, 13)

__all__ = ["FreeThreaded"]

_monitoring = sys.monitoring
_INSTRUCTION = _monitoring.events.INSTRUCTION
_NO_EVENTS = _monitoring.events.NO_EVENTS
_NAME = "ipykill's search"
_TOOL_IDS = (3, 4, 2, 5, 1, 0)
_SEARCH, _PAUSE = 0.01, 0.2  # seconds that a search lasts, and that follow a vain one


class _Search:
    """A thread that has to look at its own stack."""

    __slots__ = ("clock", "is_on", "next", "since")

    def __init__(self) -> None:
        self.is_on = False
        self.since = self.next = 0.0  # when it began, and when it may begin again
        self.clock = -1.0  # the thread's CPU time when the search last began


class FreeThreaded(Monitoring):
    """See the module's docstring.

    Threading
    ---------
    The events of a search are switched on and off by the reaper and by killers, one at a time. The
    target says when it has found itself.
    """

    def __init__(self) -> None:
        super().__init__()
        self._search_id = -1
        self._events = _NO_EVENTS
        self._searches: dict[Target, _Search] = {}

    def begin(self) -> Monitoring | None:
        """Take two tool ids; return None if there are none."""
        if super().begin() is None:
            return None
        for tool_id in _TOOL_IDS:
            if _monitoring.get_tool(tool_id) == _NAME:
                self._search_id = tool_id
        if self._search_id < 0:
            free = (it for it in _TOOL_IDS if _monitoring.get_tool(it) is None)
            self._search_id = next(free, -1)
            if self._search_id < 0:
                super().end()
                return None
            _monitoring.use_tool_id(self._search_id, _NAME)
        _monitoring.register_callback(self._search_id, _INSTRUCTION, self._on_any_instruction)
        return self

    def end(self) -> None:
        """Give both back."""
        super().end()
        search_id, self._search_id = self._search_id, -1
        _monitoring.register_callback(search_id, _INSTRUCTION, None)
        _monitoring.free_tool_id(search_id)

    def rest(self) -> None:
        """Switch all events off."""
        self._searches.clear()
        self._settle()
        super().rest()

    def arm(self, target: Target) -> None:
        """Seek the target, if it has used CPU time since the last search; it does the rest."""
        self._restart(target)
        search = self._searches.setdefault(target, _Search())
        now = time.monotonic()
        if search.is_on:
            if now - search.since > _SEARCH:
                search.is_on, search.next = False, now + _PAUSE
        elif target.wanted and now > search.next:
            clock = target.cpu_time()  # 0 where it cannot be known
            if not clock or clock != search.clock:
                search.clock, search.since = clock, now
                target.survey = search.is_on = True
        self._settle()

    def arm_here(self, target: Target, frame: FrameType) -> None:
        """Switch the events on in the stack of the calling thread."""
        super().arm_here(target, frame)
        search = self._searches.get(target)
        if search is not None:
            # The target may go on in code without events, so it is sought again, but not at once.
            # The more code has events, the more rarely this happens.
            search.is_on, search.next = False, time.monotonic() + _SEARCH

    def _settle(self) -> None:
        events = _NO_EVENTS
        if any(search.is_on for search in list(self._searches.values())):
            events = _INSTRUCTION
        if events != self._events:
            self._events = events
            _monitoring.set_events(self._search_id, events)

    def _on_any_instruction(self, code: CodeType, offset: int) -> None:
        target = current_target()
        search = None if target is None else self._searches.get(target)
        if target is None or search is None or not search.is_on or id(code) in self._armed.codes:
            return
        try:
            known = codemap(code)
            safe = offset in known.safe or offset in known.later
            frame = sys._getframe(1)
            if safe and may_land(target, frame, offset) and loops.may_strike(target, frame):
                raise target.strike()  # if the code catches this, the search goes on
            if safe or offset in known.leaving:
                self.arm_here(target, frame)
        except RecursionError:  # of these calls: the user's code is too near the limit to ask
            pass
