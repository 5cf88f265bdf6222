"""How running code is reached: one `Engine` for each way that a CPython version offers.

========== =============== ==============================================================
CPython    engine          what it does
========== =============== ==============================================================
3.12+      `monitoring`    the thread looks, at each instruction of the user's code, whether
                           a Kill may land there: ``sys.monitoring``
3.11       `tracing`       the same with opcode tracing, begun by the thread itself when it
                           is woken (`wake`)
any        `plain`         ``PyThreadState_SetAsyncExc``, which may land anywhere: where no
                           monitoring tool is free, 3.11 without the wake-up, or on demand
========== =============== ==============================================================

An engine is held from the first pending Kill until the last: before and after it there is
nothing in any thread.
"""

from __future__ import annotations

import platform
import sys
from types import FrameType
from typing import Protocol

from . import plain, wake
from .switches import level
from .target import Target

__all__ = ["Engine", "choose", "describe"]


class Engine(Protocol):
    """A way to raise a Kill in code that runs. All methods but `arm_here`: one at a time."""

    def arm(self, target: Target) -> None:
        """Let the Kill land in `target`, whatever it runs now; called again and again."""
        ...

    def arm_here(self, target: Target, frame: FrameType) -> None:
        """Do the same in the calling thread, `target`'s own, whose stack is `frame`."""
        ...

    def end(self) -> None:
        """Leave nothing behind."""
        ...


def choose() -> Engine:
    """Return a new engine, the best there is now."""
    return _choose()[0]


def _choose() -> tuple[Engine, str]:
    if level() == "plain":
        return plain.Plain(), "switched off"
    if platform.python_implementation() != "CPython":
        return plain.Plain(), "this is not CPython"
    return _special()


if sys.version_info >= (3, 12):
    from .monitoring import Monitoring

    def _special() -> tuple[Engine, str]:
        engine = Monitoring.begin()
        if engine is None:
            return plain.Plain(), "all tool ids of sys.monitoring are in use"
        return engine, "safe points by sys.monitoring"

else:
    from .tracing import Tracing

    def _special() -> tuple[Engine, str]:
        if not wake.works():
            return plain.Plain(), "CPython 3.11 needs the wake-up for more"
        return Tracing(), "safe points by opcode tracing"


def describe() -> tuple[bool, str]:
    """Return whether a Kill lands at safe points now, and by what or why not."""
    engine, why = _choose()
    engine.end()
    return not isinstance(engine, plain.Plain), why
