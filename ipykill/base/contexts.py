"""The context in which a job runs: what the launching code has, but not the same objects.

`contextvars.copy_context` copies references. Most values are never changed in place, and code that
keeps a list of its own in a context variable wants to share it. But some values are what a library
calls a context: `decimal.getcontext` returns the one of the running code to be changed in place,
as ``warnings`` (3.14) and ``gmpy2`` do. A plain thread has its own; so has a job.
"""

from __future__ import annotations

import contextvars
import sys
from typing import Any

from . import stack

__all__ = ["own_context"]


def own_context() -> contextvars.Context:
    """Return a copy of the current context that shares no context of a library with it."""
    context = contextvars.copy_context()
    copies = {var: value.copy() for var, value in context.items() if _is_context(value)}
    if copies:
        context.run(_set, copies)
    return context


def _is_context(value: Any) -> bool:
    kind = type(value)
    if not kind.__name__.lower().endswith("context") or not hasattr(kind, "copy"):
        return False
    # The user's own classes may be called so too, and may be meant to be shared.
    file = getattr(sys.modules.get(kind.__module__), "__file__", None)
    return kind.__module__ != "__main__" and (file is None or not stack.is_user(file))


def _set(values: dict[contextvars.ContextVar[Any], Any]) -> None:
    for var, value in values.items():
        if isinstance(getattr(value, "log", None), list):
            value.log = None  # of `warnings.catch_warnings(record=True)` around the launch
        var.set(value)
