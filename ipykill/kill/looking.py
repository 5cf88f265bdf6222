"""Find out where the threads of jobs are at this moment, without disturbing them."""

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
    """A context in which the calling thread may hold the gate of another thread's target.

    An object may be freed inside it whose finalizer kills a job. If that Kill waited for the
    reaper's lock, while the thread that has the lock waits for the gate, both would wait for ever.
    So in this context `pursuit.pursue` takes no lock and leaves the work to the reaper.
    """

    def __enter__(self) -> None:
        self._me = threading.get_ident()
        self._inner = self._me in _gated  # entered by a finalizer, inside another such context
        _gated.add(self._me)

    def __exit__(self, *args: object) -> None:
        if not self._inner:
            _gated.discard(self._me)


class Looking(Gated):
    """The same, for a thread that looks at the stacks of other threads.

    On CPython 3.11 the garbage collector is off meanwhile. In the middle of `sys._current_frames`
    a collection deadlocks (gh-106883), and between two steps along the stack of a running thread
    it crashes.
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
_paused = 0  # how many threads have paused the collector
_collects = False  # whether it was on before


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
"""Returns the innermost frame of a thread, None when it has ended or runs no Python."""


if sys.version_info >= (3, 12):

    def look() -> Look:
        """Return a function that tells where a thread is, at the moment of each call.

        Not by `sys._current_frames`, which crashes 3.12 and 3.13 while a subinterpreter
        lives, and which looks at all threads of the process.
        """
        return _frame

    def _frame(target: Target) -> FrameType | None:
        with target.gate:
            return target.innermost_frame()

else:

    def look() -> Look:
        """Return a function that tells where each thread is now, at the moment of this call."""
        with Looking():
            frames = sys._current_frames()
        # Without the calling thread's own frame, which refers to this dictionary. Such a cycle
        # would keep what all frames refer to alive until a garbage collection, in any thread.
        me = threading.get_ident()
        frames.pop(me, None)

        def see(target: Target) -> FrameType | None:
            if target.ident == me:
                return sys._getframe(1)
            return frames.get(target.ident) if target.open else None

        return see
