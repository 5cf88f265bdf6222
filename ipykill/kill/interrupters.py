"""How to interrupt a long call of a library that does not look for signals.

Databases have a function that ends a query from another thread. `register` tells ipykill that
function for one class. When a job that is being killed does not react, and the expression that it
is evaluating mentions an object of that class, ipykill calls the function with the object.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

__all__ = ["interrupt", "knows", "register"]

_logger = logging.getLogger("ipykill")

_known: dict[str, Callable[[Any], object]] = {
    # The module of this class differs between versions of duckdb.
    "_duckdb.DuckDBPyConnection": lambda connection: connection.interrupt(),
    "duckdb.DuckDBPyConnection": lambda connection: connection.interrupt(),
    "duckdb.duckdb.DuckDBPyConnection": lambda connection: connection.interrupt(),
    "psycopg.Connection": lambda connection: connection.cancel(),
    "psycopg.Cursor": lambda cursor: cursor.connection.cancel(),
    "psycopg2.extensions.connection": lambda connection: connection.cancel(),
    "psycopg2.extensions.cursor": lambda cursor: cursor.connection.cancel(),
}


def register(name: str, interrupt: Callable[[Any], object]) -> None:
    """Tell ipykill how to interrupt a call of a class's objects.

    Any thread may call this. A second call for the same class replaces the first.

    Parameters
    ----------
    name
        The class: its module, a dot, and its qualified name. Subclasses count as well.
    interrupt
        Called with the object, in another thread than the call to interrupt. It must not block;
        an exception that it raises is logged.
    """
    _known[name] = interrupt


def interrupt(thing: object) -> bool:
    """Interrupt the calls of an object, if its class is registered; return whether it is."""
    ask = _how(thing)
    if ask is not None:
        try:
            ask(thing)
        except Exception:
            name = type(thing).__qualname__
            _logger.exception("a call of %s could not be interrupted", name)
    return ask is not None


def knows(thing: object) -> bool:
    """Whether the class of an object, or a base of it, is registered."""
    return _how(thing) is not None


def _how(thing: object) -> Callable[[Any], object] | None:
    names = (f"{kind.__module__}.{kind.__qualname__}" for kind in type(thing).__mro__)
    return next((_known[name] for name in names if name in _known), None)
