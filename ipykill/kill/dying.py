"""Whether an ``except`` block handles an order to end: a Kill, a Stop, a cancellation.

If so, the block is cleanup, and no Kill is raised in it. A block that handles any other error, and
does not raise it again, is about to try again or to do something else. If a Kill has been pending
for a while, it may be raised in such a block as anywhere else.
"""

from __future__ import annotations

import asyncio
import gc

from ..exceptions import JobStopped

__all__ = ["handles_an_order", "is_order"]

_ORDERS = (KeyboardInterrupt, JobStopped, asyncio.CancelledError, GeneratorExit)
_NAMED = {"trio.Cancelled", "greenlet.GreenletExit"}
_CONTEXTS = 100  # exceptions in a chain of contexts that are looked at, at most


def is_order(error: BaseException | None) -> bool:
    """Whether an exception is an order to end, or was raised while one was handled."""
    seen = 0
    while error is not None and seen < _CONTEXTS:
        kind = type(error)
        if isinstance(error, _ORDERS) or f"{kind.__module__}.{kind.__name__}" in _NAMED:
            return True
        error, seen = error.__context__, seen + 1
    return False


def handles_an_order(coroutine: object) -> bool:
    """Whether a coroutine that waits does so while it handles an order to end.

    Python has no function that returns the exception that a coroutine handles, but
    `gc.get_referents` finds it. It also finds exceptions in the coroutine's variables, which does
    no harm.
    """
    held = gc.get_referents(coroutine)
    return any(is_order(it) for it in held if isinstance(it, BaseException))
