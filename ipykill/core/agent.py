"""A thread that makes short calls for other threads, at once or at a given time."""

from __future__ import annotations

import heapq
import itertools
import logging
import queue
import time
from collections.abc import Callable

from ..base import locks
from ..threads import ServiceThread

__all__ = ["Agent"]

_logger = logging.getLogger("ipykill")

_LONGEST = 3600.0  # seconds of one wait; a lock refuses the longest timeouts that users may write


class Agent:
    """A daemon thread that makes the calls it is given, one after another.

    Threading
    ---------
    Any thread may give it calls; that does not block. The thread starts with the first call.
    `_lock` is reentrant, because the garbage collector may run a finalizer in the thread that
    holds it, and the finalizer may give a call.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = locks.RLock()
        self._calls: queue.SimpleQueue[tuple[float, Callable[[], None]]] = queue.SimpleQueue()
        self._started = False
        self._told = False  # whether it was logged that the thread cannot start

    def call(self, fn: Callable[[], None], at: float = 0.0) -> None:
        """Call `fn` as soon as `time.monotonic` reaches `at`."""
        self._calls.put((at, fn))
        with self._lock:
            if self._started:
                return
            self._started = True
        try:
            ServiceThread(self._run, self._name).start()
        except RuntimeError as error:
            # The system has no thread left, or (3.12) the interpreter is about to exit.
            self._started = False
            quiet = self._told or "shutdown" in str(error)
            self._told = True
            level = logging.DEBUG if quiet else logging.ERROR
            _logger.log(level, "the thread %r cannot start: %s; its calls wait", self._name, error)

    def _run(self) -> None:
        waiting: list[tuple[float, int, Callable[[], None]]] = []
        number = itertools.count()
        while True:
            left = min(waiting[0][0] - time.monotonic(), _LONGEST) if waiting else _LONGEST
            # No variable may refer to a call any longer than needed: it would keep a job alive.
            try:
                at, fn = self._calls.get(timeout=max(left, 0))
                heapq.heappush(waiting, (at, next(number), fn))
                del fn
            except queue.Empty:
                pass
            while waiting and waiting[0][0] <= time.monotonic():
                try:
                    heapq.heappop(waiting)[2]()
                except BaseException:
                    _logger.exception("a call of the thread %r failed", self._name)
