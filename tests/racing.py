"""What the tests of races share."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager

from tests.waiting import HANG_GUARD, wait_for


@contextmanager
def frequent_switches() -> Generator[None]:
    """Let threads take turns every 10 microseconds."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


@contextmanager
def silent_threads() -> Generator[list[threading.ExceptHookArgs]]:
    """Collect what `threading.excepthook` would print."""
    seen: list[threading.ExceptHookArgs] = []
    before, threading.excepthook = threading.excepthook, seen.append
    try:
        yield seen
    finally:
        threading.excepthook = before


def ended(*threads: threading.Thread) -> bool:
    """Whether the threads end in time."""
    for thread in threads:
        thread.join(HANG_GUARD)
    return not any(thread.is_alive() for thread in threads)


def in_fork(work: Callable[[], object]) -> int:
    """Call `work` in the child of a fork and return its exit code: 0 if that returned."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        except BaseException:
            sys.excepthook(*sys.exc_info())
            os._exit(1)
        os._exit(0)
    try:
        wait_for(lambda: os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT), "its end")
    except AssertionError:
        os.kill(pid, signal.SIGKILL)
        raise
    finally:
        _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status)
