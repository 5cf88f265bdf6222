"""For which futures an asyncio event loop runs, as the stack of its thread tells."""

from __future__ import annotations

import asyncio
from types import FrameType
from typing import Any

from . import policy
from .target import contain
from .tasks import is_machinery

__all__ = ["RUN", "runs_of"]

RUN = asyncio.Runner.run.__code__


def runs_of(
    loop: asyncio.AbstractEventLoop, frame: FrameType | None
) -> tuple[list[asyncio.Future[Any]], FrameType | None]:
    """Return the futures for which `loop` runs, innermost first, and its caller's frame.

    Parameters
    ----------
    frame
        The innermost frame of the loop's thread.
    """
    mains: list[asyncio.Future[Any]] = []
    caller = None
    while frame is not None and frame.f_code is not contain.__code__:
        future = None
        if frame.f_code.co_name == "run_until_complete":
            names = frame.f_locals  # nest_asyncio calls it `f`
            future = names.get("f", names.get("future"))
        elif frame.f_code is RUN:  # uvloop's loop itself has no frame
            future = frame.f_locals.get("task")
        elif caller is None and not (is_machinery(frame.f_code) or policy.is_ours(frame.f_code)):
            caller = frame
        if asyncio.isfuture(future) and future.get_loop() is loop and future not in mains:
            mains.append(future)
        frame = frame.f_back
    return mains, caller
