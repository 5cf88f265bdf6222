"""Find the objects of a class."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

__all__ = ["instances"]


def instances(kind: type[Any]) -> Iterator[Any]:
    """Yield the objects of a class and of its subclasses; takes some milliseconds.

    An object is found by its reference to its class, which the garbage collector knows for most
    classes. `gc.get_objects` would know more, but breaks ``tuple(iterator)`` in other threads
    (bpo-15108).
    """
    yield from (it for it in gc.get_referrers(kind) if type(it) is kind)
    for derived in type.__subclasses__(kind):
        yield from instances(derived)
