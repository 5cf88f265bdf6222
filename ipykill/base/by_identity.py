"""A cache for functions of code objects."""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import CodeType
from typing import TypeVar

__all__ = ["by_identity"]

_T = TypeVar("_T")

_CACHED = 2000  # how many code objects are kept


def by_identity(fn: Callable[[CodeType], _T]) -> Callable[[CodeType], _T]:
    """Cache a function of a code object that any thread may call.

    `functools.lru_cache` would hash the code object, which takes the longer, the longer the code
    is, and the function is called at every monitored instruction.
    """
    # The code object is kept, so that its id stays its own.
    cache: dict[int, tuple[CodeType, _T]] = {}

    @functools.wraps(fn)
    def cached(code: CodeType) -> _T:
        known = cache.get(id(code))
        if known is None:
            if len(cache) >= _CACHED:
                cache.clear()
            known = cache[id(code)] = code, fn(code)
        return known[1]

    return cached
