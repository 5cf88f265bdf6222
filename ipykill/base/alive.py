"""Whether threads live, asked so that no other thread that asks meets an error."""

import sys
import threading
import time

from .waiting import Deadline

_POLL = 0.0002  # seconds; a thread whose code has ended is gone in less, as a rule
_LONGEST_POLL = 0.005  # seconds


def is_alive(thread: threading.Thread) -> bool:
    """Whether a thread was started and has not ended; any thread may ask.

    Up to CPython 3.12 `threading.Thread.is_alive` takes the thread's lock for a moment when the
    thread has ended. If two threads ask at that moment, one of them may meet an AssertionError
    in ``Thread._stop`` or a RuntimeError (release unlocked lock). Here the lock is only looked at.
    """
    held = holds_its_lock(thread)
    return thread.is_alive() if held is None else held


def holds_its_lock(thread: threading.Thread) -> bool | None:
    """Whether the lock is locked that CPython keeps locked as long as a thread lives.

    None if it has none: before it runs, when somebody saw its end, and from CPython 3.13 on.
    """
    lock = getattr(thread, "_tstate_lock", None)
    return None if lock is None else lock.locked()


def join(thread: threading.Thread, timeout: float | None) -> None:
    """Wait until a thread whose code has ended is gone, at most `timeout` seconds.

    Up to CPython 3.12 the wait is a poll, for `threading.Thread.join` takes the lock as well.
    """
    if sys.version_info >= (3, 13):
        thread.join(timeout)
        return
    deadline, poll = Deadline(timeout), _POLL
    while is_alive(thread) and (left := deadline.left()) != 0:
        time.sleep(poll if left is None else min(poll, left))
        poll = min(2 * poll, _LONGEST_POLL)
