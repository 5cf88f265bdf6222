"""Replace functions and attributes of other packages, and restore them.

A replacement behaves differently only in jobs, so it may stay as long as ipykill is loaded.

Threading: `wrap` and `replace` are called in the thread that imports a module, with the import
lock of that module held; `restore_all` in the main thread.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from .imports import forget

__all__ = ["replace", "restore_all", "wrap"]

_WRAPPED_BY = "_ipykill_wrapped_by"
_MISSING = object()

# For each replaced attribute: owner, name, our value, and a function that returns the former value.
_replaced: list[tuple[Any, str, Any, Callable[[], Any]]] = []


def wrap(owner: Any, name: str, make: Callable[[Any], Any]) -> None:
    """Replace the function or method ``owner.name`` by ``make(original)``.

    A second call with the same `make` changes nothing.
    """
    original = getattr(owner, name)
    key = f"{make.__module__}.{make.__qualname__}"
    makers: tuple[str, ...] = getattr(original, _WRAPPED_BY, ())
    if key not in makers:
        wrapper = functools.wraps(original)(make(original))
        setattr(wrapper, _WRAPPED_BY, (*makers, key))
        replace(owner, name, wrapper)


def replace(owner: Any, name: str, value: Any, before: Callable[[], Any] | None = None) -> None:
    """Set ``owner.name`` to `value` until `restore_all` is called.

    Parameters
    ----------
    before
        Returns the value that `restore_all` puts there; by default it is the present one.
    """
    # The owner itself has no such attribute if it has it from its class, or from a base class.
    earlier = vars(owner).get(name, _MISSING)
    setattr(owner, name, value)
    _replaced.append((owner, name, value, before or (lambda: earlier)))


def restore_all() -> None:
    """Restore all replaced attributes, and cancel the calls of `when_imported` that still wait.

    An attribute that other code has replaced since stays as it is: restoring it would undo that.
    """
    forget()
    while _replaced:
        owner, name, value, before = _replaced.pop()
        if vars(owner).get(name) is not value:
            continue
        if (earlier := before()) is _MISSING:
            delattr(owner, name)
        else:
            setattr(owner, name, earlier)
