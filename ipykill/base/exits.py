"""What is done when the interpreter exits."""

from __future__ import annotations

import atexit
import threading
from collections.abc import Callable

__all__ = ["before_threads_are_joined"]


def before_threads_are_joined(fn: Callable[[], None]) -> None:
    """Call `fn` when the interpreter exits, before it waits for any thread.

    `atexit` comes later: `threading._shutdown` first waits for threads that are not
    daemons, and `concurrent.futures` for the workers of every pool (CPython 3.9 and newer),
    so that the exit would last as long as a job's pool is at work. The functions that
    ``threading._register_atexit`` collects are called before, the last one first, which is
    why the pool's module is imported here.
    """
    import concurrent.futures.thread  # noqa: F401

    register = getattr(threading, "_register_atexit", atexit.register)
    register(fn)
