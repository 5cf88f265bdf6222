"""Where the threads of jobs are at this moment, for who only looks."""

from __future__ import annotations

import gc
import sys
import threading
from collections.abc import Callable
from types import FrameType

from ..base import locks
from .target import Target, current_target

__all__ = ["Gated", "Look", "Looking", "holds_a_gate", "look"]

_gated: set[int] = set()  # the idents of the threads that may hold a gate


class Gated:
    """A context in which the calling thread takes the gate of a target of another thread.

    An object may be freed in it whose finalizer kills. If that waited for the reaper's lock, and
    who has it for the gate, nobody would ever go on; so the reaper is only told then (`pursuit`).
    """

    def __enter__(self) -> None:
        self._me = threading.get_ident()
        self._inner = self._me in _gated  # of a finalizer, in another one
        _gated.add(self._me)

    def __exit__(self, *args: object) -> None:
        if not self._inner:
            _gated.discard(self._me)


class Looking(Gated):
    """The same for who looks at jobs.

    On CPython 3.11 nobody collects garbage meanwhile: that would happen in the middle of
    `sys._current_frames`, which waits for itself then for ever (gh-106883), and between two steps
    along a stack that goes on in its thread, which crashes.
    """

    if sys.version_info < (3, 12):

        def __enter__(self) -> None:
            super().__enter__()
            if not self._inner:
                _pause_collector()

        def __exit__(self, *args: object) -> None:
            if not self._inner:
                _resume_collector()
            super().__exit__()


def holds_a_gate() -> bool:
    """Whether the calling thread may hold the gate of a target, its own or another one's."""
    target = current_target()
    return threading.get_ident() in _gated or (target is not None and target.gate._is_owned())  # type: ignore[attr-defined]


_collector = locks.RLock()
_paused = 0  # by so many threads
_collects = False  # else


def _pause_collector() -> None:
    global _paused, _collects
    with _collector:
        if not _paused:
            _collects = gc.isenabled()
            gc.disable()
        _paused += 1


def _resume_collector() -> None:
    global _paused
    with _collector:
        _paused -= 1
        if not _paused and _collects:
            gc.enable()


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
        with Looking():
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
