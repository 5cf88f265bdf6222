"""How much memory the result of a job takes, if that is worth mentioning."""

from __future__ import annotations

import itertools
import sys
from typing import Any

__all__ = ["large_size"]

_LARGE = 10_000_000  # bytes
_LOOKED_AT = 1_000  # elements of a container, from which the size of the rest is estimated
# Libraries whose objects know their size without computing anything.
_LIBRARIES = {
    *("cupy", "jax", "jaxlib", "numpy", "pandas", "polars", "pyarrow", "scipy", "torch", "xarray")
}


def large_size(value: object) -> int:
    """Return about how many bytes a value takes; 0 if they are few, or not known.

    Only built-in objects and those of a few libraries are asked. The thread of a job that has
    just ended calls this, and the code of other classes might do anything.
    """
    size = _size(value)
    return size if size >= _LARGE else 0


def _size(value: object) -> int:
    kind = type(value)
    if kind in (list, tuple, set, frozenset):
        return _of_elements(value, value)
    if kind is dict:
        return _of_elements(value, value.values())  # type: ignore[attr-defined]
    return _own(value)


def _of_elements(container: Any, elements: Any) -> int:
    """Return the size of a container with its elements, estimated from the first ones."""
    try:
        first = list(itertools.islice(elements, _LOOKED_AT))
    except RuntimeError:  # another thread, which the job left behind, changes it
        return sys.getsizeof(container)
    share = sum(map(_own, first)) / max(len(first), 1)
    return sys.getsizeof(container) + int(share * len(container))


def _own(value: Any) -> int:
    kind = type(value)
    if kind.__module__ == "builtins":
        return sys.getsizeof(value)
    if kind.__module__.partition(".")[0] not in _LIBRARIES:
        return 0
    try:
        if hasattr(kind, "memory_usage"):  # of pandas: a number, or one for each column
            used = value.memory_usage()
            return int(used if isinstance(used, int) else used.sum())
        size = getattr(value, "nbytes", None)
        return int(value.estimated_size() if size is None else size)
    except Exception:
        return 0
