"""How to interrupt a long call of a library that does not look for signals.

Databases have a way of their own to end a query from another thread. `register` tells it for one
class; when a job that is being killed is in a call that mentions an object of that class, in the
expression that is being evaluated, the function is called with the object.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

__all__ = ["interrupt", "knows", "register"]

_logger = logging.getLogger("ipykill")

_known: dict[str, Callable[[Any], object]] = {
    # The name of the module differs between the versions of duckdb.
    "_duckdb.DuckDBPyConnection": lambda connection: connection.interrupt(),
    "duckdb.DuckDBPyConnection": lambda connection: connection.interrupt(),
    "duckdb.duckdb.DuckDBPyConnection": lambda connection: connection.interrupt(),
    "psycopg.Connection": lambda connection: connection.cancel(),
    "psycopg.Cursor": lambda cursor: cursor.connection.cancel(),
    "psycopg2.extensions.connection": lambda connection: connection.cancel(),
    "psycopg2.extensions.cursor": lambda cursor: cursor.connection.cancel(),
}


def register(name: str, interrupt: Callable[[Any], object]) -> None:
    """Tell how a call of an object is interrupted.

    Parameters
    ----------
    name
        The class: its module, a dot, and its qualified name. Subclasses count as well.
    interrupt
        Called with the object, in a thread of ipykill; it must not block.
    """
    _known[name] = interrupt


def interrupt(thing: object) -> bool:
    """Interrupt what an object does, if it is known how; return whether it is."""
    ask = _how(thing)
    if ask is not None:
        try:
            ask(thing)
        except Exception:
            name = type(thing).__qualname__
            _logger.exception("a call of %s could not be interrupted", name)
    return ask is not None


def knows(thing: object) -> bool:
    """Whether it is known how to interrupt what an object does."""
    return _how(thing) is not None


def _how(thing: object) -> Callable[[Any], object] | None:
    names = (f"{kind.__module__}.{kind.__qualname__}" for kind in type(thing).__mro__)
    return next((_known[name] for name in names if name in _known), None)
