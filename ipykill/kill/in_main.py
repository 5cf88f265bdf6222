"""Make a call in the main thread, whatever that runs, for another thread.

While the main thread runs a job, the cells that follow run in another thread. Calls of theirs that
only the main thread may make (`signal.signal`) are made in the handler of ipykill's signal.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

__all__ = ["call", "make_calls"]

# Seconds until the signal is sent again: one that comes just before a system call does not end it.
_AGAIN = 0.01

ring: Callable[[], object] = lambda: None  # noqa: E731
"""Sends the signal whose handler calls `make_calls` in the main thread; `wake` sets this."""

_calls: deque[tuple[Callable[[], Any], queue.SimpleQueue[tuple[bool, Any]]]] = deque()


def call(fn: Callable[[], Any], patience: float) -> Any:
    """Call `fn` in the main thread and return its value, or raise its exception.

    Any thread may call this; it blocks until the main thread has answered.

    Parameters
    ----------
    patience
        Seconds to wait.

    Raises
    ------
    TimeoutError
        The main thread is in C code that does not look for signals. It still calls `fn` later.
    """
    if threading.current_thread() is threading.main_thread():
        return fn()
    answer: queue.SimpleQueue[tuple[bool, Any]] = queue.SimpleQueue()
    _calls.append((fn, answer))
    end = time.monotonic() + patience
    while True:
        ring()
        try:
            good, value = answer.get(timeout=_AGAIN)
            break
        except queue.Empty:
            if time.monotonic() > end:
                msg = "the main thread is in C code that looks for no signal"
                raise TimeoutError(msg) from None
    if good:
        return value
    raise value


def make_calls() -> None:
    """Make the calls that other threads wait for; call this in the main thread."""
    while _calls:
        try:
            fn, answer = _calls.popleft()
        except IndexError:  # another signal came meanwhile, whose handler made the call
            return
        try:
            answer.put((True, fn()))
        except BaseException as error:
            answer.put((False, error))
