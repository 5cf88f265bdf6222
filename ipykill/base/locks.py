"""Locks that are safe to use in `with` where a Ctrl-C may come at any moment.

CPython 3.14 may raise a signal handler's exception between a C ``__enter__`` and the block, where
nothing calls ``__exit__`` (gh-148874): the lock stays locked for ever. Here ``__enter__`` is Python
code: the exception is raised either inside it, where it releases the lock, or inside the block.
``__exit__`` has to be C code, in which nothing is raised before the lock is released.
"""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, Any

__all__ = ["LEAKS", "RLock", "guarded"]

LEAKS = (3, 14) <= sys.version_info < (3, 15)
"""Whether a Ctrl-C may leave a lock locked."""

_ONCE = (True,)

if TYPE_CHECKING:
    RLock = threading.RLock
elif not LEAKS:
    RLock = type(threading.RLock())  # the function threading.RLock would be one call more
else:

    class RLock(type(threading.RLock())):
        """An RLock that is not left locked when a Ctrl-C comes just after it was acquired."""

        def __enter__(self) -> bool:
            held = self._recursion_count()
            try:
                return self.acquire()
            except BaseException:
                if self._recursion_count() > held:
                    self.release()
                raise


def guarded(lock: Any) -> Any:
    """Return an object to be used instead of `lock`, which a Ctrl-C does not leave locked.

    The object acquires `lock` itself, so some threads may go on using `lock` directly.
    """

    class Guarded:
        acquire, release = lock.acquire, lock.release
        __exit__ = lock.__exit__

        def __enter__(self) -> bool:
            acquired: list[bool] = []
            try:
                # One call of C code acquires the lock and notes it, so no exception comes between.
                acquired.extend(map(lock.acquire, _ONCE))
            except BaseException:
                if acquired:
                    lock.release()
                raise
            return True

        def __getattr__(self, name: str) -> Any:
            return getattr(lock, name)

    return Guarded()
