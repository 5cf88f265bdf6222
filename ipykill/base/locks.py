"""The lock that `with` takes in the main thread, where an interrupt may come at any moment."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING

__all__ = ["RLock"]

if TYPE_CHECKING or not (3, 14) <= sys.version_info < (3, 15):
    RLock = threading.RLock
else:

    class RLock(type(threading.RLock())):
        """An RLock that is not left held when an interrupt comes just after it was taken.

        CPython 3.14 looks for signals between ``__enter__`` and the block, where nothing calls
        ``__exit__`` (gh-148874). An ``__enter__`` of Python code gives the lock back itself: an
        exception comes from within it, or else not before the block.
        """

        def __enter__(self) -> bool:
            held = self._recursion_count()
            try:
                return self.acquire()
            except BaseException:
                if self._recursion_count() > held:
                    self.release()
                raise
