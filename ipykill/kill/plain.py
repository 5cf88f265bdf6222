"""The plain engine: ask the interpreter to raise the Kill, wherever the thread is.

This is the well-known recipe. It may land between ``lock.acquire()`` and ``try:`` and in a
``finally:``, and it does not reach a thread that waits.
"""

from __future__ import annotations

import time
from types import FrameType

from ..exceptions import JobKilled
from ..threads import _set_async_exc
from .target import Target

__all__ = ["Plain"]

_INTERVAL = 0.1  # seconds until it is raised again, for code that swallowed it


class Plain:
    """See the module's docstring and `running.Engine`."""

    def __init__(self) -> None:
        self._next: dict[Target, float] = {}

    def arm(self, target: Target) -> None:
        """Ask for the Kill, if the last time was a while ago."""
        now = time.monotonic()
        if not target.wanted or now < self._next.get(target, 0.0):
            return
        self._next[target] = now + _INTERVAL
        with target.gate:
            if target.wanted:
                target.asked = True
                _set_async_exc(target.ident, JobKilled)

    def arm_here(self, target: Target, frame: FrameType) -> None:
        """Do nothing: `arm` has asked for the Kill already."""

    def rest(self) -> None:
        """Do nothing."""

    def end(self) -> None:
        """Forget the targets."""
        self._next.clear()
