"""Calls that only the main thread may make, handed over to it in the handler of our signal.

While the main thread runs a job, the cells that follow run elsewhere, and what they ask of the
main thread alone (`signal.signal`) has to be done for them.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

__all__ = ["call", "make_calls"]

_AGAIN = 0.01  # seconds until it is rung again: a signal may come just before a system call

ring: Callable[[], object] = lambda: None  # noqa: E731
"""Makes the main thread call `make_calls`, if it can; see `wake`."""

_calls: deque[tuple[Callable[[], Any], queue.SimpleQueue[tuple[bool, Any]]]] = deque()


def call(fn: Callable[[], Any], patience: float) -> Any:
    """Call `fn` in the main thread, whatever that does at this moment, and return its value.

    Raises
    ------
    TimeoutError
        The main thread does not look for signals, for it is in C code; `fn` is called when it
        does.
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
    """Make the calls that wait; in the main thread."""
    while _calls:
        try:
            fn, answer = _calls.popleft()
        except IndexError:  # a signal came meanwhile
            return
        try:
            answer.put((True, fn()))
        except BaseException as error:
            answer.put((False, error))
