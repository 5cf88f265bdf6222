"""Whether what some code handles is an order to end: then its handler is cleanup.

Any other error that a handler deals with, without raising it again, is none of ours: the code is
going to try again, and may be ended in it like anywhere else, if the Kill has been sought for a
while.
"""

from __future__ import annotations

import asyncio
import gc

from ..exceptions import JobStopped

__all__ = ["handles_an_order", "is_order"]

_ORDERS = (KeyboardInterrupt, JobStopped, asyncio.CancelledError, GeneratorExit)
_NAMED = {"trio.Cancelled", "greenlet.GreenletExit"}
_CONTEXTS = 100  # errors, of which one came out of the other, that are looked at


def is_order(error: BaseException | None) -> bool:
    """Whether an error is an order to end, or came out of one."""
    seen = 0
    while error is not None and seen < _CONTEXTS:
        kind = type(error)
        if isinstance(error, _ORDERS) or f"{kind.__module__}.{kind.__name__}" in _NAMED:
            return True
        error, seen = error.__context__, seen + 1
    return False


def handles_an_order(coroutine: object) -> bool:
    """Whether a coroutine that waits does so while it handles an order to end.

    What it handles is not to be had from Python, but the garbage collector sees it; with what the
    coroutine has in variables, which does no harm.
    """
    held = gc.get_referents(coroutine)
    return any(is_order(it) for it in held if isinstance(it, BaseException))
