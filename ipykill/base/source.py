"""The source of a function, where it is known."""

from __future__ import annotations

import functools
import inspect
import linecache
from types import CodeType

__all__ = ["source_of"]


def source_of(code: CodeType | None) -> str:
    """Return the source of a function, empty where it is not known."""
    # What `exec` has compiled may have the name of the text of ``python -c`` (CPython 3.13).
    if code is None or code.co_filename == "<string>":
        return ""
    return _source_of(code, code.co_filename)


# Cached, because finding the source takes as long as starting a thread. The key has the file name,
# because code objects that differ only in their file are equal.
@functools.lru_cache(maxsize=256)
def _source_of(code: CodeType, filename: str) -> str:
    try:
        linecache.checkcache(filename)
        # Not inspect.getsource(), which looks for the code's module among all modules. Beside a
        # thread that computes, that took seconds: each look gives up the interpreter's lock.
        lines = linecache.getlines(filename)
        return "".join(inspect.getblock(lines[code.co_firstlineno - 1 :]))
    except Exception:  # OSError, or whatever the module's `__loader__` raises
        return ""
