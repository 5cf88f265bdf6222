"""The `contextvars` context in which a job runs: a copy of that of the launching code.

`contextvars.copy_context` copies references, which is right for most values: they are never
changed in place, or are lists that the user wants to share. But some libraries keep a mutable
"context" object there and change it in place: `decimal`, ``warnings`` (3.14), ``gmpy2``. A plain
thread gets a context object of its own, and so does a job.
"""

from __future__ import annotations

import contextvars
import sys
from typing import Any

from . import stack

__all__ = ["own_context"]


def own_context() -> contextvars.Context:
    """Return a copy of the current context, with copies of the libraries' context objects in it."""
    context = contextvars.copy_context()
    copies = {var: value.copy() for var, value in context.items() if _is_context(value)}
    if copies:
        context.run(_set, copies)
    return context


def _is_context(value: Any) -> bool:
    kind = type(value)
    if not kind.__name__.lower().endswith("context") or not hasattr(kind, "copy"):
        return False
    # A class of the user's may have such a name, too; its objects may be meant to be shared.
    file = getattr(sys.modules.get(kind.__module__), "__file__", None)
    return kind.__module__ != "__main__" and (file is None or not stack.is_user(file))


def _set(values: dict[contextvars.ContextVar[Any], Any]) -> None:
    for var, value in values.items():
        if isinstance(getattr(value, "log", None), list):
            value.log = None  # not the list of a `catch_warnings(record=True)` around the launch
        var.set(value)
