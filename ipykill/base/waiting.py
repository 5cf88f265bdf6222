"""Waiting: a deadline, and an event that an exception in a waiting thread cannot break."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

__all__ = ["Deadline", "Latch", "wait_any"]


class Latch:
    """An event that is set once and stays set.

    `threading.Event` is Python code around a lock, which an exception raised from outside
    can leave held; then nobody can set it any more. Here each waiter has a C-level lock of
    its own, so that a waiter that dies takes nothing with it.

    Threading
    ---------
    Any thread may call any method. `set` does not block.
    """

    # Why no waiter is forgotten: a waiter appends its lock and looks at the flag after
    # that; `set` sets the flag and empties the list after that. Whichever of the two
    # comes second sees the other. Appending and popping are atomic.

    __slots__ = ("_set", "_waiters")

    def __init__(self) -> None:
        self._set = False
        self._waiters: list[threading.Lock] = []

    def is_set(self) -> bool:
        """Whether `set` was called."""
        return self._set

    def set(self) -> None:
        """Set the flag and let all waiters go."""
        self._set = True
        while self._waiters:
            try:
                self._waiters.pop().release()
            except IndexError:  # another thread sets it as well
                return
            except RuntimeError:  # the waiter waits for several latches; another one released it
                pass

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the flag is set, at most `timeout` seconds; return whether it is set."""
        return wait_any([self], timeout)


def wait_any(latches: Sequence[Latch], timeout: float | None = None) -> bool:
    """Wait until one of `latches` is set, at most `timeout` seconds; return whether one is."""
    if _is_any_set(latches):
        return True
    mine = threading.Lock()
    mine.acquire()
    for latch in latches:
        latch._waiters.append(mine)
    try:
        if not _is_any_set(latches):
            # TIMEOUT_MAX is the largest timeout that a lock takes; about 292 years.
            left = -1 if timeout is None else max(min(timeout, threading.TIMEOUT_MAX), 0)
            mine.acquire(timeout=left)
    finally:
        for latch in latches:
            try:
                latch._waiters.remove(mine)
            except ValueError:
                pass
    return _is_any_set(latches)


def _is_any_set(latches: Sequence[Latch]) -> bool:
    # A function of its own because of CPython 3.14, which compiles any() to a loop and leaves the
    # loop's jumps out of the exception table: a Ctrl-C there would skip the caller's `finally`.
    return any(latch._set for latch in latches)


class Deadline:
    """The end of a wait that begins now and lasts `timeout` seconds; for ever if that is None."""

    __slots__ = ("_end",)

    def __init__(self, timeout: float | None) -> None:
        self._end = None if timeout is None else time.monotonic() + timeout

    def left(self) -> float | None:
        """Return the seconds that are left, 0 when it has passed; no more than a lock can wait."""
        if self._end is None:
            return None
        return min(max(self._end - time.monotonic(), 0.0), threading.TIMEOUT_MAX)
