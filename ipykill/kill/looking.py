"""Where the threads of jobs are at this moment, for who only looks."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from types import FrameType

from .target import Target

__all__ = ["Look", "look"]

Look = Callable[[Target], FrameType | None]
"""Tells where a thread is, None when it has ended or runs no Python."""


if sys.version_info >= (3, 12):

    def look() -> Look:
        """Return how to see where threads are, each at the moment when it is asked about.

        Not by `sys._current_frames`, which crashes 3.12 and 3.13 while a subinterpreter
        lives, and which looks at all threads of the process.
        """
        return _frame

    def _frame(target: Target) -> FrameType | None:
        with target.gate:
            return target.innermost_frame()

else:

    def look() -> Look:
        """Return how to see where all threads are now."""
        frames = sys._current_frames()
        # Without the calling thread's own frame, which holds this: in a cycle, all that the
        # frames of all threads hold would live until somebody collects garbage, in his thread.
        me = threading.get_ident()
        frames.pop(me, None)

        def see(target: Target) -> FrameType | None:
            if target.ident == me:
                return sys._getframe(1)
            return frames.get(target.ident) if target.open else None

        return see
