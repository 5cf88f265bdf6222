"""The source of a function, where it is known."""

from __future__ import annotations

import contextlib
import functools
import inspect
import linecache
import os
from types import CodeType

__all__ = ["source_of"]


def source_of(function: object) -> str:
    """Return the source of a function, empty where it is not known."""
    code = getattr(function, "__code__", None)
    # What `exec` has compiled may have the name of the text of ``python -c`` (CPython 3.13).
    if not isinstance(code, CodeType) or code.co_filename == "<string>":
        return ""
    if not os.path.exists(code.co_filename):
        # `linecache` finds a module out of a zip file by its loader only, which may raise anything.
        with contextlib.suppress(Exception):
            linecache.lazycache(code.co_filename, getattr(function, "__globals__", {}))
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
