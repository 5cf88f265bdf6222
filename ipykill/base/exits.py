"""Call a function when the interpreter exits, before it waits for threads."""

from __future__ import annotations

import atexit
import threading
from collections.abc import Callable

__all__ = ["before_threads_are_joined"]


def before_threads_are_joined(fn: Callable[[], None]) -> None:
    """Call `fn` when the interpreter exits, before it waits for any thread.

    `atexit` is too late: before it, `threading._shutdown` waits for all non-daemon threads, and
    `concurrent.futures` for the workers of every pool, so that the exit would last as long as a
    job's pool is at work. ``threading._register_atexit`` registers functions that are called
    before that, the last one first. The pool's module is imported here so that it has
    registered its function, and ours is called before it.
    """
    import concurrent.futures.thread  # noqa: F401

    register = getattr(threading, "_register_atexit", atexit.register)
    register(fn)
